//! Who does what: leases by the database's clock, with an epoch that stops whoever lost one.
//!
//! Killed at any instant, a worker leaves a lease that lapses; what it had not committed is done again
//! under the same ids.

use std::time::Duration;

use codash_domain::automation::{Cause, Overlap, Watch};
use codash_domain::{AutomationId, Timestamp, WorkspaceId};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::runs::{self, NewRun};
use super::{AUTOMATION, Automation, automation};
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// The right to work on a row until another epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub workspace: WorkspaceId,
    pub id: Uuid,
    pub epoch: i64,
}

/// A due automation, and the database's clock.
#[derive(Debug, Clone)]
pub struct Due {
    pub automation: Automation,
    pub now: Timestamp,
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRun {
    pub cause: Cause,
    /// What makes the cause this one: the same is the same run.
    pub cause_id: String,
    pub at: Timestamp,
    /// Why it will not run.
    pub skipped: Option<String>,
}

/// What a look at a due automation came to.
#[derive(Debug, Clone, Default)]
pub struct Advance {
    pub run: Option<DueRun>,
    pub next: Option<Timestamp>,
    /// What its condition remembers from now on, and what was seen.
    pub watch: Option<(Watch, String)>,
    /// Pauses, and says why.
    pub pause: Option<String>,
}

/// The outcome of finding work.
pub(super) async fn claim(
    store: &Store,
    function: &'static str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Claim>, Error> {
    let sql = format!("SELECT * FROM {function}($1, make_interval(secs => $2::int))");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(holder)
        .bind(i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX))
        .fetch_optional(&store.writes)
        .await?;
    row.map(|row| {
        Ok(Claim { workspace: WorkspaceId(row.col("workspace_id")?), id: row.col("id")?, epoch: row.col("epoch")? })
    })
    .transpose()
}

impl Store {
    /// Takes over one automation that is due, or `None`.
    pub async fn claim_due_automation(&self, holder: &str, ttl: Duration) -> Result<Option<Claim>, Error> {
        claim(self, "claim_due_automation", holder, ttl).await
    }

    /// The trigger that this token's hash opens.
    pub async fn automation_by_token(
        &self,
        token_hash: &[u8; 32],
    ) -> Result<Option<(WorkspaceId, AutomationId)>, Error> {
        let row = sqlx::query("SELECT * FROM automation_by_token($1)")
            .bind(&token_hash[..])
            .fetch_optional(&self.writes)
            .await?;
        row.map(|row| Ok((WorkspaceId(row.col("workspace_id")?), AutomationId(row.col("id")?)))).transpose()
    }

    /// What was claimed. [`Error::Fenced`] when it is somebody else's by now, or gone.
    pub async fn due_automation(&self, claim: &Claim) -> Result<Due, Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let sql = format!("SELECT clock_timestamp() AS now, {AUTOMATION} AND a.automation_id = $2 AND a.epoch = $3");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(claim.workspace.0)
            .bind(claim.id)
            .bind(claim.epoch)
            .fetch_optional(tx.connection())
            .await?
            .ok_or(Error::Fenced)?;
        tx.commit().await?;
        Ok(Due { automation: automation(&row)?, now: row.at("now")? })
    }

    /// Queues the run, remembers, and gives the automation back: all or nothing, and nothing when the
    /// claim is lost.
    pub async fn advance_automation(&self, claim: &Claim, advance: &Advance) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, claim.workspace, Mode::Write).await?;
        let id = AutomationId(claim.id);
        let overlap = hold(&mut tx, claim.workspace, id, Some(claim.epoch)).await?;
        if let Some(run) = &advance.run {
            let new = NewRun {
                automation: id,
                cause: run.cause,
                cause_id: &run.cause_id,
                scheduled_for: run.at,
                skipped: run.skipped.as_deref(),
            };
            runs::queue(&mut tx, claim.workspace, overlap, &new).await?;
        }
        let (watch, detail) = match &advance.watch {
            Some((watch, detail)) => (Some(watch), Some(detail.as_str())),
            None => (None, None),
        };
        sqlx::query(
            "UPDATE automations SET due_at = $3, holder = NULL, lease_expires_at = '-infinity',
                    is_paused = is_paused OR $4::text IS NOT NULL, pause_reason = coalesce($4, pause_reason),
                    is_raised = coalesce($5, is_raised), fired_at = coalesce($6, fired_at),
                    checked_at = CASE WHEN $5::boolean IS NULL THEN checked_at ELSE clock_timestamp() END,
                    check_detail = coalesce($7, check_detail)
             WHERE workspace_id = $1 AND automation_id = $2",
        )
        .bind(claim.workspace.0)
        .bind(claim.id)
        .bind(advance.next.map(Timestamp::utc))
        .bind(&advance.pause)
        .bind(watch.map(|watch| watch.is_raised))
        .bind(watch.and_then(|watch| watch.fired_at).map(Timestamp::utc))
        .bind(detail)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }
}

/// Locks the automation's row, so that runs are queued one after the other. [`Error::Fenced`] when the
/// epoch is another, [`Error::NotFound`] when it is gone.
pub(super) async fn hold(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    id: AutomationId,
    epoch: Option<i64>,
) -> Result<Overlap, Error> {
    let row =
        sqlx::query("SELECT overlap, epoch FROM automations WHERE workspace_id = $1 AND automation_id = $2 FOR UPDATE")
            .bind(workspace.0)
            .bind(id.0)
            .fetch_optional(tx.connection())
            .await?;
    let row = match (row, epoch) {
        (Some(row), None) => row,
        (Some(row), Some(epoch)) if row.col::<i64>("epoch")? == epoch => row,
        (_, Some(_)) => return Err(Error::Fenced),
        (None, None) => return Err(Error::NotFound),
    };
    Ok(if row.col::<String>("overlap")? == "queue" { Overlap::Queue } else { Overlap::Skip })
}
