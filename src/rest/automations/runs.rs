//! Runs of an automation: listing them, and asking for one.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use codash_domain::automation::{Cause, Timing};
use codash_domain::{RunId, Scope, Scopes};
use codash_store::automations::Automation;
use codash_store::automations::runs::{Asked, Run};
use std::time::Duration;

use super::find;
use super::wire::{PageQuery, Queued, RunAnswer, Runs, next_cursor};
use crate::app::App;
use crate::auth::Caller;
use crate::automate;
use crate::rest::error::ApiError;
use crate::rest::extract::Params;
use crate::rest::success;

/// Runs of a workspace within an hour, of all its automations, after which no more are asked for.
pub const MOST_AN_HOUR: i64 = 1000;
const LONGEST_ID: usize = 128;

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<PageQuery>,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let automation = find(&app, &caller, &id).await?;
    let before = page.cursor.map(RunId);
    let runs = app.store.runs(caller.grant.workspace, automation.id, before, page.limit()).await?;
    let next_cursor = next_cursor(runs.len(), page.limit(), runs.last().map(|run| run.id.0));
    let shown = |run: Run| {
        let shows = shows_result(&caller.grant.scopes, &automation, &run);
        RunAnswer::of(run, shows)
    };
    let runs: Vec<RunAnswer> = runs.into_iter().map(shown).collect();
    Ok(success(StatusCode::OK, Runs { count: runs.len(), runs, next_cursor }))
}

/// A key sees the results of questions that it could ask itself. What was asked before the last change
/// may have been another question: that takes every read scope.
fn shows_result(scopes: &Scopes, automation: &Automation, run: &Run) -> bool {
    let families = [Scope::ReadSummary, Scope::ReadLive, Scope::ReadRaw, Scope::ReadExports];
    if families.into_iter().all(|scope| scopes.allows(scope)) {
        return true;
    }
    let may_ask = automate::check(&automation.definition.task).is_ok_and(|scope| scopes.allows(scope));
    may_ask && run.created_at >= automation.updated_at
}

pub async fn run(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Scope::WriteAutomations)?;
    let automation = find(&app, &caller, &id).await?;
    let cause_id = cause_id(&app, &headers, &["idempotency-key"])?;
    let workspace = caller.grant.workspace;
    let asked = app.store.ask_for_run(workspace, automation.id, Cause::Manual, &cause_id, MOST_AN_HOUR).await?;
    queued(asked)
}

/// What names this request among others: the caller's own id, else one of ours.
pub fn cause_id(app: &App, headers: &HeaderMap, names: &[&str]) -> Result<String, ApiError> {
    let Some((name, value)) = names.iter().find_map(|name| headers.get(*name).map(|value| (name, value))) else {
        return Ok(hex::encode(app.random::<16>()?));
    };
    let is_plain = |text: &&str| (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let text = value.to_str().ok().filter(is_plain);
    text.map(str::to_owned)
        .ok_or_else(|| ApiError::invalid_field(name, "must be 1 to 128 printable characters without spaces"))
}

pub fn queued(asked: Asked) -> Result<Response, ApiError> {
    match asked {
        Asked::Run(run_id) => Ok(success(StatusCode::ACCEPTED, Queued { run_id })),
        Asked::Paused => {
            Err(ApiError::new(StatusCode::CONFLICT, "automation_paused", "the automation is paused: resume it first"))
        }
        Asked::OverQuota => Err(ApiError::rate_limited("runs per workspace and hour", Duration::from_secs(60))),
    }
}

/// True when requests from outside may start the automation.
pub fn has_trigger(automation: &Automation) -> bool {
    matches!(automation.definition.timing, Timing::Trigger(_))
}
