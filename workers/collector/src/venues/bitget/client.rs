//! Sending to Bitget: one host, its clock, one retry where that may heal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::fault::{self, Fault};
use super::markets::Markets;
use super::sign::{self, Keys};
use super::{HOST, state};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PEGGED, PriceBook};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Dec, Millis, filled, read};
use crate::venues::{Venues, clock, closes};

const FACTS_EVERY: Duration = Duration::from_secs(3600);
const PRICES_EVERY: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// Silence after the venue's own words for too many requests.
const SILENCE: Duration = Duration::from_secs(30);
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 200;

const TIME: &str = "/api/v2/public/time";
const TICKERS: &str = "/api/v2/spot/market/tickers";
const CANDLES: &str = "/api/v2/spot/market/history-candles";

/// An account at Bitget.
pub struct Bitget {
    pub(super) venues: Venues,
    pub(super) keys: Keys,
}

impl Bitget {
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
        let listed = Listed::new(sign::READS, "GET", path)?;
        let asked = sign::path_and_query(listed, params);
        let headers = sign::headers(listed, &asked, self.server_now().await?, &self.keys)?;
        // The venue meters a user at each endpoint.
        let meter = format!("{} {path} {}", HOST.setting, self.keys.key);
        let own = self.target().own(&meter, sign::per_second(path), SECOND);
        self.ask(asked, headers, Some(own)).await
    }

    /// A public read.
    async fn public(&self, path: &'static str, params: &[(&str, String)]) -> Result<String, VenueError> {
        let listed = Listed::new(sign::READS, "GET", path)?;
        self.ask(sign::path_and_query(listed, params), vec![], None).await?.map_err(Fault::into_error)
    }

    async fn ask(
        &self,
        path: String,
        headers: Vec<(&'static str, String)>,
        own_meter: Option<Target<'_>>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let request = Request { target: self.target(), path, headers, body: None, weight: 1, own_meter };
        let reply = self.venues.http.send(request).await?;
        match fault::of_body(&reply.body) {
            Some(Fault::TooMany { .. }) => Err(self.venues.http.silence(self.target(), SILENCE, false).await),
            Some(fault) => Ok(Err(fault)),
            None => reply.good().map(Ok),
        }
    }

    /// The server's time.
    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(CLOCK_EVERY).await?))
    }

    async fn offset(&self, oldest: Duration) -> Result<i64, VenueError> {
        #[derive(Deserialize)]
        struct Reply {
            data: Time,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Time {
            server_time: Millis,
        }
        let name = format!("{}{TIME} offset", self.target().base);
        clock::offset(&self.venues, name, oldest, async {
            Ok(read::<Reply>(TIME, &self.public(TIME, &[]).await?)?.data.server_time.0)
        })
        .await
    }

    /// Base and quote of every spot market.
    pub(super) async fn markets(&self) -> Result<Arc<Markets>, VenueError> {
        const PATH: &str = "/api/v2/spot/public/symbols";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Market {
            symbol: String,
            base_coin: String,
            quote_coin: String,
        }
        let name = format!("{}{PATH}", self.target().base);
        if let Some(markets) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(markets);
        }
        let rows = state::rows(PATH, &self.public(PATH, &[]).await?)?;
        let listed = rows.iter().filter_map(|raw| serde_json::from_str::<Market>(raw.get()).ok());
        let markets = listed.map(|market| (market.symbol, (market.base_coin, market.quote_coin))).collect();
        Ok(self.venues.http.keep(name, Markets(markets)))
    }

    /// Prices of now, by spot market.
    async fn tickers(&self) -> Result<Arc<BTreeMap<String, Decimal>>, VenueError> {
        let name = format!("{}{TICKERS}", self.target().base);
        if let Some(tickers) = self.venues.http.recall(&name, PRICES_EVERY) {
            return Ok(tickers);
        }
        let priced: BTreeMap<String, Decimal> = tickers(TICKERS, &self.public(TICKERS, &[]).await?)?
            .into_iter()
            .filter(|(_, price)| *price > Decimal::ZERO)
            .collect();
        Ok(self.venues.http.keep(name, priced))
    }

    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        let tickers = self.tickers().await?;
        let price = |asset: &String| match PEGGED.contains(&asset.as_str()) {
            true => Some(Decimal::ONE),
            false => tickers.get(&priced_by(asset, &tickers)?).copied(),
        };
        Ok(PriceBook::fixed(assets.iter().filter_map(|asset| Some((asset.clone(), price(asset)?)))))
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        if needs.is_empty() {
            return Ok(PriceBook::default());
        }
        let now = self.server_now().await?;
        closes::minute_prices(&self.venues, self.target().base, now, needs, self).await
    }
}

#[async_trait]
impl Closes for Bitget {
    /// Closes against a dollar.
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let Some(market) = priced_by(asset, &*self.tickers().await?) else { return Ok(vec![]) };
        let mut found = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            // Candles that open before the end.
            let end = start.millis() + count * MINUTE_MILLIS;
            let params = [
                ("symbol", market.clone()),
                ("granularity", "1min".into()),
                ("endTime", end.to_string()),
                ("limit", CANDLES_LIMIT.to_string()),
            ];
            let candles = candles(CANDLES, &self.public(CANDLES, &params).await?)?;
            found.extend(candles.into_iter().filter(|(open, _)| minutes.contains(open)));
        }
        Ok(found)
    }
}

/// The market that prices an asset in dollars.
fn priced_by(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<String> {
    ["USDT", "USDC"].iter().map(|dollar| format!("{asset}{dollar}")).find(|market| tickers.contains_key(market))
}

/// GET /api/v2/spot/market/tickers, or of futures. A market whose price cannot be read has none.
pub fn tickers(endpoint: &str, body: &str) -> Result<Vec<(String, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    struct Ticker {
        symbol: String,
        #[serde(rename = "lastPr", default, deserialize_with = "filled")]
        last: Option<Dec>,
        #[serde(rename = "markPrice", default, deserialize_with = "filled")]
        mark: Option<Dec>,
    }
    let rows = state::rows(endpoint, body)?;
    let priced = rows.iter().filter_map(|raw| {
        let ticker: Ticker = serde_json::from_str(raw.get()).ok()?;
        Some((ticker.symbol, ticker.mark.or(ticker.last)?.0))
    });
    Ok(priced.collect())
}

/// The opening instant and the close of each candle.
pub fn candles(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    closes::candles(endpoint, Candle::MillisClose5, &state::rows(endpoint, body)?)
}
