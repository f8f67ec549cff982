//! Binance: spot wallet and USD-M futures. To read another endpoint, list it in [`sign::READS`].
//!
//! `sign` decides what may be sent, `client` sends it, `streams` decides what to ask next, `parse`
//! and `state` say what the replies mean, `fault` what the errors do.

pub mod case;
mod client;
pub mod fault;
pub mod flows;
pub mod markets;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use secrecy::ExposeSecret;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Binance, klines};
pub use sign::READS;

use self::flows::{
    CONVERSIONS, DEPOSITS, DUST, FlowStream, RowsOf, TRANSFER_TYPES, TRANSFERS, WITHDRAWALS, flow_stream,
};
use self::parse::{SPOT_FILLS, USDM_FILLS, USDM_FORCED, USDM_INCOME};
use self::streams::{FillCursor, HORIZON_MILLIS, WINDOW_MILLIS};
use super::hmac;
use super::holdings::Holdings;
use super::paging::{DAY_MILLIS, Span, TimeCursor, cursor, ids, stored, times};
use super::wire::{self, rows};
use super::{
    Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, family,
};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

/// Where the two wallets answer.
#[derive(Debug)]
pub struct Hosts {
    pub spot: Host,
    pub usdm: Host,
    /// Transfers of the spot wallet that there can be.
    pub transfers: &'static [&'static str],
    /// How many times as often as Binance it is asked.
    pub haste: u32,
    /// Whether some endpoints are metered by account.
    pub meters_accounts: bool,
    /// Whether it turns dust into BNB.
    pub has_dust: bool,
    /// What of an account there is not read.
    pub not_covered: &'static [&'static str],
    /// When it began, in Unix milliseconds: nothing is older.
    pub opened: i64,
}

static HOSTS: Hosts = Hosts {
    spot: Host {
        setting: "CODASH_VENUE_BINANCE_SPOT_URL",
        usual: "https://api.binance.com",
        budget: 6000,
        per: Duration::from_secs(60),
    },
    usdm: Host {
        setting: "CODASH_VENUE_BINANCE_USDM_URL",
        usual: "https://fapi.binance.com",
        budget: 2400,
        per: Duration::from_secs(60),
    },
    transfers: &TRANSFER_TYPES,
    haste: 1,
    meters_accounts: true,
    has_dust: true,
    not_covered: &[
        "margin, earn, funding and options wallets, COIN-M futures and sub-accounts",
        "spot markets of assets that are no longer held and were sold before the account was attached",
        "dividends and other distributions to the spot wallet; transfers older than six months",
    ],
    // 2017-07-14.
    opened: 1_499_990_400_000,
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Binance,
    title: "Binance",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make a system-generated (HMAC) API key in API Management and leave only \"Enable Reading\" on.",
    attestation: "Binance states every right of the key: each but reading must be off, also those we do not know.",
    hosts: &[HOSTS.spot, HOSTS.usdm],
    reads: READS,
    connect: |venues, credentials| Ok(Arc::new(Binance::new(venues.clone(), &HOSTS, credentials)?)),
    read_case: case::read,
};

/// The horizon moves on between two requests.
const MARGIN_MILLIS: i64 = 60_000;
const HORIZON: &str = "Binance keeps three months of futures history";

