//! `/health/*`: is the process alive, and should it be sent requests? Payloads at the top level.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::limits::Sharing;

const PING_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    pub status: &'static str,
    /// What keeps it from being ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Where several processes were told to count the limits together: `shared` while they do, `alone`
    /// while Redis does not answer and each counts for itself. Absent where no Redis is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<&'static str>,
}

impl Health {
    fn of(app: &App, status: &'static str, reason: Option<&'static str>) -> Self {
        let limits = app.limits.sharing().map(|sharing| match sharing {
            Sharing::Shared => "shared",
            Sharing::Alone => "alone",
        });
        Self { status, reason, limits }
    }
}

/// Asks nothing of anyone: a process that answers is alive.
pub async fn live(State(app): State<App>) -> Response {
    Json(Health::of(&app, "ok", None)).into_response()
}

/// 503 while stopping, or while the database does not answer.
pub async fn ready(State(app): State<App>) -> Response {
    match why_not(&app).await {
        None => Json(Health::of(&app, "ok", None)).into_response(),
        Some(reason) => {
            let body = Health::of(&app, "unavailable", Some(reason));
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn why_not(app: &App) -> Option<&'static str> {
    if app.is_stopping() {
        return Some("stopping");
    }
    match tokio::time::timeout(PING_DEADLINE, app.store.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some("database"),
    }
}
