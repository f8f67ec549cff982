//! `POST /api/agents/register`: a workspace and its first key, for whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use codash_domain::{ApiKey, KeyId, Scope, Scopes, WorkspaceId, text};
use codash_store::NewKey;
use codash_store::audit::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use validator::Validate;

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, Visitor, visible_name};
use super::success;
use crate::app::App;
use crate::limits::network;
use crate::server::{ClientAddress, Uncompressed};

const HOUR: Duration = Duration::from_secs(3600);
const SWEEP_EVERY: u32 = 1024;

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Register {
    /// The workspace's name, 1 to 100 characters.
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: String,
    /// The key's name, 1 to 100 characters; `default` when absent.
    #[serde(default, deserialize_with = "codash_analytics::input::present")]
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub key_name: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    pub workspace_id: WorkspaceId,
    pub name: String,
    /// Shown here and never again.
    pub api_key: String,
    pub key_id: KeyId,
    pub key_name: String,
    pub scopes: Vec<Scope>,
    pub warning: &'static str,
}

pub async fn register(
    State(app): State<App>,
    visitor: Visitor,
    Json(wanted): Json<Register>,
) -> Result<Response, ApiError> {
    let workspace = WorkspaceId::from_random(app.random()?);
    let key = ApiKey::from_random(app.random()?);
    let name = text::clean(&wanted.name, LONGEST_NAME);
    let stored = NewKey {
        id: KeyId::from_random(app.random()?),
        name: text::clean(wanted.key_name.as_deref().unwrap_or("default"), LONGEST_NAME),
        hash: key.hash(),
        hint: key.hint().to_owned(),
        scopes: Scopes::full(),
        accounts: None,
        addresses: Vec::new(),
        expires_at: None,
        created_at: app.clock.now(),
    };
    let by = visitor.by(&app, Actor::Key(stored.id));
    app.store.register_by(workspace, &name, &stored, by).await?;
    tracing::info!(workspace.id = %workspace, key.id = %stored.id, "a workspace was registered");
    let mut response = success(
        StatusCode::CREATED,
        Registered {
            workspace_id: workspace,
            name,
            api_key: key.reveal().to_owned(),
            key_id: stored.id,
            key_name: stored.name,
            scopes: stored.scopes.iter().collect(),
            warning: "Store this key now: it is not shown again.",
        },
    );
    response.extensions_mut().insert(Uncompressed);
    Ok(response)
}

/// The public door: N registrations an hour and address at once, then one more every N-th of an hour.
pub fn route(app: &App) -> MethodRouter<App> {
    let per_hour = app.config.limits.registrations_per_hour.max(1);
    let mut builder = GovernorConfigBuilder::default().key_extractor(ByNetwork);
    let Some(config) = builder.period(HOUR / per_hour).burst_size(per_hour).finish() else {
        return post(async || ApiError::internal());
    };
    let limiter = Arc::clone(config.limiter());
    let guard = GovernorLayer::new(config).error_handler(|error| too_many(&error).into_response());
    let seen = Arc::new(AtomicU32::new(0));
    let sweep = from_fn(move |request: Request, next: Next| {
        // Addresses whose share is whole again are forgotten, so that strangers cannot fill the memory.
        if seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            limiter.retain_recent();
        }
        next.run(request)
    });
    post(register).route_layer(guard).route_layer(sweep)
}

fn too_many(error: &GovernorError) -> ApiError {
    match error {
        // The time left is given in whole seconds, rounded down.
        GovernorError::TooManyRequests { wait_time, .. } => {
            ApiError::rate_limited("registrations per address", Duration::from_secs(wait_time + 1))
        }
        _ => ApiError::internal(),
    }
}

/// Counts callers as the other limits do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByNetwork;

impl KeyExtractor for ByNetwork {
    type Key = u128;

    fn extract<T>(&self, request: &Request<T>) -> Result<u128, GovernorError> {
        let address = request.extensions().get::<ClientAddress>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(network(address.0))
    }
}
