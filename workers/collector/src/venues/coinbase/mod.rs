//! Coinbase: Advanced Trade, with the US futures wallet (CFM) and perpetuals (INTX), and the wallets'
//! own transactions. To read another endpoint, list it in [`sign::READS`].
//!
//! A key is bound to one portfolio. Fills carry fees; PnL and funding of futures are in no record
//! that a key can read, and are said to be missing.

pub mod case;
mod client;
mod der;
pub mod derivatives;
pub mod fault;
pub mod markets;
pub mod parse;
pub mod sign;
pub mod state;
pub mod streams;

use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use client::Coinbase;
pub use sign::READS;

use self::parse::{FILLS, TRANSACTIONS};
use self::streams::WalletCursor;
use super::holdings::Holdings;
use super::paging::{self, PagedCursor, Span, cursor};
use super::wire::{Text, filled, read};
use super::{
    Attestation, Credentials, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount, Venues, family,
};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, assets_needed, needs};

static HOST: Host = Host {
    setting: "CODASH_VENUE_COINBASE_URL",
    usual: "https://api.coinbase.com",
    // Public reads; a key's own are metered by the key.
    budget: 10,
    per: Duration::from_secs(1),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Coinbase,
    title: "Coinbase",
    needs: Needs::KeyAndSecret,
    how_to_connect: "Make a secret API key in the Coinbase Developer Platform, for the portfolio to be read, and leave only \"View\" on. The key's name (organizations/…/apiKeys/…) is the key, its private key the secret.",
    attestation: "Coinbase states what the key can do: viewing must be on; trading, transferring and any right that we do not know must be off.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| Ok(std::sync::Arc::new(Coinbase::new(venues.clone(), credentials)?)),
    read_case: case::read,
};

const NOT_COVERED: [&str; 6] = [
    "other portfolios: a key is bound to one, attach each with a key of its own",
    "profit and loss, funding and liquidations of futures and perpetuals: Coinbase states them in no record that a key can read; equity, positions and the fees of fills are read",
    "transfers inside the perpetuals portfolio; what moves between it and the wallets is read there",
    "transactions that stay pending for longer than 45 days",
    "Coinbase Exchange, Prime, and wallets outside of Coinbase (Base app)",
    "dollar values of assets that have no dollar market at Coinbase any more",
];

impl Coinbase {
    /// An account of one key. Nothing is sent.
    pub fn new(venues: Venues, credentials: Credentials) -> Result<Self, VenueError> {
        let (name, secret) = credentials.key_and_secret("coinbase")?;
        if !sign::is_key_name(&name) {
            let reason = "the key's name looks like organizations/…/apiKeys/…; older keys are not supported";
            return Err(VenueError::KeyRefused { reason: reason.into() });
        }
        Ok(Self { venues, name, key: sign::Key::read(&secret)? })
    }

    async fn fills(&self, stored: &Value) -> Result<Page, VenueError> {
        const PATH: &str = "/api/v3/brokerage/orders/historical/fills";
        let now = self.server_now().await?.millis();
        let at = cursor(stored, || PagedCursor::starting_at(0))?;
        let window = streams::fills_window(&at, now);
        let (from, to) = asked_span(window);
        let mut params = vec![
            ("start_sequence_timestamp", from),
            ("end_sequence_timestamp", to),
            ("limit", streams::FILLS_LIMIT.to_string()),
        ];
        params.extend(at.next.clone().map(|token| ("cursor", token)));
        let (rows, next) = fill_rows(PATH, &self.signed(PATH, &params).await?)?;
        let parsed = self.priced_fills(&rows).await?;
        let times: Vec<i64> = parsed.records.iter().map(|record| record.event.occurred_at.millis()).collect();
        let mut page = Page { parsed, ..Page::default() };
        at.turn(&mut page, PATH, (window, now), &times, streams::next_fills(next, rows.len()))?;
        Ok(page)
    }

    async fn priced_fills(&self, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let products = parse::products_of(rows);
        let contracts = match products.iter().any(|product| product.ends_with("-CDE")) {
            true => self.contracts(&products).await?,
            false => Default::default(),
        };
        let parse = |prices: &dyn Prices| parse::fills(rows, &contracts, prices);
        let book = self.minute_prices(needs(parse)).await?;
        Ok(parse(&book))
    }

