//! `/api/portfolios`: groups of accounts, as a tree.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use codash_analytics::input::present;
use codash_analytics::portfolios::{self, Named};
use codash_domain::{AccountId, PortfolioId, Scope, text};
use codash_store::portfolios::{NewPortfolio, Portfolio, PortfolioChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::error::ApiError;
use super::extract::{Json, LONGEST_NAME, NoParams, Params, id, visible_name};
use super::idempotency::{self, Attempt, Creating, Start};
use super::manage::{id_or_null, or_null};
use super::versions::{IfMatch, tagged};
use super::{Success, success};
use crate::app::App;
use crate::auth::Caller;

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<portfolios::Query>,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    Ok(success(StatusCode::OK, portfolios::answer(&app.ctx(&caller), query).await?))
}

pub async fn one(
    State(app): State<App>,
    caller: Caller,
    Path(portfolio): Path<String>,
    _: NoParams,
) -> Result<Response, ApiError> {
    caller.require(Scope::ReadSummary)?;
    let portfolio = portfolios::one(&app.ctx(&caller), id(&portfolio)?).await?;
    Ok(tagged(portfolio.named.version, success(StatusCode::OK, portfolio)))
}

#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreatePortfolio {
    /// 1 to 100 characters, unlike those of its siblings.
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: String,
    /// The group to put it in; null or absent: at the root.
    #[serde(default, deserialize_with = "or_null")]
    #[schemars(schema_with = "id_or_null")]
    pub parent_id: Option<Option<PortfolioId>>,
}

/// The same request under the same `Idempotency-Key` is answered once more with what it created.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    _: NoParams,
    Creating { wanted, once }: Creating<CreatePortfolio>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let attempt = match idempotency::begin(&app, &caller, once).await? {
        Start::Go(attempt) => attempt,
        Start::Answered(response) => return Ok(response),
    };
    let made = make(&app, &caller, &wanted, attempt.as_ref()).await;
    idempotency::settle(&app, &caller, attempt, made).await
}

async fn make(
    app: &App,
    caller: &Caller,
    wanted: &CreatePortfolio,
    attempt: Option<&Attempt>,
) -> Result<Response, ApiError> {
    let new = NewPortfolio {
        id: PortfolioId::from_random(app.random()?),
        parent: wanted.parent_id.flatten(),
        name: text::clean(&wanted.name, LONGEST_NAME),
        now: app.clock.now(),
    };
    let reply = |made: &Portfolio| idempotency::text(&Success::of(Named::from(made.clone())));
    let keep = attempt.map(|attempt| attempt.keep(&reply));
    let made = app.store.create_portfolio(&caller.grant, &new, caller.by(app), keep.as_ref()).await.map_err(unfit)?;
    tracing::info!(portfolio.id = %made.id, "a portfolio was created");
    Ok(shown(StatusCode::CREATED, made))
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct ChangePortfolio {
    /// 1 to 100 characters, unlike those of its siblings.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "visible_name"))]
    #[schemars(extend("minLength" = 1, "maxLength" = LONGEST_NAME, "pattern" = text::VISIBLE))]
    pub name: Option<String>,
    /// The group to move it into, with all that is in it; null: to the root.
    #[serde(default, deserialize_with = "or_null")]
    #[schemars(schema_with = "id_or_null")]
    pub parent_id: Option<Option<PortfolioId>>,
}

pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(portfolio): Path<String>,
    IfMatch(expected): IfMatch,
    _: NoParams,
    Json(wanted): Json<ChangePortfolio>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let portfolio = id(&portfolio)?;
    let change =
        PortfolioChange { name: wanted.name.map(|name| text::clean(&name, LONGEST_NAME)), parent: wanted.parent_id };
    if change.name.is_none() && change.parent.is_none() {
        return Err(ApiError::invalid_request("nothing is to change: send name or parentId"));
    }
    let changed = app.store.change_portfolio(&caller.grant, portfolio, &expected, &change, caller.by(&app)).await;
    Ok(shown(StatusCode::OK, changed.map_err(unfit)?))
}

/// A group is gone; what was in it is in its parent now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedPortfolio {
    pub id: PortfolioId,
    pub removed: bool,
    /// Where its accounts and groups are now; null: groups at the root, accounts in no group.
    pub moved_to: Option<PortfolioId>,
    pub moved_portfolio_ids: Vec<PortfolioId>,
    pub moved_account_ids: Vec<AccountId>,
}

pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(portfolio): Path<String>,
    IfMatch(expected): IfMatch,
    _: NoParams,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAccounts)?;
    let id: PortfolioId = id(&portfolio)?;
    let gone =
        app.store.remove_portfolio(&caller.grant, id, &expected, caller.by(&app)).await.map_err(
            |error| match error {
                codash_store::Error::Conflict { .. } => ApiError::conflict(
                    "a group in it has the name of one that it would come to stand beside: rename one of them first",
                ),
                error => error.into(),
            },
        )?;
    tracing::info!(portfolio.id = %id, "a portfolio was removed");
    Ok(success(
        StatusCode::OK,
        RemovedPortfolio {
            id,
            removed: true,
            moved_to: gone.parent,
            moved_portfolio_ids: gone.portfolios,
            moved_account_ids: gone.accounts,
        },
    ))
}

fn shown(status: StatusCode, portfolio: Portfolio) -> Response {
    tagged(portfolio.version, success(status, Named::from(portfolio)))
}

/// Why the tree does not take the group so.
fn unfit(error: codash_store::Error) -> ApiError {
    match error {
        codash_store::Error::Unfit(unfit) => ApiError::invalid_field("parentId", unfit.to_string()),
        codash_store::Error::Conflict { .. } => ApiError::conflict("a group beside it has this name already"),
        error => error.into(),
    }
}
