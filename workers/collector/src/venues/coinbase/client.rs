//! Sending to Coinbase: one host, a token for each request, one renewal where one was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::fault::{self, Fault};
use super::markets::{self, Contract, Contracts};
use super::sign::{self, Key};
use super::{HOST, state};
use crate::error::VenueError;
use crate::http::{Request, Target};
use crate::pricing::{MINUTE_MILLIS, Need, PEGGED, PriceBook};
use crate::venues::clock::CLOCK_EVERY;
use crate::venues::closes::Closes;
use crate::venues::fault::VenueFault;
use crate::venues::reads::Listed;
use crate::venues::wire::{Millis, query, read};
use crate::venues::{Venues, clock, closes};

const FACTS_EVERY: Duration = Duration::from_secs(3600);
const PRICES_EVERY: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Candles in one reply.
const CANDLES_LIMIT: i64 = 300;
/// A minute without a trade closes where the last one did, if that was not longer ago.
const QUIET_MINUTES: i64 = 10;

const PRODUCTS: &str = "/api/v3/brokerage/market/products";
const TIME: &str = "/api/v3/brokerage/time";

/// An account at Coinbase: one portfolio, to which the key is bound.
pub struct Coinbase {
    pub(super) venues: Venues,
    /// The key's name.
    pub(super) name: String,
    pub(super) key: Key,
}

