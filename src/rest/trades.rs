//! `/api/trades`, `/api/trade-events…`: fills, events and their sums.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::{activity_summary, forensics, trade_events};
use codash_domain::Scope;

use super::error::ApiError;
use super::extract::Params;
use super::success;
use crate::app::App;
use crate::auth::Caller;

pub async fn fills(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<forensics::PageQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, forensics::events_of(&app.ctx(&caller), &forensics::FILLS, query).await?))
}

pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<trade_events::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, forensics::events(&app.ctx(&caller), query).await?))
}

pub async fn activity(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<activity_summary::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, activity_summary::answer(&app.ctx(&caller), query).await?))
}
