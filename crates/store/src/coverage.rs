//! Which spans of each stream have been read completely. Absence of rows means "nothing happened"
//! only where this says so.

use codash_domain::venue::{FLOW_STREAMS, NAV_STREAM};
use codash_domain::{AccountId, Timestamp, Window};
use uuid::Uuid;

use crate::row::Columns;
use crate::session::Transaction;
use crate::{Error, Lease, Session};

/// Which streams a question rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    Events,
    /// Cash flows come with both.
    EventsAndFlows,
}

/// One stream of an account, as far as a window is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCoverage {
    pub account: AccountId,
    pub stream: String,
    pub status: String,
    /// Before this the venue gives nothing, and why.
    pub horizon: Option<(Timestamp, String)>,
    pub quarantined: i64,
    /// The oldest fill of the window that other records speak of and that has not been read.
    pub missing_since: Option<Timestamp>,
    /// Spans read completely (inclusive), clipped by nothing, ascending and disjoint.
    pub read: Vec<(Timestamp, Timestamp)>,
}

/// Adds a span (inclusive), merging it with every span that it touches or overlaps.
pub(crate) async fn add(
    tx: &mut Transaction,
    lease: &Lease,
    stream: &str,
    span: (Timestamp, Timestamp),
) -> Result<(), Error> {
    sqlx::query(
        "WITH touched AS (
            DELETE FROM coverage WHERE workspace_id = $1 AND account_id = $2 AND stream = $3
              AND from_at <= $5 + interval '1 millisecond' AND to_at >= $4 - interval '1 millisecond'
            RETURNING from_at, to_at
         )
         INSERT INTO coverage (workspace_id, account_id, stream, from_at, to_at)
         SELECT $1, $2, $3, least($4, min(from_at)), greatest($5, max(to_at)) FROM touched
         ON CONFLICT (workspace_id, account_id, stream, from_at) DO UPDATE SET to_at = greatest(coverage.to_at, excluded.to_at)",
    )
    .bind(lease.workspace.0)
    .bind(lease.account.0)
    .bind(stream)
    .bind(span.0.utc())
    .bind(span.1.utc())
    .execute(tx.connection())
    .await?;
    Ok(())
}

impl Session<'_> {
    /// How far each of these streams of these accounts covers the window.
    pub async fn coverage(
        &mut self,
        accounts: &[AccountId],
        window: Window,
        of: Streams,
    ) -> Result<Vec<StreamCoverage>, Error> {
        let ids: Vec<Uuid> = accounts.iter().map(|a| a.0).collect();
        let workspace = self.workspace();
        let rows = sqlx::query(
            "SELECT s.account_id, s.stream, s.status, s.horizon, s.horizon_reason, c.froms, c.tos,
                    (SELECT count(*) FROM quarantined_records q
                     WHERE q.workspace_id = s.workspace_id AND q.account_id = s.account_id AND q.stream = s.stream
                       AND coalesce(q.not_before <= $4, true) AND coalesce(q.not_after >= $3, true)) AS quarantined,
                    (SELECT min(h.occurred_at) FROM held_records h
                     WHERE h.workspace_id = s.workspace_id AND h.account_id = s.account_id AND h.settled_event IS NULL
                       AND h.occurred_at BETWEEN $3 AND $4 AND s.stream IN (h.fill_coverage, h.fill_stream)) AS missing_since
             FROM streams s
             LEFT JOIN LATERAL (
                SELECT array_agg(from_at ORDER BY from_at) AS froms, array_agg(to_at ORDER BY from_at) AS tos FROM coverage c
                WHERE c.workspace_id = s.workspace_id AND c.account_id = s.account_id AND c.stream = s.stream
                  AND c.from_at <= $4 AND c.to_at >= $3
             ) c ON true
             WHERE s.workspace_id = $1 AND s.account_id = ANY ($2) AND s.stream <> $5 AND ($6 OR NOT starts_with(s.stream, $7)) ORDER BY s.account_id, s.stream",
        )
        .bind(workspace)
        .bind(ids)
        .bind(window.from.utc())
        .bind(window.to.utc())
        .bind(NAV_STREAM)
        .bind(of == Streams::EventsAndFlows)
        .bind(FLOW_STREAMS)
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(stream_coverage).collect()
    }
}

fn stream_coverage(row: &sqlx::postgres::PgRow) -> Result<StreamCoverage, Error> {
    type Instants = Option<Vec<chrono::DateTime<chrono::Utc>>>;
    let froms = row.col::<Instants>("froms")?.unwrap_or_default();
    let tos = row.col::<Instants>("tos")?.unwrap_or_default();
    Ok(StreamCoverage {
        account: AccountId(row.col("account_id")?),
        stream: row.col("stream")?,
        status: row.col("status")?,
        horizon: row.maybe_at("horizon")?.zip(row.col::<Option<String>>("horizon_reason")?),
        quarantined: row.col("quarantined")?,
        missing_since: row.maybe_at("missing_since")?,
        read: froms.into_iter().zip(tos).map(|(f, t)| (Timestamp::from_utc(f), Timestamp::from_utc(t))).collect(),
    })
}
