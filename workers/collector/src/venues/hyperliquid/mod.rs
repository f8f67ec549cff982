//! Hyperliquid: the address of a wallet, sub-account or vault, no key, and one endpoint that only
//! reads. To ask for another type, list it in [`READS`].
//!
//! Each address is an account of its own: a master's sub-accounts are named, not read, so that
//! nothing is counted twice whichever of them are attached.

pub mod case;
pub mod client;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod parse;
pub mod roles;
pub mod state;
pub mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codash_domain::{Assurance, Snapshot, Standing, Timestamp, Venue};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use self::client::{Hyperliquid, too_many_requests};
use self::ledger::LEDGER;
use self::parse::{FILLS, FUNDING, NAV, SpotMarkets};
use self::roles::UserRole;
use self::state::{Account, Clearinghouse, Dex};
use self::streams::HistoryCursor;
use super::paging::{Span, cursor, stored, times};
use super::reads::Read;
use super::wire::read;
use super::{Attestation, Definition, Host, Needs, Page, Parsed, StreamPlan, VenueAccount};
use crate::error::VenueError;
use crate::pricing::{PriceBook, Prices, needs};

/// Everything that is ever sent, by the `type` in the body of `POST /info`: reads, all of them. The
/// rest is refused.
pub const READS: &[Read] = &[
    Read::post("/info/userRole", "whose address it is"),
    Read::post("/info/subAccounts", "the sub-accounts of a master"),
    Read::post("/info/vaultDetails", "the vaults that trade for a vault"),
    Read::post("/info/userAbstraction", "whether spot and perpetual balances are joined"),
    Read::post("/info/perpDexs", "the builder-deployed exchanges"),
    Read::post("/info/meta", "the collateral of an exchange"),
    Read::post("/info/clearinghouseState", "perpetual balances and positions"),
    Read::post("/info/spotClearinghouseState", "spot balances"),
    Read::post("/info/delegatorSummary", "staked HYPE"),
    Read::post("/info/userFillsByTime", "fills"),
    Read::post("/info/userFunding", "funding"),
    Read::post("/info/userNonFundingLedgerUpdates", "deposits, withdrawals and transfers"),
    Read::post("/info/portfolio", "equity at past instants"),
    Read::post("/info/userVaultEquities", "deposits in vaults"),
    Read::post("/info/allMids", "prices of now"),
    Read::post("/info/spotMeta", "spot markets"),
    Read::post("/info/candleSnapshot", "prices of past minutes"),
];

static HOST: Host = Host {
    setting: "CODASH_VENUE_HYPERLIQUID_URL",
    usual: "https://api.hyperliquid.xyz",
    budget: 1200,
    per: Duration::from_secs(60),
};

pub static DEFINITION: Definition = Definition {
    venue: Venue::Hyperliquid,
    title: "Hyperliquid",
    needs: Needs::Address,
    how_to_connect: "Give the address of the account, sub-account or vault. No key is needed, none can leak.",
    attestation: "An address can do nothing.",
    hosts: &[HOST],
    reads: READS,
    connect: |venues, credentials| {
        Ok(Arc::new(Hyperliquid::new(venues.clone(), &credentials.address("hyperliquid")?)?))
    },
    read_case: case::read,
};

/// What is not read of any account.
const NOT_COVERED: [&str; 3] = [
    "fills before the newest 10000",
    "balances on HyperEVM, on their way from it, and on other chains",
    "staking rewards and interest as events of their own; they are in the equity",
];

/// A stream that is read by time: its type, the most rows in a reply, the rows that cost one more,
/// and whether the venue keeps the whole history.
struct History {
    kind: &'static str,
    limit: usize,
    rows_a_weight: usize,
    keeps_all: bool,
}

fn history(stream: &str) -> Option<History> {
    let (kind, limit, rows_a_weight, keeps_all) = match stream {
        FILLS => ("userFillsByTime", streams::FILLS_LIMIT, 20, false),
        FUNDING => ("userFunding", streams::LIMIT, 20, true),
        LEDGER => ("userNonFundingLedgerUpdates", streams::LIMIT, 1, true),
        _ => return None,
    };
    Some(History { kind, limit, rows_a_weight, keeps_all })
}