impl Binance {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, hosts: &'static Hosts, credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret) = credentials.key_and_secret("binance")?;
        if secret.expose_secret().contains("-----BEGIN") {
            return Err(VenueError::KeyRefused { reason: "only HMAC keys are supported, not Ed25519 or RSA".into() });
        }
        let account = hmac::key_name(&key);
        Ok(Self { venues, hosts, key, account, secret })
    }

    async fn income(&self, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/fapi/v1/income";
        let now = self.server_now(PATH).await?.millis();
        let at = cursor(stored, || TimeCursor::starting_at(now - HORIZON_MILLIS))?;
        let window = at.window(WINDOW_MILLIS, now);
        let mut rows = self.income_rows(PATH, window, 1).await?;
        let (mut whole, mut longest, mut number) = (rows.is_empty(), rows.len(), 1);
        let through = loop {
            match streams::through(window, &times(&rows)) {
                None if !whole => {}
                through => break through,
            }
            // All of one millisecond so far.
            number += 1;
            let next = self.income_rows(PATH, window, number).await?;
            (whole, longest) = (next.is_empty(), longest.max(next.len()));
            let new = unknown(&rows, next);
            if new.is_empty() && !whole {
                return Err(streams::full_millisecond(PATH));
            }
            rows.extend(new);
        };
        // A page that is not full may have been cut short: whether it was the last, only what follows it tells.
        if let Some(through) = through.filter(|_| !whole) {
            let rest = self.income_rows(PATH, Span { from: through, to: window.to }, 1).await?;
            let is_part = rest.len() < longest;
            let new = unknown(&rows, rest);
            whole = new.is_empty() && is_part;
            rows.extend(new);
        }
        let parsed = self.priced(|prices| parse::income(&rows, prices)).await?;
        let new_streams =
            parse::income_symbols(&rows).into_iter().map(|symbol| format!("{USDM_FILLS}:{symbol}")).collect();
        let not_before = Timestamp::from_millis(window.from);
        let mut page = Page { parsed, new_streams, not_before, ..Page::default() };
        let through = if whole { None } else { streams::through(window, &times(&rows)) };
        streams::after_oldest(&mut page, &at, window, now, &times(&rows), through);
        Ok(page)
    }

    async fn income_rows(&self, path: &'static str, window: Span, page: u32) -> Result<Vec<Box<RawValue>>, VenueError> {
        let params = [
            ("startTime", window.from.to_string()),
            ("endTime", window.to.to_string()),
            ("page", page.to_string()),
            ("limit", streams::INCOME_LIMIT.to_string()),
        ];
        rows(path, &self.signed(path, &params).await?)
    }

    async fn forced(&self, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/fapi/v1/forceOrders";
        let now = self.server_now(PATH).await?.millis();
        let at = cursor(stored, || TimeCursor::starting_at(now - HORIZON_MILLIS))?;
        let window = at.window(WINDOW_MILLIS, now);
        let params = [("limit", streams::FORCED_LIMIT.to_string())];
        let ask = Windowed { path: PATH, params: &params, limit: streams::FORCED_LIMIT, rows: wire::rows };
        let rows = self.whole_window(&ask, window, times::<Box<RawValue>>).await?;
        let parsed = self.priced(|prices| parse::forced_orders(&rows, prices)).await?;
        let mut page = Page { parsed, not_before: Timestamp::from_millis(window.from), ..Page::default() };
        streams::after_whole(&mut page, &at, window, now);
        Ok(page)
    }

    /// Every record of a window, of an endpoint without pages: what lies before and after a reply's
    /// records is asked for until nothing new comes.
    async fn whole_window(
        &self,
        ask: &Windowed<'_>,
        window: Span,
        times: impl Fn(&[Box<RawValue>]) -> Vec<i64>,
    ) -> Result<Vec<Box<RawValue>>, VenueError> {
        let mut seen = BTreeSet::new();
        let mut all = vec![];
        let mut waiting = vec![window];
        while let Some(part) = waiting.pop() {
            let mut params = ask.params.to_vec();
            params.push(("startTime", part.from.to_string()));
            params.push(("endTime", part.to.to_string()));
            let rows = (ask.rows)(ask.path, &self.signed(ask.path, &params).await?)?;
            let is_full = rows.len() >= ask.limit;
            let times = times(&rows);
            let new: Vec<_> = rows.into_iter().filter(|row| seen.insert(row.get().to_owned())).collect();
            match (new.is_empty(), part.from == part.to) {
                (true, _) if !is_full => {}
                (_, true) if is_full => return Err(streams::full_millisecond(ask.path)),
                _ => waiting.extend(streams::remaining(part, &times)),
            }
            all.extend(new);
        }
        Ok(all)
    }

    async fn usdm_fills(&self, symbol: &str, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/fapi/v1/userTrades";
        let now = self.server_now(PATH).await?.millis();
        let at = cursor(stored, || FillCursor::from_horizon(now))?.renewed(now);
        let rows = self.fill_rows(PATH, symbol, &at, now).await?;
        // Which orders were forced is joined later, by the order's reference.
        let parsed = self.priced(|prices| parse::usdm_fills(&rows, &Default::default(), prices)).await?;
        Ok(fills_page(PATH, parsed, &at, now, &rows))
    }

    async fn spot_fills(&self, symbol: &str, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/api/v3/myTrades";
        let now = self.server_now(PATH).await?.millis();
        let at = cursor(stored, FillCursor::from_the_first)?;
        let rows = self.fill_rows(PATH, symbol, &at, now).await?;
        let markets = self.markets().await?;
        let parsed = self.priced(|prices| parse::spot_fills(&rows, &markets, prices)).await?;
        Ok(fills_page(PATH, parsed, &at, now, &rows))
    }

    async fn fill_rows(
        &self,
        path: &'static str,
        symbol: &str,
        at: &FillCursor,
        now: i64,
    ) -> Result<Vec<Box<RawValue>>, VenueError> {
        let mut params = vec![("symbol", symbol.to_owned())];
        match at {
            FillCursor::Id { from_id, .. } => params.push(("fromId", from_id.to_string())),
            FillCursor::Time(time) => {
                let window = time.window(longest(path), now);
                params.push(("startTime", window.from.to_string()));
                params.push(("endTime", window.to.to_string()));
            }
        }
        params.push(("limit", streams::FILLS_LIMIT.to_string()));
        rows(path, &self.signed(path, &params).await?)
    }

    /// Cash flows by windows of time. Most windows are empty: several are read for one page.
    async fn flows(&self, stream: &FlowStream, stored_cursor: &Value) -> Result<Page, VenueError> {
        // Few, so that what was read is kept when the account's meter is full.
        const WINDOWS_A_PAGE: u32 = 6;
        let now = self.server_now(stream.path).await?.millis();
        let oldest = stream.horizon.map_or(self.hosts.opened, |horizon| now - horizon);
        let mut at = cursor(stored_cursor, || TimeCursor::starting_at(oldest))?;
        let mut page = Page::default();
        let ask = Windowed { path: stream.path, params: &stream.params, limit: stream.limit, rows: stream.rows };
        let times = |rows: &[Box<RawValue>]| {
            let parsed = (stream.parse)(rows, &PriceBook::default());
            parsed.cash_flows.iter().map(|flow| flow.occurred_at.millis()).collect()
        };
        for _ in 0..WINDOWS_A_PAGE {
            let window = at.window(stream.longest, now);
            let rows = self.whole_window(&ask, window, times).await?;
            (at, page.more) = at.after(window, now, &[]);
            page.cursor = stored(&at);
            page.covered = joined(page.covered, window);
            if !rows.is_empty() {
                page.parsed = self.priced(|prices| (stream.parse)(&rows, prices)).await?;
            }
            if !rows.is_empty() || !page.more {
                break;
            }
        }
        Ok(page)
    }

    /// The venue does not go back so far: a day later, until it answers.
    fn a_day_later(&self, stream: &str, stored_cursor: &Value, reason: String) -> Result<Page, VenueError> {
        let now = self.venues.clock.now().millis();
        let start = || TimeCursor::starting_at(now - HORIZON_MILLIS);
        let at = match family(stream) {
            (USDM_FILLS | SPOT_FILLS, Some(_)) => match cursor(stored_cursor, || FillCursor::from_horizon(now))? {
                FillCursor::Time(time) => time,
                FillCursor::Id { through, .. } => TimeCursor::starting_at(through),
            },
            _ => cursor(stored_cursor, start)?,
        };
        // "… restricted to recent N days only": what N says, else a day.
        let days = reason.split(' ').find_map(|word| word.parse::<i64>().ok()).filter(|days| (1..400).contains(days));
        let told = days.map_or(0, |days| now - days * DAY_MILLIS + MARGIN_MILLIS);
        let from = told.max(at.from + if days.is_some() { MARGIN_MILLIS } else { DAY_MILLIS });
        if from >= now {
            return Err(VenueError::Expired { reason });
        }
        let from = Timestamp::from_millis(from).ok_or_else(|| VenueError::unreadable(stream, "no such time"))?;
        let cursor = self.again(stream, from).unwrap_or_default();
        Ok(Page { cursor, horizon: Some((from, reason)), more: true, ..Page::default() })
    }

    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let book = self.minute_prices(needs(&parse)).await?;
        Ok(parse(&book))
    }

    async fn read(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match family(stream) {
            (USDM_FORCED, None) => self.forced(cursor).await,
            (USDM_INCOME, None) => self.income(cursor).await,
            (USDM_FILLS, Some(symbol)) => self.usdm_fills(symbol, cursor).await,
            (SPOT_FILLS, Some(symbol)) => self.spot_fills(symbol, cursor).await,
            (family, kind) => match flow_stream(family, kind) {
                Some(flows) => self.flows(&flows, cursor).await,
                None => Err(VenueError::unreadable(stream, "no such stream")),
            },
        }
    }

    /// Balances and positions of both wallets.
    async fn holdings(&self, now: Timestamp) -> Result<(Holdings, crate::pricing::PriceBook), VenueError> {
        let spot = self.signed("/api/v3/account", &[("omitZeroBalances", "true".into())]).await?;
        let usdm = self.signed("/fapi/v3/account", &[]).await?;
        let risk = self.signed("/fapi/v3/positionRisk", &[]).await?;
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::spot_account(&spot, prices, now)?;
            for part in [state::usdm_account(&usdm, prices, now)?, state::usdm_positions(&risk, prices, now)?] {
                all.join(part);
            }
            Ok(all)
        };
        let assets = assets_needed(read);
        let book = self.prices_now(&assets).await?;
        Ok((read(&book)?, book))
    }
}

