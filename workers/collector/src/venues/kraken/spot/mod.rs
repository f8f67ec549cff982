//! Kraken spot, margin included. To read another endpoint, list it in [`sign::READS`].

mod client;
pub mod fault;
pub mod parse;
mod prices;
pub mod sign;
pub mod state;
pub mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Usd, Venue};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Spot, asset_pairs, market_ids, tickers};

use self::parse::{FILLS, LEDGER};
use self::streams::{OffsetCursor, PAGE_LIMIT, WINDOW_MILLIS};
use super::wire::{Entries, Named, Seconds, readable};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, bounded, needs};
use crate::venues::holdings::Holdings;
use crate::venues::paging::{Span, cursor};
use crate::venues::wire::{Text, read};
use crate::venues::{
    Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, closes,
};

/// Keys are metered one by one; the address only by the firewall, whose limit is not published.
static HOST: Host = Host {
    setting: "CODASH_VENUE_KRAKEN_URL",
    usual: "https://api.kraken.com",
    budget: 600,
    per: Duration::from_secs(60),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Kraken,
    title: "Kraken",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make an API key for Kraken in Settings > API with \"Query\" under Funds, \"Query open orders & trades\", \"Query closed orders & trades\" and \"Query ledger entries\", without a second factor or a query range, and for Codash alone: two programs on one key lock each other out.",
    attestation: "Kraken lists every permission of the key: each but the query ones (and the WebSocket token) refuses it, also those we do not know.",
    hosts: &[HOST],
    reads: sign::READS,
    connect: |venues, credentials| Ok(Arc::new(Spot::new(venues.clone(), &HOST, credentials)?)),
    read_case: super::case::read,
};

const NOT_COVERED: [&str; 3] = [
    "Kraken Futures, which has keys of its own: attach it as a second account",
    "the ledger of tokenized stocks",
    "sub-accounts, and funds in Earn products that Kraken leaves out of its balances",
];
const NO_POSITIONS: &str = "margin positions and their unrealized profit: the key lacks \"Query open orders & trades\"";

/// Pages of trades that are looked through for the references of one page of the ledger.
const MOST_LOOKUPS: usize = 40;

