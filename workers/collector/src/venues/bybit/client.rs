//! Sending to Bybit: one host, its clock, one retry where the documents allow it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{self, Fault};
use super::markets::Markets;
use super::wire::{Maybe, listing, result};
use super::{BAN, HOST, sign};
use crate::error::VenueError;
use crate::http::{Reply, Request, Target};
use crate::pricing::{Need, PriceBook, by_markets};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, read};
use crate::venues::{Venues, clock, closes};

const MARKETS_EVERY: Duration = Duration::from_secs(3600);
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 1000;
/// Silence at an endpoint that had too many requests and does not say how long.
const DEFAULT_PAUSE_MILLIS: u64 = 1000;
const LONGEST_PAUSE_MILLIS: u64 = 60_000;

/// An account at Bybit.
pub struct Bybit {
    pub(super) venues: Venues,
    pub(super) key: String,
    pub(super) secret: SecretString,
    /// Names the key's own meters.
    pub(super) owner: String,
}

impl Bybit {
    fn target(&self) -> Target<'_> {
        HOST.target(&self.venues.endpoints)
    }

    /// A signed read.
    pub(super) async fn signed(&self, path: &'static str, params: &[(&str, String)]) -> Result<String, VenueError> {
        let outcome = clock::retried(|| self.try_signed(path, params), self.offset(Duration::ZERO)).await?;
        outcome.map_err(Fault::into_error)
    }

    async fn try_signed(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        let now = self.server_now().await?;
        let signed = sign::signed(Listed::new(sign::READS, "GET", path)?, params, now, &self.key, &self.secret)?;
        self.ask(path, signed.path, signed.headers).await
    }

    /// A public read.
    async fn public(&self, path: &'static str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        let full = sign::full_path(Listed::new(sign::READS, "GET", path)?, params);
        self.ask(path, full, vec![]).await
    }

    async fn ask(
        &self,
        path: &'static str,
        full: String,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let target = self.target();
        let meter = format!("{} {path}", self.owner);
        // Public reads are metered by the address alone.
        let own = if headers.is_empty() { None } else { sign::granted(path) };
        let own = own.map(|(budget, per)| target.own(&meter, budget, per));
        let request = Request { target, path: full, headers, body: None, weight: 1, own_meter: own };
        let reply = self.venues.http.send(request).await?;
        match fault::of_body(&reply.body) {
            Some(Fault::TooMany { .. }) => {
                let pause = self.pause(&reply);
                Err(self.venues.http.silence(own.unwrap_or(target), pause, false).await)
            }
            Some(Fault::Address { .. }) => Err(self.venues.http.silence(target, BAN, true).await),
            Some(fault) => Ok(Err(fault)),
            // "Access too frequent", or a country that is not served: asking on makes it worse.
            None if reply.status == 403 => Err(self.venues.http.silence(target, BAN, true).await),
            None => reply.good().map(Ok),
        }
    }

    /// How long the user's limit lasts, as the reply says.
    fn pause(&self, reply: &Reply) -> Duration {
        let offset = self.venues.http.recall::<i64>(&self.offset_name(), CLOCK_EVERY).map_or(0, |offset| *offset);
        let server = clock::corrected(&self.venues, offset).millis();
        let server = u64::try_from(server).unwrap_or_default();
        let left = reply.number("x-bapi-limit-reset-timestamp").and_then(|reset| reset.checked_sub(server));
        Duration::from_millis(left.unwrap_or_default().clamp(DEFAULT_PAUSE_MILLIS, LONGEST_PAUSE_MILLIS))
    }

    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(CLOCK_EVERY).await?))
    }

    fn offset_name(&self) -> String {
        format!("{} bybit clock", self.target().base)
    }

    async fn offset(&self, oldest: Duration) -> Result<i64, VenueError> {
        const PATH: &str = "/v5/market/time";
        // The moment of the reply, on every envelope.
        #[derive(Deserialize)]
        struct Time {
            time: Millis,
        }
        clock::offset(&self.venues, self.offset_name(), oldest, async {
            let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Time>(PATH, &body)?.time.0)
        })
        .await
    }

    /// Base and quote of every spot market.
    pub(super) async fn markets(&self) -> Result<Arc<Markets>, VenueError> {
        const PATH: &str = "/v5/market/instruments-info";
        let name = format!("{}{PATH}", self.target().base);
        if let Some(markets) = self.venues.http.recall(&name, MARKETS_EVERY) {
            return Ok(markets);
        }
        // Spot markets come in one page.
        let params = [("category", "spot".to_owned())];
        let body = self.public(PATH, &params).await?.map_err(Fault::into_error)?;
        Ok(self.venues.http.keep(name, instruments(PATH, &body)?))
    }

    /// Prices of now, from one reply about all spot markets.
    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        const PATH: &str = "/v5/market/tickers";
        let params = [("category", "spot".to_owned())];
        let body = self.public(PATH, &params).await?.map_err(Fault::into_error)?;
        let tickers: BTreeMap<String, Decimal> = tickers(PATH, &body)?.into_iter().collect();
        let priced = assets.iter().filter_map(|asset| Some((asset.clone(), dollars(asset, &tickers)?)));
        Ok(PriceBook::fixed(priced))
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        let now = self.server_now().await?;
        closes::minute_prices(&self.venues, self.target().base, now, needs, self).await
    }

    /// Closes of a spot market at these minutes alone; `None` when there is no such market.
    async fn closes_of(
        &self,
        market: &str,
        minutes: &[Timestamp],
    ) -> Result<Option<Vec<(Timestamp, Decimal)>>, VenueError> {
        const PATH: &str = "/v5/market/kline";
        let mut found = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let last = start.millis() + (count - 1) * crate::pricing::MINUTE_MILLIS;
            let params = [
                ("category", "spot".to_owned()),
                ("symbol", market.to_owned()),
                ("interval", "1".into()),
                ("start", start.millis().to_string()),
                ("end", last.to_string()),
                ("limit", CANDLES_LIMIT.to_string()),
            ];
            match self.public(PATH, &params).await? {
                Ok(body) => found.extend(klines(PATH, &body)?.into_iter().filter(|(open, _)| minutes.contains(open))),
                Err(Fault::Parameter { .. }) => return Ok(None),
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(Some(found))
    }
}

