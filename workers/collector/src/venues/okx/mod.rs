//! OKX, API v5: the trading account (spot, margin, swaps, futures, options) and what the funding and
//! earn accounts are worth. To read another endpoint, list it in [`sign::READS`].
//!
//! `sign` decides what may be sent, `client` sends it, `streams` decides what to ask next, `parse`,
//! `bills`, `flows` and `state` say what the replies mean, `fault` what the errors do.

pub mod bills;
pub mod case;
mod client;
pub mod envelope;
pub mod fault;
pub mod flows;
pub mod markets;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Usd, Venue};
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::Okx;
pub use sign::READS;

use self::bills::BILLS;
use self::envelope::data;
use self::fault::Fault;
use self::flows::{DEPOSITS, WITHDRAWALS};
use self::sign::Key;
use self::streams::{FIRST_FLOW_MILLIS, HORIZON_MILLIS};
use super::fault::VenueFault;
use super::holdings::Holdings;
use super::paging::{self, PagedCursor, TimeCursor, cursor};
use super::{Attestation, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, family};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

/// OKX states limits of endpoints only; what an address may ask of all of them together is our guess.
static HOST: Host =
    Host { setting: "CODASH_VENUE_OKX_URL", usual: "https://www.okx.com", budget: 50, per: Duration::from_secs(2) };

pub static DEFINITION: Definition = Definition {
    venue: Venue::Okx,
    title: "OKX",
    needs: Needs::KeySecretAndPassphrase,
    how_to_connect: "Make an API key with the permission \"Read\" alone, and give its passphrase too. Keys of \
                     my.okx.com, app.okx.com and demo trading are for those hosts alone.",
    attestation: "OKX states the rights of the key: they must be \"read_only\" and nothing else.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| Ok(Arc::new(Okx { venues: venues.clone(), key: Key::new(credentials)? })),
    read_case: case::read,
};

const NOT_COVERED: [&str; 6] = [
    "sub-accounts, each of which needs a key of its own",
    "what happened before the last three months: OKX keeps no more for reading",
    "what happens inside earn, loans, trading bots and copy trading: only what they are worth is read, bots as part of the trading account",
    "what the funding account earns, spends or moves to earn: its balances, its deposits, its withdrawals and its transfers to and from the trading account are read",
    "profit and loss of margin trades in dollars: OKX does not say which currency it is in",
    "spread trading: its money is kept as unknown events, not as trades",
];

const HORIZON: &str = "OKX keeps three months of bills and fills";

impl Okx {
    async fn bills(&self, stored: &Value) -> Result<Page, VenueError> {
        let now = self.server_now().await?.millis();
        let at = cursor(stored, || PagedCursor::starting_at(now - HORIZON_MILLIS))?;
        let at = streams::renewed(at, now);
        let (path, window) = streams::BILLS.window(&at, now);
        let rows = data(path, &self.signed(path, &streams::params(&at, window)).await?)?;
        let parsed = bills::without_legs(self.parsed(BILLS, &rows).await?);
        let mut page = Page { parsed, new_streams: bills::markets_of_bills(&rows), ..Page::default() };
        streams::after(&mut page, &at, window, now, &rows)?;
        Ok(page)
    }

    async fn fills(&self, stream: &str, market: &str, stored: &Value) -> Result<Page, VenueError> {
        let kind = markets::kind_of_stream(stream).ok_or_else(|| no_such(stream))?;
        let now = self.server_now().await?.millis();
        let at = cursor(stored, || PagedCursor::starting_at(now - HORIZON_MILLIS))?;
        let at = streams::renewed(at, now);
        let (path, window) = streams::FILLS.window(&at, now);
        let mut params = streams::params(&at, window);
        params.push(("instType", kind.to_owned()));
        let of_all = params.clone();
        params.push(("instId", market.to_owned()));
        let body = match self.answer(path, &params).await? {
            // A market that is gone has no filter any more, but its fills are kept.
            Err(Fault::NoSuchMarket { .. }) => self.signed(path, &of_all).await?,
            answer => answer.map_err(Fault::into_error)?,
        };
        let rows = data(path, &body)?;
        let others = |row: &RawValue| parse::instrument_of(row).is_some_and(|id| id != market);
        let own: Vec<Box<RawValue>> = rows.iter().filter(|row| !others(row)).cloned().collect();
        let mut page = Page { parsed: self.parsed(stream, &own).await?, ..Page::default() };
        streams::after(&mut page, &at, window, now, &rows)?;
        Ok(page)
    }

    async fn flows(&self, stream: &str, path: &'static str, stored: &Value) -> Result<Page, VenueError> {
        let now = self.server_now().await?.millis();
        let at = cursor(stored, || TimeCursor::starting_at(FIRST_FLOW_MILLIS))?;
        let window = at.window(i64::MAX, now);
        let rows = data(path, &self.signed(path, &streams::flow_params(window)).await?)?;
        let mut page = Page { parsed: self.parsed(stream, &rows).await?, ..Page::default() };
        streams::after_flows(&mut page, &at, window, now, &rows)?;
        Ok(page)
    }