impl Coinbase {
    pub(super) fn target(&self) -> Target<'_> {
        HOST.target(&self.venues.endpoints)
    }

    /// A name for a fact about this key.
    fn fact(&self, what: &str) -> String {
        format!("{} {what} of {}", self.target().base, self.name)
    }

    /// A read with a token.
    pub(super) async fn signed(&self, path: &str, params: &[(&str, String)]) -> Result<String, VenueError> {
        self.told(path, params).await?.map_err(Fault::into_error)
    }

    /// A read whose refusal means something.
    pub(super) async fn told(
        &self,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<Result<String, Fault>, VenueError> {
        clock::retried(|| self.try_signed(path, params), self.offset(Duration::ZERO)).await
    }

    async fn try_signed(&self, path: &str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        let listed = Listed::new(sign::READS, "GET", path)?;
        let now = self.server_now().await?;
        let token = sign::token(listed, &self.name, &self.key, now, &sign::nonce()?)?;
        // The two APIs meter a key apart.
        let is_older = path.starts_with("/v2/");
        let (kind, budget, per) = if is_older { ("v2", 10_000, HOUR) } else { ("v3", 30, SECOND) };
        let meter = format!("{} {kind} {}", HOST.setting, self.name);
        let own_meter = Some(self.target().own(&meter, budget, per));
        let headers = vec![("authorization", format!("Bearer {token}"))];
        self.ask(listed, params, headers, own_meter).await
    }

    /// A public read.
    async fn public(&self, path: &str, params: &[(&str, String)]) -> Result<Result<String, Fault>, VenueError> {
        let listed = Listed::new(sign::READS, "GET", path)?;
        self.ask(listed, params, vec![], None).await
    }

    async fn ask(
        &self,
        listed: Listed<'_>,
        params: &[(&str, String)],
        headers: Vec<(&'static str, String)>,
        own_meter: Option<Target<'_>>,
    ) -> Result<Result<String, Fault>, VenueError> {
        let path = listed.with_query(&query(params));
        // The address's own meter is one of public reads.
        let weight = u32::from(sign::is_public(listed.path()));
        let request = Request { target: self.target(), path, headers, body: None, weight, own_meter };
        let reply = self.venues.http.send(request).await?;
        Ok(match fault::of_reply(reply.status, &reply.body) {
            Some(fault) => Err(fault),
            None => Ok(reply.body),
        })
    }

    /// The server's time.
    pub(super) async fn server_now(&self) -> Result<Timestamp, VenueError> {
        Ok(clock::corrected(&self.venues, self.offset(CLOCK_EVERY).await?))
    }

    async fn offset(&self, oldest: Duration) -> Result<i64, VenueError> {
        #[derive(Deserialize)]
        struct Time {
            #[serde(rename = "epochMillis")]
            millis: Millis,
        }
        let name = format!("{}{TIME} offset", self.target().base);
        clock::offset(&self.venues, name, oldest, async {
            let body = self.public(TIME, &[]).await?.map_err(Fault::into_error)?;
            Ok(read::<Time>(TIME, &body)?.millis.0)
        })
        .await
    }

    /// What the key may do and which portfolio it is bound to, asked anew.
    pub(super) async fn rights(&self) -> Result<state::Rights, VenueError> {
        state::rights(&self.signed("/api/v3/brokerage/key_permissions", &[]).await?)
    }

    /// The portfolio that the key is bound to, and its type.
    pub(super) async fn portfolio(&self) -> Result<(String, Option<String>), VenueError> {
        type Bound = (String, Option<String>);
        let name = self.fact("portfolio");
        if let Some(bound) = self.venues.http.recall::<Bound>(&name, FACTS_EVERY) {
            return Ok(bound.as_ref().clone());
        }
        let rights = self.rights().await?;
        let Some(uuid) = rights.portfolio else {
            return Err(VenueError::unreadable("the key's permissions", "no portfolio_uuid"));
        };
        Ok(self.venues.http.keep(name, (uuid, rights.portfolio_type)).as_ref().clone())
    }

    /// The ids of the wallets that were ever used.
    pub(super) async fn wallets(&self) -> Result<Arc<Vec<String>>, VenueError> {
        const PATH: &str = "/v2/accounts";
        let name = self.fact("wallets");
        if let Some(wallets) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(wallets);
        }
        let (mut ids, mut after, now) = (vec![], None::<String>, self.venues.clock.now());
        loop {
            let mut params = vec![("limit", "100".to_owned())];
            params.extend(after.clone().map(|id| ("starting_after", id)));
            let (wallets, _, next) = state::wallets(&self.signed(PATH, &params).await?, &PriceBook::default(), now)?;
            ids.extend(wallets.into_iter().filter(|wallet| wallet.is_used).map(|wallet| wallet.id));
            match next {
                Some(next) if Some(&next) == after.as_ref() => {
                    return Err(VenueError::unreadable(PATH, "a page that does not advance"));
                }
                Some(next) => after = Some(next),
                None => return Ok(self.venues.http.keep(name, ids)),
            }
        }
    }

    /// Prices of now, by product.
    async fn tickers(&self) -> Result<Arc<BTreeMap<String, Decimal>>, VenueError> {
        let name = format!("{} spot prices", self.target().base);
        if let Some(tickers) = self.venues.http.recall(&name, PRICES_EVERY) {
            return Ok(tickers);
        }
        let body = self.public(PRODUCTS, &[("product_type", "SPOT".into())]).await?.map_err(Fault::into_error)?;
        let listed = markets::products(PRODUCTS, &body)?.into_iter();
        let priced = listed.filter_map(|product| Some((product.product_id, product.price?.0)));
        let tickers: BTreeMap<String, Decimal> = priced.filter(|(_, price)| *price > Decimal::ZERO).collect();
        Ok(self.venues.http.keep(name, tickers))
    }

    pub(super) async fn prices_now(&self, assets: &[String]) -> Result<PriceBook, VenueError> {
        let tickers = self.tickers().await?;
        let priced = assets.iter().filter_map(|asset| Some((asset.clone(), dollars(asset, &tickers)?)));
        Ok(PriceBook::fixed(priced))
    }

    /// Sizes of the contracts that the US futures exchange lists, and of these products too.
    pub(super) async fn contracts(&self, products: &BTreeSet<String>) -> Result<Contracts, VenueError> {
        let mut contracts = self.listed_contracts().await?.as_ref().clone();
        let unknown: Vec<&String> =
            products.iter().filter(|name| name.ends_with("-CDE") && contracts.of(name).is_none()).collect();
        for product in unknown {
            if let Some(contract) = self.contract(product).await?.as_ref() {
                contracts.0.insert(product.clone(), contract.clone());
            }
        }
        Ok(contracts)
    }

    async fn listed_contracts(&self) -> Result<Arc<Contracts>, VenueError> {
        let name = format!("{} contracts", self.target().base);
        if let Some(contracts) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(contracts);
        }
        let body = self.public(PRODUCTS, &[("product_type", "FUTURE".into())]).await?.map_err(Fault::into_error)?;
        let listed = markets::products(PRODUCTS, &body)?;
        let contracts = listed.iter().filter_map(|product| Some((product.product_id.clone(), product.contract()?)));
        Ok(self.venues.http.keep(name, Contracts(contracts.collect())))
    }

    /// One contract, which may be over; `None` when the venue knows it no more.
    async fn contract(&self, product: &str) -> Result<Arc<Option<Contract>>, VenueError> {
        let path = format!("{PRODUCTS}/{product}");
        let name = format!("{}{path}", self.target().base);
        if let Some(contract) = self.venues.http.recall(&name, FACTS_EVERY) {
            return Ok(contract);
        }
        // A name that cannot stand in a path is asked about nowhere.
        if Listed::new(sign::READS, "GET", &path).is_err() {
            return Ok(Arc::new(None));
        }
        let contract = match self.public(&path, &[]).await? {
            Ok(body) => read::<markets::Product>(&path, &body)?.contract(),
            Err(Fault::Missing { .. }) => None,
            Err(fault) => return Err(fault.into_error()),
        };
        Ok(self.venues.http.keep(name, contract))
    }

    /// The venue's own minute closes for what a page needs.
    pub(super) async fn minute_prices(&self, needs: BTreeSet<Need>) -> Result<PriceBook, VenueError> {
        if needs.is_empty() {
            return Ok(PriceBook::default());
        }
        let now = self.server_now().await?;
        closes::minute_prices(&self.venues, self.target().base, now, needs, self).await
    }

    /// Closes of a product at these minutes, which are in order.
    async fn closes_of(&self, product: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let path = format!("{PRODUCTS}/{product}/candles");
        let mut found = Vec::new();
        for (start, count) in closes::runs(minutes, CANDLES_LIMIT - QUIET_MINUTES) {
            let first = start.millis() - QUIET_MINUTES * MINUTE_MILLIS;
            let last = start.millis() + (count - 1) * MINUTE_MILLIS;
            let params = [
                ("start", (first / 1000).to_string()),
                ("end", (last / 1000).to_string()),
                ("granularity", "ONE_MINUTE".into()),
                ("limit", CANDLES_LIMIT.to_string()),
            ];
            let body = match self.public(&path, &params).await? {
                Ok(body) => body,
                Err(Fault::Missing { .. }) => continue,
                Err(fault) => return Err(fault.into_error()),
            };
            let candles: BTreeMap<i64, Decimal> =
                markets::candles(&path, &body)?.into_iter().map(|(at, close)| (at.millis(), close)).collect();
            let run = minutes.iter().filter(|minute| (start.millis()..=last).contains(&minute.millis()));
            found.extend(run.filter_map(|minute| Some((*minute, close_at(&candles, minute.millis())?))));
        }
        Ok(found)
    }
}