#[async_trait]
impl Closes for Bybit {
    /// Closes against USDT or USDC, or of USDT against the asset (`USDTTRY`).
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        // What no market's name can hold is not asked for.
        if asset.is_empty() || !asset.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(vec![]);
        }
        for market in [format!("{asset}USDT"), format!("{asset}USDC")] {
            if let Some(closes) = self.closes_of(&market, minutes).await?.filter(|closes| !closes.is_empty()) {
                return Ok(closes);
            }
        }
        let inverse = self.closes_of(&format!("USDT{asset}"), minutes).await?.unwrap_or_default();
        Ok(closes::inverted(inverse))
    }
}

/// Dollars per unit of an asset, from the markets that there are.
fn dollars(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    by_markets(asset, &["USDT", "USDC"], |base, quote| tickers.get(&format!("{base}{quote}")).copied())
}

/// GET /v5/market/tickers: last prices. A market whose price cannot be read has none.
pub fn tickers(endpoint: &str, body: &str) -> Result<Vec<(String, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Ticker {
        symbol: String,
        #[serde(default)]
        last_price: Maybe,
    }
    let rows = listing(endpoint, body)?.rows;
    let tickers = rows.iter().filter_map(|raw| {
        let ticker: Ticker = serde_json::from_str(raw.get()).ok()?;
        Some((ticker.symbol, ticker.last_price.0?))
    });
    Ok(tickers.collect())
}

/// GET /v5/market/instruments-info: base and quote by market.
pub fn instruments(endpoint: &str, body: &str) -> Result<Markets, VenueError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Instrument {
        symbol: String,
        base_coin: String,
        quote_coin: String,
    }
    let rows = listing(endpoint, body)?.rows;
    let instruments = rows.iter().filter_map(|raw| {
        let row: Instrument = serde_json::from_str(raw.get()).ok()?;
        Some((row.symbol, (row.base_coin, row.quote_coin)))
    });
    Ok(Markets(instruments.collect()))
}

/// GET /v5/market/kline: the opening instant and the close of each candle.
pub fn klines(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    struct Candles {
        list: Vec<Box<RawValue>>,
    }
    closes::candles(endpoint, Candle::MillisClose5, &result::<Candles>(endpoint, body)?.list)
}
