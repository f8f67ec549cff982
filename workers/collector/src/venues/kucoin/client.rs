//! Sending to KuCoin: two hosts, their clocks, the account's pools, one retry where that may heal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::fault::{self, Fault, POOL_RESET};
use super::markets::Contracts;
use super::sign::{self, Pool, Secrets};
use super::{Hosts, state};
use crate::error::VenueError;
use crate::http::{Reply, Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PriceBook};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, read, rows};
use crate::venues::{Host, Venues, clock, closes, hmac};

const CONTRACTS_EVERY: Duration = Duration::from_secs(3600);
const TIME_PATH: &str = "/api/v1/timestamp";
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 1500;

/// Which of the two hosts answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Spot,
    Futures,
}

/// An account at KuCoin.
pub struct Kucoin {
    pub(super) venues: Venues,
    hosts: &'static Hosts,
    secrets: Secrets,
    /// Names of the account's own meters.
    meters: [String; 4],
}

impl Kucoin {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, hosts: &'static Hosts, secrets: Secrets) -> Self {
        // The key itself stays out of names that others may print.
        let account = hmac::key_name(&secrets.key);
        let meters = ["spot", "futures", "management", "ledgers"].map(|pool| format!("kucoin {account} {pool}"));
        Self { venues, hosts, secrets, meters }
    }

    fn host(&self, side: Side) -> &'static Host {
        match side {
            Side::Spot => &self.hosts.spot,
            Side::Futures => &self.hosts.futures,
        }
    }

    fn target(&self, side: Side) -> Target<'_> {
        self.host(side).target(&self.venues.endpoints)
    }

    /// The account's meter for a pool. It counts requests, not weight: its budget is the pool over
    /// the heaviest request that we pay from it.
    fn pool(&self, side: Side, pool: Pool) -> Option<Target<'_>> {
        let (meter, budget) = match pool {
            Pool::Spot => (&self.meters[0], 4000 / 2),
            Pool::Futures => (&self.meters[1], 2000 / 5),
            // One pool: half for the few heavy reads, half for the many light ones.
            Pool::Management => (&self.meters[2], 1000 / 20),
            Pool::Ledgers => (&self.meters[3], 1000 / 2),
            Pool::Public => return None,
        };
        Some(self.target(side).own(meter, budget, POOL_RESET))
    }

    /// A signed read.
    pub(super) async fn signed(
        &self,
        side: Side,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Box<RawValue>, VenueError> {
        let ask = || self.try_signed(side, path, params);
        clock::retried(ask, self.offset(side, Duration::ZERO)).await?.map_err(Fault::into_error)
    }

    async fn try_signed(
        &self,
        side: Side,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<Box<RawValue>, Fault>, VenueError> {
        let now = self.server_now(side).await?;
        let listed = Listed::new(sign::READS, "GET", path)?;
        let full = sign::full(listed, params);
        let headers = sign::headers(listed, &full, now, &self.secrets)?;
        self.ask(side, path, full, headers).await
    }

    /// A public read.
    async fn public(
        &self,
        side: Side,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<Box<RawValue>, Fault>, VenueError> {
        let full = sign::full(Listed::new(sign::READS, "GET", path)?, params);
        self.ask(side, path, full, vec![]).await
    }

    async fn ask(
        &self,
        side: Side,
        path: &str,
        full: String,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Result<Box<RawValue>, Fault>, VenueError> {
        let (pool, weight) = sign::cost(path);
        let (target, own_meter) = (self.target(side), self.pool(side, pool));
        // What the account pays, the address does not; it is counted once all the same.
        let weight = if own_meter.is_some() { 1 } else { weight };
        let request = Request { target, path: full, headers, body: None, weight, own_meter };
        let reply = self.venues.http.send(request).await?;
        match fault::open(&reply.body) {
            Some(Err(Fault::TooMany { .. })) => {
                Err(self.venues.http.silence(own_meter.unwrap_or(target), until_reset(&reply), false).await)
            }
            Some(opened) => Ok(opened),
            None => {
                reply.good()?;
                Err(VenueError::unreadable(path, "no envelope of KuCoin's"))
            }
        }
    }

    /// The server's time at a host.
    pub(super) async fn server_now(&self, side: Side) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(side, CLOCK_EVERY).await?))
    }

    async fn offset(&self, side: Side, oldest: Duration) -> Result<i64, VenueError> {
        let name = format!("{} {} offset", self.target(side).base, self.host(side).setting);
        clock::offset(&self.venues, name, oldest, async {
            let data = self.public(side, TIME_PATH, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Millis>(TIME_PATH, data.get())?.0)
        })
        .await
    }

    /// What a lot of every listed contract is.
    pub(super) async fn contracts(&self) -> Result<Arc<Contracts>, VenueError> {
        const PATH: &str = "/api/v1/contracts/active";
        let name = format!("{}{PATH}", self.target(Side::Futures).base);
        if let Some(contracts) = self.venues.http.recall(&name, CONTRACTS_EVERY) {
            return Ok(contracts);
        }
        let data = self.public(Side::Futures, PATH, &[]).await?.map_err(Fault::into_error)?;
        Ok(self.venues.http.keep(name, Contracts::read(data.get())?))
    }

    /// Prices of now, from one reply about all spot markets.
    pub(super) async fn tickers(&self) -> Result<BTreeMap<String, Decimal>, VenueError> {
        let data = self.public(Side::Spot, "/api/v1/market/allTickers", &[]).await?.map_err(Fault::into_error)?;
        state::tickers(data.get())
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        if needs.is_empty() {
            return Ok(PriceBook::default());
        }
        let now = self.server_now(Side::Spot).await?;
        closes::minute_prices(&self.venues, self.target(Side::Spot).base, now, needs, self).await
    }
}

/// How long KuCoin says that a pool takes to be full again.
fn until_reset(reply: &Reply) -> Duration {
    reply.number("gw-ratelimit-reset").map_or(POOL_RESET, Duration::from_millis).min(POOL_RESET)
}

#[async_trait]
impl Closes for Kucoin {
    /// Closes against USDT. What has no such market stays unpriced.
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        const PATH: &str = "/api/v1/market/candles";
        if !super::streams::is_market(asset) {
            return Ok(vec![]);
        }
        let mut closes = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let first = start.millis() / 1000;
            let params = [
                ("type", "1min".to_owned()),
                ("symbol", format!("{asset}-USDT")),
                ("startAt", first.to_string()),
                ("endAt", (first + count * MINUTE_MILLIS / 1000).to_string()),
            ];
            match self.public(Side::Spot, PATH, &params).await? {
                Ok(data) => closes.extend(candles(PATH, data.get())?),
                Err(Fault::BadQuestion { .. }) => return Ok(vec![]),
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(closes)
    }
}

/// The opening instant and the close of each candle: time in seconds, open, close, high, low.
pub fn candles(endpoint: &str, data: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    closes::candles(endpoint, Candle::SecondsClose3, &rows(endpoint, data)?)
}
