//! `codash dev --golden`: a world in which every answer is a constant. One seed, and a time that stands
//! still for the exchange, the collector and the API alike. What is true in it is checked in, see
//! `docs/golden/README.md`.

use codash_analytics::CursorKey;
use codash_collector::venues::{Attestation, Credentials, Venues, connect};
use codash_domain::{AccountId, ApiKey, FixedClock, KeyId, Scopes, Timestamp, Venue, WorkspaceId};
use codash_paper_exchange::model::Account;
use codash_paper_exchange::{PaperServer, PaperSettings, Speed};
use codash_store::{Credential, NewAccount, NewKey, Store};

use super::folder::{Workspace, random};
use super::{Error, demo};
use crate::paper::{DAY, USUAL_PORT, start};

pub const SEED: u64 = 20_261_121;
pub const SYMBOLS: usize = 14;
pub const NAME: &str = "Golden (paper exchange)";
/// 2026-08-24T00:00:00Z, 89 days before the last midnight.
pub const ORIGIN: i64 = 1_787_529_600_000;
/// The instant at which time stands: 2026-11-21T00:07:20Z.
pub const NOW: i64 = 1_795_219_640_000;

/// The time of the whole process.
pub fn clock() -> FixedClock {
    FixedClock::at(Timestamp::nearest(NOW))
}

/// The exchange, with its hand at [`NOW`].
pub async fn exchange(port: Option<u16>) -> Result<PaperServer, Error> {
    let settings = PaperSettings {
        seed: SEED,
        accounts: demo::BOTS,
        symbols: SYMBOLS,
        origin: Some(ORIGIN),
        history: DAY * 89,
        speed: Speed::Hand,
        ..PaperSettings::default()
    };
    let paper = start(settings, port, USUAL_PORT).await.map_err(super::paper::words)?;
    paper.move_to(NOW).await.map_err(Error::Other)?;
    Ok(paper)
}

/// Signs cursors. It guards nothing here, and pages are constants with it.
pub fn cursor_key() -> CursorKey {
    CursorKey::new([0; 32])
}

/// The `n`-th id; ids of events are derived from that of their account.
fn id(n: u8) -> [u8; 16] {
    [0x90, 0x1d, 0xe9, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

/// The workspace and its accounts, as the API would have made them, but for ids that are known
/// beforehand. The key is like any other: drawn at random.
pub async fn workspace(store: &Store, venues: &Venues, paper: &PaperServer) -> Result<Workspace, Error> {
    let (workspace, key) = (WorkspaceId::from_random(id(0)), ApiKey::from_random(random()?));
    let new = NewKey {
        id: KeyId::from_random(id(0xff)),
        name: "codash dev".into(),
        hash: key.hash(),
        hint: key.hint().to_owned(),
        scopes: Scopes::full(),
        accounts: None,
        addresses: vec![],
        expires_at: None,
        created_at: venues.clock.now(),
    };
    store.register(workspace, NAME, &new).await?;
    for (n, (account, name)) in (1..).zip(demo::accounts(paper.accounts())) {
        let account = attached(venues, account, name, AccountId::from_random(id(n))).await?;
        store.create_account(workspace, &account).await?;
    }
    Ok(Workspace { workspace_id: workspace.to_string(), api_key: key.reveal().to_owned() })
}

async fn attached(venues: &Venues, there: &Account, name: &str, id: AccountId) -> Result<NewAccount, Error> {
    let refused = |reason: String| Error::Other(format!("{name} cannot be attached: {reason}"));
    let (key, secret) = (there.read_key.clone(), there.read_secret.clone());
    let credentials = Credentials::ApiKey { key: key.clone(), secret: secret.clone().into(), passphrase: None };
    let venue = connect(venues, Venue::Paper, credentials).map_err(|error| refused(error.to_string()))?;
    let standing = match venue.attest().await.map_err(|error| refused(error.to_string()))? {
        Attestation::Accepted(standing) => standing,
        other => return Err(refused(format!("{other:?}"))),
    };
    Ok(NewAccount {
        id,
        name: name.to_owned(),
        venue: Venue::Paper,
        credential: Credential::ApiKey { key, secret: secret.into(), passphrase: None },
        tags: vec![demo::TAG.to_owned()],
        streams: venue.initial_streams(),
        standing,
        now: venues.clock.now(),
    })
}

#[cfg(test)]
mod tests {
    use codash_domain::Clock;

    use super::*;

    #[test]
    fn the_instants_are_those_of_the_document() {
        assert_eq!(Timestamp::nearest(ORIGIN).to_string(), "2026-08-24T00:00:00.000Z");
        assert_eq!(clock().now().to_string(), "2026-11-21T00:07:20.000Z");
        assert_eq!(AccountId::from_random(id(1)).to_string(), "901de900-0000-4000-8000-000000000001");
    }
}
