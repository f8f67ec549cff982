//! Data keys: each workspace's own, in versions, wrapped by a master key that PostgreSQL never sees.

use codash_domain::WorkspaceId;
use sqlx::postgres::PgRow;

use crate::row::Columns;
use crate::session::Transaction;
use crate::workspaces::random;
use crate::{Error, Store, vault};

/// How often the newest version is looked for while a renewal takes the one before away.
const TRIES: usize = 3;

impl Store {
    /// Makes a version of a workspace's data key. False when another made it at the same time.
    pub(crate) async fn make_data_key(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        version: i32,
    ) -> Result<bool, Error> {
        let wrapped = self.wrap_data_key(workspace, version, &random()?)?;
        let done = sqlx::query(
            "INSERT INTO data_keys (workspace_id, version, master_key_id, wrapped, made_under) VALUES ($1, $2, $3, $4, $3)
             ON CONFLICT (workspace_id, version) DO NOTHING",
        )
        .bind(workspace.0)
        .bind(version)
        .bind(self.master_keys.current_id())
        .bind(wrapped)
        .execute(tx.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The version that seals, the newest, and the key itself. It stays until the transaction ends.
    pub(crate) async fn data_key(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
    ) -> Result<(i32, [u8; 32]), Error> {
        for _ in 0..TRIES {
            let row = sqlx::query(
                "SELECT version, master_key_id, wrapped FROM data_keys WHERE workspace_id = $1
                 ORDER BY version DESC LIMIT 1 FOR KEY SHARE",
            )
            .bind(workspace.0)
            .fetch_optional(tx.connection())
            .await?;
            // None also when the row went while we waited for it: the next statement sees its successor.
            if let Some(row) = row {
                let version = row.col("version")?;
                return Ok((version, self.unwrap_data_key(workspace, version, &row)?));
            }
        }
        Err(Error::NotFound)
    }

    /// The data key of a row that has `master_key_id` and `wrapped`.
    pub(crate) fn unwrap_data_key(&self, workspace: WorkspaceId, version: i32, row: &PgRow) -> Result<[u8; 32], Error> {
        let master = row.col::<Option<String>>("master_key_id")?;
        let master = master.ok_or(Error::Sealed("its data key is gone"))?;
        self.unwrap_with(&master, workspace, version, &row.col::<Vec<u8>>("wrapped")?)
    }

    pub(crate) fn unwrap_with(
        &self,
        master_id: &str,
        workspace: WorkspaceId,
        version: i32,
        wrapped: &[u8],
    ) -> Result<[u8; 32], Error> {
        let key = vault::open(self.master_keys.by_id(master_id)?, &place(workspace, version), wrapped)?;
        key.try_into().map_err(|_| Error::Sealed("the data key has another length"))
    }

    /// Wraps a data key with the current master key, and proves that it opens again.
    pub(crate) fn wrap_data_key(
        &self,
        workspace: WorkspaceId,
        version: i32,
        data_key: &[u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let (master_id, master) = self.master_keys.current();
        let wrapped = vault::seal(master, random()?, &place(workspace, version), data_key)?;
        let again = self.unwrap_with(master_id, workspace, version, &wrapped)?;
        if again == *data_key { Ok(wrapped) } else { Err(Error::Sealed("it did not open after sealing")) }
    }
}

fn place(workspace: WorkspaceId, version: i32) -> String {
    format!("data_keys:{workspace}:{version}")
}
