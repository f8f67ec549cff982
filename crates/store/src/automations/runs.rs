//! Runs: queued once for each cause, ended together with the messages they cause.

use std::time::Duration;

use codash_domain::automation::{Cause, Overlap};
use codash_domain::{AutomationId, DeliveryId, EndpointId, KeyId, RunId, Timestamp, WorkspaceId};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::claims::{self, Claim};
use super::deliveries::DeliveryState;
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// Ended runs of an automation that are kept.
const KEPT: i64 = 500;

/// A run as its owner sees it.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: RunId,
    pub automation: AutomationId,
    pub cause: Cause,
    pub cause_id: String,
    /// queued, running, succeeded, failed or skipped.
    pub state: String,
    pub detail: Option<String>,
    /// JSON as it was written.
    pub result: Option<String>,
    pub attempts: i32,
    pub scheduled_for: Timestamp,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub deliveries: Vec<DeliveryState>,
}

pub(super) struct NewRun<'a> {
    pub automation: AutomationId,
    pub cause: Cause,
    pub cause_id: &'a str,
    pub scheduled_for: Timestamp,
    /// Why it will not run.
    pub skipped: Option<&'a str>,
}

/// What came of asking for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Queued, or there already for the same cause.
    Run(RunId),
    Paused,
    /// The workspace has had as many runs within an hour as it may.
    OverQuota,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With an answer, as JSON.
    Succeeded(String),
    Failed(String),
}

pub(super) const RUN: &str = "run_id, automation_id, cause, cause_id, state, detail, result, attempts, scheduled_for,
    created_at, started_at, finished_at";

/// Queues a run, or finds the one of the same cause. The caller holds the automation's row.
pub(super) async fn queue(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    overlap: Overlap,
    new: &NewRun<'_>,
) -> Result<RunId, Error> {
    let id = RunId::derive(new.automation, new.cause, new.cause_id);
    let unfinished: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT run_id, state FROM automation_runs
         WHERE workspace_id = $1 AND automation_id = $2 AND (state IN ('queued', 'running') OR run_id = $3)",
    )
    .bind(workspace.0)
    .bind(new.automation.0)
    .bind(id.0)
    .fetch_all(tx.connection())
    .await?;
    if unfinished.iter().any(|(run, _)| *run == id.0) {
        return Ok(id);
    }
    let is_waiting = unfinished.iter().any(|(_, state)| state == "queued");
    let skipped = match (new.skipped, overlap) {
        (Some(reason), _) => Some(reason),
        (None, _) if unfinished.is_empty() => None,
        (None, Overlap::Queue) if !is_waiting => None,
        (None, Overlap::Queue) => Some("another run was waiting already"),
        (None, Overlap::Skip) => Some("an earlier run had not ended"),
    };
    sqlx::query(
        "INSERT INTO automation_runs (workspace_id, run_id, automation_id, cause, cause_id, state, detail, scheduled_for,
                                      finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $6 = 'skipped' THEN clock_timestamp() END)",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(new.automation.0)
    .bind(new.cause.as_str())
    .bind(new.cause_id)
    .bind(if skipped.is_some() { "skipped" } else { "queued" })
    .bind(skipped)
    .bind(new.scheduled_for.utc())
    .execute(tx.connection())
    .await?;
    forget_oldest(tx, workspace, new.automation).await?;
    Ok(id)
}

/// Keeps the newest runs, and those whose messages are still under way.
async fn forget_oldest(tx: &mut Transaction, workspace: WorkspaceId, automation: AutomationId) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM automation_runs r WHERE r.workspace_id = $1 AND r.run_id IN (
            SELECT o.run_id FROM automation_runs o WHERE o.workspace_id = $1 AND o.automation_id = $2
            ORDER BY o.created_at DESC, o.run_id DESC OFFSET $3)
         AND r.state IN ('succeeded', 'failed', 'skipped')
         AND NOT EXISTS (SELECT FROM webhook_deliveries d
                         WHERE d.workspace_id = $1 AND d.run_id = r.run_id AND d.state = 'pending')",
    )
    .bind(workspace.0)
    .bind(automation.0)
    .bind(KEPT)
    .execute(tx.connection())
    .await?;
    Ok(())
}

