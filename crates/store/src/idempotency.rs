//! Creations that a caller may ask for twice and get once: `Idempotency-Key`.
//!
//! A request begins by writing its key and a keyed hash of itself. Its answer is kept in the
//! transaction that creates, so there is no moment at which one exists without the other. Keys live a
//! day, by the database's clock.

use std::fmt;

use codash_domain::WorkspaceId;
use sha2::{Digest, Sha256};

use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

/// How a request with a key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first, or the one before it never ended. The number tells it from that one.
    Fresh { attempt: i64 },
    /// It was answered already, so.
    Answered { reply: String },
    /// The same key came with another request.
    Other,
    /// The first is not answered yet.
    Running,
}

/// How the answer to what is created is kept under its key.
pub struct Keep<'a, T> {
    pub key: &'a str,
    pub attempt: i64,
    /// The body of the answer. It must hold no secret.
    pub reply: &'a (dyn Fn(&T) -> String + Send + Sync),
}

impl<T> fmt::Debug for Keep<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keep({}, {})", self.key, self.attempt)
    }
}

impl<T> Keep<'_, T> {
    /// Part of the transaction that creates. [`Error::Serialization`] when another attempt took over.
    pub(crate) async fn done(&self, tx: &mut Transaction, workspace: WorkspaceId, created: &T) -> Result<(), Error> {
        let done = sqlx::query(
            "UPDATE idempotency_keys SET reply = $4 WHERE workspace_id = $1 AND key = $2 AND attempt = $3 AND reply IS NULL",
        )
        .bind(workspace.0)
        .bind(self.key)
        .bind(self.attempt)
        .bind((self.reply)(created))
        .execute(tx.connection())
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Error::Serialization) }
    }
}

impl Store {
    /// Begins a request under a key. `request` is everything that makes it the same: route and body.
    pub async fn begin_once(&self, workspace: WorkspaceId, key: &str, request: &[&[u8]]) -> Result<Begun, Error> {
        let hashes = self.request_hashes(workspace, request);
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND key = $2 AND started_at < now() - interval '24 hours'",
        )
        .bind(workspace.0)
        .bind(key)
        .execute(tx.connection())
        .await?;
        // No request lives for a minute: what began earlier and has no answer is gone.
        let attempt: Option<i64> = sqlx::query_scalar(
            "INSERT INTO idempotency_keys AS i (workspace_id, key, request) VALUES ($1, $2, $3)
             ON CONFLICT (workspace_id, key) DO UPDATE SET attempt = i.attempt + 1, started_at = now()
             WHERE i.reply IS NULL AND i.request = ANY ($4) AND i.started_at < now() - interval '60 seconds'
             RETURNING attempt",
        )
        .bind(workspace.0)
        .bind(key)
        .bind(hashes.first())
        .bind(&hashes)
        .fetch_optional(tx.connection())
        .await?;
        let begun = match attempt {
            Some(attempt) => Begun::Fresh { attempt },
            None => standing(&mut tx, workspace, key, &hashes).await?,
        };
        tx.commit().await?;
        Ok(begun)
    }

    /// Nothing was created: the key is free again.
    pub async fn forget_once(&self, workspace: WorkspaceId, key: &str, attempt: i64) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE workspace_id = $1 AND key = $2 AND attempt = $3 AND reply IS NULL",
        )
        .bind(workspace.0)
        .bind(key)
        .bind(attempt)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Keyed, so that who reads the table cannot try bodies against it. One for each master key, the
    /// current one's first: a request that began before a rotation is known after it.
    fn request_hashes(&self, workspace: WorkspaceId, request: &[&[u8]]) -> Vec<Vec<u8>> {
        let keyed = |key: &[u8; 32]| {
            let mut hash = Sha256::new();
            hash.update(key);
            hash.update(workspace.0.as_bytes());
            for part in request {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            hash.finalize().to_vec()
        };
        self.master_keys.derive("idempotency").all().map(keyed).collect()
    }
}

async fn standing(tx: &mut Transaction, workspace: WorkspaceId, key: &str, hashes: &[Vec<u8>]) -> Result<Begun, Error> {
    let row = sqlx::query(
        "SELECT request = ANY ($3) AS same, reply FROM idempotency_keys WHERE workspace_id = $1 AND key = $2",
    )
    .bind(workspace.0)
    .bind(key)
    .bind(hashes)
    .fetch_optional(tx.connection())
    .await?;
    // Freed between two statements: the caller comes again.
    let Some(row) = row else { return Ok(Begun::Running) };
    if !row.col::<bool>("same")? {
        return Ok(Begun::Other);
    }
    Ok(row.col::<Option<String>>("reply")?.map_or(Begun::Running, |reply| Begun::Answered { reply }))
}
