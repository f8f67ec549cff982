//! Bitget: spot wallet and futures of the classic account. To read another endpoint, list it in
//! [`sign::READS`].

pub mod bills;
pub mod case;
mod client;
pub mod fault;
pub mod markets;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use secrecy::ExposeSecret;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::Bitget;
pub use sign::READS;

use self::bills::{FUTURES_BILLS, SPOT_BILLS};
use self::parse::{FUTURES_FILLS, SPOT_FILLS};
use self::streams::{HORIZON_MILLIS, PRODUCTS};
use super::holdings::Holdings;
use super::paging::{self, PagedCursor, cursor};
use super::{Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues};
use crate::error::VenueError;
use crate::pricing::{Prices, assets_needed, needs};

static HOST: Host = Host {
    setting: "CODASH_VENUE_BITGET_URL",
    usual: "https://api.bitget.com",
    budget: 6000,
    per: Duration::from_secs(60),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Bitget,
    title: "Bitget",
    needs: Needs::KeySecretAndPassphrase,
    how_to_connect: "Make a system-generated API key in API Management with the permission \"Read-only\" for spot and futures, and note its passphrase.",
    attestation: "Bitget lists the rights of the key: each must be one that is known to read only.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| Ok(std::sync::Arc::new(Bitget::new(venues.clone(), credentials)?)),
    read_case: case::read,
};

const NOT_COVERED: [&str; 4] = [
    "unified trading accounts (UTA): their records are kept at other endpoints, which are not read",
    "margin, earn, copy-trading, funding and loan wallets, and sub-accounts",
    "spot balances that copy trading restricts",
    "anything older than 90 days at the time the account was attached",
];

const HORIZON: &str = "Bitget gives out 90 days of history";

impl Bitget {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, credentials: Credentials) -> Result<Self, VenueError> {
        let (key, secret, passphrase) = credentials.with_passphrase("bitget")?;
        // It becomes a header.
        let phrase = passphrase.expose_secret();
        if phrase.is_empty() || !phrase.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(VenueError::KeyRefused { reason: "this is no passphrase".into() });
        }
        if secret.expose_secret().contains("-----BEGIN") {
            return Err(VenueError::KeyRefused { reason: "only HMAC keys are supported, not RSA".into() });
        }
        Ok(Self { venues, keys: sign::Keys { key, secret, passphrase } })
    }

    async fn read_page(&self, stream: &str, stored: &Value) -> Result<Page, VenueError> {
        let Some(source) = streams::source(stream) else {
            return Err(VenueError::unreadable(stream, "no such stream"));
        };
        let now = self.server_now().await?.millis();
        let at = cursor(stored, || streams::from_horizon(now))?;
        let window = streams::window(&at, source, now);
        let mut params = vec![
            ("startTime", window.from.to_string()),
            ("endTime", window.to.to_string()),
            ("limit", source.limit.to_string()),
        ];
        params.extend(source.product.map(|product| ("productType", product.to_owned())));
        params.extend(at.next.clone().map(|id| ("idLessThan", id)));
        let rows = state::rows(source.path, &self.signed(source.path, &params).await?)?;
        let parsed = self.priced(source.family, &rows).await?;
        let mut page = Page { parsed, ..Page::default() };
        let next = streams::next(source, rows.len(), parse::last_id(&rows))?;
        at.turn(&mut page, source.path, (window, now), &parse::times(&rows), next)?;
        Ok(page)
    }

    /// Parses a page with the prices that it turns out to need.
    async fn priced(&self, family: &str, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let markets = match family {
            SPOT_FILLS => self.markets().await?,
            _ => Default::default(),
        };
        let parse = |prices: &dyn Prices| match family {
            SPOT_FILLS => parse::spot_fills(rows, &markets, prices),
            SPOT_BILLS => bills::spot_bills(rows, prices),
            FUTURES_FILLS => parse::futures_fills(rows, prices),
            _ => bills::futures_bills(rows, prices),
        };
        let book = self.minute_prices(needs(parse)).await?;
        Ok(parse(&book))
    }

    /// The replies that a snapshot is made of: spot, then accounts and positions of each kind of futures.
    async fn parts(&self) -> Result<(Timestamp, String, Vec<(String, String)>), VenueError> {
        let spot = self.signed("/api/v2/spot/account/assets", &[]).await?;
        let mut futures = vec![];
        for product in PRODUCTS {
            let params = [("productType", product.to_owned())];
            let accounts = self.signed("/api/v2/mix/account/accounts", &params).await?;
            futures.push((accounts, self.signed("/api/v2/mix/position/all-position", &params).await?));
        }
        Ok((self.server_now().await?, spot, futures))
    }
}

fn holdings(
    spot: &str,
    futures: &[(String, String)],
    prices: &dyn Prices,
    now: Timestamp,
) -> Result<Holdings, VenueError> {
    let mut all = state::spot_assets(spot, prices, now)?;
    for (accounts, positions) in futures {
        for part in [state::futures_accounts(accounts, prices, now)?, state::futures_positions(positions, prices, now)?]
        {
            all.join(part);
        }
    }
    Ok(all)
}

#[async_trait]
impl VenueAccount for Bitget {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = state::rights(&self.signed("/api/v2/spot/account/info", &[]).await?)?;
        if let Some(refusal) = Attestation::refusal(rights.excess, &rights.missing)? {
            return Ok(refusal);
        }
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: "classic".into(),
            not_covered: NOT_COVERED.map(Into::into).into(),
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        [
            "futures.bills:USDT-FUTURES",
            "futures.bills:COIN-FUTURES",
            "futures.bills:USDC-FUTURES",
            "futures.fills:USDT-FUTURES",
            "futures.fills:COIN-FUTURES",
            "futures.fills:USDC-FUTURES",
            SPOT_BILLS,
            SPOT_FILLS,
        ]
        .map(Into::into)
        .into()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let source = streams::source(stream)?;
        let oldest = Timestamp::from_millis((self.venues.clock.now().millis() - HORIZON_MILLIS).max(0));
        let every = Duration::from_secs(if source.family == SPOT_BILLS { 300 } else { 120 });
        Some(StreamPlan {
            stream: stream.into(),
            order: source.order,
            horizon: oldest.map(|oldest| (oldest, HORIZON)),
            every,
        })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        self.read_page(stream, cursor).await
    }

    fn again(&self, _stream: &str, from: Timestamp) -> Option<Value> {
        Some(paging::stored(&PagedCursor::starting_at(from.millis())))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match [SPOT_FILLS, SPOT_BILLS, FUTURES_FILLS, FUTURES_BILLS].contains(&stream) {
            true => self.priced(stream, records).await,
            false => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let (now, spot, futures) = self.parts().await?;
        let assets = assets_needed(|prices| holdings(&spot, &futures, prices, now));
        let book = self.prices_now(&assets).await?;
        let snapshot = holdings(&spot, &futures, &book, now)?.into_snapshot("the balances", now, &book)?;
        Ok((snapshot, vec![]))
    }
}

#[cfg(test)]
mod tests;
