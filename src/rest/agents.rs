//! `POST /api/agents/register`: a workspace and its first key, for whoever asks.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use codash_domain::{ApiKey, KeyId, Scope, Scopes, WorkspaceId, text};
use codash_store::NewKey;
use codash_store::audit::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, Visitor, visible_name};
use super::success;
use crate::app::App;
use crate::server::Uncompressed;

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

/// The public door. It counts before the request is looked into.
pub fn route(app: &App) -> MethodRouter<App> {
    post(register).route_layer(from_fn_with_state(app.clone(), guard))
}

async fn guard(State(app): State<App>, visitor: Visitor, request: Request, next: Next) -> Result<Response, ApiError> {
    app.limits.take_registration(visitor.address).await?;
    Ok(next.run(request).await)
}
