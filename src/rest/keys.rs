//! API keys. People manage all of a workspace's (`/api/keys`, admins and up); a key manages itself and
//! the narrower ones that it made (`/api/keys/self`). Nobody is shown a key twice.

use std::collections::HashSet;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use codash_analytics::input::{Invalid, present, whole};
use codash_domain::{AccountId, ApiKey, KeyId, Reach, Role, Scope, Scopes, Timestamp, TooWide, Wish, text};
use codash_store::key_changes::{Lineage, Refusal};
use codash_store::{KeyRow, NewKey};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use validator::Validate;

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, visible_name};
use super::success;
use crate::app::App;
use crate::auth::{Caller, KeyHolder, Person};

/// Generations below a key that people made.
const DEEPEST: u8 = 3;
/// Live keys of a workspace. Keys make fewer, so that a runaway agent leaves room for its owners.
const MOST_BY_PEOPLE: i64 = 200;
const MOST_BY_KEYS: i64 = 100;
/// A week.
const LONGEST_OVERLAP: i64 = 7 * 86_400;

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MakeKey {
    /// 1 to 100 characters.
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: String,
    /// A key that makes another hands its own on when absent; a person must name them.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 8))]
    #[schemars(length(min = 1, max = 8))]
    pub scopes: Option<Vec<Scope>>,
    /// The accounts that the key sees; every account that its maker sees when absent.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 100))]
    #[schemars(length(min = 1, max = 100))]
    pub account_ids: Option<Vec<AccountId>>,
    /// Addresses and networks that it may be used from, such as 192.0.2.0/24; as its maker when absent.
    #[serde(default, deserialize_with = "present")]
    #[validate(length(min = 1, max = 50))]
    #[schemars(length(min = 1, max = 50))]
    pub addresses: Option<Vec<String>>,
    /// When it ends; with its maker when absent.
    #[serde(default, deserialize_with = "present")]
    pub expires_at: Option<Timestamp>,
    /// Requests in any 60 seconds; as its maker when absent. Never above the service's limit of a key.
    #[serde(default, deserialize_with = "whole")]
    #[validate(range(min = 1, max = 1_000_000))]
    #[schemars(with = "Option<i64>", range(min = 1, max = 1_000_000))]
    pub reads_per_minute: Option<i64>,
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rotate {
    /// How long the old secret is still taken, 0 to 604800 (a week); never past the key's own end.
    #[validate(range(min = 0, max = 604_800))]
    #[schemars(range(min = 0, max = 604_800))]
    pub overlap_seconds: i64,
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyStatus {
    Live,
    Expired,
    Revoked,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyAnswer {
    pub id: KeyId,
    pub name: String,
    /// The key's first characters.
    pub hint: String,
    pub status: KeyStatus,
    pub scopes: Vec<Scope>,
    /// null: every account, also those attached later.
    pub account_ids: Option<Vec<AccountId>>,
    /// Empty: from anywhere.
    pub addresses: Vec<String>,
    /// The key that made this one.
    pub parent_id: Option<KeyId>,
    pub depth: u8,
    /// null: the service's limit.
    pub reads_per_minute: Option<u32>,
    pub created_at: Timestamp,
    /// At most a minute behind.
    pub last_used_at: Option<Timestamp>,
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before the last rotation is taken.
    pub old_secret_until: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    pub count: usize,
    /// Oldest first; revoked and expired ones too.
    pub keys: Vec<KeyAnswer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyShown {
    pub key: KeyAnswer,
    /// Shown here and never again.
    pub api_key: String,
    pub warning: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysRevoked {
    /// The key and every live key that it made, and they made.
    pub revoked_key_ids: Vec<KeyId>,
}

pub async fn list(State(app): State<App>, person: Person) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    let keys = app.store.list_keys(person.caller.grant.workspace).await?;
    Ok(success(StatusCode::OK, shown(&app, &keys)))
}

pub async fn create(State(app): State<App>, person: Person, Json(wanted): Json<MakeKey>) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    if wanted.scopes.is_none() {
        return Err(ApiError::invalid_field("scopes", "is missing: name what the key may do"));
    }
    let everything = Reach {
        scopes: Scopes::new(Scope::ALL),
        accounts: None,
        addresses: vec![],
        expires_at: None,
        reads_per_minute: None,
    };
    let most = Most { keys: MOST_BY_PEOPLE, reads: app.config.limits.most_reads() };
    make(&app, &person.caller, wanted, &everything, Lineage::default(), most).await
}

pub async fn rotate(
    State(app): State<App>,
    person: Person,
    Path(id): Path<String>,
    Json(wanted): Json<Rotate>,
) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    let key = ApiKey::from_random(app.random()?);
    let overlap = TimeDelta::seconds(wanted.overlap_seconds.clamp(0, LONGEST_OVERLAP));
    let (by, until) = (person.caller.by(&app), app.clock.now().plus(overlap));
    let workspace = person.caller.grant.workspace;
    let rotated = app.store.rotate_key(workspace, key_id(&id)?, (&key.hash(), key.hint()), until, by).await?;
    tracing::info!(key.id = %rotated.id, "a key was rotated");
    Ok(success(StatusCode::OK, once(&app, &rotated, &key)))
}

pub async fn revoke(State(app): State<App>, person: Person, Path(id): Path<String>) -> Result<Response, ApiError> {
    person.require(Role::Admin)?;
    revoke_family(&app, &person.caller, key_id(&id)?).await
}

/// The key that asks.
pub async fn own(State(app): State<App>, holder: KeyHolder) -> Result<Response, ApiError> {
    let keys = app.store.list_keys(holder.caller.grant.workspace).await?;
    let own = keys.iter().find(|key| key.id == holder.key).ok_or_else(ApiError::invalid_credential)?;
    Ok(success(StatusCode::OK, answer(&app, own)))
}

pub async fn revoke_own(State(app): State<App>, holder: KeyHolder) -> Result<Response, ApiError> {
    revoke_family(&app, &holder.caller, holder.key).await
}

pub async fn children(State(app): State<App>, holder: KeyHolder) -> Result<Response, ApiError> {
    let keys = app.store.list_keys(holder.caller.grant.workspace).await?;
    Ok(success(StatusCode::OK, shown(&app, &descendants(keys, holder.key))))
}

/// A narrower key, made by a key. Needs no scope: its holder can do all of it already.
pub async fn attenuate(
    State(app): State<App>,
    holder: KeyHolder,
    Json(wanted): Json<MakeKey>,
) -> Result<Response, ApiError> {
    if holder.depth >= DEEPEST {
        let message = format!("keys make each other {DEEPEST} generations deep: ask the key above for this one");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "too_deep", message));
    }
    let lineage = Lineage { parent: Some(holder.key), depth: holder.depth + 1, reads_per_minute: None };
    let most = Most { keys: MOST_BY_KEYS, reads: app.config.limits.reads_per_minute };
    make(&app, &holder.caller, wanted, &holder.reach, lineage, most).await
}

