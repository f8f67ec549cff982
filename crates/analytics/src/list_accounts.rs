//! Which accounts can this key see?

use codash_domain::{AccountId, AccountStatus, PortfolioId, Timestamp, Usd, Venue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{Ctx, Error};

#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub count: usize,
    pub accounts: Vec<Account>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub venue: Venue,
    /// The currency that values are shown in.
    pub denomination: &'static str,
    /// The portfolio group that it is in.
    pub portfolio_id: Option<PortfolioId>,
    pub tags: Vec<String>,
    pub is_active: bool,
    /// pending, connected, degraded (some records unreadable) or error (the venue refuses the key).
    pub status: AccountStatus,
    /// What is wrong, when status is degraded or error.
    pub status_detail: Option<String>,
    /// NAV of the newest snapshot; null before the first, and of a removed account.
    pub last_balance_usd: Option<Usd>,
    pub last_checked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Counts the changes of its owner; the entity tag of the account.
    pub version: i64,
    /// Removed accounts alone: since then nothing is collected, and its past stays in windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

/// As REST asks it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestQuery {
    /// List removed accounts too; they have removedAt.
    #[serde(default)]
    pub include_removed: bool,
}

/// As [`answer`], with removed accounts when they are asked for.
pub async fn listed(ctx: &Ctx<'_>, query: RestQuery) -> Result<Answer, Error> {
    if !query.include_removed {
        return answer(ctx, Query {}).await;
    }
    let mut session = ctx.store.read(ctx.grant).begin().await?;
    let accounts = session.accounts().await?;
    session.finish().await?;
    let accounts: Vec<Account> = accounts.into_iter().map(Account::from).collect();
    Ok(Answer { count: accounts.len(), accounts })
}

pub async fn answer(ctx: &Ctx<'_>, _query: Query) -> Result<Answer, Error> {
    let accounts = ctx.store.read(ctx.grant).accounts().await?;
    let accounts: Vec<Account> = accounts.into_iter().map(Account::from).collect();
    Ok(Answer { count: accounts.len(), accounts })
}

impl From<codash_store::accounts::Account> for Account {
    fn from(row: codash_store::accounts::Account) -> Self {
        Self {
            id: row.id,
            name: row.name,
            venue: row.venue,
            denomination: "USD",
            portfolio_id: row.portfolio_id,
            tags: row.tags,
            is_active: row.is_active,
            status: row.status,
            status_detail: row.status_detail,
            last_balance_usd: row.last_nav_usd,
            last_checked_at: row.last_checked_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
            removed_at: row.removed_at,
        }
    }
}
