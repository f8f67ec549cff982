//! Sending to Gate: one host, its clock, the account's own limit, one retry where that may heal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;

use super::fault::{self, Fault, WINDOW};
use super::markets::Contracts;
use super::{sign, state};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PriceBook};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{Candle, Closes};
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, read, rows};
use crate::venues::{Host, Venues, clock, closes, hmac};

const CONTRACTS_EVERY: Duration = Duration::from_secs(3600);
const TIME_PATH: &str = "/api/v4/spot/time";
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 900;
/// Requests that Gate grants an account in each window, at the least generous endpoint that we ask.
const ACCOUNT_BUDGET: u32 = 100;

/// An account at Gate.
pub struct Gate {
    pub(super) venues: Venues,
    host: &'static Host,
    pub(super) key: String,
    secret: SecretString,
    /// Names the account's own meter.
    meter: String,
}

impl Gate {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, host: &'static Host, key: String, secret: SecretString) -> Self {
        // The key itself stays out of names that others may print.
        let meter = format!("gate {}", hmac::key_name(&key));
        Self { venues, host, key, secret, meter }
    }

    fn target(&self) -> Target<'_> {
        self.host.target(&self.venues.endpoints)
    }

    /// A signed read.
    pub(super) async fn signed(
        &self,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        clock::retried(|| self.try_signed(path, params), self.offset(Duration::ZERO)).await
    }

    async fn try_signed(&self, path: &str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        let now = self.server_now().await?;
        let listed = Listed::new(sign::READS, "GET", path)?;
        let query = sign::query(params);
        let headers = sign::headers(listed, &query, now, &self.key, &self.secret)?;
        let own = self.target().own(&self.meter, ACCOUNT_BUDGET, WINDOW);
        self.ask(listed.with_query(&query), headers, Some(own)).await
    }

    /// A public read.
    async fn public(&self, path: &str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        let listed = Listed::new(sign::READS, "GET", path)?;
        self.ask(listed.with_query(&sign::query(params)), vec![], None).await
    }

    async fn ask(
        &self,
        path: String,
        headers: Vec<(&'static str, String)>,
        own_meter: Option<Target<'_>>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let target = self.target();
        let request = Request { target, path, headers, body: None, weight: 1, own_meter };
        let reply = self.venues.http.send(request).await?;
        match fault::of_body(&reply.body) {
            Some(Fault::TooMany { .. }) => {
                Err(self.venues.http.silence(own_meter.unwrap_or(target), WINDOW, false).await)
            }
            Some(fault) => Ok(Err(fault)),
            None => reply.good().map(Ok),
        }
    }

    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(CLOCK_EVERY).await?))
    }

    async fn offset(&self, oldest: Duration) -> Result<i64, VenueError> {
        #[derive(Deserialize)]
        struct Time {
            server_time: Millis,
        }
        let name = format!("{}{TIME_PATH} offset", self.target().base);
        clock::offset(&self.venues, name, oldest, async {
            let body = self.public(TIME_PATH, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Time>(TIME_PATH, &body)?.server_time.0)
        })
        .await
    }

    /// What every listed contract of a settle coin is.
    pub(super) async fn contracts(&self, settle: &str) -> Result<Arc<Contracts>, VenueError> {
        let path = format!("/api/v4/futures/{settle}/contracts");
        let name = format!("{}{path}", self.target().base);
        if let Some(contracts) = self.venues.http.recall(&name, CONTRACTS_EVERY) {
            return Ok(contracts);
        }
        let body = self.public(&path, &[]).await?.map_err(Fault::into_error)?;
        Ok(self.venues.http.keep(name, Contracts::read(&body)?))
    }

    /// Prices of now, from one reply about all spot markets.
    pub(super) async fn tickers(&self) -> Result<BTreeMap<String, Decimal>, VenueError> {
        state::tickers(&self.public("/api/v4/spot/tickers", &[]).await?.map_err(Fault::into_error)?)
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
impl Closes for Gate {
    /// Closes against USDT. What has no such market, or is too long ago, stays unpriced.
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        const PATH: &str = "/api/v4/spot/candlesticks";
        let mut closes = Vec::new();
        if asset.is_empty() || !asset.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(closes);
        }
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let first = start.millis() / 1000;
            let params = [
                ("currency_pair", format!("{asset}_USDT")),
                ("interval", "1m".to_owned()),
                ("from", first.to_string()),
                ("to", (first + (count - 1) * MINUTE_MILLIS / 1000).to_string()),
            ];
            match self.public(PATH, &params).await? {
                Ok(body) => closes.extend(candles(PATH, &body)?),
                Err(Fault::BadQuestion { .. }) => {}
                Err(fault) => return Err(fault.into_error()),
            }
        }
        Ok(closes)
    }
}

/// The opening instant and the close of each candle: time in seconds, volume, close, high, low, open.
pub fn candles(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    closes::candles(endpoint, Candle::SecondsClose3, &rows(endpoint, body)?)
}
