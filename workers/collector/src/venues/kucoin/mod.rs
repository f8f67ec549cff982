//! KuCoin: main and trading accounts, and futures. To read another endpoint, list it in [`sign::READS`].
//!
//! `sign` decides what may be sent, `client` sends it, `streams` decides what to ask next, `parse`,
//! `ledger` and `state` say what the replies mean, `fault` what the errors do, `markets` what a lot is.

pub mod case;
mod client;
pub mod fault;
pub mod ledger;
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
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Kucoin, candles};
pub use sign::READS;

use self::client::Side;
use self::markets::{Contracts, asset};
use self::sign::Secrets;
use self::streams::{FAMILIES, Place, family};
use super::holdings::Holdings;
use super::{Attestation, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

/// Where the two halves answer.
#[derive(Debug)]
pub struct Hosts {
    pub spot: Host,
    pub futures: Host,
}

/// What an address is granted on public endpoints. Private ones are paid by the account.
static HOSTS: Hosts = Hosts {
    spot: Host {
        setting: "CODASH_VENUE_KUCOIN_URL",
        usual: "https://api.kucoin.com",
        budget: 2000,
        per: Duration::from_secs(30),
    },
    futures: Host {
        setting: "CODASH_VENUE_KUCOIN_FUTURES_URL",
        usual: "https://api-futures.kucoin.com",
        budget: 2000,
        per: Duration::from_secs(30),
    },
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Kucoin,
    title: "KuCoin",
    needs: Needs::KeySecretAndPassphrase,
    how_to_connect: "Make an API key in API Management with the permission \"General\" alone, and keep the passphrase that you choose for it.",
    attestation: "KuCoin states every permission of the key: \"General\", which reads, must be the only one.",
    hosts: &[HOSTS.spot, HOSTS.futures],
    reads: READS,
    connect: |venues, credentials| {
        let (key, secret, passphrase) = credentials.with_passphrase("kucoin")?;
        Ok(Arc::new(Kucoin::new(venues.clone(), &HOSTS, Secrets { key, secret, passphrase })))
    },
    read_case: case::read,
};

const NOT_COVERED: [&str; 5] = [
    "cross and isolated margin accounts and their loans, earn products, trading bots, copy trading and sub-accounts",
    "spot fills older than seven days when the account was attached, and of markets that KuCoin's ledger did not name",
    "the PnL of a futures position that is closed only in part: it comes when the position is closed",
    "transfers of the trading account older than three days when the account was attached",
    "fee rebates and refunds that KuCoin books apart from the fill",
];

/// Said when KuCoin wants a right that we refuse.
const NO_FUTURES: &str = "futures balances and positions: KuCoin shows them only to keys that may trade futures";
/// Names the missing half of the equity among what has no price.
const UNSEEN_FUTURES: &str = "futures account";

impl Kucoin {
    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let book = self.minute_prices(needs(&parse)).await?;
        Ok(parse(&book))
    }

    /// What the records of a family are.
    async fn parsed(&self, name: &str, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let contracts = match name {
            parse::FUTURES_FILLS | parse::FUTURES_POSITIONS | parse::FUTURES_FUNDING => self.contracts().await?,
            _ => Arc::default(),
        };
        self.priced(|prices| match name {
            ledger::SPOT_LEDGER => ledger::spot_ledger(rows, prices),
            ledger::MAIN_LEDGER => ledger::main_ledger(rows, prices),
            ledger::FUTURES_LEDGER => ledger::futures_ledger(rows, prices),
            parse::FUTURES_FILLS => parse::futures_fills(rows, &contracts, prices),
            parse::FUTURES_POSITIONS => parse::closed_positions(rows, &contracts, prices),
            parse::FUTURES_FUNDING => parse::funding(rows, &contracts, prices),
            _ => parse::spot_fills(rows, prices),
        })
        .await
    }

    /// Balances and equity of the futures account and its positions, as received; `None` when the
    /// key may not see them.
    async fn futures(&self, contracts: &Contracts) -> Result<Option<(Vec<Box<RawValue>>, Box<RawValue>)>, VenueError> {
        let seen = async {
            let positions = self.signed(Side::Futures, "/api/v1/positions", &[]).await?;
            let mut overviews = Vec::new();
            for coin in contracts.settle_coins() {
                overviews.push(self.signed(Side::Futures, "/api/v1/account-overview", &[("currency", coin)]).await?);
            }
            Ok((overviews, positions))
        };
        match seen.await {
            Ok(seen) => Ok(Some(seen)),
            Err(VenueError::PermissionMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn holdings(&self, now: Timestamp) -> Result<(Holdings, PriceBook, Vec<String>), VenueError> {
        let accounts = self.signed(Side::Spot, "/api/v1/accounts", &[]).await?;
        let contracts = self.contracts().await?;
        let futures = self.futures(&contracts).await?;
        let tickers = self.tickers().await?;
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::accounts(accounts.get(), prices, now)?;
            let Some((overviews, positions)) = &futures else {
                // A total that lacks a half must not look whole.
                all.name_unpriced(UNSEEN_FUTURES);
                return Ok(all);
            };
            let mut parts = vec![state::positions(positions.get(), &contracts, prices, now)?];
            for overview in overviews {
                parts.push(state::overview(overview.get(), prices, now)?);
            }
            for part in parts {
                all.join(part);
            }
            Ok(all)
        };
        let assets = assets_needed(read);
        let priced = assets.into_iter().filter_map(|code| {
            let price = state::dollars_per(&code, &tickers)?;
            Some((code, price))
        });
        let book = PriceBook::fixed(priced);
        Ok((read(&book)?, book, tickers.into_keys().collect()))
    }
}

/// The streams that a page of records reveals.
fn revealed(name: &str, rows: &[Box<RawValue>]) -> Vec<String> {
    let of = |family: &str, markets: BTreeSet<String>| {
        let markets = markets.into_iter().filter(|market| streams::is_market(market));
        markets.map(|market| format!("{family}:{market}")).collect()
    };
    match name {
        ledger::SPOT_LEDGER | ledger::MAIN_LEDGER => of(parse::SPOT_FILLS, ledger::traded(rows)),
        ledger::FUTURES_LEDGER => of(parse::FUTURES_FUNDING, ledger::settled(rows)),
        parse::FUTURES_FILLS | parse::FUTURES_POSITIONS => of(parse::FUTURES_FUNDING, parse::symbols(rows)),
        _ => vec![],
    }
}

/// Spot markets in which what is held may have been traded lately, and contracts that are held.
fn revealed_by(holdings: &Holdings, markets: &[String]) -> Vec<String> {
    let assets: BTreeSet<&str> = holdings
        .balances
        .iter()
        .filter(|balance| balance.wallet != "futures")
        .map(|balance| balance.asset.as_str())
        .collect();
    let is_held = |market: &&String| {
        markets::spot(market)
            .is_some_and(|(base, quote)| assets.contains(asset(base)) && matches!(quote, "USDT" | "USDC" | "BTC"))
    };
    let spot = markets.iter().filter(is_held).filter(|market| streams::is_market(market));
    let spot = spot.map(|market| format!("{}:{market}", parse::SPOT_FILLS));
    let futures = holdings.positions.iter().map(|position| position.native_symbol.as_str());
    let futures = futures.filter(|market| streams::is_market(market));
    let all: BTreeSet<String> =
        spot.chain(futures.map(|market| format!("{}:{market}", parse::FUTURES_FUNDING))).collect();
    all.into_iter().collect()
}

#[async_trait]
impl VenueAccount for Kucoin {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = state::rights(self.signed(Side::Spot, "/api/v1/user/api-key", &[]).await?.get())?;
        if !rights.excess.is_empty() {
            return Ok(Attestation::TooPowerful { rights: rights.excess });
        }
        if !rights.reads {
            return Err(VenueError::PermissionMissing { reason: "the key needs the permission General".into() });
        }
        let mut not_covered: Vec<String> = NOT_COVERED.map(Into::into).into();
        // Documented for keys that may trade futures; whether one that reads is let in shows only here.
        let seen = self.signed(Side::Futures, "/api/v1/positions", &[]).await;
        if matches!(seen, Err(VenueError::PermissionMissing { .. })) {
            not_covered.push(NO_FUTURES.into());
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: "spot_and_futures".into(),
            not_covered,
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        FAMILIES.iter().filter(|family| !family.per_market).map(|family| family.name.to_owned()).collect()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let (family, _) = family(stream)?;
        let oldest = Timestamp::nearest(self.venues.clock.now().millis().saturating_sub(family.horizon));
        Some(StreamPlan {
            stream: stream.into(),
            order: family.order,
            horizon: Some((oldest, family.why)),
            every: Duration::from_secs(family.minutes * 60),
        })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        let Some((family, market)) = family(stream) else {
            return Err(VenueError::unreadable(stream, "no such stream"));
        };
        let side = if family.futures { Side::Futures } else { Side::Spot };
        let now = self.server_now(side).await?.millis();
        let place = Place::of(cursor, family, now)?;
        let window = place.window(family, now);
        let data = self.signed(side, family.path, &place.params(family, market, window)).await?;
        let batch = streams::batch(family.path, data.get(), place.page(), family.limit.1)?;
        let parsed = self.parsed(family.name, &batch.rows).await?;
        let mut page = Page { parsed, new_streams: revealed(family.name, &batch.rows), ..Page::default() };
        streams::advance(&mut page, family, &place, window, now, &batch)?;
        Ok(page)
    }

    fn again(&self, _stream: &str, from: Timestamp) -> Option<Value> {
        Some(Place::again(from.millis()))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match FAMILIES.iter().find(|family| family.name == stream) {
            Some(family) => self.parsed(family.name, records).await,
            None => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now(Side::Spot).await?;
        let (holdings, book, markets) = self.holdings(now).await?;
        let revealed = revealed_by(&holdings, &markets);
        Ok((holdings.into_snapshot("the balances", now, &book)?, revealed))
    }
}

#[cfg(test)]
mod tests;
