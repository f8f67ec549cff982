//! Kraken Futures. To read another endpoint, list it in [`sign::READS`].

mod client;
pub mod fault;
pub mod legs;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Futures, Marks, candles};

use self::parse::{FILLS, LOG};
use self::streams::{FillCursor, LOG_LIMIT, LogCursor};
use super::wire::readable;
use crate::error::VenueError;
use crate::pricing::{Prices, needs};
use crate::venues::paging::cursor;
use crate::venues::wire::read;
use crate::venues::{
    Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, closes,
};

static HOST: Host = Host {
    setting: "CODASH_VENUE_KRAKEN_FUTURES_URL",
    usual: "https://futures.kraken.com",
    budget: 500,
    per: Duration::from_secs(10),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::KrakenFutures,
    title: "Kraken Futures",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make an API key on Kraken Futures (its keys are not those of Kraken spot) with General API access \"Read only\" and Withdrawal API access \"No access\".",
    attestation: "Kraken Futures states the access level of the key: anything but \"read only\" and \"no access\" refuses it. Where that check does not answer, we cannot tell: make sure that the key is read-only.",
    hosts: &[HOST],
    reads: sign::READS,
    connect: |venues, credentials| Ok(Arc::new(Futures::new(venues.clone(), &HOST, credentials)?)),
    read_case: super::case::read,
};

const NOT_COVERED: [&str; 2] = [
    "Kraken spot and margin, which have keys of their own: attach them as a second account",
    "sub-accounts, and funding that has accrued but is not settled yet",
];

impl Futures {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, host: &'static Host, credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret) = credentials.key_and_secret("kraken_futures")?;
        super::wire::hmac(&secret, &[])?;
        let meter = format!("kraken futures key {}", crate::venues::hmac::key_name(&key));
        Ok(Self { venues, host, key, secret, meter })
    }

    async fn log(&self, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/api/history/v3/account-log";
        #[derive(Deserialize)]
        struct Reply {
            logs: Vec<Box<RawValue>>,
        }
        let now = self.server_now().await?.millis();
        let at = cursor(stored, LogCursor::start)?;
        let params = [("from", at.from.to_string()), ("sort", "asc".into()), ("count", LOG_LIMIT.to_string())];
        let rows = match self.if_active(PATH, &params).await? {
            Some(body) => read::<Reply>(PATH, &body)?.logs,
            None => vec![],
        };
        let mut page = Page::default();
        let ready = streams::after_log(&mut page, &at, now, rows)?;
        let joined = streams::whole(legs::joined(&ready), at.after);
        page.parsed = self.priced(|prices| parse::log(&joined, prices)).await?;
        Ok(page)
    }

    /// Fills, of which only the forced ones tell something that the log may not.
    async fn fills(&self, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/derivatives/api/v3/fills";
        #[derive(Deserialize)]
        struct Reply {
            fills: Vec<Box<RawValue>>,
        }
        let now = self.server_now().await?.millis();
        let at: FillCursor = cursor(stored, FillCursor::default)?;
        let before = at.before.and_then(Timestamp::from_millis);
        let params: Vec<_> = before.map(|before| ("lastFillTime", before.to_string())).into_iter().collect();
        let rows = match self.if_active(PATH, &params).await? {
            Some(body) => read::<Reply>(PATH, &body)?.fills,
            None => vec![],
        };
        // Classifiers carry no money: no price is looked up for them.
        let mut parsed = parse::fills(&rows, &crate::pricing::PriceBook::default());
        parsed.records.retain(|record| record.event.event_type.is_forced_close());
        let mut page = Page { parsed, ..Page::default() };
        streams::after_fills(&mut page, &at, now, &times(&rows), rows.len())?;
        Ok(page)
    }

    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let now = self.server_now().await?;
        let base = self.target().base;
        let book = closes::minute_prices(&self.venues, base, now, needs(&parse), self).await?;
        Ok(parse(&book))
    }

    /// The access level of the key; `None` when the check does not answer.
    async fn rights(&self) -> Result<Option<state::Rights>, VenueError> {
        let told = match self.private("/api/auth/v1/api-keys/v3/check", &[]).await {
            Ok(Ok(body)) => state::rights(&body),
            Ok(Err(fault)) => Err(fault.into_error()),
            Err(error) => Err(error),
        };
        match told {
            Ok(rights) => Ok(Some(rights)),
            Err(error) if error.is_retryable() => Err(error),
            // It may refuse what the other endpoints take; those tell whether the key is good.
            Err(_) => self.if_active("/derivatives/api/v3/accounts", &[]).await.map(|_| None),
        }
    }
}

/// The instants of a page's fills; those without one are unreadable elsewhere.
fn times(rows: &[Box<RawValue>]) -> Vec<i64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Timed {
        fill_time: Timestamp,
    }
    readable::<Timed>(rows).map(|fill| fill.fill_time.millis()).collect()
}

#[async_trait]
impl VenueAccount for Futures {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let assurance = match self.rights().await? {
            Some(rights) if !rights.excess.is_empty() => {
                return Ok(Attestation::TooPowerful { rights: rights.excess });
            }
            Some(rights) if !rights.can_read => {
                let reason = "the key needs General API access \"Read only\"".into();
                return Err(VenueError::PermissionMissing { reason });
            }
            Some(_) => Assurance::ReadOnly,
            None => Assurance::Unproven,
        };
        Ok(Attestation::Accepted(Standing {
            assurance,
            kind: "futures".into(),
            not_covered: NOT_COVERED.map(Into::into).into(),
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        [FILLS, LOG].map(Into::into).into()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let order = match stream {
            FILLS => 0,
            LOG => 1,
            _ => return None,
        };
        Some(StreamPlan { stream: stream.into(), order, horizon: None, every: Duration::from_secs(120) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match stream {
            FILLS => self.fills(cursor).await,
            LOG => self.log(cursor).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        // The log is numbered without gaps and read by number: nothing comes late.
        let cursor = streams::FillCursor { through: from.millis(), ..Default::default() };
        (stream == FILLS).then(|| crate::venues::paging::stored(&cursor))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            LOG => self.priced(|prices| parse::log(records, prices)).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now().await?;
        let accounts = self.if_active("/derivatives/api/v3/accounts", &[]).await?;
        let open = self.if_active("/derivatives/api/v3/openpositions", &[]).await?;
        let marks = self.marks().await?;
        let book = marks.book();
        let mut all = match &accounts {
            Some(body) => state::wallets(body, &book, now)?.all(),
            None => Default::default(),
        };
        if let Some(body) = &open {
            all.join(state::positions(body, &marks.marks, &book, now)?);
        }
        Ok((all.into_snapshot("the wallets", now, &book)?, vec![]))
    }
}

#[cfg(test)]
mod tests;
