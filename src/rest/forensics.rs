//! `/api/forensics/…`: the postmortem. Windows are 90 days unless said otherwise.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::{account_forensics, forensics, pnl_buckets, risk_timeline};
use codash_domain::Scope;

use super::error::ApiError;
use super::extract::Params;
use super::success;
use crate::app::App;
use crate::auth::Caller;

pub async fn accounts(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<account_forensics::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, account_forensics::answer(&app.ctx(&caller), query).await?))
}

pub async fn by_symbol(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<forensics::SymbolsQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, forensics::pnl_by_symbol(&app.ctx(&caller), query).await?))
}

pub async fn buckets(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<pnl_buckets::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, pnl_buckets::answer(&app.ctx(&caller), query).await?))
}

pub async fn forced(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<forensics::PageQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, forensics::events_of(&app.ctx(&caller), &forensics::FORCED, query).await?))
}

pub async fn losses(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<forensics::LossesQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, forensics::largest_losses(&app.ctx(&caller), query).await?))
}

pub async fn risk(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<risk_timeline::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, risk_timeline::answer(&app.ctx(&caller), query).await?))
}
