//! Who collects an account, and the token that stops whoever lost it.

use codash_domain::{AccountId, WorkspaceId};

use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// The right to write what an account's venue says, until another epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub workspace: WorkspaceId,
    pub account: AccountId,
    pub epoch: i64,
}

impl Store {
    /// Opens a transaction that holds the lease's row: an older epoch is [`Error::Fenced`], and no
    /// newer one can begin before it ends.
    pub(crate) async fn fenced(&self, lease: &Lease) -> Result<Transaction, Error> {
        let mut tx = Transaction::begin(&self.writes, lease.workspace, Mode::Write).await?;
        let held =
            sqlx::query("SELECT 1 FROM leases WHERE workspace_id = $1 AND account_id = $2 AND epoch = $3 FOR UPDATE")
                .bind(lease.workspace.0)
                .bind(lease.account.0)
                .bind(lease.epoch)
                .fetch_optional(tx.connection())
                .await?;
        held.map(|_| tx).ok_or(Error::Fenced)
    }

    /// Takes over one account of a workspace, due or not: for operators' tools and tests. `NotFound` for a
    /// removed one.
    pub async fn take_lease(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        holder: &str,
        ttl: std::time::Duration,
    ) -> Result<Lease, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE leases SET epoch = epoch + 1, holder = $3, expires_at = clock_timestamp() + make_interval(secs => $4::int)
             WHERE workspace_id = $1 AND account_id = $2
               AND EXISTS (SELECT FROM accounts a WHERE a.workspace_id = $1 AND a.account_id = $2 AND a.removed_at IS NULL)
             RETURNING epoch",
        )
        .bind(workspace.0)
        .bind(account.0)
        .bind(holder)
        .bind(i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX))
        .fetch_optional(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(Lease { workspace, account, epoch: epoch.ok_or(Error::NotFound)? })
    }

    /// Keeps the lease for another `ttl`.
    pub async fn renew_lease(&self, lease: &Lease, ttl: std::time::Duration) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        sqlx::query(
            "UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3::int)
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX))
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Gives the account back, due again after `pause`.
    pub async fn release_lease(&self, lease: &Lease, pause: std::time::Duration) -> Result<(), Error> {
        let mut tx = self.fenced(lease).await?;
        sqlx::query(
            "UPDATE leases SET expires_at = '-infinity', holder = NULL,
                    due_at = clock_timestamp() + make_interval(secs => $3::int)
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(lease.workspace.0)
        .bind(lease.account.0)
        .bind(i32::try_from(pause.as_secs()).unwrap_or(i32::MAX))
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }
}