    /// Parses records of a stream with the contracts that they name and the prices that they need.
    async fn parsed(&self, stream: &str, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            BILLS => {
                let contracts = self.contracts(&parse::instruments_of(rows)).await?;
                self.priced(|prices| bills::bills(rows, &contracts, prices)).await
            }
            DEPOSITS => self.priced(|prices| flows::deposits(rows, prices)).await,
            WITHDRAWALS => self.priced(|prices| flows::withdrawals(rows, prices)).await,
            fills if markets::kind_of_stream(fills).is_some() => {
                let contracts = self.contracts(&parse::instruments_of(rows)).await?;
                self.priced(|prices| parse::fills(rows, &contracts, prices)).await
            }
            _ => Err(no_such(stream)),
        }
    }

    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let book = self.minute_prices(needs(&parse)).await?;
        Ok(parse(&book))
    }

    /// Balances, positions and equity, the prices of now, and the streams of what is held.
    async fn holdings(&self, now: Timestamp) -> Result<(Holdings, PriceBook, Vec<String>), VenueError> {
        const VALUATION: &str = "/api/v5/asset/asset-valuation";
        let trading = self.signed("/api/v5/account/balance", &[]).await?;
        let positions = self.signed("/api/v5/account/positions", &[]).await?;
        let funding = self.signed("/api/v5/asset/balances", &[]).await?;
        let elsewhere = state::valuation(&self.signed(VALUATION, &[("ccy", "USD".into())]).await?)?;
        let held = data("/api/v5/account/positions", &positions)?;
        let contracts = self.contracts(&parse::instruments_of(&held)).await?;
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::trading_account(&trading)?;
            // Of the funding account OKX states the whole worth, which counts; the rows tell of what.
            let funding = state::funding_account(&funding, prices, now)?;
            let positions = state::positions(&positions, &contracts, prices, now)?;
            let worth = Usd::derived(elsewhere).0;
            all.add_equity(worth).map_err(|why| VenueError::unreadable(VALUATION, why))?;
            all.balances.extend(funding.balances);
            positions.unpriced.iter().for_each(|asset| all.name_unpriced(asset.as_str()));
            all.positions = positions.positions;
            all.unreadable.extend(funding.unreadable);
            all.unreadable.extend(positions.unreadable);
            Ok(all)
        };
        let assets = assets_needed(read);
        let book = self.prices_now(&assets).await?;
        Ok((read(&book)?, book, state::fills_of_positions(&positions)?))
    }
}

fn no_such(stream: &str) -> VenueError {
    VenueError::unreadable(stream, "no such stream")
}

#[async_trait]
impl VenueAccount for Okx {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let config = state::config(&self.signed("/api/v5/account/config", &[]).await?)?;
        if !config.excess.is_empty() {
            return Ok(Attestation::TooPowerful { rights: config.excess });
        }
        if !config.may_read {
            return Err(VenueError::PermissionMissing { reason: "the key needs read_only".into() });
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: config.kind.into(),
            not_covered: NOT_COVERED.map(Into::into).into(),
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        [BILLS, DEPOSITS, WITHDRAWALS].map(Into::into).into()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let now = self.venues.clock.now();
        let (order, minutes) = match family(stream) {
            (BILLS, None) => (0, 2),
            (DEPOSITS | WITHDRAWALS, None) => (2, 10),
            (fills, Some(market)) if !market.is_empty() && markets::kind_of_stream(fills).is_some() => {
                // Nothing happens any more in a contract that has expired.
                let ended = markets::expiry(market).is_some_and(|end| end.plus(chrono::TimeDelta::days(2)) < now);
                (1, if ended { 24 * 60 } else { 5 })
            }
            _ => return None,
        };
        let oldest = Timestamp::from_millis((now.millis() - HORIZON_MILLIS).max(0));
        let horizon = oldest.filter(|_| order < 2).map(|oldest| (oldest, HORIZON));
        Some(StreamPlan { stream: stream.into(), order, horizon, every: Duration::from_secs(minutes * 60) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match family(stream) {
            (BILLS, None) => self.bills(cursor).await,
            (DEPOSITS, None) => self.flows(stream, "/api/v5/asset/deposit-history", cursor).await,
            (WITHDRAWALS, None) => self.flows(stream, "/api/v5/asset/withdrawal-history", cursor).await,
            (fills, Some(market)) => self.fills(fills, market, cursor).await,
            _ => Err(no_such(stream)),
        }
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        Some(match stream {
            DEPOSITS | WITHDRAWALS => paging::stored(&TimeCursor::starting_at(from.millis())),
            _ => paging::stored(&PagedCursor::starting_at(from.millis())),
        })
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        Ok(bills::without_legs(self.parsed(stream, records).await?))
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now().await?;
        let (holdings, book, revealed) = self.holdings(now).await?;
        Ok((holdings.into_snapshot("the balances", now, &book)?, revealed))
    }
}

#[cfg(test)]
mod tests;
