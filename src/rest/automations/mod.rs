//! `/api/automations`: when, what, to whom.
//!
//! An automation acts with the rights of the key that made it or last changed it. A key sees the
//! automations whose keys see no account that it does not see itself; others are a 404.

mod runs;
pub mod trigger;
pub mod webhooks;
pub mod wire;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_automations::sign;
use codash_domain::automation::{Task, Timing};
use codash_domain::{AccountId, AutomationId, EndpointId, Scope, text};
use codash_store::automations::{Automation, Definition, Inbound, InboundChange};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, Params};
use super::success;
use crate::app::App;
use crate::auth::Caller;
use crate::automate;
use wire::{AutomationAnswer, Automations, ChangeAutomation, NewAutomation, Removed, TriggerOpened};

pub use runs::{list as runs, run};

/// Automations of a workspace.
const MOST: i64 = 50;
/// How an inbound trigger's token begins.
const TOKEN: &str = "kvt_";

/// No parameters.
#[derive(Debug, serde::Deserialize, validator::Validate, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

pub async fn list(State(app): State<App>, caller: Caller, Params(_): Params<NoQuery>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let all = app.store.automations(caller.grant.workspace, None).await?;
    let seen = all.into_iter().filter(|one| is_visible(&caller, one.key_accounts.as_deref()));
    let endpoints = app.store.endpoints(caller.grant.workspace, None).await?;
    let automations: Vec<AutomationAnswer> =
        seen.map(|one| AutomationAnswer::from(one).with_notices(&endpoints)).collect();
    Ok(success(StatusCode::OK, Automations { count: automations.len(), automations }))
}

pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    Ok(success(StatusCode::OK, answer(&app, &caller, &id).await?))
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(wanted): Json<NewAutomation>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    caller.require_key()?;
    // One instant for both: it is made when its intervals begin to count, or the first would come twice.
    let by = caller.by(&app);
    let now = by.at;
    let mut definition = Definition {
        key: caller.grant.key,
        name: text::clean(&wanted.name, LONGEST_NAME),
        timing: wanted.when,
        task: wanted.what,
        endpoints: wanted.webhooks,
        missed: wanted.missed,
        overlap: wanted.overlap,
        is_paused: wanted.paused,
        due_at: None,
    };
    check(&app, &caller, &definition).await?;
    if !definition.is_paused {
        definition.due_at = definition.timing.next_after(now, now);
    }
    let id = AutomationId::from_random(app.random()?);
    let (inbound, opened) = match &definition.timing {
        Timing::Trigger(trigger) => open_trigger(&app, trigger.signed)?,
        _ => (None, None),
    };
    let workspace = caller.grant.workspace;
    let stored = app.store.create_automation(workspace, id, &definition, inbound.as_ref(), MOST, by).await;
    stored.map_err(|error| refused(error, "automations", MOST))?;
    tracing::info!(automation.id = %id, "an automation was made");
    let answer = answer(&app, &caller, &id.to_string()).await?;
    Ok(success(StatusCode::CREATED, AutomationAnswer { trigger: opened, ..answer }))
}

pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(wanted): Json<ChangeAutomation>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    caller.require_key()?;
    let seen = find(&app, &caller, &id).await?;
    let now = app.clock.now();
    let old = seen.definition.clone();
    let mut definition = Definition {
        key: caller.grant.key,
        name: wanted.name.map_or(old.name, |name| text::clean(&name, LONGEST_NAME)),
        timing: wanted.when.unwrap_or_else(|| old.timing.clone()),
        task: wanted.what.unwrap_or(old.task),
        endpoints: wanted.webhooks.unwrap_or(old.endpoints),
        missed: wanted.missed.unwrap_or(old.missed),
        overlap: wanted.overlap.unwrap_or(old.overlap),
        is_paused: wanted.paused.unwrap_or(old.is_paused),
        due_at: old.due_at,
    };
    check(&app, &caller, &definition).await?;
    let is_resumed = old.is_paused && !definition.is_paused;
    if definition.is_paused {
        definition.due_at = None;
    } else if is_resumed || definition.timing != old.timing {
        definition.due_at = definition.timing.next_after(seen.created_at, now);
    }
    let is_other = definition.timing != old.timing;
    let (change, opened) = match &definition.timing {
        Timing::Trigger(trigger) if is_other || wanted.rotate_token => {
            let (inbound, opened) = open_trigger(&app, trigger.signed)?;
            (inbound.map_or(InboundChange::Remove, InboundChange::Replace), opened)
        }
        Timing::Trigger(_) => (InboundChange::Keep, None),
        _ if wanted.rotate_token => {
            return Err(ApiError::invalid_field("rotateToken", "only an automation with a trigger has a token"));
        }
        _ => (InboundChange::Remove, None),
    };
    let workspace = caller.grant.workspace;
    let changed = app.store.change_automation(workspace, &seen, &definition, &change, caller.by(&app)).await;
    changed.map_err(|error| match error {
        codash_store::Error::Serialization => {
            ApiError::conflict("the automation was changed by another request meanwhile: read it again")
        }
        error => refused(error, "automations", MOST),
    })?;
    let answer = answer(&app, &caller, &id).await?;
    Ok(success(StatusCode::OK, AutomationAnswer { trigger: opened, ..answer }))
}

pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let found = find(&app, &caller, &id).await?;
    let removed = app.store.delete_automation(caller.grant.workspace, found.id, caller.by(&app)).await?;
    Ok(success(StatusCode::OK, Removed { id: found.id.0, removed }))
}

async fn answer(app: &App, caller: &Caller, id: &str) -> Result<AutomationAnswer, ApiError> {
    let found = find(app, caller, id).await?;
    let endpoints = app.store.endpoints(caller.grant.workspace, None).await?;
    Ok(AutomationAnswer::from(found).with_notices(&endpoints))
}

/// The automation of this id, when the caller may know of it.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<Automation, ApiError> {
    let id: AutomationId = id.parse().map_err(|_| ApiError::not_found())?;
    let found = app.store.automations(caller.grant.workspace, Some(id)).await?;
    let seen = found.into_iter().next().filter(|one| is_visible(caller, one.key_accounts.as_deref()));
    seen.ok_or_else(ApiError::not_found)
}

/// True when whatever was made with a key that sees `made` shows the caller no account that is hidden
/// from it.
fn is_visible(caller: &Caller, made: Option<&[AccountId]>) -> bool {
    match (&caller.grant.accounts, made) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(seen), Some(made)) => made.iter().all(|account| seen.contains(account)),
    }
}

/// What a schema cannot say: times that come, questions that exist and that the key may ask, endpoints
/// that it may know of.
async fn check(app: &App, caller: &Caller, definition: &Definition) -> Result<(), ApiError> {
    let fault = |fault: codash_domain::automation::Fault| {
        ApiError::invalid_field(&format!("when.{}", fault.path), fault.reason)
    };
    definition.timing.check().map_err(fault)?;
    let mut needed = vec![(automate::check(&definition.task), task_place(&definition.task))];
    if let Timing::Condition(condition) = &definition.timing {
        let place = "when.condition.question";
        needed.push((automate::check_question(&condition.question, place), place));
    }
    for (scope, place) in needed {
        let scope = scope.map_err(|faults| ApiError::invalid_fields(&faults))?;
        if !caller.grant.scopes.allows(scope) {
            let reason = format!("needs the scope {scope}, which this API key lacks: an automation acts with its key");
            return Err(ApiError::invalid_field(place, reason));
        }
    }
    let mut endpoints = definition.endpoints.clone();
    endpoints.sort_unstable();
    endpoints.dedup();
    if endpoints.len() != definition.endpoints.len() {
        return Err(ApiError::invalid_field("webhooks", "names a webhook twice"));
    }
    if endpoints.is_empty() {
        return Ok(());
    }
    let known = app.store.endpoints(caller.grant.workspace, None).await?;
    let is_known =
        |id: &EndpointId| known.iter().any(|one| one.id == *id && is_visible(caller, one.key_accounts.as_deref()));
    match endpoints.iter().find(|id| !is_known(id)) {
        Some(id) => Err(ApiError::invalid_field("webhooks", format!("there is no webhook {id}"))),
        None => Ok(()),
    }
}

fn task_place(task: &Task) -> &'static str {
    match task {
        Task::Question(_) => "what.question.name",
        Task::Export(_) => "what.export",
    }
}

/// A new token, and a secret when requests are to be signed. Both are shown once.
fn open_trigger(app: &App, is_signed: bool) -> Result<(Option<Inbound>, Option<TriggerOpened>), ApiError> {
    let token = format!("{TOKEN}{}", hex::encode(app.random::<32>()?));
    let signing = if is_signed { Some(sign::secret(app.random()?)) } else { None };
    let opened = TriggerOpened {
        path: format!("/api/automations/trigger/{token}"),
        signing_secret: signing.as_ref().map(|secret| secrecy::ExposeSecret::expose_secret(secret).to_owned()),
        warning: "Store these now: they are not shown again.",
    };
    Ok((Some(Inbound { token_hash: hash(&token), signing }), Some(opened)))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn refused(error: codash_store::Error, what: &str, most: i64) -> ApiError {
    match error {
        codash_store::Error::Conflict { constraint } if constraint == "quota" => ApiError::new(
            StatusCode::CONFLICT,
            "quota_reached",
            format!("a workspace has at most {most} {what}: remove one first"),
        ),
        codash_store::Error::NotFound => ApiError::invalid_field("webhooks", "a webhook was removed meanwhile"),
        error => error.into(),
    }
}
