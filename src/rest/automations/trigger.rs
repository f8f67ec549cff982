//! `POST /api/automations/trigger/{token}`: the one door that a token in a path opens.
//!
//! Only the token's hash is stored, and no line of the log holds the path: the request's span names the
//! route. An unknown token is a 404 like any other.

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use codash_automations::sign;
use codash_domain::automation::Cause;
use secrecy::SecretString;

use super::runs::{MOST_AN_HOUR, cause_id, has_trigger, queued};
use super::{TOKEN, hash};
use crate::app::App;
use crate::rest::error::ApiError;
use crate::rest::extract::Visitor;

const TOKEN_DIGITS: usize = 64;

/// The door, with its limit.
pub fn route(app: &App) -> MethodRouter<App> {
    post(fire).route_layer(from_fn_with_state(app.clone(), guard))
}

async fn guard(State(app): State<App>, visitor: Visitor, request: Request, next: Next) -> Result<Response, ApiError> {
    app.limits.take_trigger(visitor.address).await?;
    Ok(next.run(request).await)
}

async fn fire(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let digits = token.strip_prefix(TOKEN).unwrap_or_default();
    if digits.len() != TOKEN_DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ApiError::not_found());
    }
    let found = app.store.automation_by_token(&hash(&token)).await?;
    let (workspace, id) = found.ok_or_else(ApiError::not_found)?;
    let automation = app.store.automations(workspace, Some(id)).await?.into_iter().next();
    if !automation.as_ref().is_some_and(has_trigger) {
        return Err(ApiError::not_found());
    }
    if let Some(secret) = app.store.inbound_secret(workspace, id).await? {
        verify(&app, &secret, &headers, &body)?;
    }
    let cause_id = cause_id(&app, &headers, &["webhook-id", "idempotency-key"])?;
    queued(app.store.ask_for_run(workspace, id, Cause::Trigger, &cause_id, MOST_AN_HOUR).await?)
}

/// Signed as Standard Webhooks has it, within five minutes.
fn verify(app: &App, secret: &SecretString, headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp, signature) = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
    let now = app.clock.now().millis() / 1000;
    if !id.is_empty() && sign::verifies(secret, id, timestamp, signature, body, now) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_signature",
        "the request must be signed: webhook-id, webhook-timestamp and webhook-signature, within five minutes",
    ))
}
