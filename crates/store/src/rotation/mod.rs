//! Turning keys while everything runs.
//!
//! [`Store::rewrap_some`] wraps data keys anew under the current master key; [`Store::renew_workspace`]
//! gives a workspace a new data key and seals its secrets again with it. Both go in small steps, each a
//! transaction of its own. What is left to do is read from the rows alone, so that a run which was killed
//! is gone on with by the next, and two runs at once do each other no harm.

mod renew;

use codash_domain::{Timestamp, WorkspaceId};
use uuid::Uuid;

use crate::row::Columns;
use crate::{Error, Store};

pub use renew::Renewed;

/// What a master key is still needed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyUse {
    pub id: String,
    /// It wraps. Always among those in use when it wraps or made anything.
    pub is_current: bool,
    /// This process has it.
    pub is_configured: bool,
    /// Data keys that it wraps. 0: nothing stored needs it.
    pub wraps: i64,
    /// Data keys that were made while it was the current one: whoever had it then may have them.
    pub made: i64,
    /// When it last took a data key over from another master key.
    pub rewrapped_at: Option<Timestamp>,
}

/// Where a pass goes on: behind this data key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct After {
    workspace: Uuid,
    version: i32,
}

/// What a step of a pass came to.
#[derive(Debug, Default)]
pub struct Step {
    /// Rows that were another master key's when they were looked at.
    pub seen: usize,
    /// Rows that are the current one's now, by this step.
    pub done: u64,
    pub failed: Vec<Failed>,
    /// `None` at the end of the pass.
    pub next: Option<After>,
}

/// Something that could not be turned.
#[derive(Debug)]
pub struct Failed {
    pub workspace: WorkspaceId,
    /// The table and its row.
    pub what: String,
    pub error: Error,
}

/// A data key on its way.
struct Turned {
    workspace: Uuid,
    version: i32,
    was: Vec<u8>,
    becomes: Vec<u8>,
}

impl Store {
    /// Every master key that is configured or in use: the current one first, then the others of the
    /// list, then those that this process lacks.
    pub async fn master_keys_in_use(&self) -> Result<Vec<MasterKeyUse>, Error> {
        let unused = |id: &str| MasterKeyUse {
            id: id.to_owned(),
            is_current: id == self.master_keys.current_id(),
            is_configured: true,
            wraps: 0,
            made: 0,
            rewrapped_at: None,
        };
        let mut keys: Vec<MasterKeyUse> = self.master_keys.ids().map(unused).collect();
        let rows = sqlx::query("SELECT * FROM master_keys_in_use()").fetch_all(&self.writes).await?;
        for row in rows {
            let id: String = row.col("master_key_id")?;
            let known = keys.iter().position(|key| key.id == id);
            let mut key =
                known.map_or_else(|| MasterKeyUse { is_configured: false, ..unused(&id) }, |i| keys.remove(i));
            key.wraps = row.col("wraps")?;
            key.made = row.col("made")?;
            key.rewrapped_at = row.maybe_at("rewrapped_at")?;
            keys.insert(known.unwrap_or(keys.len()), key);
        }
        Ok(keys)
    }

    /// Ids of master keys that something stored needs and this process lacks. One cheap question, for the
    /// start of a process: with any, some secret would not open later.
    pub async fn missing_master_keys(&self) -> Result<Vec<String>, Error> {
        let keys = self.master_keys_in_use().await?;
        Ok(keys.into_iter().filter(|key| !key.is_configured && key.wraps > 0).map(|key| key.id).collect())
    }

    /// Wraps the next data keys of a pass under the current master key, at most `most`, all of them or
    /// none. One that does not open is left as it is and reported; the pass goes on behind it.
    pub async fn rewrap_some(&self, after: After, most: i32) -> Result<Step, Error> {
        let rows = sqlx::query("SELECT * FROM data_keys_to_rewrap($1, $2, $3, $4)")
            .bind(self.master_keys.current_id())
            .bind(after.workspace)
            .bind(after.version)
            .bind(most)
            .fetch_all(&self.writes)
            .await?;
        let mut step = Step { seen: rows.len(), ..Step::default() };
        let mut turned = Vec::with_capacity(rows.len());
        for row in &rows {
            let (workspace, version): (Uuid, i32) = (row.col("workspace_id")?, row.col("version")?);
            let (tenant, was) = (WorkspaceId(workspace), row.col::<Vec<u8>>("wrapped")?);
            let becomes = self
                .unwrap_with(&row.col::<String>("master_key_id")?, tenant, version, &was)
                .and_then(|data_key| self.wrap_data_key(tenant, version, &data_key));
            match becomes {
                Ok(becomes) => turned.push(Turned { workspace, version, was, becomes }),
                Err(error) => {
                    step.failed.push(Failed { workspace: tenant, what: format!("data_keys {version}"), error });
                }
            }
            step.next = Some(After { workspace, version });
        }
        step.done = self.put_rewrapped(&turned).await?;
        Ok(step)
    }

    async fn put_rewrapped(&self, turned: &[Turned]) -> Result<u64, Error> {
        if turned.is_empty() {
            return Ok(0);
        }
        let done: i64 = sqlx::query_scalar("SELECT rewrap_data_keys($1, $2, $3, $4, $5)")
            .bind(self.master_keys.current_id())
            .bind(turned.iter().map(|t| t.workspace).collect::<Vec<_>>())
            .bind(turned.iter().map(|t| t.version).collect::<Vec<_>>())
            .bind(turned.iter().map(|t| &t.was[..]).collect::<Vec<_>>())
            .bind(turned.iter().map(|t| &t.becomes[..]).collect::<Vec<_>>())
            .fetch_one(&self.writes)
            .await?;
        Ok(done.unsigned_abs())
    }
}
