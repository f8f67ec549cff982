//! API keys as stored: a hash and what it opens.

use codash_domain::{AccountId, KeyId, Scopes, Timestamp, WorkspaceId};
use ipnet::IpNet;
use uuid::Uuid;

use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::system::parse_all;
use crate::{Error, Store};

/// A key to be stored. The plaintext stays with the caller.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub id: KeyId,
    pub name: String,
    pub hash: [u8; 32],
    pub hint: String,
    pub scopes: Scopes,
    pub accounts: Option<Vec<AccountId>>,
    pub addresses: Vec<IpNet>,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A key as its owner sees it.
#[derive(Debug, Clone)]
pub struct KeyRow {
    pub id: KeyId,
    pub name: String,
    pub hint: String,
    pub scopes: Scopes,
    pub accounts: Option<Vec<AccountId>>,
    pub addresses: Vec<IpNet>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// Stores a key. `NotFound` when there is no such workspace, or no such account in it.
    pub async fn create_key(&self, workspace: WorkspaceId, key: &NewKey) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        if let Some(accounts) = &key.accounts {
            let ids: Vec<Uuid> = accounts.iter().map(|a| a.0).collect();
            let found: i64 =
                sqlx::query_scalar("SELECT count(*) FROM accounts WHERE workspace_id = $1 AND account_id = ANY($2)")
                    .bind(workspace.0)
                    .bind(&ids)
                    .fetch_one(tx.connection())
                    .await?;
            if usize::try_from(found).ok() != Some(ids.len()) {
                return Err(Error::NotFound);
            }
        }
        insert(&mut tx, workspace, key).await?;
        tx.commit().await
    }

    pub async fn list_keys(&self, workspace: WorkspaceId) -> Result<Vec<KeyRow>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let rows = sqlx::query(
            "SELECT key_id, name, hint, scopes, account_ids, addresses::text[] AS addresses, created_at, last_used_at,
                    expires_at, revoked_at
             FROM api_keys WHERE workspace_id = $1 ORDER BY created_at, key_id",
        )
        .bind(workspace.0)
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        rows.iter().map(key_row).collect()
    }

    /// True when the key was live until now.
    pub async fn revoke_key(&self, workspace: WorkspaceId, key: KeyId) -> Result<bool, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query(
            "UPDATE api_keys SET revoked_at = now() WHERE workspace_id = $1 AND key_id = $2 AND revoked_at IS NULL",
        )
        .bind(workspace.0)
        .bind(key.0)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes that a key is in use, at most once a minute. Failure is logged: no answer depends on it.
    pub async fn touch_key(&self, workspace: WorkspaceId, key: KeyId) {
        let touch = async {
            let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
            sqlx::query(
                "UPDATE api_keys SET last_used_at = now() WHERE workspace_id = $1 AND key_id = $2
                 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            )
            .bind(workspace.0)
            .bind(key.0)
            .execute(tx.connection())
            .await?;
            tx.commit().await
        };
        if let Err(error) = touch.await {
            tracing::warn!(error = %error, key.id = %key, "the key's last use was not noted");
        }
    }
}

pub(crate) async fn insert(tx: &mut Transaction, workspace: WorkspaceId, key: &NewKey) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(|s| s.as_str()).collect();
    let accounts: Option<Vec<Uuid>> = key.accounts.as_ref().map(|ids| ids.iter().map(|a| a.0).collect());
    let addresses: Vec<String> = key.addresses.iter().map(|a| a.trunc().to_string()).collect();
    sqlx::query(
        "INSERT INTO api_keys (workspace_id, key_id, name, hash, hint, scopes, account_ids, addresses, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text[]::cidr[], $9, $10)",
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
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn key_row(row: &sqlx::postgres::PgRow) -> Result<KeyRow, Error> {
    Ok(KeyRow {
        id: KeyId(row.col("key_id")?),
        name: row.col("name")?,
        hint: row.col("hint")?,
        scopes: Scopes::new(parse_all(&row.col::<Vec<String>>("scopes")?, "scopes")?),
        accounts: row.col::<Option<Vec<Uuid>>>("account_ids")?.map(|ids| ids.into_iter().map(AccountId).collect()),
        addresses: parse_all(&row.col::<Vec<String>>("addresses")?, "addresses")?,
        created_at: row.at("created_at")?,
        last_used_at: row.maybe_at("last_used_at")?,
        expires_at: row.maybe_at("expires_at")?,
        revoked_at: row.maybe_at("revoked_at")?,
    })
}
