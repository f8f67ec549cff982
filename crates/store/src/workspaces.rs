//! Tenants: made with their first key and their data key.

use codash_domain::{Timestamp, WorkspaceId};
use serde_json::json;

use crate::audit::{self, Actor, By, Entry, Verb};
use crate::key_changes::Lineage;
use crate::session::{Mode, Transaction};
use crate::{Error, NewKey, Store, vault};

impl Store {
    /// Creates a workspace with its first key and its data key, or nothing.
    pub async fn register(&self, workspace: WorkspaceId, name: &str, key: &NewKey) -> Result<(), Error> {
        let by = By { actor: Actor::Key(key.id), address: None, request_id: None, at: key.created_at };
        self.register_by(workspace, name, key, by).await
    }

    /// [`Store::register`], with who asked.
    pub async fn register_by(&self, workspace: WorkspaceId, name: &str, key: &NewKey, by: By) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        self.found(&mut tx, workspace, name, key.created_at).await?;
        crate::key_changes::insert(&mut tx, workspace, key, Lineage::default()).await?;
        let detail = json!({ "name": name, "keyId": key.id, "hint": key.hint });
        let entry = Entry { detail, ..Entry::done(by, Verb::WorkspaceRegister, workspace.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await
    }

    /// The rows of a workspace that nobody can reach yet: itself and its data key.
    pub(crate) async fn found(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        name: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (master_id, master) = self.master_keys.current()?;
        let data_key: [u8; 32] = random()?;
        let wrapped = vault::seal(master, random()?, &data_key_place(workspace, 1), &data_key)?;
        sqlx::query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3)")
            .bind(workspace.0)
            .bind(name)
            .bind(now.utc())
            .execute(tx.connection())
            .await?;
        sqlx::query("INSERT INTO data_keys (workspace_id, version, master_key_id, wrapped) VALUES ($1, 1, $2, $3)")
            .bind(workspace.0)
            .bind(master_id)
            .bind(wrapped)
            .execute(tx.connection())
            .await?;
        Ok(())
    }

    /// The workspace's newest data key, unwrapped, with its version.
    pub(crate) async fn data_key(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
    ) -> Result<(i32, [u8; 32]), Error> {
        use crate::row::Columns;
        let row = sqlx::query(
            "SELECT version, master_key_id, wrapped FROM data_keys WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1",
        )
        .bind(workspace.0)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(Error::NotFound)?;
        let version: i32 = row.col("version")?;
        let master = self.master_keys.by_id(&row.col::<String>("master_key_id")?)?;
        let key = vault::open(master, &data_key_place(workspace, version), &row.col::<Vec<u8>>("wrapped")?)?;
        Ok((version, key.try_into().map_err(|_| Error::Sealed("the data key has another length"))?))
    }
}

fn data_key_place(workspace: WorkspaceId, version: i32) -> String {
    format!("data_keys:{workspace}:{version}")
}

/// Bytes from the operating system: keys and nonces only.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Driver(Box::new(e)))?;
    Ok(bytes)
}
