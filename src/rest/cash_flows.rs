//! `GET /api/cash-flows`: deposits, withdrawals, transfers, conversions and loans.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::cash_flows;
use codash_domain::Scope;

use super::error::ApiError;
use super::extract::Params;
use super::success;
use crate::app::App;
use crate::auth::Caller;

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<cash_flows::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    Ok(success(StatusCode::OK, cash_flows::answer(&app.ctx(&caller), query).await?))
}