/// The longest window of fills.
fn longest(path: &str) -> i64 {
    if path.starts_with("/fapi/") { WINDOW_MILLIS } else { streams::SPOT_WINDOW_MILLIS }
}

fn fills_page(path: &str, parsed: Parsed, at: &FillCursor, now: i64, rows: &[Box<RawValue>]) -> Page {
    let mut page = Page { parsed, ..Page::default() };
    match at {
        FillCursor::Time(time) => {
            let window = time.window(longest(path), now);
            page.not_before = Timestamp::from_millis(window.from);
            streams::after_window(&mut page, time, window, now, &ids(rows));
        }
        FillCursor::Id { from_id, at, through, anchor } => {
            page.not_before = Timestamp::from_millis((*at).min(*through));
            streams::after_ids(&mut page, (*from_id, *at, *through), *anchor, now, &ids(rows));
        }
    }
    page
}

/// An endpoint that is asked by a window of time, and has no pages.
struct Windowed<'a> {
    path: &'static str,
    params: &'a [(&'static str, String)],
    /// Rows in a reply at most.
    limit: usize,
    rows: RowsOf,
}

/// The rows that are not among those known.
fn unknown(known: &[Box<RawValue>], rows: Vec<Box<RawValue>>) -> Vec<Box<RawValue>> {
    let known: BTreeSet<&str> = known.iter().map(|row| row.get()).collect();
    rows.into_iter().filter(|row| !known.contains(row.get())).collect()
}