impl Spot {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, host: &'static Host, credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret) = credentials.key_and_secret("kraken")?;
        super::wire::hmac(&secret, &[])?;
        let meter = format!("kraken key {}", crate::venues::hmac::key_name(&key));
        Ok(Self { venues, host, key, secret, meter })
    }

    /// Records of a window of time at an offset, and how many the venue says there are.
    async fn history(
        &self,
        path: &'static str,
        window: Span,
        ofs: usize,
    ) -> Result<(Vec<Box<RawValue>>, Option<usize>), VenueError> {
        #[derive(Deserialize)]
        struct History {
            #[serde(alias = "trades", alias = "ledger")]
            records: Entries,
            #[serde(default)]
            count: Option<Text>,
        }
        let (start, end) = streams::bounds(window);
        let params = [("start", start.to_string()), ("end", end.to_string()), ("ofs", ofs.to_string())];
        let body = self.private(path, &params).await?;
        let history: History = read(path, fault::result(path, &body)?.get())?;
        Ok((history.records.0, history.count.and_then(|count| count.0.parse().ok())))
    }

    async fn read_page(&self, stream: &str, path: &'static str, stored: &Value) -> Result<Page, VenueError> {
        let now = self.server_now().await?.millis();
        let at = cursor(stored, OffsetCursor::start)?;
        let window = at.time.window(WINDOW_MILLIS, now);
        let (rows, count) = self.history(path, window, at.ofs).await?;
        let parsed = self.parsed(stream, &rows).await?;
        let mut page = Page { parsed, ..Page::default() };
        streams::after(&mut page, &at, window, now, &times(&rows), (rows.len(), count));
        Ok(page)
    }

    async fn parsed(&self, stream: &str, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            FILLS => {
                let pairs = self.pairs().await?;
                self.priced(|prices| parse::trades(rows, &pairs, prices)).await
            }
            LEDGER => {
                let traded = self.traded(rows).await?;
                self.priced(|prices| parse::ledger(rows, &traded, prices)).await
            }
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    /// The ids of trades at the instants of entries that may belong to one.
    async fn traded(&self, rows: &[Box<RawValue>]) -> Result<BTreeSet<String>, VenueError> {
        let mut traded = BTreeSet::new();
        let mut lookups = 0;
        for span in streams::spans(parse::in_question(rows)) {
            let mut ofs = 0;
            loop {
                lookups += 1;
                if lookups > MOST_LOOKUPS {
                    return Err(VenueError::retry("too many trades around the entries of the ledger"));
                }
                let (found, count) = self.history("/0/private/TradesHistory", span, ofs).await?;
                traded.extend(readable::<Named<IgnoredAny>>(&found).map(|trade| trade.id));
                ofs += found.len();
                let says_more = count.is_some_and(|count| ofs < count);
                if found.is_empty() || (found.len() < PAGE_LIMIT && !says_more) {
                    break;
                }
            }
        }
        Ok(traded)
    }

    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let now = self.server_now().await?;
        let base = self.host.target(&self.venues.endpoints).base;
        let book = closes::minute_prices(&self.venues, base, now, needs(&parse), self).await?;
        Ok(parse(&book))
    }

    /// A read that the key may lack the right for.
    async fn if_allowed(&self, path: &'static str, params: &[(&str, String)]) -> Result<Option<String>, VenueError> {
        match self.private(path, params).await {
            Ok(body) => Ok(Some(body)),
            Err(VenueError::PermissionMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Balances, margin positions, and the equity that Kraken states.
    async fn holdings(&self, now: codash_domain::Timestamp) -> Result<(Holdings, PriceBook), VenueError> {
        let balances = self.private("/0/private/Balance", &[]).await?;
        let equity = self.if_allowed("/0/private/TradeBalance", &[("asset", "ZUSD".into())]).await?;
        let open = self.if_allowed("/0/private/OpenPositions", &[("docalcs", "true".into())]).await?;
        let equity = equity.as_deref().map(state::equity).transpose()?;
        let pairs = self.pairs().await?;
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::balances(&balances, prices, now)?;
            if let Some(open) = &open {
                all.join(state::positions(open, &pairs, prices, now)?);
            }
            if let Some(equity) = equity {
                let stated = bounded(Usd::new(equity));
                let too_large = || VenueError::unreadable("/0/private/TradeBalance", "too large an amount");
                all.nav_usd = stated.ok_or_else(too_large)?;
            }
            Ok(all)
        };
        let assets = assets_needed(read);
        let book = self.prices_now(&assets).await?;
        Ok((read(&book)?, book))
    }
}

/// The instants of a page's records; records without one are unreadable elsewhere.
fn times(rows: &[Box<RawValue>]) -> Vec<i64> {
    #[derive(Deserialize)]
    struct Timed {
        time: Seconds,
    }
    readable::<Named<Timed>>(rows).map(|row| row.record.time.0.millis()).collect()
}

#[async_trait]
impl VenueAccount for Spot {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = state::rights(&self.private("/0/private/GetApiKeyInfo", &[]).await?)?;
        if let Some(refusal) = Attestation::refusal(rights.excess, &rights.missing)? {
            return Ok(refusal);
        }
        if rights.is_limited {
            // What lies outside would look as if nothing had happened.
            let reason = "the key has a query range (\"Query records from\" or \"to\"): make one without".into();
            return Err(VenueError::PermissionMissing { reason });
        }
        let mut not_covered: Vec<String> = NOT_COVERED.map(Into::into).into();
        if !rights.sees_positions {
            not_covered.push(NO_POSITIONS.into());
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: "spot_and_margin".into(),
            not_covered,
            key_expires_at: rights.expires_at,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        [FILLS, LEDGER].map(Into::into).into()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let order = match stream {
            FILLS => 0,
            LEDGER => 1,
            _ => return None,
        };
        Some(StreamPlan { stream: stream.into(), order, horizon: None, every: Duration::from_secs(180) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match stream {
            FILLS => self.read_page(stream, "/0/private/TradesHistory", cursor).await,
            LEDGER => self.read_page(stream, "/0/private/Ledgers", cursor).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    fn again(&self, _stream: &str, from: codash_domain::Timestamp) -> Option<Value> {
        let time = crate::venues::paging::TimeCursor::starting_at(from.millis());
        Some(crate::venues::paging::stored(&streams::OffsetCursor { time, ofs: 0 }))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        self.parsed(stream, records).await
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now().await?;
        let (holdings, book) = self.holdings(now).await?;
        Ok((holdings.into_snapshot("the balances", now, &book)?, vec![]))
    }
}

#[cfg(test)]
mod tests;
