//! `/api/grafana/…`: the answers as flat rows at the top level, as dashboards read them. Errors keep the
//! contract's shape.
//!
//! To add a dataset: its columns in `tables.rs`, a handler here, and what every route needs
//! (`src/rest/mod.rs`).

pub mod params;
mod table;
mod tables;

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use codash_analytics::data_quality::{AccountsQuery, CoverageQuery, CoverageRows};
use codash_analytics::event_table::ForcedQuery;
use codash_analytics::nav_series::{DrawdownQuery, ExposureQuery, ExposureRows};
use codash_analytics::{
    annotations, data_quality, event_table, nav_series, portfolios, position_table, sum_series, symbols,
};
use codash_domain::{Scope, Usd};

use self::params::Asked;
use self::tables::Shape;
use super::error::ApiError;
use super::exports::NoQuery;
use crate::app::App;
use crate::auth::Caller;

pub async fn nav(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<nav_series::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    let shape = Shape::of_nav(query.split_by);
    tables::nav(&nav_series::answer(&app.ctx(&caller), query).await?, shape).respond(look)
}

pub async fn drawdown(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<DrawdownQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    tables::drawdown(&nav_series::drawdown(&app.ctx(&caller), query).await?).respond(look)
}

pub async fn exposure(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<ExposureQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    let ctx = app.ctx(&caller);
    if query.by == ExposureRows::Time {
        let shape = Shape::of_nav(query.split_by);
        return tables::exposure(&nav_series::answer(&ctx, query.into()).await?, shape).respond(look);
    }
    if query.split_by.is_some() {
        return Err(ApiError::invalid_field("splitBy", "makes series through time: leave it out, or leave out by"));
    }
    let answer = nav_series::exposure_now(&ctx, &query).await?;
    match query.by {
        ExposureRows::Account => tables::exposure_by_account(answer.as_ref()),
        _ => tables::exposure_by_symbol(answer.as_ref()),
    }
    .respond(look)
}

pub async fn pnl(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<sum_series::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let shape = Shape::of_sums(&query);
    tables::pnl(&sum_series::answer(&app.ctx(&caller), query).await?, shape).respond(look)
}

pub async fn funding(state: State<App>, caller: Caller, asked: Asked<sum_series::Query>) -> Result<Response, ApiError> {
    one_sum(state, caller, asked, "fundingUsd", |row| row.totals.funding_usd).await
}

pub async fn fees(state: State<App>, caller: Caller, asked: Asked<sum_series::Query>) -> Result<Response, ApiError> {
    one_sum(state, caller, asked, "feesUsd", |row| row.totals.fees_usd).await
}

pub async fn volume(state: State<App>, caller: Caller, asked: Asked<sum_series::Query>) -> Result<Response, ApiError> {
    one_sum(state, caller, asked, "notionalUsd", |row| row.totals.notional_usd).await
}

async fn one_sum(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<sum_series::Query>,
    name: &'static str,
    pick: fn(&sum_series::Row) -> Usd,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let shape = Shape::of_sums(&query);
    tables::one_sum(&sum_series::answer(&app.ctx(&caller), query).await?, shape, name, pick).respond(look)
}

pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<event_table::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    tables::events(event_table::answer(&app.ctx(&caller), query).await?).respond(look)
}

pub async fn forced_closes(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<ForcedQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    tables::events(event_table::answer(&app.ctx(&caller), query.into()).await?).respond(look)
}

pub async fn positions(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<position_table::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    tables::positions(&position_table::answer(&app.ctx(&caller), query).await?).respond(look)
}

pub async fn account_status(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<AccountsQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    tables::accounts(data_quality::accounts(&app.ctx(&caller), query).await?).respond(look)
}

pub async fn collector_lag(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<AccountsQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    tables::lags(data_quality::lags(&app.ctx(&caller), query).await?).respond(look)
}

pub async fn coverage(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<CoverageQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadLive)?;
    let ctx = app.ctx(&caller);
    match query.by {
        CoverageRows::Stream => tables::coverage(data_quality::coverage(&ctx, query).await?),
        CoverageRows::Gap => tables::gaps(data_quality::gaps(&ctx, query).await?),
    }
    .respond(look)
}

pub async fn annotations(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<annotations::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadRaw)?;
    tables::annotations(annotations::answer(&app.ctx(&caller), query).await?).respond(look)
}

/// The accounts, by name.
pub async fn accounts(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<AccountsQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let accounts = data_quality::accounts(&app.ctx(&caller), query).await?;
    tables::choices(accounts.into_iter().map(|a| (a.name, a.id.to_string()))).respond(look)
}

/// Groups of accounts, by name.
pub async fn portfolios(
    State(app): State<App>,
    caller: Caller,
    Asked(NoQuery {}, look): Asked<NoQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let groups = portfolios::answer(&app.ctx(&caller), portfolios::Query::default()).await?.portfolios;
    tables::choices(groups.into_iter().map(|group| (group.named.name, group.named.id.to_string()))).respond(look)
}

pub async fn symbols(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<symbols::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let symbols = symbols::answer(&app.ctx(&caller), query).await?;
    tables::choices(symbols.into_iter().map(|symbol| (symbol.to_string(), symbol.to_string()))).respond(look)
}

/// The venues of the accounts.
pub async fn venues(
    State(app): State<App>,
    caller: Caller,
    Asked(query, look): Asked<AccountsQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let accounts = data_quality::accounts(&app.ctx(&caller), query).await?;
    let venues: BTreeSet<String> = accounts.iter().map(|account| account.venue.to_string()).collect();
    tables::choices(venues.into_iter().map(|venue| (venue.clone(), venue))).respond(look)
}
