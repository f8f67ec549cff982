//! `/api/portfolio…` and `/api/metrics`: worth, exposure and performance, now and through time.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::{exposure_summary, metrics, nav_history, portfolio_summary, report};
use codash_domain::Scope;

use super::error::ApiError;
use super::extract::Params;
use super::success;
use crate::app::App;
use crate::auth::Caller;

pub async fn now(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<portfolio_summary::RestQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    Ok(success(StatusCode::OK, portfolio_summary::asked(&app.ctx(&caller), query).await?))
}

pub async fn history(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<nav_history::RestQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    Ok(success(StatusCode::OK, nav_history::asked(&app.ctx(&caller), query).await?))
}

pub async fn exposure(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<exposure_summary::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    Ok(success(StatusCode::OK, exposure_summary::answer(&app.ctx(&caller), query).await?))
}

pub async fn report(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<report::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, report::answer(&app.ctx(&caller), query).await?))
}

pub async fn metrics(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<metrics::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    Ok(success(StatusCode::OK, metrics::answer(&app.ctx(&caller), query).await?))
}
