//! The outbox: a message to an endpoint, its tries, and how it ended.

use std::time::Duration;

use codash_domain::{DeliveryId, EndpointId, RunId, Timestamp, WorkspaceId};
use secrecy::SecretString;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::claims::{self, Claim};
use super::endpoints;
use super::runs::{self, RUN, Run};
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// A delivery in the list of its run or endpoint.
#[derive(Debug, Clone)]
pub struct DeliveryState {
    pub id: DeliveryId,
    pub endpoint: EndpointId,
    pub run: RunId,
    /// pending, delivered or failed.
    pub state: String,
    pub detail: Option<String>,
    pub attempts: i32,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// When it is tried next, while it is pending.
    pub due_at: Timestamp,
}

/// One try, as it is kept.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub attempt: i32,
    pub attempted_at: Timestamp,
    pub duration_ms: i64,
    pub status_code: Option<i32>,
    pub error: Option<String>,
    pub response_head: Option<String>,
}

/// Everything that a try needs.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: DeliveryId,
    pub endpoint: EndpointId,
    pub url: String,
    /// The newest first; the older ones while a rotation lasts.
    pub secrets: Vec<SecretString>,
    /// Tries since it was last asked for.
    pub round: i32,
    pub failing_since: Option<Timestamp>,
    pub is_disabled: bool,
    pub run: Run,
    pub now: Timestamp,
}

/// What a try came to.
#[derive(Debug, Clone)]
pub struct Tried {
    pub duration: Duration,
    pub status_code: Option<u16>,
    pub error: Option<String>,
    pub response_head: Option<String>,
}

/// What follows from a try.
#[derive(Debug, Clone)]
pub enum Verdict {
    Delivered,
    /// Again after this long.
    Retry(Duration),
    /// No more tries.
    GiveUp(String),
    /// No more tries, nor any to this endpoint.
    Disable(String),
}

const DELIVERY: &str =
    "delivery_id, endpoint_id, run_id, state, detail, attempts, created_at, ended_at, due_at FROM webhook_deliveries";

impl Store {
    /// Takes on one message that is due, or `None`.
    pub async fn claim_due_delivery(&self, holder: &str, ttl: Duration) -> Result<Option<Claim>, Error> {
        claims::claim(self, "claim_due_delivery", holder, ttl).await
    }

