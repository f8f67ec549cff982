//! `/api/accounts/{id}…`: what owners do to an account. `docs/managing-accounts.md` says what each does to
//! its history.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::input::present;
use codash_analytics::list_accounts;
use codash_domain::{AccountId, PortfolioId, Scope, Timestamp, text};
use codash_store::manage::{AccountChange, NewCredential};
use codash_store::portfolios::Expected;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use validator::Validate;

use super::accounts::{Attach, attest, clean_tags, credentials, not_attached, secret, shown, visible_tags};
use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, MaybeJson, NoParams, Params, id, visible_name};
use super::success;
use super::versions::IfMatch;
use crate::app::App;
use crate::auth::Caller;

/// How long a caller waits for rows to be erased; what is left the collector takes away.
const ERASE_PATIENCE: Duration = Duration::from_secs(5);

/// What is left out stays as it is.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct ChangeAccount {
    /// 1 to 100 characters.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: Option<String>,
    /// Up to 20 labels of 1 to 50 characters; they replace the old ones.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(max = 20), custom(function = "visible_tags"))]
    pub tags: Option<Vec<String>>,
    /// The portfolio group to put it in; null: in none.
    #[serde(default, deserialize_with = "or_null")]
    #[schemars(schema_with = "id_or_null")]
    pub portfolio_id: Option<Option<PortfolioId>>,
    /// False pauses collection, true resumes it.
    #[serde(default, deserialize_with = "present")]
    pub is_active: Option<bool>,
}

/// Absent, null, or an id.
pub fn or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<PortfolioId>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub fn id_or_null(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "oneOf": [{ "type": "string", "format": "uuid" }, { "type": "null" }] })
}

pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    IfMatch(expected): IfMatch,
    _: NoParams,
    Json(wanted): Json<ChangeAccount>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let account: AccountId = id(&account)?;
    let change = AccountChange {
        name: wanted.name.map(|name| text::clean(&name, LONGEST_NAME)),
        tags: wanted.tags.map(|tags| clean_tags(&tags)),
        portfolio: wanted.portfolio_id,
        is_active: wanted.is_active,
    };
    if let AccountChange { name: None, tags: None, portfolio: None, is_active: None } = change {
        return Err(ApiError::invalid_request("nothing is to change: send name, tags, portfolioId or isActive"));
    }
    let changed = app.store.change_account(&caller.grant, account, &expected, &change, caller.by(&app)).await;
    Ok(shown(StatusCode::OK, changed.map_err(not_attached)?))
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sync {
    /// Read history again from here on, where the venue still gives it. Without it, what is new is read now.
    #[serde(default, deserialize_with = "present")]
    pub from: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Syncing {
    pub account: list_accounts::Account,
    /// Null: what is new is read.
    pub read_again_from: Option<Timestamp>,
}

pub async fn sync(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    _: NoParams,
    MaybeJson(Sync { from }): MaybeJson<Sync>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    if from.is_some_and(|from| from > app.clock.now()) {
        return Err(ApiError::invalid_field("from", "must not lie in the future"));
    }
    let account = app.store.sync_account(&caller.grant, id(&account)?, from, caller.by(&app)).await?;
    Ok(success(StatusCode::ACCEPTED, Syncing { account: account.into(), read_again_from: from }))
}

/// What `POST /api/accounts` takes for the account's venue. The key must be read-only.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplaceCredentials {
    /// Exchanges: the read-only API key.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretString>,
    /// Exchanges: the secret of the key. Sealed on arrival and never shown again.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub api_secret: Option<SecretString>,
    /// Exchanges whose keys have one: the passphrase of the key. Sealed like the secret.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub passphrase: Option<SecretString>,
    /// Wallets: the address of the account, which cannot become another.
    #[serde(default, deserialize_with = "present")]
    pub wallet_address: Option<String>,
    /// Another name of `walletAddress`.
    #[serde(default, deserialize_with = "present")]
    pub address: Option<String>,
}

pub async fn replace(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    IfMatch(expected): IfMatch,
    _: NoParams,
    Json(wanted): Json<ReplaceCredentials>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let account = app.store.read(&caller.grant).account(id(&account)?).await?;
    if let Expected::OneOf(versions) = &expected
        && !versions.contains(&account.version)
    {
        // Before the venue is asked; the write looks again.
        return Err(codash_store::Error::Stale { version: account.version }.into());
    }
    let ReplaceCredentials { api_key, api_secret, passphrase, wallet_address, address } = wanted;
    let attach = Attach {
        name: account.name,
        venue: account.venue,
        api_key,
        api_secret,
        passphrase,
        wallet_address,
        address,
        tags: vec![],
        portfolio_id: None,
    };
    let (credential, credentials) = credentials(&attach)?;
    let (streams, standing) = attest(&app, account.venue, credentials).await?;
    let new = NewCredential { venue: account.venue, credential, standing, streams };
    let replaced = app.store.replace_credential(&caller.grant, account.id, &expected, &new, caller.by(&app)).await;
    let replaced = replaced.map_err(not_attached)?;
    tracing::info!(account.id = %account.id, "an account got new credentials");
    Ok(shown(StatusCode::OK, replaced))
}

#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveQuery {
    /// keep: what was read stays in every past window. delete: it is erased, and no answer counts it any more.
    #[serde(default)]
    pub history: History,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum History {
    #[default]
    Keep,
    Delete,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedAccount {
    pub account_id: AccountId,
    /// kept; deleted; or deleting: no answer counts it any more, and its rows are gone in some minutes.
    pub history: &'static str,
    /// When collection ended, for good unless credentials are given again. Null: nothing of it is left.
    pub removed_at: Option<Timestamp>,
}

pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<String>,
    IfMatch(expected): IfMatch,
    Params(query): Params<RemoveQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let account_id: AccountId = id(&account)?;
    let erase = query.history == History::Delete;
    let kept = app.store.remove_account(&caller.grant, account_id, &expected, erase, caller.by(&app)).await?;
    tracing::info!(account.id = %account_id, history.erased = erase, "an account was removed");
    let (status, history) = match &kept {
        Some(_) => (StatusCode::OK, "kept"),
        None if is_erased(&app, &caller, account_id).await => (StatusCode::OK, "deleted"),
        None => (StatusCode::ACCEPTED, "deleting"),
    };
    Ok(success(status, RemovedAccount { account_id, history, removed_at: kept.and_then(|a| a.removed_at) }))
}

/// Erases as much as there is time for. A failure is no failure of the request: what is left is in no
/// answer, and the collector goes on with it.
async fn is_erased(app: &App, caller: &Caller, account: AccountId) -> bool {
    let erase = async {
        while !app.store.erase_some(caller.grant.workspace, account).await? {}
        Ok::<_, codash_store::Error>(())
    };
    match tokio::time::timeout(ERASE_PATIENCE, erase).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(account.id = %account, error = %error, "erasing goes on later");
            false
        }
        Err(_) => false,
    }
}
