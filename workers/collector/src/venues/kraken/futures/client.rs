//! Sending to Kraken Futures: one host, and a second budget for the history.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Asset, Timestamp};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{self, Fault};
use super::sign;
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::PriceBook;
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::{self, Closes};
use crate::venues::kraken::names;
use crate::venues::kraken::wire::readable;
use crate::venues::reads::Listed;
use crate::venues::wire::{Dec, Millis, filled, read};
use crate::venues::{Host, Venues, clock};

/// What a key may ask of its history.
const HISTORY: (u32, Duration) = (100, Duration::from_secs(600));
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 1000;

/// An account at Kraken Futures.
pub struct Futures {
    pub(super) venues: Venues,
    pub(super) host: &'static Host,
    pub(super) key: String,
    pub(super) secret: SecretString,
    /// Names the key's budget without being the key.
    pub(super) meter: String,
}

impl Futures {
    pub(super) fn target(&self) -> Target<'_> {
        self.host.target(&self.venues.endpoints)
    }

    fn history_meter(&self, path: &str) -> Option<Target<'_>> {
        let meter = self.target().own(&self.meter, HISTORY.0, HISTORY.1);
        path.starts_with("/api/history/").then_some(meter)
    }

    /// A private read. A refused nonce, which we do not send, earns one retry.
    pub(super) async fn private(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        match self.try_private(path, params).await? {
            Err(Fault::Nonce { .. }) => self.try_private(path, params).await,
            outcome => Ok(outcome),
        }
    }

    /// A private read that gives nothing when the user has no futures account.
    pub(super) async fn if_active(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Option<String>, VenueError> {
        match self.private(path, params).await? {
            Ok(body) => Ok(Some(body)),
            Err(Fault::Inactive { .. }) => Ok(None),
            Err(fault) => Err(fault.into_error()),
        }
    }

    async fn try_private(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        let (full, signature) = sign::private(Listed::new(sign::READS, "GET", path)?, params, &self.secret)?;
        let headers = vec![("APIKey", self.key.clone()), ("Authent", signature)];
        self.ask(path, full, headers).await
    }

    /// A public read.
    async fn public(&self, path: &str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        self.ask(path, sign::full(Listed::new(sign::READS, "GET", path)?, params), vec![]).await
    }

    async fn ask(
        &self,
        path: &str,
        full: String,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let (target, own_meter, cost) = (self.target(), self.history_meter(path), sign::cost(path));
        let weight = if own_meter.is_some() { 1 } else { cost };
        let request = Request { target, path: full, headers, body: None, weight, own_meter };
        let reply = self.venues.http.send(request).await?;
        if let Some(history) = own_meter {
            self.venues.http.charge(history, cost - 1).await;
        }
        match (fault::of_body(&reply.body), reply.status) {
            (Some(Fault::TooMany { .. }), _) => {
                Err(self.venues.http.silence(own_meter.unwrap_or(target), fault::LIMIT_PAUSE, false).await)
            }
            // Whatever the words: the key or its signature.
            (Some(fault @ Fault::Error(VenueError::Retry { .. })), 401) => {
                Err(VenueError::KeyRefused { reason: fault.into_error().to_string() })
            }
            (Some(Fault::Error(VenueError::Retry { .. })), 404) => Err(VenueError::unreadable(path, "HTTP 404")),
            (Some(fault), _) => Ok(Err(fault)),
            (None, 401) => Err(VenueError::KeyRefused { reason: "HTTP 401".into() }),
            (None, 404) => Err(VenueError::unreadable(path, "HTTP 404")),
            (None, _) => reply.good().map(Ok),
        }
    }

    /// The server's time.
    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Time {
            server_time: Timestamp,
        }
        let name = format!("{} futures offset", self.target().base);
        let offset = clock::offset(&self.venues, name, CLOCK_EVERY, async {
            Ok(read::<Time>(TICKERS, &self.tickers_reply().await?)?.server_time)
        });
        Ok(clock::corrected(&self.venues, offset.await?))
    }

    async fn tickers_reply(&self) -> Result<String, VenueError> {
        self.public(TICKERS, &[]).await?.map_err(Fault::into_error)
    }

    /// Marks of contracts and prices of assets, now.
    pub(super) async fn marks(&self) -> Result<Marks, VenueError> {
        Marks::read(&self.tickers_reply().await?)
    }

    /// Closes of an index at these minutes alone; `None` when there is no such contract.
    async fn closes_of(
        &self,
        contract: &str,
        minutes: &[Timestamp],
    ) -> Result<Option<Vec<(Timestamp, Decimal)>>, VenueError> {
        let path = format!("/api/charts/v1/spot/{contract}/1m");
        let mut found = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT) {
            let from = start.millis() / 1000;
            let params = [("from", from.to_string()), ("to", (from + count * 60).to_string())];
            match self.public(&path, &params).await {
                Ok(Ok(body)) => found.extend(candles(&path, &body)?.into_iter().filter(|(at, _)| minutes.contains(at))),
                Ok(Err(_)) | Err(VenueError::Unreadable { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(found))
    }
}

const TICKERS: &str = "/derivatives/api/v3/tickers";

/// What the tickers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Marks, or else last prices, by the venue's names in the order received.
    pub all: Vec<(String, Decimal)>,
    /// Marks by contract.
    pub marks: BTreeMap<String, Decimal>,
    /// Dollars per unit of an asset, by the index that its contracts follow.
    pub prices: BTreeMap<String, Decimal>,
}

