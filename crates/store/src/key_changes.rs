//! Making, rotating and revoking keys. Each takes the workspace's lock of keys, so that a key cannot
//! make a child while it is being revoked, and the quota is exact.

use codash_domain::{KeyId, Timestamp, WorkspaceId};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, By, Entry, Verb};
use crate::keys::{KeyRow, NewKey};
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// Where a new key stands among the others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lineage {
    pub parent: Option<KeyId>,
    pub depth: u8,
    pub reads_per_minute: Option<u32>,
}

/// Why a key was not made, rotated or revoked.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There are as many live keys as there may be.
    #[error("the workspace has {0} live keys, as many as it may have")]
    Quota(i64),
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Stores a key for the operator. `NotFound` when there is no such workspace, or no such account in it.
    pub async fn create_key(&self, workspace: WorkspaceId, key: &NewKey) -> Result<(), Error> {
        let by = By::operator(key.created_at);
        match self.add_key(workspace, key, Lineage::default(), i64::MAX, by).await {
            Ok(_) => Ok(()),
            Err(Refusal::Store(error)) => Err(error),
            Err(Refusal::Quota(_)) => Err(Error::NotFound),
        }
    }

    /// Stores a key, unless the workspace has `most` live ones. `NotFound` when there is no such
    /// workspace, no such account in it, or the parent is not live any more.
    pub async fn add_key(
        &self,
        workspace: WorkspaceId,
        key: &NewKey,
        lineage: Lineage,
        most: i64,
        by: By,
    ) -> Result<KeyRow, Refusal> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        lock(&mut tx, workspace).await?;
        let before = crate::keys::all(&mut tx, workspace).await?;
        let is_live = |key: &&KeyRow| key.is_live(by.at);
        if i64::try_from(before.iter().filter(is_live).count()).unwrap_or(i64::MAX) >= most {
            tx.commit().await?;
            return Err(Refusal::Quota(most));
        }
        if let Some(parent) = lineage.parent
            && !before.iter().filter(is_live).any(|key| key.id == parent)
        {
            tx.commit().await?;
            return Err(Error::NotFound.into());
        }
        if let Some(accounts) = &key.accounts {
            let ids: Vec<Uuid> = accounts.iter().map(|a| a.0).collect();
            let found: i64 =
                sqlx::query_scalar("SELECT count(*) FROM accounts WHERE workspace_id = $1 AND account_id = ANY($2)")
                    .bind(workspace.0)
                    .bind(&ids)
                    .fetch_one(tx.connection())
                    .await?;
            if usize::try_from(found).ok() != Some(ids.len()) {
                tx.commit().await?;
                return Err(Error::NotFound.into());
            }
        }
        insert(&mut tx, workspace, key, lineage).await?;
        let detail = json!({
            "name": key.name, "hint": key.hint, "scopes": key.scopes.iter().collect::<Vec<_>>(),
            "accountIds": key.accounts, "addresses": key.addresses, "expiresAt": key.expires_at,
            "readsPerMinute": lineage.reads_per_minute, "parentId": lineage.parent,
        });
        let entry = Entry { detail, ..Entry::done(by, Verb::KeyCreate, key.id.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        let made = crate::keys::all(&mut tx, workspace).await?.into_iter().find(|row| row.id == key.id);
        tx.commit().await?;
        Ok(made.ok_or(Error::NotFound)?)
    }

    /// Gives a live key another secret. The one before is taken until `old_until`, which is never after
    /// the key's own end; a secret from a rotation before that ends now. `NotFound` when there is no such
    /// live key.
    pub async fn rotate_key(
        &self,
        workspace: WorkspaceId,
        key: KeyId,
        (hash, hint): (&[u8; 32], &str),
        old_until: Timestamp,
        by: By,
    ) -> Result<KeyRow, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        lock(&mut tx, workspace).await?;
        let done = sqlx::query(
            "UPDATE api_keys SET old_hash = hash, old_until = least($5, expires_at), hash = $3, hint = $4, rotated_at = $6
             WHERE workspace_id = $1 AND key_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $6)",
        )
        .bind(workspace.0)
        .bind(key.0)
        .bind(&hash[..])
        .bind(hint)
        .bind(old_until.utc())
        .bind(by.at.utc())
        .execute(tx.connection())
        .await?;
        if done.rows_affected() != 1 {
            tx.commit().await?;
            return Err(Error::NotFound);
        }
        let rotated = crate::keys::all(&mut tx, workspace).await?.into_iter().find(|row| row.id == key);
        let rotated = rotated.ok_or(Error::NotFound)?;
        let detail = json!({ "hint": rotated.hint, "oldUntil": rotated.old_until });
        let entry = Entry { detail, ..Entry::done(by, Verb::KeyRotate, key.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await?;
        Ok(rotated)
    }

    /// Revokes a key for the operator. True when the key was live until now.
    pub async fn revoke_key(&self, workspace: WorkspaceId, key: KeyId) -> Result<bool, Error> {
        // The log's clock is the database's here: this is not asked through a clock.
        let at = self.database_now().await?;
        Ok(!self.revoke_keys(workspace, key, By::operator(at)).await?.is_empty())
    }

    /// Revokes a key and every key that it made, and they made. Those that were not revoked before,
    /// the key itself among them; none when it was.
    pub async fn revoke_keys(&self, workspace: WorkspaceId, key: KeyId, by: By) -> Result<Vec<KeyId>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        lock(&mut tx, workspace).await?;
        let revoked: Vec<Uuid> = sqlx::query_scalar(
            "WITH RECURSIVE family AS (
                SELECT key_id FROM api_keys WHERE workspace_id = $1 AND key_id = $2 AND revoked_at IS NULL
                UNION
                SELECT k.key_id FROM api_keys k JOIN family f ON k.parent_id = f.key_id WHERE k.workspace_id = $1
             )
             UPDATE api_keys SET revoked_at = $3
             WHERE workspace_id = $1 AND key_id IN (SELECT key_id FROM family) AND revoked_at IS NULL
             RETURNING key_id",
        )
        .bind(workspace.0)
        .bind(key.0)
        .bind(by.at.utc())
        .fetch_all(tx.connection())
        .await?;
        if revoked.is_empty() {
            tx.commit().await?;
            return Ok(vec![]);
        }
        let detail = json!({ "keyIds": revoked });
        let entry = Entry { detail, ..Entry::done(by, Verb::KeyRevoke, key.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        tx.commit().await?;
        Ok(revoked.into_iter().map(KeyId).collect())
    }

    async fn database_now(&self) -> Result<Timestamp, Error> {
        let now: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&self.writes).await?;
        Ok(Timestamp::from_utc(now))
    }
}

