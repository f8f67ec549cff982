//! The sealer: turns marked hours into cells, behind the ingest.
//!
//! One snapshot recomputes the marked hours from raw rows, their days and months from those, and
//! removes only the marks that it saw. A record that arrives meanwhile brings a mark of its own, so
//! its hour stays raw until the next pass. Of two sealers at once, one finds the other at work and leaves.

use std::collections::BTreeSet;

use chrono::{DateTime, Months, Utc};
use codash_domain::cover::{DAY, HOUR, month_start};
use codash_domain::{Timestamp, WorkspaceId};
use sqlx::AssertSqlSafe;

use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// Marks taken up in one transaction. Those of an hour that stay behind keep it raw until the next.
const MARKS_A_PASS: i64 = 5_000;

const COLUMNS: &str = "event_count, notional_usd, realized_pnl_usd, fee_usd, funding_usd, unpriced_count";
/// The measures of a cell, from raw rows.
const FROM_EVENTS: &str = "count(*), coalesce(sum(notional_usd), 0), coalesce(sum(realized_pnl_usd), 0),
    coalesce(sum(fee_usd), 0), coalesce(sum(funding_usd), 0), count(*) FILTER (WHERE unpriced)";
/// The measures of a cell, from finer cells.
const FROM_CELLS: &str = "sum(event_count), sum(notional_usd), sum(realized_pnl_usd), sum(fee_usd), sum(funding_usd),
    sum(unpriced_count)";

/// A grain's touched buckets: starts and ends.
type Buckets = (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>);

impl Store {
    /// Seals marked hours that ended before `until`. Returns how many marks went; zero when none waited.
    pub async fn seal(&self, workspace: WorkspaceId, until: Timestamp) -> Result<u64, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::WriteSnapshot).await?;
        let alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1::text, 0))")
            .bind(workspace.0)
            .fetch_one(tx.connection())
            .await?;
        if !alone {
            return tx.commit().await.map(|()| 0);
        }
        let marks = sqlx::query(
            "SELECT mark_id, hour FROM rollup_marks
             WHERE workspace_id = $1 AND hour <= $2::timestamptz - interval '1 hour' ORDER BY hour LIMIT $3",
        )
        .bind(workspace.0)
        .bind(until.utc())
        .bind(MARKS_A_PASS)
        .fetch_all(tx.connection())
        .await?;
        let hours = marks.iter().map(|m| Ok(m.at("hour")?.millis())).collect::<Result<BTreeSet<i64>, Error>>()?;
        let (hours, days, months) = touched(&hours);
        for cube in &CUBES {
            if cube.hourly {
                replace(&mut tx, workspace, &from_events(cube, 'H'), &hours).await?;
                replace(&mut tx, workspace, &from_cells(cube, 'H', 'D'), &days).await?;
            } else {
                replace(&mut tx, workspace, &from_events(cube, 'D'), &days).await?;
            }
            replace(&mut tx, workspace, &from_cells(cube, 'D', 'M'), &months).await?;
        }
        let ids = marks.iter().map(|m| m.col("mark_id")).collect::<Result<Vec<i64>, Error>>()?;
        sqlx::query("DELETE FROM rollup_marks WHERE workspace_id = $1 AND mark_id = ANY ($2)")
            .bind(workspace.0)
            .bind(&ids)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        self.answer_from_cells(workspace).await?;
        Ok(ids.len() as u64)
    }

    /// In a transaction of its own: every ingest updates the workspace's row, so within the sealer's
    /// snapshot a busy tenant would never get this far.
    async fn answer_from_cells(&self, workspace: WorkspaceId) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        sqlx::query("UPDATE workspaces SET rolled_up = true WHERE workspace_id = $1 AND NOT rolled_up")
            .bind(workspace.0)
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }
}

/// A table of cells.
struct Cube {
    table: &'static str,
    keys: &'static str,
    /// Keeps hours, or days and months only.
    hourly: bool,
    /// Knows of each cell which accounts are in it.
    names_accounts: bool,
}

