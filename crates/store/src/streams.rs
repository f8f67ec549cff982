//! The streams of an account: where each goes on, how it stands.

use codash_domain::{AccountId, AccountStatus, Standing, Timestamp, Venue, WorkspaceId};
use serde_json::Value;
use sqlx::postgres::PgRow;
use std::time::Duration;
use uuid::Uuid;

use crate::accounts::StreamState;
use crate::ingest::Sweep;
use crate::row::Columns;
use crate::session::Transaction;
use crate::{Credential, Error, Lease, Session, Store};

/// What a collector needs to read an account.
#[derive(Debug, Clone)]
pub struct Opened {
    pub venue: Venue,
    pub is_active: bool,
    pub status: AccountStatus,
    pub credential: Credential,
    pub attested_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct StreamRow {
    pub stream: String,
    /// JSON null before the first page.
    pub cursor: Value,
    pub failures: i32,
    /// True when it is time to read it again, by the database's clock.
    pub due: bool,
    /// Read up to its present end, the last time.
    pub is_caught_up: bool,
    pub sweep: Option<Sweep>,
    pub swept_at: Option<Timestamp>,
    pub deep_swept_at: Option<Timestamp>,
    /// Its owner asked to have it read again from here on.
    pub resync_from: Option<Timestamp>,
    /// Where a sweep must begin to meet every record again that could not be read.
    pub quarantined_since: Option<Timestamp>,
    /// The oldest fill that other records speak of and this stream, read past it, has not brought.
    pub missing_since: Option<Timestamp>,
}

/// Why a stream could not be read, as its owner is told.
#[derive(Debug, Clone)]
pub struct StreamFault<'a> {
    pub stream: &'a str,
    /// behind (will be tried again) or error.
    pub status: &'static str,
    pub detail: &'a str,
    pub retry_after: Duration,
}

impl Store {
    /// Opens the account of a lease, its credential in memory for this pass only.
    pub async fn open_account(&self, lease: &Lease) -> Result<Opened, Error> {
        let mut tx = self.fenced(lease).await?;
        let row = sqlx::query(
            "SELECT venue, is_active, status, attested_at FROM accounts WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .fetch_one(tx.connection())
        .await?;
        let credential = self.credential(&mut tx, lease.workspace, lease.account).await?;
        tx.commit().await?;
        Ok(Opened {
            venue: row.parsed("venue")?,
            is_active: row.col("is_active")?,
            status: row.parsed("status")?,
            credential,
            attested_at: row.maybe_at("attested_at")?,
        })
    }

    /// The streams of a lease's account, with their cursors.
    pub async fn streams(&self, lease: &Lease) -> Result<Vec<StreamRow>, Error> {
        let mut tx = self.fenced(lease).await?;
        let streams = sqlx::query(
            "SELECT s.stream, s.cursor, s.failures, s.due_at <= clock_timestamp() AS due, s.status <> 'behind' AS is_caught_up,
                    s.sweep, s.swept_at, s.deep_swept_at, s.resync_from,
                    (SELECT min(not_before) FROM quarantined_records q
                     WHERE q.workspace_id = $1 AND q.account_id = $2 AND q.stream = s.stream) AS quarantined_since,
                    (SELECT min(h.occurred_at) FROM held_records h
                     JOIN coverage c ON c.workspace_id = $1 AND c.account_id = $2 AND c.stream = s.stream
                      AND h.occurred_at BETWEEN c.from_at AND c.to_at
                     WHERE h.workspace_id = $1 AND h.account_id = $2 AND h.settled_event IS NULL
                       AND s.stream IN (h.fill_coverage, h.fill_stream)) AS missing_since
             FROM streams s WHERE s.workspace_id = $1 AND s.account_id = $2 ORDER BY s.stream",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        let row = |r: &PgRow| {
            Ok(StreamRow {
                stream: r.col("stream")?,
                cursor: r.col("cursor")?,
                failures: r.col("failures")?,
                due: r.col("due")?,
                is_caught_up: r.col("is_caught_up")?,
                sweep: r.col::<Option<sqlx::types::Json<Sweep>>>("sweep")?.map(|sweep| sweep.0),
                swept_at: r.maybe_at("swept_at")?,
                deep_swept_at: r.maybe_at("deep_swept_at")?,
                resync_from: r.maybe_at("resync_from")?,
                quarantined_since: r.maybe_at("quarantined_since")?,
                missing_since: r.maybe_at("missing_since")?,
            })
        };
        streams.iter().map(row).collect()
    }

    /// Adds streams that the account does not have yet.
    pub async fn add_streams(&self, lease: &Lease, streams: &[String]) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        add(&mut tx, lease.workspace, lease.account, streams).await?;
        tx.commit().await
    }