/// One change of a workspace's keys at a time. Statements after it see what the one before committed.
async fn lock(tx: &mut Transaction, workspace: WorkspaceId) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("api_keys:{workspace}"))
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub(crate) async fn insert(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    key: &NewKey,
    lineage: Lineage,
) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(|s| s.as_str()).collect();
    let accounts: Option<Vec<Uuid>> = key.accounts.as_ref().map(|ids| ids.iter().map(|a| a.0).collect());
    let addresses: Vec<String> = key.addresses.iter().map(|a| a.trunc().to_string()).collect();
    sqlx::query(
        "INSERT INTO api_keys (workspace_id, key_id, name, hash, hint, scopes, account_ids, addresses, created_at,
                               expires_at, parent_id, depth, reads_per_minute)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text[]::cidr[], $9, $10, $11, $12, $13)",
    )
    .bind(workspace.0)
    .bind(key.id.0)
    .bind(&key.name)
    .bind(&key.hash[..])
    .bind(&key.hint)
    .bind(scopes)
    .bind(accounts)
    .bind(addresses)
    .bind(key.created_at.utc())
    .bind(key.expires_at.map(Timestamp::utc))
    .bind(lineage.parent.map(|parent| parent.0))
    .bind(i16::from(lineage.depth))
    .bind(lineage.reads_per_minute.map(|n| i32::try_from(n).unwrap_or(i32::MAX)))
    .execute(tx.connection())
    .await?;
    Ok(())
}
