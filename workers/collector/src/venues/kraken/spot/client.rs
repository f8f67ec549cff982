//! Sending to Kraken spot: one private request at a time for each key, with a nonce that only grows.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::fault::{self, Fault};
use super::sign;
use crate::error::VenueError;
use crate::http::{Body, Reply, Request, Target};
use crate::pricing::{PEGGED, PriceBook, product};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::kraken::names::Pairs;
use crate::venues::kraken::wire::{Entries, Named, Seconds, readable};
use crate::venues::reads::Listed;
use crate::venues::wire::read;
use crate::venues::{Host, Venues, clock};

const PAIRS_EVERY: Duration = Duration::from_secs(3600);
/// How far the nonce leaps after a refusal, in microseconds: another program may have used the key.
const NONCE_LEAP: u64 = 60_000_000;
/// The counter of a key holds 15 and falls by 1 in 3 s at the lowest tier; four fifths of this stay below.
const COUNTER: (u32, Duration) = (18, Duration::from_secs(45));
/// Public reads of one address.
const PUBLIC: (u32, Duration) = (60, Duration::from_secs(60));
/// Kept as long as the process lives.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// An account at Kraken spot.
pub struct Spot {
    pub(super) venues: Venues,
    pub(super) host: &'static Host,
    pub(super) key: String,
    pub(super) secret: SecretString,
    /// Names the key's counter and nonce without being the key.
    pub(super) meter: String,
}

impl Spot {
    fn target(&self) -> Target<'_> {
        self.host.target(&self.venues.endpoints)
    }

    fn counter(&self) -> Target<'_> {
        self.target().own(&self.meter, COUNTER.0, COUNTER.1)
    }

    fn public_meter(&self) -> Target<'_> {
        self.target().own("kraken public reads", PUBLIC.0, PUBLIC.1)
    }

    /// The last nonce of the key, behind the lock that lets one request through at a time.
    fn last_nonce(&self) -> Arc<Mutex<u64>> {
        static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let name = format!("{} {} nonce", self.target().base, self.meter);
        // Two turns that make the lock at once would have one each.
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        self.venues.http.recall(&name, FOREVER).unwrap_or_else(|| self.venues.http.keep(name, Mutex::new(0)))
    }

    /// A private read. A refused nonce earns one retry with a larger one.
    pub(super) async fn private(&self, path: &'static str, params: &[(&str, String)]) -> Result<String, VenueError> {
        let last_nonce = self.last_nonce();
        let mut last = last_nonce.lock().await;
        let mut fault = Fault::Nonce { reason: String::new() };
        for leap in [0, NONCE_LEAP] {
            let micros = u64::try_from(self.venues.clock.now().millis()).unwrap_or_default().saturating_mul(1000);
            *last = micros.max(last.saturating_add(1)).saturating_add(leap);
            fault = match self.try_private(path, params, *last).await? {
                Ok(body) => return Ok(body),
                Err(fault @ Fault::Nonce { .. }) => fault,
                Err(fault) => return Err(fault.into_error()),
            };
        }
        Err(fault.into_error())
    }

    async fn try_private(
        &self,
        path: &'static str,
        params: &[(&str, String)],
        nonce: u64,
    ) -> Result<Result<String, Fault>, VenueError> {
        let read = Listed::new(sign::READS, "POST", path)?;
        let (body, signature) = sign::private(read, params, nonce, &self.secret)?;
        let headers = vec![("API-Key", self.key.clone()), ("API-Sign", signature)];
        let request = Request {
            target: self.target(),
            path: path.into(),
            headers,
            body: Some(Body::Form(body)),
            weight: 1,
            own_meter: Some(self.counter()),
        };
        let reply = self.venues.http.send(request).await?;
        self.venues.http.charge(self.counter(), sign::cost(path) - 1).await;
        self.judged(reply, self.counter()).await
    }

    /// A public read.
    pub(super) async fn public(
        &self,
        path: &'static str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        let path = sign::public(Listed::new(sign::READS, "GET", path)?, params);
        let own_meter = Some(self.public_meter());
        let request = Request { target: self.target(), path, headers: vec![], body: None, weight: 1, own_meter };
        let reply = self.venues.http.send(request).await?;
        self.judged(reply, self.public_meter()).await
    }

    /// The body, or the error in it. Words for "too many" silence the meter that they are about.
    async fn judged(&self, reply: Reply, meter: Target<'_>) -> Result<Result<String, Fault>, VenueError> {
        match fault::of_body(&reply.body) {
            Some(Fault::TooMany { pause, .. }) => Err(self.venues.http.silence(meter, pause, false).await),
            Some(fault) => Ok(Err(fault)),
            None => reply.good().map(Ok),
        }
    }

    /// The server's time. Only windows depend on it: a nonce is no time.
    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        const PATH: &str = "/0/public/Time";
        #[derive(Deserialize)]
        struct Time {
            unixtime: Seconds,
        }
        let name = format!("{}{PATH} offset", self.target().base);
        let offset = clock::offset(&self.venues, name, CLOCK_EVERY, async {
            let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Time>(PATH, fault::result(PATH, &body)?.get())?.unixtime.0)
        });
        Ok(clock::corrected(&self.venues, offset.await?))
    }

    /// Base and quote of every market.
    pub(super) async fn pairs(&self) -> Result<Arc<Pairs>, VenueError> {
        const PATH: &str = "/0/public/AssetPairs";
        let name = format!("{}{PATH}", self.target().base);
        if let Some(pairs) = self.venues.http.recall(&name, PAIRS_EVERY) {
            return Ok(pairs);
        }
        let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
        Ok(self.venues.http.keep(name, asset_pairs(PATH, &body)?))
    }

    /// Prices of now, from one reply about all markets.
    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        const PATH: &str = "/0/public/Ticker";
        let pairs = self.pairs().await?;
        let body = self.public(PATH, &[]).await?.map_err(Fault::into_error)?;
        let tickers = tickers(PATH, &body)?;
        let priced = assets.iter().filter_map(|asset| Some((asset.clone(), dollars(asset, &pairs, &tickers)?)));
        Ok(PriceBook::fixed(priced))
    }
}