/// Windows follow each other without a gap.
fn joined(covered: Option<(Timestamp, Timestamp)>, window: Span) -> Option<(Timestamp, Timestamp)> {
    let (from, to) = window.covered()?;
    Some((covered.map_or(from, |(first, _)| first), to))
}

#[async_trait]
impl VenueAccount for Binance {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = state::restrictions(&self.signed("/sapi/v1/account/apiRestrictions", &[]).await?)?;
        if let Some(refusal) = Attestation::refusal(rights.excess, &rights.missing)? {
            return Ok(refusal);
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: "spot_and_usdm".into(),
            not_covered: self.hosts.not_covered.iter().copied().map(Into::into).collect(),
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        let transfers = self.hosts.transfers.iter().map(|kind| format!("{TRANSFERS}:{kind}"));
        let dust = self.hosts.has_dust.then(|| DUST.to_owned());
        [USDM_FORCED, USDM_INCOME, DEPOSITS, WITHDRAWALS, CONVERSIONS]
            .into_iter()
            .map(str::to_owned)
            .chain(dust)
            .chain(transfers)
            .collect()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let (order, minutes) = match family(stream) {
            (USDM_FORCED, None) => (0, 2),
            (USDM_INCOME, None) => (1, 2),
            (USDM_FILLS, Some(market)) if !market.is_empty() => (2, 2),
            (SPOT_FILLS, Some(market)) if !market.is_empty() => (3, 5),
            (family, kind) if flow_stream(family, kind).is_some() => (4, 10),
            _ => return None,
        };
        let oldest = Timestamp::from_millis((self.venues.clock.now().millis() - HORIZON_MILLIS).max(0));
        let horizon = oldest.filter(|_| stream.starts_with("usdm.")).map(|oldest| (oldest, HORIZON));
        Some(StreamPlan {
            stream: stream.into(),
            order,
            horizon,
            every: Duration::from_secs(minutes * 60) / self.hosts.haste,
        })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match self.read(stream, cursor).await {
            Err(VenueError::Expired { reason }) => self.a_day_later(stream, cursor, reason),
            read => read,
        }
    }

