//! Keys of AI providers: sealed, one for each provider, never read back by a caller.

use codash_domain::{Timestamp, WorkspaceId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::audit::{self, By, Entry, Verb};
use crate::row::Columns;
use crate::sealed::{AI_KEYS, Cell};
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// A stored key as its owner sees it.
#[derive(Debug, Clone)]
pub struct AiKey {
    pub provider: String,
    pub hint: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Store {
    /// Adds or replaces the key of a provider. True when there was none before.
    pub async fn put_ai_key(
        &self,
        workspace: WorkspaceId,
        provider: &str,
        key: &SecretString,
        hint: &str,
        by: By,
    ) -> Result<(AiKey, bool), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let data_key = self.data_key(&mut tx, workspace).await?;
        let cell = Cell { of: AI_KEYS, column: "sealed", workspace, row: &provider };
        let sealed = cell.seal(&data_key, key.expose_secret().as_bytes())?;
        let row = sqlx::query(
            "INSERT INTO ai_keys (workspace_id, provider, data_key_version, sealed, hint, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6)
             ON CONFLICT (workspace_id, provider) DO UPDATE
             SET data_key_version = excluded.data_key_version, sealed = excluded.sealed, hint = excluded.hint,
                 updated_at = excluded.updated_at
             RETURNING provider, hint, created_at, updated_at, xmax = 0 AS is_new",
        )
        .bind(workspace.0)
        .bind(provider)
        .bind(data_key.0)
        .bind(sealed)
        .bind(hint)
        .bind(by.at.utc())
        .fetch_one(tx.connection())
        .await?;
        let entry = Entry { detail: json!({ "hint": hint }), ..Entry::done(by, Verb::AiKeyPut, provider) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await?;
        let key = AiKey {
            provider: row.col("provider")?,
            hint: row.col("hint")?,
            created_at: row.at("created_at")?,
            updated_at: row.at("updated_at")?,
        };
        Ok((key, row.col("is_new")?))
    }

    /// True when there was one.
    pub async fn remove_ai_key(&self, workspace: WorkspaceId, provider: &str, by: By) -> Result<bool, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query("DELETE FROM ai_keys WHERE workspace_id = $1 AND provider = $2")
            .bind(workspace.0)
            .bind(provider)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 0 {
            tx.commit().await?;
            return Ok(false);
        }
        audit::record(&mut tx, workspace, &Entry::done(by, Verb::AiKeyRemove, provider)).await?;
        tx.commit().await?;
        Ok(true)
    }
}