pub async fn revoke_child(
    State(app): State<App>,
    holder: KeyHolder,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let child = key_id(&id)?;
    let keys = app.store.list_keys(holder.caller.grant.workspace).await?;
    if !descendants(keys, holder.key).iter().any(|key| key.id == child) {
        return Err(ApiError::not_found());
    }
    revoke_family(&app, &holder.caller, child).await
}

/// How many, and how fast at most.
struct Most {
    keys: i64,
    /// Of a key whose maker has no limit of its own.
    reads: u32,
}

async fn make(
    app: &App,
    caller: &Caller,
    wanted: MakeKey,
    maker: &Reach,
    lineage: Lineage,
    most: Most,
) -> Result<Response, ApiError> {
    let now = app.clock.now();
    if wanted.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::invalid_field("expiresAt", "is not in the future"));
    }
    let name = text::clean(&wanted.name, LONGEST_NAME);
    let names_accounts = wanted.account_ids.is_some();
    let reach = maker.narrowed(wish(wanted)?, most.reads).map_err(too_wide)?;
    let key = ApiKey::from_random(app.random()?);
    let new = NewKey {
        id: KeyId::from_random(app.random()?),
        name,
        hash: key.hash(),
        hint: key.hint().to_owned(),
        scopes: reach.scopes,
        accounts: reach.accounts,
        addresses: reach.addresses,
        expires_at: reach.expires_at,
        created_at: now,
    };
    let lineage = Lineage { reads_per_minute: reach.reads_per_minute, ..lineage };
    let made = app.store.add_key(caller.grant.workspace, &new, lineage, most.keys, caller.by(app)).await;
    let made = made.map_err(|refusal| refused(refusal, names_accounts))?;
    tracing::info!(key.id = %made.id, "a key was made");
    Ok(success(StatusCode::CREATED, once(app, &made, &key)))
}