impl Store {
    /// Queues a run that somebody asks for, unless the workspace had `most` runs within the hour.
    pub async fn ask_for_run(
        &self,
        workspace: WorkspaceId,
        automation: AutomationId,
        cause: Cause,
        cause_id: &str,
        most: i64,
    ) -> Result<Asked, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let overlap = claims::hold(&mut tx, workspace, automation, None).await?;
        let id = RunId::derive(automation, cause, cause_id);
        let row = sqlx::query(
            "SELECT a.is_paused, clock_timestamp() AS now,
                    EXISTS (SELECT FROM automation_runs r WHERE r.workspace_id = $1 AND r.run_id = $3) AS is_known,
                    (SELECT count(*) FROM automation_runs r
                     WHERE r.workspace_id = $1 AND r.created_at > clock_timestamp() - interval '1 hour') AS recent
             FROM automations a WHERE a.workspace_id = $1 AND a.automation_id = $2",
        )
        .bind(workspace.0)
        .bind(automation.0)
        .bind(id.0)
        .fetch_one(tx.connection())
        .await?;
        let settled = if row.col("is_known")? {
            Some(Asked::Run(id))
        } else if row.col("is_paused")? {
            Some(Asked::Paused)
        } else {
            (row.col::<i64>("recent")? >= most).then_some(Asked::OverQuota)
        };
        if let Some(settled) = settled {
            tx.commit().await?;
            return Ok(settled);
        }
        let new = NewRun { automation, cause, cause_id, scheduled_for: row.at("now")?, skipped: None };
        let id = queue(&mut tx, workspace, overlap, &new).await?;
        tx.commit().await?;
        Ok(Asked::Run(id))
    }

    /// Takes on one run that waits, or that another worker left unfinished.
    pub async fn claim_due_run(&self, holder: &str, ttl: Duration) -> Result<Option<Claim>, Error> {
        match claims::claim(self, "claim_due_run", holder, ttl).await {
            // Two workers reached for two runs of one automation: the faster has it.
            Err(Error::Conflict { .. }) => Ok(None),
            claimed => claimed,
        }
    }

    /// A claimed run, without deliveries. [`Error::Fenced`] when it is somebody else's by now.
    pub async fn claimed_run(&self, claim: &Claim) -> Result<Run, Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let sql = format!("SELECT {RUN} FROM automation_runs WHERE workspace_id = $1 AND run_id = $2 AND epoch = $3");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(claim.workspace.0)
            .bind(claim.id)
            .bind(claim.epoch)
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::Fenced)?;
        tx.commit().await?;
        run(&row)
    }

    /// Ends a run and puts its messages into the outbox, in one transaction; with `pause`, the
    /// automation pauses too.
    pub async fn finish_run(
        &self,
        claim: &Claim,
        key: KeyId,
        outcome: &Outcome,
        pause: Option<&str>,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let (state, detail, result) = match outcome {
            Outcome::Succeeded(result) => ("succeeded", None, Some(result)),
            Outcome::Failed(detail) => ("failed", Some(detail), None),
        };
        let automation: Option<Uuid> = sqlx::query_scalar(
            "UPDATE automation_runs SET state = $4, detail = $5, result = $6, key_id = $7, finished_at = clock_timestamp(),
                    holder = NULL, lease_expires_at = '-infinity'
             WHERE workspace_id = $1 AND run_id = $2 AND epoch = $3 AND state = 'running' RETURNING automation_id",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(claim.epoch)
        .bind(state)
        .bind(detail)
        .bind(result)
        .bind(key.0)
        .fetch_optional(tx.connection())
        .await?;
        let automation = AutomationId(automation.ok_or(Error::Fenced)?);
        fill_outbox(&mut tx, claim.workspace, automation, RunId(claim.id)).await?;
        if let Some(reason) = pause {
            sqlx::query(
                "UPDATE automations SET is_paused = true, pause_reason = $3, due_at = NULL, epoch = epoch + 1
                 WHERE workspace_id = $1 AND automation_id = $2",
            )
            .bind(claim.workspace.0)
            .bind(automation.0)
            .bind(reason)
            .execute(tx.connection())
            .await?;
        }
        tx.commit().await
    }

    /// Lets a run be taken on again after a while: a failure on our side.
    pub async fn put_run_off(&self, claim: &Claim, pause: Duration, detail: &str) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        sqlx::query(
            "UPDATE automation_runs SET holder = NULL, lease_expires_at = '-infinity', detail = $5,
                    due_at = clock_timestamp() + make_interval(secs => $4::int)
             WHERE workspace_id = $1 AND run_id = $2 AND epoch = $3",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(claim.epoch)
        .bind(i32::try_from(pause.as_secs()).unwrap_or(i32::MAX))
        .bind(detail)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Runs of an automation, newest first, with their deliveries; those before `before` when given.
    pub async fn runs(
        &self,
        workspace: WorkspaceId,
        automation: AutomationId,
        before: Option<RunId>,
        limit: i64,
    ) -> Result<Vec<Run>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let sql = format!(
            "SELECT {RUN} FROM automation_runs WHERE workspace_id = $1 AND automation_id = $2
               AND ($3::uuid IS NULL OR (created_at, run_id) < (
                    SELECT b.created_at, b.run_id FROM automation_runs b WHERE b.workspace_id = $1 AND b.run_id = $3))
             ORDER BY created_at DESC, run_id DESC LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(workspace.0)
            .bind(automation.0)
            .bind(before.map(|id| id.0))
            .bind(limit)
            .fetch_all(tx.connection())
            .await?;
        let mut runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        super::deliveries::attach(&mut tx, workspace, &mut runs).await?;
        tx.commit().await?;
        Ok(runs)
    }
}

/// A message to each endpoint of the automation that takes any.
async fn fill_outbox(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    automation: AutomationId,
    run: RunId,
) -> Result<(), Error> {
    let endpoints: Vec<Uuid> = sqlx::query_scalar(
        "SELECT e.endpoint_id FROM automations a
         JOIN webhook_endpoints e ON e.workspace_id = a.workspace_id AND e.endpoint_id = ANY (a.endpoint_ids)
         WHERE a.workspace_id = $1 AND a.automation_id = $2 AND NOT e.is_disabled",
    )
    .bind(workspace.0)
    .bind(automation.0)
    .fetch_all(tx.connection())
    .await?;
    for endpoint in endpoints {
        sqlx::query(
            "INSERT INTO webhook_deliveries (workspace_id, delivery_id, endpoint_id, run_id) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(workspace.0)
        .bind(DeliveryId::derive(run, EndpointId(endpoint)).0)
        .bind(endpoint)
        .bind(run.0)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

pub(super) fn run(row: &PgRow) -> Result<Run, Error> {
    Ok(Run {
        id: RunId(row.col("run_id")?),
        automation: AutomationId(row.col("automation_id")?),
        cause: row.parsed("cause")?,
        cause_id: row.col("cause_id")?,
        state: row.col("state")?,
        detail: row.col("detail")?,
        result: row.col("result")?,
        attempts: row.col("attempts")?,
        scheduled_for: row.at("scheduled_for")?,
        created_at: row.at("created_at")?,
        started_at: row.maybe_at("started_at")?,
        finished_at: row.maybe_at("finished_at")?,
        deliveries: Vec::new(),
    })
}