    async fn transactions(&self, wallet: &str, stored: &Value) -> Result<Page, VenueError> {
        let path = format!("/v2/accounts/{wallet}/transactions");
        let now = self.server_now().await?.millis();
        let at = cursor(stored, WalletCursor::default)?;
        let mut params = vec![("limit", streams::TRANSACTIONS_LIMIT.to_string()), ("order", "asc".into())];
        params.extend(at.after.clone().map(|id| ("starting_after", id)));
        let (rows, is_last) = transaction_rows(&path, &self.signed(&path, &params).await?)?;
        let parsed = self.priced_transactions(&rows).await?;
        let steps = parse::steps(&rows);
        if steps.len() < rows.len() && !is_last && steps.is_empty() {
            return Err(VenueError::unreadable(&path, "a page of transactions without ids"));
        }
        let mut page = Page { parsed, ..Page::default() };
        streams::after_transactions(&mut page, &at, now, &steps, is_last)?;
        Ok(page)
    }

    async fn priced_transactions(&self, rows: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        let parse = |prices: &dyn Prices| parse::transactions(rows, prices);
        let book = self.minute_prices(needs(parse)).await?;
        Ok(parse(&book))
    }

    /// The replies that a snapshot is made of.
    async fn parts(&self) -> Result<Parts, VenueError> {
        let (uuid, kind) = self.portfolio().await?;
        let is_intx = kind.as_deref() == Some("INTX");
        let path = format!("/api/v3/brokerage/portfolios/{uuid}");
        let portfolio = self.signed(&path, &[("currency", "USD".into())]).await?;
        let accounts = self.accounts().await?;
        let now = self.server_now().await?;
        let told = state::breakdown(&portfolio, &PriceBook::default(), now)?;
        // Accounts without the product are refused there, so only who has some is asked about.
        let cfm = match told.has_futures {
            true => Some((
                self.signed("/api/v3/brokerage/cfm/balance_summary", &[]).await?,
                self.signed("/api/v3/brokerage/cfm/positions", &[]).await?,
            )),
            false => None,
        };
        let intx = match is_intx || told.has_perpetuals {
            true => Some((
                self.signed(&format!("/api/v3/brokerage/intx/balances/{uuid}"), &[]).await?,
                self.signed(&format!("/api/v3/brokerage/intx/positions/{uuid}"), &[]).await?,
            )),
            false => None,
        };
        let contracts = match cfm {
            Some(_) => self.contracts(&Default::default()).await?,
            None => Default::default(),
        };
        Ok(Parts { now, portfolio, accounts, cfm, intx, contracts, is_intx })
    }

    async fn accounts(&self) -> Result<Vec<String>, VenueError> {
        const PATH: &str = "/api/v3/brokerage/accounts";
        let (mut pages, mut after) = (vec![], None::<String>);
        loop {
            let mut params = vec![("limit", "250".to_owned())];
            params.extend(after.clone().map(|token| ("cursor", token)));
            let body = self.signed(PATH, &params).await?;
            let (_, next) = state::accounts(&body, &PriceBook::default(), self.venues.clock.now())?;
            pages.push(body);
            match next {
                Some(next) if Some(&next) == after.as_ref() => {
                    return Err(VenueError::unreadable(PATH, "a cursor that does not advance"));
                }
                Some(next) => after = Some(next),
                None => return Ok(pages),
            }
        }
    }
}

/// The replies that a snapshot is made of.
struct Parts {
    now: Timestamp,
    portfolio: String,
    accounts: Vec<String>,
    /// Balance and positions of the US futures wallet.
    cfm: Option<(String, String)>,
    /// Balances and positions for perpetuals.
    intx: Option<(String, String)>,
    contracts: markets::Contracts,
    is_intx: bool,
}

impl Parts {
    /// Balances and positions as read, and the equity as the venue states it.
    fn holdings(&self, prices: &dyn Prices) -> Result<Holdings, VenueError> {
        let now = self.now;
        let mut all = Holdings::default();
        for page in &self.accounts {
            take(&mut all, state::accounts(page, prices, now)?.0);
        }
        if let Some((balance, positions)) = &self.cfm {
            take(&mut all, derivatives::cfm_balance(balance, prices, now)?);
            take(&mut all, derivatives::cfm_positions(positions, &self.contracts, prices, now)?);
        }
        // A position that was left out for want of a price must show, a balance's worth need not.
        let mut unpriced = vec![];
        if let Some((balances, positions)) = &self.intx {
            // What is pledged is among the accounts too.
            all.balances.retain(|balance| balance.wallet != "intx");
            take(&mut all, derivatives::intx_balances(balances, prices, now)?);
            let open = derivatives::intx_positions(positions, prices, now)?;
            unpriced.clone_from(&open.unpriced);
            take(&mut all, open);
        }
        let stated = state::breakdown(&self.portfolio, prices, now)?.holdings;
        unpriced.extend(stated.unpriced);
        Ok(Holdings { nav_usd: stated.nav_usd, unpriced, ..all })
    }
}

