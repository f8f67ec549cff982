//! A question's transaction: one snapshot, one tenant, read only.
//!
//! Cancelling is safe at every await: a [`Session`] that was not finished closes its connection, and
//! PostgreSQL, which watches the socket, ends the statement. A connection goes back to the pool only
//! after its COMMIT was seen.

use codash_domain::WorkspaceId;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use crate::shares::Share;
use crate::{Error, Grant, Store};

/// Reads of one tenant, as a key may make them.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    store: &'a Store,
    grant: &'a Grant,
}

impl Store {
    pub fn read<'a>(&'a self, grant: &'a Grant) -> Reader<'a> {
        Reader { store: self, grant }
    }
}

impl<'a> Reader<'a> {
    /// Opens the snapshot that every number of an answer comes from.
    pub async fn begin(self) -> Result<Session<'a>, Error> {
        let share = self.store.shares.take(self.grant.workspace).await?;
        let transaction = Transaction::begin(&self.store.reads, self.grant.workspace, Mode::Read).await?;
        Ok(Session { transaction, grant: self.grant, _share: share })
    }
}

/// An open snapshot. [`Session::finish`] gives the connection back.
#[derive(Debug)]
pub struct Session<'a> {
    pub(crate) transaction: Transaction,
    pub(crate) grant: &'a Grant,
    /// Given back after the connection: fields are dropped in their order.
    _share: Share,
}

impl Session<'_> {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.transaction.connection()
    }

    pub(crate) fn workspace(&self) -> uuid::Uuid {
        self.grant.workspace.0
    }

    pub async fn finish(self) -> Result<(), Error> {
        self.transaction.commit().await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Read,
    Write,
    /// Sees one snapshot throughout and fails when another transaction changed what it writes.
    WriteSnapshot,
}

/// A transaction whose tenant is set, on a connection that is closed unless COMMIT was seen.
#[derive(Debug)]
pub(crate) struct Transaction {
    connection: Option<PoolConnection<Postgres>>,
}

impl Transaction {
    pub(crate) async fn begin(pool: &sqlx::PgPool, workspace: WorkspaceId, mode: Mode) -> Result<Self, Error> {
        let begin = match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            Mode::Write => "BEGIN",
            Mode::WriteSnapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        };
        let mut this = Self { connection: Some(pool.acquire().await?) };
        // One round trip for both; a UUID prints hexadecimal digits and hyphens only.
        let sql = format!("{begin}; SELECT set_config('app.ws', '{workspace}', true)");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(this.connection()).await?;
        Ok(this)
    }

    #[expect(clippy::expect_used, reason = "the connection leaves only with self")]
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("held until commit")
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        sqlx::raw_sql("COMMIT").execute(self.connection()).await?;
        // Only now is it certain that the connection is clean: let the pool have it.
        drop(self.connection.take());
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
