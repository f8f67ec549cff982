//! Bybit: the unified account (spot, linear, inverse and options) and the funding wallet, by the
//! interface's version 5. To read another endpoint, list it in [`sign::READS`].
//!
//! `sign` decides what may be sent, `client` sends it, `streams` decides what to ask next; `parse`,
//! `executions`, `flows` and `state` say what the replies mean, `fault` what the errors do.

pub mod case;
mod client;
pub mod executions;
pub mod fault;
pub mod flows;
mod log_types;
pub mod markets;
pub mod parse;
pub mod reconcile;
pub mod sign;
pub mod state;
pub mod streams;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use secrecy::ExposeSecret;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::{Bybit, instruments, klines, tickers};
pub use sign::READS;

use self::executions::{INVERSE_FORCED, LINEAR_FORCED, SPOT_FILLS};
use self::flows::{DEPOSITS, INTERNAL_DEPOSITS, TRANSFERS, WITHDRAWALS};
use self::markets::{Category, Markets};
use self::parse::LOG;
use self::streams::{FEEDS, Feed, HORIZON_MILLIS, Reply, TokenCursor};
use super::holdings::Holdings;
use super::paging::{cursor, stored};
use super::{Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, hmac};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

/// The wallet that trades.
const UNIFIED: &str = "unified";
/// The wallet that money comes to and leaves from.
const FUNDING: &str = "funding";
/// How long an address that asked too often is refused.
const BAN: Duration = Duration::from_secs(600);

static HOST: Host = Host {
    setting: "CODASH_VENUE_BYBIT_URL",
    usual: "https://api.bybit.com",
    budget: 600,
    per: Duration::from_secs(5),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Bybit,
    title: "Bybit",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make a system-generated (HMAC) API key of your unified account, choose \"Read-Only\", and tick \
                     everything under Unified Trading and Wallet except Withdrawal. A key bound to our address does \
                     not expire.",
    attestation: "Bybit states whether the key is read-only: it must be, and it must not list the right to withdraw.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| Ok(Arc::new(Bybit::new(venues.clone(), credentials)?)),
    read_case: case::read,
};

const NOT_COVERED: [&str; 4] = [
    "earn, copy trading, bots, crypto loans and everything else outside the unified and the funding wallet",
    "conversions, interest and card or fiat payments inside the funding wallet, and its transfers to and from \
     sub-accounts",
    "sub-accounts, each of which has keys of its own",
    "records from before the account became unified, or older than two years",
];
const NOT_COVERED_IN_FIRST_GENERATION: &str =
    "inverse contracts, which an account of the first unified generation keeps in a wallet of its own";

/// Pages of positions in a snapshot; far more than anyone can hold.
const POSITION_PAGES: usize = 50;