/// Adds a part, all but its equity, which the venue states as a whole.
fn take(all: &mut Holdings, part: Holdings) {
    all.balances.extend(part.balances);
    all.positions.extend(part.positions);
    all.unreadable.extend(part.unreadable);
}

/// A window as the venue is asked for it: the end is exclusive there.
fn asked_span(window: Span) -> (String, String) {
    (Timestamp::nearest(window.from).to_string(), Timestamp::nearest(window.to + 1).to_string())
}

/// A page of fills, and where the next one starts.
fn fill_rows(endpoint: &str, body: &str) -> Result<(Vec<Box<RawValue>>, Option<String>), VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        fills: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "filled")]
        cursor: Option<Text>,
    }
    let reply: Reply = read(endpoint, body)?;
    Ok((reply.fills, reply.cursor.map(|cursor| cursor.0)))
}

/// A page of transactions, and whether it is the last.
fn transaction_rows(endpoint: &str, body: &str) -> Result<(Vec<Box<RawValue>>, bool), VenueError> {
    #[derive(Deserialize)]
    struct Reply {
        data: Vec<Box<RawValue>>,
        #[serde(default, deserialize_with = "filled")]
        pagination: Option<state::Pagination>,
    }
    let reply: Reply = read(endpoint, body)?;
    let pagination = reply.pagination.unwrap_or_default();
    if pagination.order.as_deref() == Some("desc") {
        // Going on after the oldest of these would lose all that is newer.
        return Err(VenueError::unreadable(endpoint, "asked for the oldest first, the venue gave the newest"));
    }
    let is_last = pagination.next_uri.is_none() && reply.data.len() < streams::TRANSACTIONS_LIMIT;
    Ok((reply.data, is_last))
}

#[async_trait]
impl VenueAccount for Coinbase {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let rights = self.rights().await?;
        if let Some(refusal) = Attestation::refusal(rights.excess, &rights.missing)? {
            return Ok(refusal);
        }
        let kind = match rights.portfolio_type.as_deref() {
            Some("INTX") => "perpetuals_portfolio",
            Some("CONSUMER") => "consumer_portfolio",
            _ => "portfolio",
        };
        Ok(Attestation::Accepted(Standing {
            assurance: Assurance::ReadOnly,
            kind: kind.into(),
            not_covered: NOT_COVERED.map(Into::into).into(),
            key_expires_at: None,
        }))
    }

    fn initial_streams(&self) -> Vec<String> {
        vec![FILLS.into()]
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let (order, minutes) = match family(stream) {
            (FILLS, None) => (0, 1),
            (TRANSACTIONS, Some(wallet)) if !wallet.is_empty() => (1, 30),
            _ => return None,
        };
        // Coinbase keeps everything.
        Some(StreamPlan { stream: stream.into(), order, horizon: None, every: Duration::from_secs(minutes * 60) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match family(stream) {
            (FILLS, None) => self.fills(cursor).await,
            (TRANSACTIONS, Some(wallet)) => self.transactions(wallet, cursor).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        // Wallets are read anew from their anchor every time.
        (stream == FILLS).then(|| paging::stored(&PagedCursor::starting_at(from.millis())))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        match stream {
            FILLS => self.priced_fills(records).await,
            TRANSACTIONS => self.priced_transactions(records).await,
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        let parts = self.parts().await?;
        let assets = assets_needed(|prices| parts.holdings(prices));
        let book = self.prices_now(&assets).await?;
        let snapshot = parts.holdings(&book)?.into_snapshot("the balances", parts.now, &book)?;
        // The perpetuals portfolio has no wallets of the older API.
        let wallets = if parts.is_intx { Default::default() } else { self.wallets().await? };
        let streams = wallets.iter().map(|wallet| format!("{TRANSACTIONS}:{wallet}"));
        Ok((snapshot, streams.collect()))
    }
}

#[cfg(test)]
mod tests;
