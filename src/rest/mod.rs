//! The REST face: the route table, readable top to bottom.
//!
//! A handler extracts, calls a plain function below, wraps. To add a route: a handler in the file of
//! its family, a line here, an entry in `src/openapi.rs`. Every route not named in
//! `src/server.rs` as public is behind a key; the handler names the scope.

pub mod accounts;
pub mod agents;
pub mod ai_keys;
pub mod audit;
pub mod auth;
pub mod automations;
pub mod cash_flows;
pub mod conditional;
pub mod documents;
pub mod error;
pub mod exports;
pub mod extract;
pub mod forensics;
pub mod grafana;
pub mod health;
pub mod idempotency;
pub mod keys;
pub mod manage;
pub mod owners;
pub mod pnl_analysis;
pub mod portfolio;
pub mod portfolios;
pub mod query;
pub mod status;
pub mod trades;
pub mod venues;
pub mod versions;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use automations::webhooks;

/// All routes but `/mcp`. Layers come in `src/server.rs`.
pub fn routes(app: &App) -> Router<App> {
    Router::new()
        .route("/", get(welcome))
        .route("/docs", get(documents::page))
        .route("/llms.txt", get(documents::llms))
        .route("/openapi.json", get(documents::openapi_json))
        .route("/openapi.yaml", get(documents::openapi_yaml))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/api/agents/register", agents::route(app))
        .route("/api/auth/signup", post(auth::sign_up))
        .route("/api/auth/login", post(auth::log_in))
        .route("/api/auth/refresh", post(auth::refresh))
        .route("/api/auth/logout", post(auth::log_out))
        .route("/api/auth/accept", post(auth::accept))
        .route("/api/auth/password", post(owners::change_password))
        .route("/api/owners", get(owners::list))
        .route("/api/owners/claim", post(owners::claim))
        .route("/api/owners/invitations", post(owners::invite))
        .route("/api/owners/invitations/{id}", delete(owners::uninvite))
        .route("/api/owners/{id}", patch(owners::set_role).delete(owners::remove))
        .route("/api/keys", get(keys::list).post(keys::create))
        .route("/api/keys/{id}", delete(keys::revoke))
        .route("/api/keys/{id}/rotate", post(keys::rotate))
        .route("/api/keys/self", get(keys::own).delete(keys::revoke_own))
        .route("/api/keys/self/children", get(keys::children).post(keys::attenuate))
        .route("/api/keys/self/children/{id}", delete(keys::revoke_child))
        .route("/api/audit", get(audit::list))
        .route("/api/accounts", get(accounts::list).post(accounts::create))
        .route("/api/accounts/{id}", get(accounts::one).patch(manage::change).delete(manage::remove))
        .route("/api/accounts/{id}/sync", post(manage::sync))
        .route("/api/accounts/{id}/credentials", put(manage::replace))
        .route("/api/portfolios", get(portfolios::list).post(portfolios::create))
        .route("/api/portfolios/{id}", get(portfolios::one).patch(portfolios::change).delete(portfolios::remove))
        .route("/api/settings/ai-keys", post(ai_keys::put))
        .route("/api/settings/ai-keys/{provider}", delete(ai_keys::remove))
        .route("/api/automations", get(automations::list).post(automations::create))
        .route("/api/automations/{id}", patch(automations::change).get(automations::get).delete(automations::remove))
        .route("/api/automations/{id}/run", post(automations::run))
        .route("/api/automations/{id}/runs", get(automations::runs))
        .route("/api/automations/trigger/{token}", automations::trigger::route(app))
        .route("/api/automations/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/api/automations/webhooks/{id}", patch(webhooks::change).delete(webhooks::remove))
        .route("/api/automations/webhooks/{id}/deliveries", get(webhooks::deliveries))
        .route("/api/automations/deliveries/{id}", get(webhooks::delivery))
        .route("/api/automations/deliveries/{id}/redeliver", post(webhooks::redeliver))
        .route("/api/cash-flows", get(cash_flows::list))
        .route("/api/portfolio", get(portfolio::now))
        .route("/api/portfolio/history", get(portfolio::history))
        .route("/api/portfolio/exposure-summary", get(portfolio::exposure))
        .route("/api/portfolio/report", get(portfolio::report))
        .route("/api/metrics", get(portfolio::metrics))
        .route("/api/trades", get(trades::fills))
        .route("/api/trade-events", get(trades::events))
        .route("/api/trade-events/activity-summary", get(trades::activity))
        .route("/api/pnl-analysis/summary", get(pnl_analysis::summary))
        .route("/api/pnl-analysis/query", post(pnl_analysis::query))
        .route("/api/forensics/account-summary", get(forensics::accounts))
        .route("/api/forensics/pnl-by-symbol", get(forensics::by_symbol))
        .route("/api/forensics/pnl-buckets", get(forensics::buckets))
        .route("/api/forensics/forced-events", get(forensics::forced))
        .route("/api/forensics/largest-loss-events", get(forensics::losses))
        .route("/api/forensics/risk-timeline", get(forensics::risk))
        .route("/api/export/counts", get(exports::counts))
        .route("/api/export/{table}/count", get(exports::count))
        .route("/api/export/{table}/manifest", get(exports::manifest))
        .route("/api/export/{table}", get(exports::file))
        .route("/api/grafana/nav", get(grafana::nav))
        .route("/api/grafana/drawdown", get(grafana::drawdown))
        .route("/api/grafana/exposure", get(grafana::exposure))
        .route("/api/grafana/pnl", get(grafana::pnl))
        .route("/api/grafana/funding", get(grafana::funding))
        .route("/api/grafana/fees", get(grafana::fees))
        .route("/api/grafana/volume", get(grafana::volume))
        .route("/api/grafana/events", get(grafana::events))
        .route("/api/grafana/forced-closes", get(grafana::forced_closes))
        .route("/api/grafana/positions", get(grafana::positions))
        .route("/api/grafana/account-status", get(grafana::account_status))
        .route("/api/grafana/collector-lag", get(grafana::collector_lag))
        .route("/api/grafana/coverage", get(grafana::coverage))
        .route("/api/grafana/annotations", get(grafana::annotations))
        .route("/api/grafana/variables/account", get(grafana::accounts))
        .route("/api/grafana/variables/portfolio", get(grafana::portfolios))
        .route("/api/grafana/variables/symbol", get(grafana::symbols))
        .route("/api/grafana/variables/venue", get(grafana::venues))
        .route("/api/status", get(status::status))
        .route("/api/venues", get(venues::list))
        .route_layer(from_fn_with_state(app.clone(), crate::audit::requests))
}

/// The contract's success envelope.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Success<T> {
    success: bool,
    data: T,
}

impl<T> Success<T> {
    pub fn of(data: T) -> Self {
        Self { success: true, data }
    }
}

/// `{"success":true,"data":…}`
pub fn success<T: Serialize>(status: StatusCode, data: T) -> Response {
    (status, axum::Json(Success::of(data))).into_response()
}

/// Where to go from here.
async fn welcome() -> Response {
    axum::Json(json!({
        "name": "codash",
        "version": env!("CARGO_PKG_VERSION"),
        "register": "POST /api/agents/register",
        "mcp": "POST /mcp",
        "docs": "/docs",
        "contract": "/openapi.json",
        "agents": "/llms.txt",
        "health": "/health/ready",
    }))
    .into_response()
}
