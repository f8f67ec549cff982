//! Tenants: made with their first key and their data key.

use codash_domain::{Timestamp, WorkspaceId};
use serde_json::json;

use crate::audit::{self, Actor, By, Entry, Verb};
use crate::key_changes::Lineage;
use crate::session::{Mode, Transaction};
use crate::{Error, NewKey, Store};

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
        sqlx::query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3)")
            .bind(workspace.0)
            .bind(name)
            .bind(now.utc())
            .execute(tx.connection())
            .await?;
        self.make_data_key(tx, workspace, 1).await?;
        Ok(())
    }
}

/// Bytes from the operating system: keys and nonces only.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Driver(Box::new(e)))?;
    Ok(bytes)
}