fn wish(wanted: MakeKey) -> Result<Wish, ApiError> {
    let addresses = wanted.addresses.map(|list| {
        let networks = list.iter().enumerate().map(|(i, text)| network(text).ok_or(i));
        networks.collect::<Result<Vec<IpNet>, usize>>()
    });
    let addresses = addresses.transpose().map_err(|i| {
        ApiError::invalid_field(&format!("addresses[{i}]"), "is no address and no network such as 192.0.2.0/24")
    })?;
    Ok(Wish {
        scopes: wanted.scopes,
        accounts: wanted.account_ids,
        addresses,
        expires_at: wanted.expires_at,
        reads_per_minute: wanted.reads_per_minute.and_then(|n| u32::try_from(n).ok()),
    })
}

/// Written as PostgreSQL keeps it: nothing behind the prefix.
fn network(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))?;
    Some(net.trunc())
}

fn too_wide(faults: Vec<TooWide>) -> ApiError {
    let errors: Vec<Invalid> =
        faults.into_iter().map(|fault| Invalid { path: fault.field.into(), reason: fault.reason }).collect();
    let message = errors.first().map(|fault| format!("{}: {}", fault.path, fault.reason)).unwrap_or_default();
    ApiError::new(StatusCode::FORBIDDEN, "wider_than_maker", message).with_details(json!({ "errors": errors }))
}

fn refused(refusal: Refusal, names_accounts: bool) -> ApiError {
    match refusal {
        Refusal::Quota(most) => {
            let message = format!("there are {most} live keys, as many as may be: revoke one");
            ApiError::new(StatusCode::CONFLICT, "too_many_keys", message).with_details(json!({ "most": most }))
        }
        Refusal::Store(codash_store::Error::NotFound) if names_accounts => ApiError::new(
            StatusCode::FORBIDDEN,
            "unknown_account",
            "accountIds: at least one is not an account of this workspace",
        ),
        // The maker was revoked in between.
        Refusal::Store(codash_store::Error::NotFound) => ApiError::invalid_credential(),
        Refusal::Store(error) => error.into(),
    }
}

async fn revoke_family(app: &App, caller: &Caller, key: KeyId) -> Result<Response, ApiError> {
    let revoked_key_ids = app.store.revoke_keys(caller.grant.workspace, key, caller.by(app)).await?;
    if revoked_key_ids.is_empty() {
        return Err(ApiError::not_found());
    }
    tracing::info!(key.id = %key, keys = revoked_key_ids.len(), "keys were revoked");
    Ok(success(StatusCode::OK, KeysRevoked { revoked_key_ids }))
}

/// Oldest first, so that a parent comes before its children.
fn descendants(keys: Vec<KeyRow>, root: KeyId) -> Vec<KeyRow> {
    let mut family = HashSet::from([root]);
    let mut keys = keys;
    keys.sort_by_key(|key| key.depth);
    keys.retain(|key| key.parent.is_some_and(|parent| family.contains(&parent)) && family.insert(key.id));
    keys
}

fn key_id(text: &str) -> Result<KeyId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

fn shown(app: &App, keys: &[KeyRow]) -> Keys {
    Keys { count: keys.len(), keys: keys.iter().map(|key| answer(app, key)).collect() }
}

fn once(app: &App, row: &KeyRow, key: &ApiKey) -> KeyShown {
    let warning = "Store this key now: it is not shown again.";
    KeyShown { key: answer(app, row), api_key: key.reveal().to_owned(), warning }
}

fn answer(app: &App, key: &KeyRow) -> KeyAnswer {
    let now = app.clock.now();
    let status = match key.revoked_at {
        Some(_) => KeyStatus::Revoked,
        None if key.is_live(now) => KeyStatus::Live,
        None => KeyStatus::Expired,
    };
    KeyAnswer {
        id: key.id,
        name: key.name.clone(),
        hint: key.hint.clone(),
        status,
        scopes: key.scopes.iter().collect(),
        account_ids: key.accounts.clone(),
        addresses: key.addresses.iter().map(ToString::to_string).collect(),
        parent_id: key.parent,
        depth: key.depth,
        reads_per_minute: key.reads_per_minute,
        created_at: key.created_at,
        last_used_at: key.last_used_at,
        rotated_at: key.rotated_at,
        old_secret_until: key.old_until.filter(|until| *until > now),
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}