impl Bybit {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret) = credentials.key_and_secret("bybit")?;
        if secret.expose_secret().contains("-----BEGIN") {
            return Err(VenueError::KeyRefused { reason: "only HMAC keys are supported, not RSA".into() });
        }
        let owner = hmac::key_name(&key);
        Ok(Self { venues, key, secret, owner })
    }

    async fn rights(&self) -> Result<state::Rights, VenueError> {
        state::rights(&self.signed("/v5/user/query-api", &[]).await?)
    }

    async fn feed_page(&self, feed: &'static Feed, kept: &Value) -> Result<Page, VenueError> {
        let now = self.server_now().await?.millis();
        let at = cursor(kept, || TokenCursor::from_horizon(now))?.renewed(now);
        let window = at.time.window(feed.window, now);
        let mut params: Vec<(&str, String)> =
            feed.params.iter().map(|(name, value)| (*name, (*value).into())).collect();
        params.push(("startTime", window.from.to_string()));
        params.push(("endTime", window.to.to_string()));
        params.push(("limit", feed.limit.to_string()));
        if let Some(token) = &at.token {
            params.push(("cursor", token.clone()));
        }
        let reply = match self.signed(feed.path, &params).await {
            Ok(body) => wire::listing(feed.path, &body)?,
            // A sub-account cannot withdraw, so it may not ask what it withdrew.
            Err(VenueError::PermissionMissing { .. })
                if feed.stream == WITHDRAWALS && !self.rights().await?.is_main =>
            {
                wire::Listing::default()
            }
            Err(error) => return Err(error),
        };
        let parsed = self.parsed(feed.stream, &reply.rows).await?;
        let mut page = Page { parsed, ..Page::default() };
        let times = wire::instants(&reply.rows, feed.time);
        let came = Reply { rows: reply.rows.len(), times: &times, next: reply.next };
        streams::after(&mut page, feed, &at, window, now, came)?;
        Ok(page)
    }

    /// What the records of a stream mean, at the prices that they turn out to need.
    async fn parsed(&self, stream: &str, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            LINEAR_FORCED => Ok(executions::forced(rows, Category::Linear)),
            INVERSE_FORCED => Ok(executions::forced(rows, Category::Inverse)),
            SPOT_FILLS => {
                let markets = if rows.is_empty() { Arc::new(Markets::default()) } else { self.markets().await? };
                self.priced(|prices| executions::executions(rows, Some("spot"), &markets, prices)).await
            }
            LOG => self.priced(|prices| parse::log(rows, prices)).await,
            DEPOSITS => self.priced(|prices| flows::deposits(rows, prices)).await,
            INTERNAL_DEPOSITS => self.priced(|prices| flows::internal_deposits(rows, prices)).await,
            WITHDRAWALS => self.priced(|prices| flows::withdrawals(rows, prices)).await,
            TRANSFERS => self.priced(|prices| flows::transfers(rows, prices)).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn priced(&self, parse: impl Fn(&dyn Prices) -> Parsed) -> Result<Parsed, VenueError> {
        let needed = needs(&parse);
        let book = if needed.is_empty() { PriceBook::default() } else { self.minute_prices(needed).await? };
        Ok(parse(&book))
    }

    /// All open positions of a product, with the category that the reply names.
    async fn positions(
        &self,
        category: &'static str,
        settle: Option<&'static str>,
    ) -> Result<Vec<Box<RawValue>>, VenueError> {
        const PATH: &str = "/v5/position/list";
        let (mut rows, mut token) = (Vec::new(), None::<String>);
        for _ in 0..POSITION_PAGES {
            let mut params = vec![("category", category.to_owned()), ("limit", "200".to_owned())];
            params.extend(settle.map(|coin| ("settleCoin", coin.to_owned())));
            params.extend(token.clone().map(|token| ("cursor", token)));
            let page = wire::listing(PATH, &self.signed(PATH, &params).await?)?;
            let is_last = page.rows.is_empty() || page.next.is_none() || page.next == token;
            rows.extend(page.rows);
            if is_last {
                return Ok(rows);
            }
            token = page.next;
        }
        Err(VenueError::unreadable(PATH, "the pages do not end"))
    }

    /// Balances of both wallets and positions of all products.
    async fn holdings(&self, now: Timestamp) -> Result<(Holdings, PriceBook), VenueError> {
        let wallet = self.signed("/v5/account/wallet-balance", &[("accountType", "UNIFIED".into())]).await?;
        let fund = [("accountType", "FUND".to_owned())];
        let fund = self.signed("/v5/asset/transfer/query-account-coins-balance", &fund).await?;
        let held = [
            ("linear", self.positions("linear", Some("USDT")).await?),
            ("linear", self.positions("linear", Some("USDC")).await?),
            ("inverse", self.positions("inverse", None).await?),
            ("option", self.positions("option", None).await?),
        ];
        let read = |prices: &dyn Prices| -> Result<Holdings, VenueError> {
            let mut all = state::wallet(&wallet, prices, now)?;
            let positions = held.iter().map(|(category, rows)| state::positions(rows, Some(category), prices, now));
            for part in std::iter::once(state::funding(&fund, prices, now)?).chain(positions) {
                all.join(part);
            }
            Ok(all)
        };
        let assets = assets_needed(read);
        let book = self.prices_now(&assets).await?;
        Ok((read(&book)?, book))
    }
}

#[async_trait]
impl VenueAccount for Bybit {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = self.rights().await?;
        if !rights.excess.is_empty() {
            return Ok(Attestation::TooPowerful { rights: rights.excess });
        }
        let generation = state::generation(&self.signed("/v5/account/info", &[]).await?)?;
        if rights.is_unified == Some(false) || generation < 3 {
            let reason = "this is no unified account; upgrade it at Bybit first".to_owned();
            return Ok(Attestation::NotAnAccount { reason });
        }
        let mut not_covered: Vec<String> = NOT_COVERED.map(Into::into).into();
        if matches!(generation, 3 | 4) {
            not_covered.push(NOT_COVERED_IN_FIRST_GENERATION.into());
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: UNIFIED.into(),
            not_covered,
            key_expires_at: rights.expires_at,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        FEEDS.iter().map(|feed| feed.stream.into()).collect()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let feed = streams::feed(stream)?;
        let oldest = Timestamp::from_millis((self.venues.clock.now().millis() - HORIZON_MILLIS).max(0));
        Some(StreamPlan {
            stream: stream.into(),
            order: feed.order,
            horizon: oldest.map(|oldest| (oldest, feed.horizon)),
            every: Duration::from_secs(feed.minutes * 60),
        })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match streams::feed(stream) {
            Some(feed) => self.feed_page(feed, cursor).await,
            None => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        streams::feed(stream).map(|_| stored(&TokenCursor::starting_at(from.millis())))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        self.parsed(stream, records).await
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let now = self.server_now().await?;
        let (holdings, book) = self.holdings(now).await?;
        // Every stream is read from the start: none is revealed by what is held.
        Ok((holdings.into_snapshot("the balances", now, &book)?, vec![]))
    }
}

#[cfg(test)]
mod tests;
