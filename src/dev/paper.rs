//! The paper exchange of `codash dev`: the same one at every start of a data folder, with what people
//! did there.

use codash_collector::venues::{Endpoints, paper};
use codash_domain::Timestamp;
use codash_paper_exchange::model::Account;
use codash_paper_exchange::{PaperServer, PaperSettings, StartError};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{Error, demo, say};
use crate::paper::{DAY, USUAL_PORT, start};

const SEED: u64 = 1;
/// Enough for every character to find something; fewer markets are fewer streams to read at first.
const SYMBOLS: usize = 16;
const HOUR: i64 = 3_600_000;
/// The collector reads futures records of ninety days. What began two hours later it reads whole,
/// however slow the first reading is.
const HISTORY: i64 = 90 * 24 * HOUR - 2 * HOUR;

/// What the exchange must be started with again to be the same one. Kept in the data folder, so that
/// another version's defaults change nothing there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    seed: u64,
    origin: Timestamp,
    accounts: usize,
    symbols: usize,
    /// Where it was last, so that clients find it there again.
    port: u16,
}

impl Kept {
    fn new(now: Timestamp) -> Self {
        let origin = Timestamp::nearest(now.millis() - HISTORY).floor_to(HOUR);
        Self { seed: SEED, origin, accounts: demo::BOTS, symbols: SYMBOLS, port: USUAL_PORT }
    }

    fn settings(&self, folder: &Folder) -> PaperSettings {
        PaperSettings {
            seed: self.seed,
            origin: Some(self.origin.millis()),
            accounts: self.accounts,
            symbols: self.symbols,
            history: DAY * 90,
            journal: (!folder.is_ephemeral()).then(|| folder.paper_journal()),
            ..PaperSettings::default()
        }
    }
}

/// The exchange of this folder, new or the one of earlier runs. `now` is when a new one has its ninety
/// days behind it.
pub async fn of_folder(folder: &Folder, port: Option<u16>, now: Timestamp) -> Result<PaperServer, Error> {
    let mut kept = match folder.paper()? {
        Some(kept) => kept,
        None => {
            let kept = Kept::new(now);
            folder.keep_paper(&kept)?;
            kept
        }
    };
    let paper = start(kept.settings(folder), port, kept.port).await.map_err(words)?;
    let bound = paper.address().port();
    if port.is_none() && bound != kept.port {
        say(&format!("port {} is taken: the paper exchange uses {bound}", kept.port));
    }
    if bound != kept.port {
        kept.port = bound;
        folder.keep_paper(&kept)?;
    }
    Ok(paper)
}

/// With what can be done about it.
pub fn words(error: StartError) -> Error {
    let mend = match &error {
        StartError::Bind { source, .. } => format!(": {source}"),
        StartError::Journal { source, .. } => format!(": {source}"),
        StartError::JournalLine { .. } | StartError::OtherJournal { .. } => {
            ": move the file away to start without what was done on the paper exchange, or choose another --data-dir"
                .into()
        }
        StartError::History(_) => String::new(),
    };
    Error::Other(format!("the paper exchange did not start: {error}{mend}"))
}

/// The venue `paper` is this process's own; every other venue stays what it was.
pub fn reached_by(endpoints: Endpoints, paper: &PaperServer) -> Endpoints {
    paper::DEFINITION.hosts.iter().fold(endpoints, |endpoints, host| endpoints.with(host, paper.url()))
}

/// The account that does nothing by itself.
pub fn for_people(paper: &PaperServer) -> Result<&Account, Error> {
    paper.accounts().last().ok_or_else(|| Error::Other("the paper exchange has no accounts".into()))
}