impl Marks {
    pub fn read(body: &str) -> Result<Self, VenueError> {
        #[derive(Deserialize)]
        struct Reply {
            tickers: Vec<Box<RawValue>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Ticker {
            symbol: String,
            #[serde(default, deserialize_with = "filled")]
            mark_price: Option<Dec>,
            #[serde(default, deserialize_with = "filled")]
            index_price: Option<Dec>,
            #[serde(default, deserialize_with = "filled")]
            last: Option<Dec>,
        }
        let reply: Reply = read(TICKERS, body)?;
        let mut told = Self::default();
        // A ticker that cannot be read, or whose price is nothing, gives none.
        let price = |price: Option<Dec>| price.map(|price| price.0).filter(|price| *price > Decimal::ZERO);
        for ticker in readable::<Ticker>(&reply.tickers) {
            let symbol = ticker.symbol.to_ascii_uppercase();
            if let Some(mark) = price(ticker.mark_price) {
                told.marks.insert(symbol.clone(), mark);
            }
            if let Some((contract, index)) = names::contract(&symbol).zip(price(ticker.index_price))
                && contract.quote == "USD"
            {
                told.prices.entry(contract.base).or_insert(index);
            }
            told.all.extend(price(ticker.mark_price).or(price(ticker.last)).map(|price| (ticker.symbol, price)));
        }
        Ok(told)
    }

    pub fn book(&self) -> PriceBook {
        PriceBook::fixed(self.prices.clone())
    }
}

#[async_trait]
impl Closes for Futures {
    /// Closes of the index of an asset, by the contract that has followed it the longest.
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let code = match asset {
            "BTC" => "XBT",
            other => other,
        };
        if !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(vec![]);
        }
        for kind in ["PI", "PF"] {
            match self.closes_of(&format!("{kind}_{code}USD"), minutes).await? {
                Some(closes) if !closes.is_empty() => return Ok(closes),
                _ => {}
            }
        }
        Ok(vec![])
    }
}

/// The opening instant and the close of each candle.
pub fn candles(endpoint: &str, body: &str) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        candles: Vec<Candle>,
    }
    #[derive(Deserialize)]
    struct Candle {
        time: Millis,
        close: Dec,
    }
    let reply: Reply = read(endpoint, body)?;
    Ok(reply.candles.into_iter().map(|candle| (candle.time.0, candle.close.0)).collect())
}

/// Our code of an asset, which the API writes in either case.
pub fn asset(native: &str) -> String {
    Asset::new(&native.to_ascii_uppercase()).as_str().to_owned()
}
