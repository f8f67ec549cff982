//! Sending to OKX: one host, its clock, a meter for each endpoint, one retry where it can help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::HOST;
use super::envelope::{data, only};
use super::fault::{self, Fault};
use super::markets::{self, Contracts};
use super::sign::{self, Key};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PriceBook, by_markets};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, Text};
use crate::venues::{Venues, clock, closes};

const INSTRUMENTS_EVERY: Duration = Duration::from_secs(3600);
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 100;
/// Minutes younger than this are asked of the quick endpoint, which keeps 1440 of them.
const RECENT_CANDLES_MILLIS: i64 = 20 * 3600 * 1000;
/// Silence of one endpoint after it said "too many".
const TOO_MANY: Duration = Duration::from_secs(5);
/// Silence of the host after a refusal without a reason: the firewall's.
const FIREWALL: Duration = Duration::from_secs(120);

type Params<'a> = &'a [(&'static str, String)];

/// An account at OKX.
pub struct Okx {
    pub(super) venues: Venues,
    pub(super) key: Key,
}

impl Okx {
    fn host(&self) -> Target<'_> {
        HOST.target(&self.venues.endpoints)
    }

    /// A signed read, which is to be answered.
    pub(super) async fn signed(&self, path: &'static str, params: Params<'_>) -> Result<String, VenueError> {
        self.answer(path, params).await?.map_err(Fault::into_error)
    }

    /// A signed read.
    pub(super) async fn answer(
        &self,
        path: &'static str,
        params: Params<'_>,
    ) -> Result<Result<String, Fault>, VenueError> {
        clock::retried(|| self.try_signed(path, params), self.offset(Duration::ZERO)).await
    }

    async fn try_signed(&self, path: &'static str, params: Params<'_>) -> Result<Result<String, Fault>, VenueError> {
        let read = Listed::new(sign::READS, "GET", path)?;
        let headers = self.key.headers(read, params, self.server_now().await?)?;
        self.ask(read, params, headers, &format!("okx {path} {}", self.key.digest)).await
    }

    /// A public read.
    async fn public(&self, path: &'static str, params: Params<'_>) -> Result<Result<String, Fault>, VenueError> {
        self.ask(Listed::new(sign::READS, "GET", path)?, params, vec![], &format!("okx {path}")).await
    }

    /// OKX counts by user and endpoint what is signed, by address and endpoint what is public.
    async fn ask(
        &self,
        endpoint: Listed<'_>,
        params: Params<'_>,
        headers: Vec<(&'static str, String)>,
        meter: &str,
    ) -> Result<Result<String, Fault>, VenueError> {
        let (budget, per) = sign::allowance(endpoint.path());
        let own = self.host().own(meter, budget, per);
        let path = sign::with_query(endpoint, params);
        let request = Request { target: self.host(), path, headers, body: None, weight: 1, own_meter: Some(own) };
        let reply = self.venues.http.send(request).await?;
        match fault::of_body(&reply.body) {
            Some(Fault::TooMany { .. }) => Err(self.venues.http.silence(own, TOO_MANY, false).await),
            Some(fault) => Ok(Err(fault)),
            None if reply.status == 403 => Err(self.venues.http.silence(self.host(), FIREWALL, true).await),
            None => reply.good().map(Ok),
        }
    }

    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(CLOCK_EVERY).await?))
    }

    async fn offset(&self, oldest: Duration) -> Result<i64, VenueError> {
        const PATH: &str = "/api/v5/public/time";
        #[derive(Deserialize)]
        struct Time {
            ts: Millis,
        }
        clock::offset(&self.venues, format!("{}{PATH} offset", self.host().base), oldest, async {
            let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
            Ok(only::<Time>(PATH, &body)?.ts.0)
        })
        .await
    }

    /// What the contracts among these instruments are worth. Spot needs no list.
    pub(super) async fn contracts(&self, instruments: &[String]) -> Result<Contracts, VenueError> {
        let mut all = Contracts::default();
        let ids = || instruments.iter().map(String::as_str);
        for kind in ["SWAP", "FUTURES"] {
            if ids().any(|id| markets::fills_stream(None, id) == markets::fills_stream(Some(kind), id)) {
                all.extend(&*self.listed(&[("instType", kind.into())]).await?);
            }
        }
        for family in markets::option_families(ids()) {
            all.extend(&*self.listed(&[("instType", "OPTION".into()), ("instFamily", family)]).await?);
        }
        Ok(all)
    }

    async fn listed(&self, params: Params<'_>) -> Result<Arc<Contracts>, VenueError> {
        const PATH: &str = "/api/v5/public/instruments";
        let full = sign::with_query(Listed::new(sign::READS, "GET", PATH)?, params);
        let name = format!("{}{full}", self.host().base);
        if let Some(contracts) = self.venues.http.recall(&name, INSTRUMENTS_EVERY) {
            return Ok(contracts);
        }
        let contracts = match self.public(PATH, params).await? {
            Ok(body) => markets::contracts(&data(PATH, &body)?),
            // A family that is gone has no contracts any more.
            Err(Fault::NoSuchMarket { .. }) => Contracts::default(),
            Err(fault) => return Err(fault.into_error()),
        };
        Ok(self.venues.http.keep(name, contracts))
    }

    /// Prices of now, from one reply about all spot markets.
    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        const PATH: &str = "/api/v5/market/tickers";
        let body = self.public(PATH, &[("instType", "SPOT".into())]).await?.map_err(Fault::into_error)?;
        let tickers = tickers(&data(PATH, &body)?);
        Ok(PriceBook::fixed(assets.iter().filter_map(|asset| Some((asset.clone(), dollars(asset, &tickers)?)))))
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        let now = self.server_now().await?;
        closes::minute_prices(&self.venues, self.host().base, now, needs, self).await
    }

    /// Closes of a market at these minutes alone; `None` when there is no such market.
    async fn closes_of(
        &self,
        market: &str,
        minutes: &[Timestamp],
    ) -> Result<Option<Vec<(Timestamp, Decimal)>>, VenueError> {
        let recent = self.server_now().await?.millis() - RECENT_CANDLES_MILLIS;
        let mut closes = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let path = match start.millis() >= recent {
                true => "/api/v5/market/candles",
                false => "/api/v5/market/history-candles",
            };
            // Both ends are exclusive.
            let params = [
                ("instId", market.to_owned()),
                ("bar", "1m".into()),
                ("before", (start.millis() - 1).to_string()),
                ("after", (start.millis() + count * MINUTE_MILLIS).to_string()),
                ("limit", CANDLES_LIMIT.to_string()),
            ];
            match self.public(path, &params).await? {
                Ok(body) => closes.extend(candles(path, &body)?),
                Err(Fault::NoSuchMarket { .. }) => return Ok(None),
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(Some(closes))
    }
}

