//! `/api/automations/webhooks`: where results are sent, and what came of it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use codash_automations::{guard, sign};
use codash_domain::{DeliveryId, EndpointId, Scope};
use codash_store::automations::endpoints::{Endpoint, NewEndpoint};
use secrecy::ExposeSecret;

use super::wire::{
    AttemptAnswer, ChangeWebhook, Deliveries, DeliveryAnswer, DeliveryLog, NewWebhook, PageQuery, Removed,
    WebhookAnswer, Webhooks, next_cursor,
};
use super::{NoQuery, is_visible, refused};
use crate::app::App;
use crate::auth::Caller;
use crate::rest::error::ApiError;
use crate::rest::extract::{Json, Params};
use crate::rest::success;

/// Webhooks of a workspace.
const MOST: i64 = 20;
/// How long the secret before the present one signs too.
const OVERLAP_HOURS: i64 = 24;

pub async fn list(State(app): State<App>, caller: Caller, Params(_): Params<NoQuery>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let all = app.store.endpoints(caller.grant.workspace, None).await?;
    let seen = all.into_iter().filter(|one| is_visible(&caller, one.key_accounts.as_deref()));
    let webhooks: Vec<WebhookAnswer> = seen.map(WebhookAnswer::from).collect();
    Ok(success(StatusCode::OK, Webhooks { count: webhooks.len(), webhooks }))
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(wanted): Json<NewWebhook>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let url = guard::check_url(&wanted.url, app.config.webhooks);
    let url = url.map_err(|fault| ApiError::invalid_field("url", fault.to_string()))?;
    let new = NewEndpoint {
        id: EndpointId::from_random(app.random()?),
        key: caller.grant.key,
        url: url.into(),
        secret: sign::secret(app.random()?),
        now: app.clock.now(),
    };
    let stored = app.store.create_endpoint(caller.grant.workspace, &new, MOST).await;
    stored.map_err(|error| refused(error, "webhooks", MOST))?;
    tracing::info!(endpoint.id = %new.id, "a webhook was made");
    let answer = WebhookAnswer::from(find(&app, &caller, new.id).await?);
    let secret = Some(new.secret.expose_secret().to_owned());
    Ok(success(StatusCode::CREATED, WebhookAnswer { secret, ..answer }))
}

pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(wanted): Json<ChangeWebhook>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let endpoint = find(&app, &caller, parsed(&id)?).await?;
    let (workspace, now) = (caller.grant.workspace, app.clock.now());
    let mut shown = None;
    if wanted.rotate_secret {
        let secret = sign::secret(app.random()?);
        let until = now.plus(TimeDelta::hours(OVERLAP_HOURS));
        app.store.rotate_endpoint_secret(workspace, endpoint.id, &secret, until, now).await?;
        shown = Some(secret.expose_secret().to_owned());
    }
    if let Some(is_disabled) = wanted.disabled {
        let reason = is_disabled.then_some("disabled by its owner");
        app.store.set_endpoint_disabled(workspace, endpoint.id, reason, now).await?;
    }
    let answer = WebhookAnswer::from(find(&app, &caller, endpoint.id).await?);
    Ok(success(StatusCode::OK, WebhookAnswer { secret: shown, ..answer }))
}

pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let endpoint = find(&app, &caller, parsed(&id)?).await?;
    let removed = app.store.delete_endpoint(caller.grant.workspace, endpoint.id).await?;
    Ok(success(StatusCode::OK, Removed { id: endpoint.id.0, removed }))
}

pub async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<PageQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let endpoint = find(&app, &caller, parsed(&id)?).await?;
    let before = page.cursor.map(DeliveryId);
    let found = app.store.deliveries(caller.grant.workspace, endpoint.id, before, page.limit()).await?;
    let next_cursor = next_cursor(found.len(), page.limit(), found.last().map(|one| one.id.0));
    let deliveries: Vec<DeliveryAnswer> = found.into_iter().map(DeliveryAnswer::from).collect();
    Ok(success(StatusCode::OK, Deliveries { count: deliveries.len(), deliveries, next_cursor }))
}

pub async fn delivery(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    log(&app, &caller, &id).await.map(|log| success(StatusCode::OK, log))
}

pub async fn redeliver(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let found = log(&app, &caller, &id).await?;
    app.store.redeliver(caller.grant.workspace, found.delivery.id).await.map_err(|error| match error {
        codash_store::Error::Conflict { .. } => ApiError::new(
            StatusCode::CONFLICT,
            "webhook_disabled",
            "the webhook is disabled: enable it first (PATCH with disabled false)",
        ),
        error => error.into(),
    })?;
    log(&app, &caller, &id).await.map(|log| success(StatusCode::ACCEPTED, log))
}

/// A delivery to a webhook that the caller may know of.
async fn log(app: &App, caller: &Caller, id: &str) -> Result<DeliveryLog, ApiError> {
    let id: DeliveryId = id.parse().map_err(|_| ApiError::not_found())?;
    let (delivery, attempts) = app.store.delivery(caller.grant.workspace, id).await?;
    find(app, caller, delivery.endpoint).await?;
    let log = attempts.into_iter().map(AttemptAnswer::from).collect();
    Ok(DeliveryLog { delivery: delivery.into(), log })
}

fn parsed(id: &str) -> Result<EndpointId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found())
}

async fn find(app: &App, caller: &Caller, id: EndpointId) -> Result<Endpoint, ApiError> {
    let found = app.store.endpoints(caller.grant.workspace, Some(id)).await?;
    let seen = found.into_iter().next().filter(|one| is_visible(caller, one.key_accounts.as_deref()));
    seen.ok_or_else(ApiError::not_found)
}