    fn sweep_every(&self, stream: &str) -> Duration {
        // Income tells of everything: a fill that is late shows there, a late income shows nowhere.
        Duration::from_secs(if stream == USDM_INCOME { 600 } else { 3600 })
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        let time = TimeCursor::starting_at(from.millis());
        match family(stream) {
            // Windows of a day are dear where ids lead from the first.
            (SPOT_FILLS, Some(_)) if self.venues.clock.now().millis() - time.from > 30 * DAY_MILLIS => {
                Some(stored(&FillCursor::from_the_first()))
            }
            (USDM_FILLS | SPOT_FILLS, Some(_)) => Some(stored(&FillCursor::Time(time))),
            _ => Some(stored(&time)),
        }
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            SPOT_FILLS => {
                let markets = self.markets().await?;
                self.priced(|prices| parse::spot_fills(records, &markets, prices)).await
            }
            USDM_FILLS => self.priced(|prices| parse::usdm_fills(records, &Default::default(), prices)).await,
            USDM_INCOME => self.priced(|prices| parse::income(records, prices)).await,
            DEPOSITS => self.priced(|prices| flows::deposits(records, prices)).await,
            WITHDRAWALS => self.priced(|prices| flows::withdrawals(records, prices)).await,
            TRANSFERS => self.priced(|prices| flows::transfers(records, prices)).await,
            CONVERSIONS => self.priced(|prices| flows::conversions(records, prices)).await,
            DUST => self.priced(|prices| flows::dust(records, prices)).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now("/api/v3/time").await?;
        let (holdings, book) = self.holdings(now).await?;
        let markets = self.markets().await?;
        let spot = state::held_assets(&holdings)
            .flat_map(|asset| markets.of_base(asset.as_str()))
            .map(|market| format!("{SPOT_FILLS}:{market}"));
        let usdm = holdings.positions.iter().map(|position| format!("{USDM_FILLS}:{}", position.native_symbol));
        let revealed: std::collections::BTreeSet<String> = spot.chain(usdm).collect();
        let snapshot = holdings.into_snapshot("the balances", now, &book)?;
        Ok((snapshot, revealed.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;