#[async_trait]
impl Closes for Okx {
    /// Closes against USDT or USDC, or of USDT against the asset (`USDT-BRL`).
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        for dollar in ["USDT", "USDC"] {
            if let Some(closes) = self.closes_of(&format!("{asset}-{dollar}"), minutes).await? {
                return Ok(closes);
            }
        }
        let inverse = self.closes_of(&format!("USDT-{asset}"), minutes).await?.unwrap_or_default();
        Ok(closes::inverted(inverse))
    }
}

/// Last prices by market; a market whose price cannot be read has none.
pub fn tickers(rows: &[Box<RawValue>]) -> BTreeMap<String, Decimal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Ticker {
        inst_id: String,
        /// Of mark prices: `markPx`.
        #[serde(alias = "markPx")]
        last: Text,
    }
    let ticker = |raw: &RawValue| {
        let ticker: Ticker = serde_json::from_str(raw.get()).ok()?;
        Some((ticker.inst_id, parse_decimal(&ticker.last.0).ok()?))
    };
    rows.iter().filter_map(|raw| ticker(raw)).collect()
}

/// Dollars per unit of an asset, from the markets that there are.
fn dollars(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    by_markets(asset, &["USDT", "USDC", "USD"], |base, quote| tickers.get(&format!("{base}-{quote}")).copied())
}

/// The opening instant and the close of each candle.
pub fn candles(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    closes::candles(endpoint, Candle::MillisClose5, &data(endpoint, body)?)
}