impl Hyperliquid {
    async fn history(&self, stream: &str, history: &History, stored: &Value) -> Result<Page, VenueError> {
        let user = self.holder().await?;
        let now = self.venues.clock.now().millis();
        let at = cursor(stored, HistoryCursor::start)?;
        let window: Span = at.time.window(i64::MAX, now);
        let asked = json!({ "user": user, "startTime": window.from, "endTime": window.to });
        let rows = self.list(history.kind, asked, history.rows_a_weight).await?;
        match stream {
            LEDGER => self.learn_dexes(&user, ledger::dexes(&rows)),
            _ => self.learn_dexes(&user, parse::dexes(&rows)),
        }
        let parsed = self.parsed(stream, &rows, &user).await?;
        let mut page = Page { parsed, not_before: Timestamp::from_millis(window.from), ..Page::default() };
        streams::after(&mut page, &at, window, now, &times(&rows), (history.limit, history.keeps_all))?;
        Ok(page)
    }

    /// Records of a stream of `user`, with the prices that they turn out to need.
    async fn parsed(&self, stream: &str, rows: &[Box<RawValue>], user: &str) -> Result<Parsed, VenueError> {
        match stream {
            FILLS => self.priced_fills(rows, user, &self.spot_meta().await?.markets).await,
            FUNDING => Ok(parse::funding(rows, &PriceBook::default())),
            LEDGER => {
                let parse = |prices: &dyn Prices| ledger::ledger(rows, user, prices);
                Ok(parse(&self.minute_prices(needs(parse), &self.spot_meta().await?.markets).await?))
            }
            _ => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    async fn priced_fills(&self, rows: &[Box<RawValue>], user: &str, spot: &SpotMarkets) -> Result<Parsed, VenueError> {
        let parse = |prices: &dyn Prices| parse::fills(rows, user, spot, prices);
        let mut book = self.minute_prices(needs(parse), spot).await?;
        for (token, at, price) in parse::own_prices(rows, spot) {
            if book.usd(&token, at).is_none() {
                book.insert(&token, at, price);
            }
        }
        Ok(parse(&book))
    }

    /// Equity at past instants, as the venue states it.
    async fn nav(&self) -> Result<Page, VenueError> {
        let user = self.holder().await?;
        let now = self.venues.clock.now();
        let nav_points = state::nav_history(&self.info("portfolio", json!({ "user": user })).await?)?;
        Ok(Page { nav_points, cursor: json!({ "readAt": now.millis() }), ..Page::default() })
    }

    async fn clearinghouse(&self, user: &str, dex: &str) -> Result<Clearinghouse, VenueError> {
        let asked = match dex.is_empty() {
            true => json!({ "user": user }),
            false => json!({ "user": user, "dex": dex }),
        };
        read("clearinghouseState", &self.info("clearinghouseState", asked).await?)
    }

    /// The main exchange, and the others where something is or may be held.
    async fn perps(&self, user: &str) -> Result<Vec<Dex>, VenueError> {
        let mut perps = vec![Dex::main(self.clearinghouse(user, "").await?)];
        let (names, all) = self.dexes_to_ask(user).await?;
        let mut held = BTreeSet::new();
        for name in names {
            let state = self.clearinghouse(user, &name).await?;
            if !state.is_empty() {
                held.insert(name.clone());
                let collateral = self.collateral(&name).await?;
                perps.push(Dex { name, state, collateral });
            }
        }
        if all {
            self.swept_dexes(user, held);
        }
        Ok(perps)
    }

    async fn read_snapshot(&self) -> Result<Snapshot, VenueError> {
        let user = self.holder().await?;
        let asked = json!({ "user": user });
        let meta = self.spot_meta().await?;
        let now = self.venues.clock.now();
        let account = Account {
            perps: self.perps(&user).await?,
            spot: read("spotClearinghouseState", &self.info("spotClearinghouseState", asked.clone()).await?)?,
            abstraction: self.abstraction(&user).await?,
        };
        let vaults = self.info("userVaultEquities", asked).await?;
        let staked = self.staked(&user, account.spot.total_of(state::STAKED)).await?;
        let mids = state::mids(&self.info("allMids", json!({})).await?)?;
        let prices = state::token_prices(&mids, &meta.markets);
        let mut holdings = account.holdings(&prices, now);
        state::add_vaults(&mut holdings, &vaults)?;
        state::add_staked(&mut holdings, staked, &prices, now);
        holdings.into_snapshot("the balances", now, &prices)
    }

    /// What kind of account it is, and what belongs to it but is not read with it.
    async fn standing(&self, role: &UserRole) -> Result<(&'static str, Vec<String>), VenueError> {
        Ok(match role {
            UserRole::Vault => {
                let asked = json!({ "vaultAddress": self.address });
                let vault = roles::vault(&self.info("vaultDetails", asked).await?)?;
                let children = vault.map(|vault| vault.children).unwrap_or_default();
                let child =
                    |child: &String| format!("the vault {child}, which trades for this one: attach it by its address");
                let mut missing: Vec<String> = children.iter().map(child).collect();
                missing.push(
                    "whose money it is: the equity is that of all depositors, and the share of an attached wallet \
                     counts there too"
                        .into(),
                );
                ("vault", missing)
            }
            UserRole::SubAccount { master } => {
                let master =
                    master.as_ref().map(|master| format!("its master account ({master}): attach it by its address"));
                ("sub_account", master.into_iter().collect())
            }
            UserRole::Agent { user } => {
                let mut missing =
                    vec![format!("the agent's own address, which holds nothing: its user {user} is read")];
                missing.extend(self.sub_accounts(user).await?);
                ("wallet", missing)
            }
            UserRole::User | UserRole::Missing => ("wallet", self.sub_accounts(&self.address).await?),
        })
    }

    async fn sub_accounts(&self, master: &str) -> Result<Vec<String>, VenueError> {
        let subs = roles::sub_accounts(&self.info_or_null("subAccounts", json!({ "user": master })).await?)?;
        let told =
            |(name, address): (String, String)| format!("sub-account {name:?} ({address}): attach it by its address");
        Ok(subs.into_iter().map(told).collect())
    }
}

#[async_trait]
impl VenueAccount for Hyperliquid {
    async fn attest(&self) -> Result<Attestation, VenueError> {
        let role = self.role().await?;
        if role == UserRole::Missing {
            let reason = "Hyperliquid has never seen an account at this address".into();
            return Ok(Attestation::NotAnAccount { reason });
        }
        let (kind, mut not_covered) = self.standing(&role).await?;
        not_covered.extend(NOT_COVERED.map(Into::into));
        let assurance = Assurance::Keyless;
        Ok(Attestation::Accepted(Standing { assurance, kind: kind.into(), not_covered, key_expires_at: None }))
    }

    fn initial_streams(&self) -> Vec<String> {
        [FILLS, FUNDING, NAV, LEDGER].map(Into::into).into()
    }

    fn plan(&self, stream: &str) -> Option<StreamPlan> {
        let (order, minutes) = match stream {
            FILLS => (0, 1),
            FUNDING => (1, 10),
            NAV => (2, 24 * 60),
            LEDGER => (3, 10),
            _ => return None,
        };
        // Only the newest 10000 fills exist; how far back they reach shows in the coverage.
        Some(StreamPlan { stream: stream.into(), order, horizon: None, every: Duration::from_secs(minutes * 60) })
    }

    async fn page(&self, stream: &str, cursor: &Value) -> Result<Page, VenueError> {
        match history(stream) {
            Some(history) => self.history(stream, &history, cursor).await,
            None if stream == NAV => self.nav().await,
            None => Err(VenueError::unreadable(stream, "no such stream")),
        }
    }

    fn again(&self, stream: &str, from: Timestamp) -> Option<Value> {
        history(stream).map(|_| stored(&HistoryCursor::again(from.millis())))
    }

    async fn reread(&self, stream: &str, records: &[Box<RawValue>]) -> Result<Parsed, VenueError> {
        self.parsed(stream, records, &self.holder().await?).await
    }

    async fn snapshot(&self) -> Result<(Snapshot, Vec<String>), VenueError> {
        Ok((self.read_snapshot().await?, vec![]))
    }
}

#[cfg(test)]
mod tests;
