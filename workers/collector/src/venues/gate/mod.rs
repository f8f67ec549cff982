//! Gate (API v4): spot wallet and perpetual futures settled in USDT and in bitcoin. To read another
//! endpoint, list it in [`sign::READS`].
//!
//! `sign` decides what may be sent, `client` sends it, `streams` decides what to ask next, `parse`
//! and `state` say what the replies mean, `fault` what the errors do, `markets` what a contract is.

pub mod case;
mod client;
pub mod fault;
pub mod markets;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{EventType, Snapshot, Standing, Timestamp, Venue};
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Gate, candles};
pub use sign::READS;

use self::fault::Fault;
use self::markets::{BTC, Contracts, Settle, USDT};
use self::parse::Book;
use self::state::Rights;
use self::streams::{HORIZON_MILLIS, Records, STREAMS, WINDOW_MILLIS, stream};
use super::fault::VenueFault;
use super::holdings::Holdings;
use super::wire::rows;
use super::{Attestation, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

/// Where Gate answers. What it grants, it grants for each endpoint; we keep all of ours within one.
static HOST: Host = Host {
    setting: "CODASH_VENUE_GATE_URL",
    usual: "https://api.gateio.ws",
    budget: 200,
    per: Duration::from_secs(10),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Gate,
    title: "Gate",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make an APIv4 key with Spot, Perpetual Futures, Wallet and Account set to \"Read Only\", and nothing else.",
    attestation: "Gate lists the rights of the main account's keys to a key that may read \"Account\"; where it does not, we cannot tell, and say that the key is unproven.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| {
        let (key, secret) = credentials.key_and_secret("gate")?;
        Ok(Arc::new(Gate::new(venues.clone(), &HOST, key, secret)))
    },
    read_case: case::read,
};

const NOT_COVERED: [&str; 4] = [
    "unified, margin, earn, options and delivery accounts, trading bots and sub-accounts",
    "the spot side of transfers between accounts of your own",
    "spot rebates and dividends that are booked apart from fills",
    "what fees paid in points are worth",
];

const UNPROVEN: &str =
    "whether the key can only read: Gate did not tell; make sure that every right of it is read-only";

impl Gate {
    async fn read(&self, path: &str, params: &[(&str, String)]) -> Result<String, VenueError> {
        self.signed(path, params).await?.map_err(Fault::into_error)
    }

    /// A read about futures; `None` when the account never had any.
    async fn of_futures(&self, path: &str, params: &[(&str, String)]) -> Result<Option<String>, VenueError> {
        match self.signed(path, params).await? {
            Ok(body) => Ok(Some(body)),
            Err(Fault::NoFutures { .. }) => Ok(None),
            Err(fault) => Err(fault.into_error()),
        }
    }

    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let book = self.minute_prices(needs(&parse)).await?;
        Ok(parse(&book))
    }

    /// What the records of a stream are.
    async fn parsed(&self, records: Records, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let contracts = match records.settle() {
            Some(settle) if !rows.is_empty() => self.contracts(settle.path).await?,
            _ => Arc::default(),
        };
        let book = |settle| Book { settle, contracts: &contracts };
        self.priced(|prices| match records {
            Records::SpotFills => parse::spot_fills(rows, prices),
            Records::Deposits => parse::deposits(rows, prices),
            Records::Withdrawals => parse::withdrawals(rows, prices),
            Records::Fills(settle) => parse::futures_fills(rows, book(settle), prices),
            Records::Book(settle) => parse::futures_book(rows, book(settle), prices),
            Records::Liquidations(settle) => parse::forced(rows, EventType::Liquidation, book(settle), prices),
            Records::Adl(settle) => parse::forced(rows, EventType::Adl, book(settle), prices),
        })
        .await
    }

    async fn holdings(&self, now: Timestamp) -> Result<(Holdings, PriceBook), VenueError> {
        let spot = self.read("/api/v4/spot/accounts", &[]).await?;
        let mut futures: Vec<(&Settle, Arc<Contracts>, String, String)> = Vec::new();
        for settle in [&USDT, &BTC] {
            let path = |what: &str| format!("/api/v4/futures/{}/{what}", settle.path);
            let account = self.of_futures(&path("accounts"), &[]).await?;
            let positions = self.of_futures(&path("positions"), &[("holding", "true".into())]).await?;
            if let (Some(account), Some(positions)) = (account, positions) {
                futures.push((settle, self.contracts(settle.path).await?, account, positions));
            }
        }
        let tickers = self.tickers().await?;
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::spot_accounts(&spot, prices, now)?;
            for (settle, contracts, account, positions) in &futures {
                let account = state::futures_account(account, settle, prices, now)?;
                for part in [account, state::positions(positions, settle, contracts, prices, now)?] {
                    all.join(part);
                }
            }
            Ok(all)
        };
        let assets = assets_needed(read);
        let priced = assets.into_iter().filter_map(|code| {
            let price = state::dollars_per(&code, &tickers)?;
            Some((code, price))
        });
        let book = PriceBook::fixed(priced);
        Ok((read(&book)?, book))
    }
}