/// The close of a minute: its own, or the last one before it.
fn close_at(candles: &BTreeMap<i64, Decimal>, minute: i64) -> Option<Decimal> {
    let quiet_since = minute - QUIET_MINUTES * MINUTE_MILLIS;
    candles.range(quiet_since..=minute).next_back().map(|(_, close)| *close)
}

#[async_trait]
impl Closes for Coinbase {
    /// Closes against a dollar, or of a dollar against the asset (`USDC-EUR`).
    async fn closes(&self, asset: &str, minutes: &[Timestamp]) -> Result<Vec<(Timestamp, Decimal)>, VenueError> {
        let tickers = self.tickers().await?;
        let Some((product, is_inverse)) = priced_by(asset, &tickers) else { return Ok(vec![]) };
        let closes = self.closes_of(&product, minutes).await?;
        Ok(if is_inverse { closes::inverted(closes) } else { closes })
    }
}

/// The product that prices an asset in dollars, and whether it is the other way round.
fn priced_by(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<(String, bool)> {
    const DOLLARS: [&str; 3] = ["USD", "USDC", "USDT"];
    let direct = DOLLARS.iter().map(|dollar| (format!("{asset}-{dollar}"), false));
    let inverse = DOLLARS.iter().map(|dollar| (format!("{dollar}-{asset}"), true));
    direct.chain(inverse).find(|(product, _)| tickers.contains_key(product))
}

/// Dollars per unit of an asset, from the products that there are.
fn dollars(asset: &str, tickers: &BTreeMap<String, Decimal>) -> Option<Decimal> {
    if PEGGED.contains(&asset) {
        return Some(Decimal::ONE);
    }
    let (product, is_inverse) = priced_by(asset, tickers)?;
    let price = *tickers.get(&product)?;
    if is_inverse { Decimal::ONE.checked_div(price) } else { Some(price) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_priced_by_a_dollar_market_or_by_its_mirror() {
        let tickers = BTreeMap::from([
            ("BTC-USD".to_owned(), Decimal::from(90_000)),
            ("BTC-USDC".to_owned(), Decimal::from(1)),
            ("USDC-EUR".to_owned(), Decimal::new(8, 1)),
        ]);
        assert_eq!(dollars("BTC", &tickers), Some(Decimal::from(90_000)));
        assert_eq!(dollars("EUR", &tickers), Some(Decimal::new(125, 2)));
        assert_eq!((dollars("USDC", &tickers), dollars("XYZ", &tickers)), (Some(Decimal::ONE), None));
    }

    #[test]
    fn a_quiet_minute_closes_where_the_last_one_did_but_not_for_long() {
        let candles = BTreeMap::from([(0, Decimal::ONE), (2 * MINUTE_MILLIS, Decimal::TWO)]);
        assert_eq!(close_at(&candles, MINUTE_MILLIS), Some(Decimal::ONE));
        assert_eq!(close_at(&candles, 12 * MINUTE_MILLIS), Some(Decimal::TWO));
        assert_eq!(close_at(&candles, 13 * MINUTE_MILLIS), None);
    }
}
