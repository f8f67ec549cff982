//! Sending to Binance: two hosts, their clocks, one retry where the documents allow it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{self, Fault};
use super::markets::Markets;
use super::{Hosts, sign, state};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{Need, PriceBook, by_markets};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, Text, read, rows};
use crate::venues::{Venues, clock, closes};

const MINUTE: Duration = Duration::from_secs(60);
const MARKETS_EVERY: Duration = Duration::from_secs(3600);
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 1000;

/// An account at Binance.
pub struct Binance {
    pub(super) venues: Venues,
    pub(super) hosts: &'static Hosts,
    pub(super) key: String,
    /// Names the account's own meters; tells nothing of the key.
    pub(super) account: String,
    pub(super) secret: SecretString,
}

impl Binance {
    fn target(&self, path: &str) -> Target<'_> {
        let host = if path.starts_with("/fapi/") { &self.hosts.usdm } else { &self.hosts.spot };
        host.target(&self.venues.endpoints)
    }

    /// A signed read.
    pub(super) async fn signed(&self, path: &'static str, params: &[(&str, String)]) -> Result<String, VenueError> {
        match clock::retried(|| self.try_signed(path, params), self.offset(path, Duration::ZERO)).await? {
            Ok(body) => Ok(body),
            Err(fault) => Err(self.told_apart(path, fault.into_error()).await),
        }
    }

    /// Futures refuse a good key without the right with the words for a bad key: the spot host knows.
    async fn told_apart(&self, path: &str, error: VenueError) -> VenueError {
        const WITNESS: &str = "/sapi/v1/account/apiRestrictions";
        if !(matches!(error, VenueError::KeyRefused { .. }) && path.starts_with("/fapi/")) {
            return error;
        }
        match self.try_signed(WITNESS, &[]).await {
            Ok(Ok(body)) if state::restrictions(&body).is_ok() => {
                VenueError::PermissionMissing { reason: "the key is good, but it may not read USD-M futures".into() }
            }
            _ => error,
        }
    }

    async fn try_signed(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        let now = self.server_now(path).await?;
        let signed = sign::signed(Listed::new(sign::READS, "GET", path)?, params, now, &self.secret)?;
        self.ask(path, signed, vec![("X-MBX-APIKEY", self.key.clone())]).await
    }

    /// A public read.
    async fn public(&self, path: &'static str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        self.ask(path, sign::public(Listed::new(sign::READS, "GET", path)?, params), vec![]).await
    }

    async fn ask(
        &self,
        path: &str,
        full: String,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let (target, weight) = (self.target(path), sign::weight(path));
        let meter = format!("{path} of {}", self.account);
        let own_meter = sign::by_account(path).filter(|_| self.hosts.meters_accounts);
        let own_meter = own_meter.map(|budget| target.own(&meter, budget, MINUTE));
        let request = Request { target, path: full, headers, body: None, weight, own_meter };
        let reply = self.venues.http.send(request).await?;
        match fault::of_body(&reply.body) {
            Some(fault) => Ok(Err(fault)),
            None => reply.good().map(Ok),
        }
    }

    /// The server's time at the host of `path`.
    pub(super) async fn server_now(&self, path: &str) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(path, CLOCK_EVERY).await?))
    }

    async fn offset(&self, path: &str, oldest: Duration) -> Result<i64, VenueError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Time {
            server_time: Millis,
        }
        let time_path = if path.starts_with("/fapi/") { "/fapi/v1/time" } else { "/api/v3/time" };
        let name = format!("{}{time_path} offset", self.target(path).base);
        clock::offset(&self.venues, name, oldest, async {
            let body = self.public(time_path, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Time>(time_path, &body)?.server_time.0)
        })
        .await
    }

    /// Base and quote of every spot market.
    pub(super) async fn markets(&self) -> Result<Arc<Markets>, VenueError> {
        const PATH: &str = "/api/v3/exchangeInfo";
        #[derive(Deserialize)]
        struct Info {
            symbols: Vec<Market>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Market {
            symbol: String,
            base_asset: String,
            quote_asset: String,
        }
        let name = format!("{}{PATH}", self.target(PATH).base);
        if let Some(markets) = self.venues.http.recall(&name, MARKETS_EVERY) {
            return Ok(markets);
        }
        // Permission sets are most of the reply, and of no use here.
        let body = self.public(PATH, &[("showPermissionSets", "false".into())]).await?.map_err(Fault::into_error)?;
        let info: Info = read(PATH, &body)?;
        let markets = info.symbols.into_iter().map(|market| (market.symbol, (market.base_asset, market.quote_asset)));
        Ok(self.venues.http.keep(name, Markets(markets.collect())))
    }

    /// Prices of now, from one reply about all markets.
    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        const PATH: &str = "/api/v3/ticker/price";
        #[derive(Deserialize)]
        struct Ticker {
            symbol: String,
            price: Text,
        }
        let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
        let tickers: Vec<Box<RawValue>> = read(PATH, &body)?;
        // A market whose price cannot be read has none.
        let tickers = tickers.iter().filter_map(|raw| {
            let ticker: Ticker = serde_json::from_str(raw.get()).ok()?;
            Some((ticker.symbol, parse_decimal(&ticker.price.0).ok()?))
        });
        let tickers: BTreeMap<String, Decimal> = tickers.collect();
        let priced = assets.iter().filter_map(|asset| Some((asset.clone(), dollars(asset, &tickers)?)));
        Ok(PriceBook::fixed(priced))
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        let base = self.target("/api/v3/klines").base;
        let now = self.server_now("/api/v3/klines").await?;
        closes::minute_prices(&self.venues, base, now, needs, self).await
    }

    /// Closes of a market at these minutes alone; `None` when there is no such market.
    async fn closes_of(
        &self,
        market: &str,
        minutes: &[Timestamp],
    ) -> Result<Option<Vec<(Timestamp, Decimal)>>, VenueError> {
        const PATH: &str = "/api/v3/klines";
        let mut closes = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let params = [
                ("symbol", market.to_owned()),
                ("interval", "1m".into()),
                ("startTime", start.millis().to_string()),
                ("limit", count.to_string()),
            ];
            match self.public(PATH, &params).await? {
                Ok(body) => closes.extend(klines(PATH, &body)?.into_iter().filter(|(open, _)| minutes.contains(open))),
                Err(Fault::NoSuchMarket { .. }) => return Ok(None),
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(Some(closes))
    }
}

#[async_trait]
impl Closes for Binance {
    /// Closes against USDT, or of USDT against the asset (`USDTTRY`).
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        if let Some(closes) = self.closes_of(&format!("{asset}USDT"), minutes).await? {
            return Ok(closes);
        }
        let inverse = self.closes_of(&format!("USDT{asset}"), minutes).await?.unwrap_or_default();
        Ok(closes::inverted(inverse))
    }
}

/// Dollars per unit of an asset, from the markets that there are.
fn dollars(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    by_markets(asset, &["USDT", "USDC", "FDUSD"], |base, quote| tickers.get(&format!("{base}{quote}")).copied())
}

/// The opening instant and the close of each candle.
pub fn klines(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    closes::candles(endpoint, Candle::MillisClose5, &rows(endpoint, body)?)
}
