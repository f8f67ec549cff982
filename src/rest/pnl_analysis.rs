//! `/api/pnl-analysis/…`: PnL of a window, summed up, or grouped and pivoted.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::{pnl_query, pnl_summary};
use codash_domain::Scope;

use super::error::ApiError;
use super::extract::{Json, Params};
use super::success;
use crate::app::App;
use crate::auth::Caller;

pub async fn summary(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<pnl_summary::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, pnl_summary::answer(&app.ctx(&caller), query).await?))
}

pub async fn query(
    State(app): State<App>,
    caller: Caller,
    Json(query): Json<pnl_query::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, pnl_query::answer(&app.ctx(&caller), query).await?))
}
