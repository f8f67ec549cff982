//! API keys as stored: a hash and what it opens. What changes them is in [`crate::key_changes`].

use codash_domain::{AccountId, KeyId, Reach, Scopes, Timestamp, WorkspaceId};
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
    /// The key that made this one.
    pub parent: Option<KeyId>,
    /// How many keys made each other before this one.
    pub depth: u8,
    pub reads_per_minute: Option<u32>,
    pub created_at: Timestamp,
    /// At most a minute old.
    pub last_used_at: Option<Timestamp>,
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before the last rotation is taken.
    pub old_until: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl KeyRow {
    pub fn reach(&self) -> Reach {
        Reach {
            scopes: self.scopes.clone(),
            accounts: self.accounts.clone(),
            addresses: self.addresses.clone(),
            expires_at: self.expires_at,
            reads_per_minute: self.reads_per_minute,
        }
    }

    /// Neither revoked nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

pub(crate) const COLUMNS: &str = "key_id, name, hint, scopes, account_ids, addresses::text[] AS addresses, parent_id, depth, \
     reads_per_minute, created_at, last_used_at, rotated_at, old_until, expires_at, revoked_at";

impl Store {
    /// Every key of a workspace, also revoked and expired ones, oldest first.
    pub async fn list_keys(&self, workspace: WorkspaceId) -> Result<Vec<KeyRow>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let keys = all(&mut tx, workspace).await?;
        tx.commit().await?;
        Ok(keys)
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

pub(crate) async fn all(tx: &mut Transaction, workspace: WorkspaceId) -> Result<Vec<KeyRow>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE workspace_id = $1 ORDER BY created_at, key_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(workspace.0).fetch_all(tx.connection()).await?;
    rows.iter().map(key_row).collect()
}

fn key_row(row: &sqlx::postgres::PgRow) -> Result<KeyRow, Error> {
    let small = |column: &'static str| move |_| Error::Corrupt { column, detail: "negative".into() };
    Ok(KeyRow {
        id: KeyId(row.col("key_id")?),
        name: row.col("name")?,
        hint: row.col("hint")?,
        scopes: Scopes::new(parse_all(&row.col::<Vec<String>>("scopes")?, "scopes")?),
        accounts: row.col::<Option<Vec<Uuid>>>("account_ids")?.map(|ids| ids.into_iter().map(AccountId).collect()),
        addresses: parse_all(&row.col::<Vec<String>>("addresses")?, "addresses")?,
        parent: row.col::<Option<Uuid>>("parent_id")?.map(KeyId),
        depth: u8::try_from(row.col::<i16>("depth")?).map_err(small("depth"))?,
        reads_per_minute: row
            .col::<Option<i32>>("reads_per_minute")?
            .map(u32::try_from)
            .transpose()
            .map_err(small("reads_per_minute"))?,
        created_at: row.at("created_at")?,
        last_used_at: row.maybe_at("last_used_at")?,
        rotated_at: row.maybe_at("rotated_at")?,
        old_until: row.maybe_at("old_until")?,
        expires_at: row.maybe_at("expires_at")?,
        revoked_at: row.maybe_at("revoked_at")?,
    })
}