const CUBES: [Cube; 3] = [
    Cube { table: "rollup_symbols", keys: "symbol", hourly: true, names_accounts: true },
    Cube { table: "rollup_accounts", keys: "account_id", hourly: true, names_accounts: false },
    Cube { table: "rollup_account_symbols", keys: "account_id, symbol", hourly: false, names_accounts: false },
];

impl Cube {
    /// The measures as columns, and as made from raw rows and from finer cells.
    fn measures(&self) -> [String; 3] {
        let with = |measures: &str, accounts: &str| {
            if self.names_accounts { format!("{measures}, {accounts}") } else { measures.to_owned() }
        };
        [
            with(COLUMNS, "account_ids"),
            with(FROM_EVENTS, "array_agg(DISTINCT account_id)"),
            with(FROM_CELLS, "uuid_union(account_ids)"),
        ]
    }
}

/// The hours, days and months that hold these hours.
fn touched(hours: &BTreeSet<i64>) -> (Buckets, Buckets, Buckets) {
    let days: BTreeSet<i64> = hours.iter().map(|h| h - h.rem_euclid(DAY)).collect();
    let months: BTreeSet<i64> = days.iter().filter_map(|d| month_start(*d)).collect();
    let at = |millis: i64| Timestamp::nearest(millis).utc();
    let fixed = |starts: &BTreeSet<i64>, length: i64| -> Buckets {
        (starts.iter().map(|s| at(*s)).collect(), starts.iter().map(|s| at(s + length)).collect())
    };
    let month_ends = months.iter().filter_map(|m| at(*m).checked_add_months(Months::new(1))).collect();
    (fixed(hours, HOUR), fixed(&days, DAY), (months.iter().map(|m| at(*m)).collect(), month_ends))
}

/// Removes the touched cells, then makes them anew: two statements, for within one PostgreSQL may
/// insert before it deletes.
async fn replace(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    sql: &(String, String),
    buckets: &Buckets,
) -> Result<(), Error> {
    sqlx::query(AssertSqlSafe(sql.0.clone())).bind(workspace.0).bind(&buckets.0).execute(tx.connection()).await?;
    sqlx::query(AssertSqlSafe(sql.1.clone()))
        .bind(workspace.0)
        .bind(&buckets.0)
        .bind(&buckets.1)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn delete(table: &str, grain: char) -> String {
    format!("DELETE FROM {table} WHERE workspace_id = $1 AND grain = '{grain}' AND bucket = ANY ($2::timestamptz[])")
}

/// Cells of a grain from raw rows. `OFFSET 0` holds the planner to one short index range a bucket:
/// without statistics it would join all events with all buckets.
fn from_events(cube: &Cube, grain: char) -> (String, String) {
    let Cube { table, keys, .. } = cube;
    let [columns, measures, _] = cube.measures();
    let insert = format!(
        "INSERT INTO {table} (workspace_id, grain, bucket, {keys}, event_type, {columns})
         SELECT $1, '{grain}', b.a, {keys}, event_type, {measures}
         FROM unnest($2::timestamptz[], $3::timestamptz[]) AS b(a, z)
         CROSS JOIN LATERAL (
            SELECT * FROM events e
            WHERE e.workspace_id = $1 AND e.event_id >= event_id_at(b.a) AND e.event_id < event_id_at(b.z) OFFSET 0
         ) e
         GROUP BY b.a, {keys}, event_type"
    );
    (delete(table, grain), insert)
}

/// Cells of a grain from the next finer one.
fn from_cells(cube: &Cube, fine: char, coarse: char) -> (String, String) {
    let Cube { table, keys, .. } = cube;
    let [columns, _, measures] = cube.measures();
    let insert = format!(
        "INSERT INTO {table} (workspace_id, grain, bucket, {keys}, event_type, {columns})
         SELECT $1, '{coarse}', b.a, {keys}, event_type, {measures}
         FROM unnest($2::timestamptz[], $3::timestamptz[]) AS b(a, z)
         CROSS JOIN LATERAL (
            SELECT * FROM {table} x
            WHERE x.workspace_id = $1 AND x.grain = '{fine}' AND x.bucket >= b.a AND x.bucket < b.z OFFSET 0
         ) x
         GROUP BY b.a, {keys}, event_type"
    );
    (delete(table, coarse), insert)
}