/// Every market of the reply that can be read, by its names.
pub fn asset_pairs(endpoint: &str, body: &str) -> Result<Pairs, VenueError> {
    let mut pairs = Pairs::default();
    for market in markets(endpoint, body)? {
        let Named { id, record } = market;
        let others = [record.altname.as_deref().unwrap_or_default(), record.wsname.as_deref().unwrap_or_default()];
        pairs.insert(&id, &others, &record.base, &record.quote);
    }
    Ok(pairs)
}

/// The ids of the markets of a reply.
pub fn market_ids(endpoint: &str, body: &str) -> Result<Vec<String>, VenueError> {
    Ok(markets(endpoint, body)?.into_iter().map(|market| market.id).collect())
}

#[derive(Deserialize)]
struct Market {
    #[serde(default)]
    altname: Option<String>,
    #[serde(default)]
    wsname: Option<String>,
    base: String,
    quote: String,
}

fn markets(endpoint: &str, body: &str) -> Result<Vec<Named<Market>>, VenueError> {
    let Entries(rows) = read(endpoint, fault::result(endpoint, body)?.get())?;
    // A market that cannot be read is not known.
    Ok(readable(&rows).collect())
}

/// The last price of each market, by its id.
pub fn tickers(endpoint: &str, body: &str) -> Result<BTreeMap<String, Decimal>, VenueError> {
    #[derive(Deserialize)]
    struct Ticker {
        /// Price and size of the last trade.
        c: Vec<Box<RawValue>>,
    }
    let Entries(rows) = read(endpoint, fault::result(endpoint, body)?.get())?;
    // A market whose price cannot be read has none.
    let price = |Named { id, record }: Named<Ticker>| {
        Some((id, parse_decimal(record.c.first()?.get().trim_matches('"')).ok()?))
    };
    Ok(readable(&rows).filter_map(price).collect())
}

/// Dollars per unit of an asset, from the markets that there are.
fn dollars(asset: &str, pairs: &Pairs, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    if PEGGED.contains(&asset) {
        return Some(Decimal::ONE);
    }
    let price = |base: &str, quote: &str| tickers.get(pairs.market(base, quote)?).copied().filter(|p| !p.is_zero());
    let direct = ["USD", "USDT", "USDC"].into_iter().find_map(|dollar| price(asset, dollar));
    direct.or_else(|| Decimal::ONE.checked_div(price("USD", asset)?)).or_else(|| {
        let through = |money: &str| product(price(asset, money)?, price(money, "USD")?).ok();
        through("EUR").or_else(|| through("BTC"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_priced_through_the_markets_that_there_are() {
        let mut pairs = Pairs::default();
        for (id, base, quote) in
            [("XXBTZUSD", "XXBT", "ZUSD"), ("USDCHF", "USD", "CHF"), ("ZEURZUSD", "ZEUR", "ZUSD"), ("AEUR", "A", "EUR")]
        {
            pairs.insert(id, &[], base, quote);
        }
        let tickers = [("XXBTZUSD", "90000"), ("USDCHF", "0.8"), ("ZEURZUSD", "1.1"), ("AEUR", "2")];
        let tickers = tickers.map(|(id, price)| (id.to_owned(), parse_decimal(price).unwrap())).into();
        let price = |asset: &str| dollars(asset, &pairs, &tickers).map(|price| price.normalize().to_string());
        assert_eq!(price("BTC").as_deref(), Some("90000"));
        assert_eq!(price("CHF").as_deref(), Some("1.25"));
        assert_eq!(price("A").as_deref(), Some("2.2"));
        assert_eq!((price("USDT").as_deref(), price("KFEE")), (Some("1"), None));
    }
}