    /// Notes that a stream could not be read and when to try again.
    pub async fn stream_failed(&self, lease: &Lease, fault: &StreamFault<'_>) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        sqlx::query(
            "UPDATE streams SET status = $4, detail = $5, failures = failures + 1,
                    due_at = clock_timestamp() + make_interval(secs => $6::int)
             WHERE workspace_id = $1 AND account_id = $2 AND stream = $3",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(fault.stream)
        .bind(fault.status)
        .bind(fault.detail)
        .bind(i32::try_from(fault.retry_after.as_secs()).unwrap_or(i32::MAX))
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Sets how the whole account stands, and what the venue said of its key if it was asked just now.
    pub async fn account_checked(
        &self,
        lease: &Lease,
        status: AccountStatus,
        detail: Option<&str>,
        checked_at: Timestamp,
        attested: Option<&Standing>,
    ) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        sqlx::query(
            "UPDATE accounts SET status = $3, status_detail = $4, last_checked_at = $5,
                    attested_at = CASE WHEN $6 IS NULL THEN attested_at ELSE $5 END,
                    assurance = coalesce($6, assurance), kind = coalesce($7, kind),
                    not_covered = coalesce($8, not_covered),
                    key_expires_at = CASE WHEN $6 IS NULL THEN key_expires_at ELSE $9 END,
                    updated_at = CASE WHEN status IS DISTINCT FROM $3 OR status_detail IS DISTINCT FROM $4
                                      THEN $5 ELSE updated_at END
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(status.as_str())
        .bind(detail)
        .bind(checked_at.utc())
        .bind(attested.map(|s| s.assurance.as_str()))
        .bind(attested.map(|s| s.kind.as_str()))
        .bind(attested.map(|s| s.not_covered.as_slice()))
        .bind(attested.and_then(|s| s.key_expires_at).map(|at| at.utc()))
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// How the streams of an account stand together: degraded when any is, with its reason.
    pub async fn streams_standing(&self, lease: &Lease) -> Result<(AccountStatus, Option<String>), Error> {
        let mut tx = self.fenced(lease).await?;
        let worst = sqlx::query(
            "SELECT stream, status, detail FROM streams
             WHERE workspace_id = $1 AND account_id = $2 AND status IN ('degraded', 'error') ORDER BY status DESC, stream LIMIT 1",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .fetch_optional(tx.connection())
        .await?;
        tx.commit().await?;
        let Some(row) = worst else { return Ok((AccountStatus::Connected, None)) };
        let detail =
            format!("{}: {}", row.col::<String>("stream")?, row.col::<Option<String>>("detail")?.unwrap_or_default());
        Ok((AccountStatus::Degraded, Some(detail)))
    }
}

/// Adds streams that are not there yet.
pub(crate) async fn add(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    account: AccountId,
    streams: &[String],
) -> Result<(), Error> {
    if streams.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO streams (workspace_id, account_id, stream) SELECT $1, $2, s FROM unnest($3::text[]) s
         ON CONFLICT DO NOTHING",
    )
    .bind(workspace.0)
    .bind(account.0)
    .bind(streams)
    .execute(tx.connection())
    .await?;
    Ok(())
}

impl Session<'_> {
    /// The streams of these accounts with the ends of what was read of each.
    pub async fn stream_states(&mut self, accounts: &[AccountId]) -> Result<Vec<(AccountId, StreamState)>, Error> {
        let ids: Vec<Uuid> = accounts.iter().map(|a| a.0).collect();
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT s.account_id, s.stream, s.status, s.detail, s.last_read_at, c.covered_from, c.covered_to,
                    (SELECT count(*) FROM quarantined_records q
                     WHERE q.workspace_id = s.workspace_id AND q.account_id = s.account_id AND q.stream = s.stream) AS quarantined
             FROM streams s
             LEFT JOIN LATERAL (
                SELECT min(from_at) AS covered_from, max(to_at) AS covered_to FROM coverage c
                WHERE c.workspace_id = s.workspace_id AND c.account_id = s.account_id AND c.stream = s.stream
             ) c ON true
             WHERE s.workspace_id = $1 AND s.account_id = ANY ($2) ORDER BY s.account_id, s.stream",
        )
        .bind(workspace)
        .bind(ids)
        .fetch_all(self.connection())
        .await?;
        rows.iter()
            .map(|row| {
                let state = StreamState {
                    stream: row.col("stream")?,
                    status: row.col("status")?,
                    covered_from: row.maybe_at("covered_from")?,
                    covered_to: row.maybe_at("covered_to")?,
                    last_read_at: row.maybe_at("last_read_at")?,
                    quarantined: row.col("quarantined")?,
                    detail: row.col("detail")?,
                };
                Ok((AccountId(row.col("account_id")?), state))
            })
            .collect()
    }
}
