//! Taking everything of an account away, some rows a transaction.
//!
//! From the moment that an account is being erased no answer counts it, so how far this has come shows
//! nowhere. Hours that lose events are marked in the transaction that takes them: cells that still hold
//! the account answer no more until they are sealed anew.

use codash_domain::{AccountId, WorkspaceId};
use sqlx::AssertSqlSafe;

use crate::session::{Mode, Transaction};
use crate::{Error, Store};

const ROWS_AT_ONCE: i64 = 10_000;

/// Tables of which an account may have millions of rows. Events have a statement of their own.
const LARGE: [&str; 4] = ["cash_flows", "nav_snapshots", "nav_hours", "forced_orders"];
/// The rest, each before what it refers to.
const SMALL: [&str; 11] = [
    "held_records",
    "coverage",
    "quarantined_records",
    "streams",
    "balances",
    "positions",
    "rollup_accounts",
    "rollup_account_symbols",
    "account_secrets",
    "leases",
    "accounts",
];

impl Store {
    /// Takes some rows of an account that is being erased. True when nothing of it is left.
    pub async fn erase_some(&self, workspace: WorkspaceId, account: AccountId) -> Result<bool, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        // The sealer makes cells of accounts that it saw: it must not be at work when the account goes.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))")
            .bind(workspace.0)
            .execute(tx.connection())
            .await?;
        let held =
            sqlx::query("SELECT 1 FROM accounts WHERE workspace_id = $1 AND account_id = $2 AND erasing FOR UPDATE")
                .bind(workspace.0)
                .bind(account.0)
                .fetch_optional(tx.connection())
                .await?;
        if held.is_none() {
            return tx.commit().await.map(|()| true);
        }
        let mut taken = erase_events(&mut tx, workspace, account).await?;
        for table in LARGE {
            if taken == 0 {
                taken = erase_rows(&mut tx, workspace, account, table).await?;
            }
        }
        let is_last = taken == 0;
        if is_last {
            erase_rest(&mut tx, workspace, account).await?;
        }
        tx.commit().await?;
        Ok(is_last)
    }
}

async fn erase_events(tx: &mut Transaction, workspace: WorkspaceId, account: AccountId) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "WITH gone AS (
            DELETE FROM events WHERE workspace_id = $1 AND event_id = ANY (ARRAY(
                SELECT event_id FROM events WHERE workspace_id = $1 AND account_id = $2 ORDER BY event_id LIMIT $3))
            RETURNING occurred_at
         ), marked AS (
            INSERT INTO rollup_marks (workspace_id, hour)
            SELECT DISTINCT $1::uuid, date_trunc('hour', occurred_at) FROM gone
         ), counted AS (
            UPDATE workspaces SET event_count = event_count - (SELECT count(*) FROM gone), data_version = data_version + 1
            WHERE workspace_id = $1 AND EXISTS (SELECT FROM gone)
         )
         SELECT count(*) FROM gone",
    )
    .bind(workspace.0)
    .bind(account.0)
    .bind(ROWS_AT_ONCE)
    .fetch_one(tx.connection())
    .await?)
}

async fn erase_rows(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    account: AccountId,
    table: &'static str,
) -> Result<i64, Error> {
    let sql = format!(
        "DELETE FROM {table} WHERE workspace_id = $1 AND account_id = $2 AND ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE workspace_id = $1 AND account_id = $2 LIMIT $3))"
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(workspace.0)
        .bind(account.0)
        .bind(ROWS_AT_ONCE)
        .execute(tx.connection())
        .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

async fn erase_rest(tx: &mut Transaction, workspace: WorkspaceId, account: AccountId) -> Result<(), Error> {
    let of_batches = [
        "DELETE FROM restatements r USING batches b WHERE r.workspace_id = $1 AND b.workspace_id = $1
           AND b.batch_id = r.batch_id AND b.account_id = $2",
        "UPDATE batches SET stream = '' WHERE workspace_id = $1 AND account_id = $2",
    ];
    for sql in of_batches {
        sqlx::query(sql).bind(workspace.0).bind(account.0).execute(tx.connection()).await?;
    }
    for table in SMALL {
        let sql = format!("DELETE FROM {table} WHERE workspace_id = $1 AND account_id = $2");
        sqlx::query(AssertSqlSafe(sql)).bind(workspace.0).bind(account.0).execute(tx.connection()).await?;
    }
    Ok(())
}