    /// What was claimed. [`Error::Fenced`] when it is somebody else's by now, or gone.
    pub async fn outgoing(&self, claim: &Claim) -> Result<Outgoing, Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let row = sqlx::query(
            "SELECT d.delivery_id, d.endpoint_id, d.run_id, d.round, e.url, e.sealed, e.data_key_version, e.is_disabled,
                    e.failing_since, clock_timestamp() AS now,
                    CASE WHEN e.previous_until > clock_timestamp() THEN e.sealed_previous END AS sealed_previous,
                    k.master_key_id, k.wrapped
             FROM webhook_deliveries d
             JOIN webhook_endpoints e ON e.workspace_id = d.workspace_id AND e.endpoint_id = d.endpoint_id
             LEFT JOIN data_keys k ON k.workspace_id = e.workspace_id AND k.version = e.data_key_version
             WHERE d.workspace_id = $1 AND d.delivery_id = $2 AND d.epoch = $3 AND d.state = 'pending'",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(claim.epoch)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::Fenced)?;
        let endpoint = EndpointId(row.col("endpoint_id")?);
        let secrets = self.signing_secrets(claim, endpoint, &row)?;
        let sql = format!("SELECT {RUN} FROM automation_runs WHERE workspace_id = $1 AND run_id = $2");
        let run = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(claim.workspace.0)
            .bind(row.col::<Uuid>("run_id")?)
            .fetch_one(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(Outgoing {
            id: DeliveryId(row.col("delivery_id")?),
            endpoint,
            url: row.col("url")?,
            secrets,
            round: row.col("round")?,
            failing_since: row.maybe_at("failing_since")?,
            is_disabled: row.col("is_disabled")?,
            run: runs::run(&run)?,
            now: row.at("now")?,
        })
    }

    /// Keeps the try and what follows from it, in one transaction.
    pub async fn settle_delivery(
        &self,
        claim: &Claim,
        endpoint: EndpointId,
        tried: &Tried,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let (state, detail, wait) = match verdict {
            Verdict::Delivered => ("delivered", None, Duration::ZERO),
            Verdict::Retry(wait) => ("pending", tried.error.as_deref(), *wait),
            Verdict::GiveUp(reason) | Verdict::Disable(reason) => ("failed", Some(reason.as_str()), Duration::ZERO),
        };
        let attempt: Option<i32> = sqlx::query_scalar(
            "UPDATE webhook_deliveries SET attempts = attempts + 1, round = round + 1, state = $4, detail = $5, holder = NULL,
                    lease_expires_at = '-infinity', due_at = clock_timestamp() + make_interval(secs => $6::int),
                    ended_at = CASE WHEN $4 = 'pending' THEN NULL ELSE clock_timestamp() END
             WHERE workspace_id = $1 AND delivery_id = $2 AND epoch = $3 AND state = 'pending' RETURNING attempts",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(claim.epoch)
        .bind(state)
        .bind(detail)
        .bind(i32::try_from(wait.as_secs()).unwrap_or(i32::MAX))
        .fetch_optional(tx.connection())
        .await?;
        let attempt = attempt.ok_or(Error::Fenced)?;
        sqlx::query(
            "INSERT INTO webhook_attempts (workspace_id, delivery_id, attempt, duration_ms, status_code, error, response_head)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(attempt)
        .bind(i64::try_from(tried.duration.as_millis()).unwrap_or(i64::MAX))
        .bind(tried.status_code.map(i32::from))
        .bind(&tried.error)
        .bind(&tried.response_head)
        .execute(tx.connection())
        .await?;
        sqlx::query(
            "UPDATE webhook_endpoints
             SET failing_since = CASE WHEN $3 THEN NULL ELSE coalesce(failing_since, clock_timestamp()) END
             WHERE workspace_id = $1 AND endpoint_id = $2",
        )
        .bind(claim.workspace.0)
        .bind(endpoint.0)
        .bind(matches!(verdict, Verdict::Delivered))
        .execute(tx.connection())
        .await?;
        if let Verdict::Disable(reason) = verdict {
            endpoints::disable(&mut tx, claim.workspace, endpoint, reason).await?;
        }
        tx.commit().await
    }

    /// Deliveries of an endpoint, newest first; those before `before` when given.
    pub async fn deliveries(
        &self,
        workspace: WorkspaceId,
        endpoint: EndpointId,
        before: Option<DeliveryId>,
        limit: i64,
    ) -> Result<Vec<DeliveryState>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let sql = format!(
            "SELECT {DELIVERY} WHERE workspace_id = $1 AND endpoint_id = $2
               AND ($3::uuid IS NULL OR (created_at, delivery_id) < (
                    SELECT b.created_at, b.delivery_id FROM webhook_deliveries b
                    WHERE b.workspace_id = $1 AND b.delivery_id = $3))
             ORDER BY created_at DESC, delivery_id DESC LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(workspace.0)
            .bind(endpoint.0)
            .bind(before.map(|id| id.0))
            .bind(limit)
            .fetch_all(tx.connection())
            .await?;
        tx.commit().await?;
        rows.iter().map(delivery).collect()
    }

    /// A delivery and its tries, oldest first.
    pub async fn delivery(
        &self,
        workspace: WorkspaceId,
        id: DeliveryId,
    ) -> Result<(DeliveryState, Vec<Attempt>), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let sql = format!("SELECT {DELIVERY} WHERE workspace_id = $1 AND delivery_id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(workspace.0)
            .bind(id.0)
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::NotFound)?;
        let rows = sqlx::query(
            "SELECT attempt, attempted_at, duration_ms, status_code, error, response_head FROM webhook_attempts
             WHERE workspace_id = $1 AND delivery_id = $2 ORDER BY attempt",
        )
        .bind(workspace.0)
        .bind(id.0)
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        Ok((delivery(&row)?, rows.iter().map(attempt).collect::<Result<_, _>>()?))
    }

    /// Sends again from the start of the schedule, under the same id. [`Error::NotFound`] without such a
    /// delivery, [`Error::Conflict`] (`disabled`) when its endpoint takes none.
    pub async fn redeliver(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let is_disabled: Option<bool> = sqlx::query_scalar(
            "SELECT e.is_disabled FROM webhook_deliveries d
             JOIN webhook_endpoints e ON e.workspace_id = d.workspace_id AND e.endpoint_id = d.endpoint_id
             WHERE d.workspace_id = $1 AND d.delivery_id = $2 FOR UPDATE OF d",
        )
        .bind(workspace.0)
        .bind(id.0)
        .fetch_optional(tx.connection())
        .await?;
        if is_disabled.ok_or(Error::NotFound)? {
            return Err(Error::Conflict { constraint: "disabled".into() });
        }
        sqlx::query(
            "UPDATE webhook_deliveries SET state = 'pending', round = 0, detail = NULL, ended_at = NULL,
                    due_at = clock_timestamp()
             WHERE workspace_id = $1 AND delivery_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }
}

/// Gives each run its deliveries.
pub(super) async fn attach(tx: &mut Transaction, workspace: WorkspaceId, runs: &mut [Run]) -> Result<(), Error> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
    let sql =
        format!("SELECT {DELIVERY} WHERE workspace_id = $1 AND run_id = ANY ($2) ORDER BY created_at, delivery_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(workspace.0).bind(&ids).fetch_all(tx.connection()).await?;
    for row in &rows {
        let delivery = delivery(row)?;
        if let Some(run) = runs.iter_mut().find(|run| run.id == delivery.run) {
            run.deliveries.push(delivery);
        }
    }
    Ok(())
}

fn delivery(row: &PgRow) -> Result<DeliveryState, Error> {
    Ok(DeliveryState {
        id: DeliveryId(row.col("delivery_id")?),
        endpoint: EndpointId(row.col("endpoint_id")?),
        run: RunId(row.col("run_id")?),
        state: row.col("state")?,
        detail: row.col("detail")?,
        attempts: row.col("attempts")?,
        created_at: row.at("created_at")?,
        ended_at: row.maybe_at("ended_at")?,
        due_at: row.at("due_at")?,
    })
}

fn attempt(row: &PgRow) -> Result<Attempt, Error> {
    Ok(Attempt {
        attempt: row.col("attempt")?,
        attempted_at: row.at("attempted_at")?,
        duration_ms: row.col("duration_ms")?,
        status_code: row.col("status_code")?,
        error: row.col("error")?,
        response_head: row.col("response_head")?,
    })
}