#[async_trait]
impl VenueAccount for Gate {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = match self.signed("/api/v4/account/main_keys", &[]).await? {
            Ok(body) => state::rights(&body, Some(&self.key))?,
            // The key may not ask, or this is a sub-account.
            Err(
                Fault::Error(VenueError::PermissionMissing { .. })
                | Fault::NoFutures { .. }
                | Fault::BadQuestion { .. },
            ) => Rights::Unknown,
            Err(fault) => return Err(fault.into_error()),
        };
        if let Rights::Known { excess } = &rights
            && !excess.is_empty()
        {
            return Ok(Attestation::TooPowerful { rights: excess.clone() });
        }
        // A key of which nothing is known must at least be one.
        self.read("/api/v4/spot/accounts", &[]).await?;
        let mut not_covered: Vec<String> = NOT_COVERED.map(Into::into).into();
        if rights == Rights::Unknown {
            not_covered.push(UNPROVEN.into());
        }
        Ok(Attestation::Accepted(Standing {
            assurance: rights.assurance(),
            kind: "spot_and_futures".into(),
            not_covered,
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        STREAMS.iter().map(|stream| stream.name.to_owned()).collect()
    }

    fn plan(&self, name: &str) -> Option<StreamPlan> {
        let stream = stream(name)?;
        let oldest = Timestamp::nearest(self.venues.clock.now().millis().saturating_sub(HORIZON_MILLIS));
        Some(StreamPlan {
            stream: name.into(),
            order: stream.order,
            horizon: Some((oldest, streams::WHY)),
            every: Duration::from_secs(stream.minutes * 60),
        })
    }

    async fn page(&self, name: &str, cursor: &Value) -> Result<Page, VenueError> {
        let stream = stream(name).ok_or_else(|| VenueError::unreadable(name, "no such stream"))?;
        let now = streams::whole(self.server_now().await?.millis());
        let place = stream.place(cursor, now)?;
        let window = place.window(WINDOW_MILLIS, now);
        let params = stream.params(&place, window);
        let body = match stream.records.settle() {
            Some(_) => self.of_futures(stream.path, &params).await?,
            None => Some(self.read(stream.path, &params).await?),
        };
        let rows = body.map(|body| rows(stream.path, &body)).transpose()?.unwrap_or_default();
        let parsed = self.parsed(stream.records, &rows).await?;
        let mut page = Page { parsed, ..Page::default() };
        streams::advance(&mut page, stream, &place, window, now, &rows);
        Ok(page)
    }

    fn again(&self, _stream: &str, from: Timestamp) -> Option<Value> {
        Some(super::paging::stored(&super::paging::TimeCursor::starting_at(from.millis())))
    }

    async fn reread(&self, name: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let stream = stream(name).ok_or_else(|| VenueError::unreadable(name, "no such stream"))?;
        self.parsed(stream.records, records).await
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now().await?;
        let (holdings, book) = self.holdings(now).await?;
        Ok((holdings.into_snapshot("the balances", now, &book)?, vec![]))
    }
}

#[cfg(test)]
mod tests;
