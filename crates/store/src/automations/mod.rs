//! Automations as stored: when, what, to whom, with whose rights.
//!
//! [`runs`] queues, ends and lists runs, [`claims`] shares the work out among workers, [`endpoints`]
//! and [`deliveries`] are the outbox.

pub mod claims;
pub mod deliveries;
pub mod endpoints;
pub mod runs;

use codash_domain::automation::{Missed, Overlap, Task, Timing, Watch};
use codash_domain::{AccountId, AutomationId, EndpointId, KeyId, Timestamp, WorkspaceId};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::audit::{self, By, Entry, Verb};
use crate::row::Columns;
use crate::sealed::{AUTOMATIONS, Cell, text as text_secret};
use crate::session::{Mode, Transaction};
use crate::{Error, Grant, Store};

pub use claims::Claim;

/// What its owner decides about an automation.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The key that it acts with.
    pub key: KeyId,
    pub name: String,
    pub timing: Timing,
    pub task: Task,
    pub endpoints: Vec<EndpointId>,
    pub missed: Missed,
    pub overlap: Overlap,
    pub is_paused: bool,
    /// When it comes next; `None` when only others start it, or it is paused.
    pub due_at: Option<Timestamp>,
}

/// What opens an inbound trigger.
#[derive(Debug, Clone)]
pub struct Inbound {
    pub token_hash: [u8; 32],
    pub signing: Option<SecretString>,
}

/// What becomes of an inbound trigger when its automation changes.
#[derive(Debug, Clone)]
pub enum InboundChange {
    Keep,
    Remove,
    Replace(Inbound),
}

#[derive(Debug, Clone)]
pub struct Automation {
    pub id: AutomationId,
    pub definition: Definition,
    /// Accounts of the key it acts with; `None`: every one.
    pub key_accounts: Option<Vec<AccountId>>,
    pub pause_reason: Option<String>,
    pub watch: Watch,
    pub checked_at: Option<Timestamp>,
    /// What the last look at a condition said.
    pub check_detail: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const AUTOMATION: &str =
    "a.automation_id, a.key_id, a.name, a.timing::text AS timing, a.task::text AS task, a.endpoint_ids,
    a.missed, a.overlap, a.is_paused, a.pause_reason, a.is_raised, a.fired_at, a.checked_at, a.check_detail, a.due_at,
    a.created_at, a.updated_at, k.account_ids AS key_accounts
 FROM automations a JOIN api_keys k ON k.workspace_id = a.workspace_id AND k.key_id = a.key_id
 WHERE a.workspace_id = $1";

/// Records a change of an automation in its own transaction.
async fn note(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    verb: Verb,
    automation: AutomationId,
    by: By,
    detail: Value,
) -> Result<(), Error> {
    audit::record(tx, workspace, &Entry { detail, ..Entry::done(by, verb, automation.to_string()) }).await
}

impl Store {
    /// Stores a new automation, unless the workspace has `most` already ([`Error::Conflict`] with the
    /// constraint `quota`).
    pub async fn create_automation(
        &self,
        workspace: WorkspaceId,
        id: AutomationId,
        new: &Definition,
        inbound: Option<&Inbound>,
        most: i64,
        by: By,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        quota(&mut tx, workspace, "automations", most).await?;
        check_endpoints(&mut tx, workspace, &new.endpoints).await?;
        sqlx::query(
            "INSERT INTO automations (workspace_id, automation_id, key_id, name, timing, task, endpoint_ids, missed,
                                      overlap, is_paused, due_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8, $9, $10, $11, $12, $12)",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(new.key.0)
        .bind(&new.name)
        .bind(text(&new.timing)?)
        .bind(text(&new.task)?)
        .bind(ids(&new.endpoints))
        .bind(missed_word(new.missed))
        .bind(overlap_word(new.overlap))
        .bind(new.is_paused)
        .bind(new.due_at.map(Timestamp::utc))
        .bind(by.at.utc())
        .execute(tx.connection())
        .await?;
        if let Some(inbound) = inbound {
            self.put_inbound(&mut tx, workspace, id, inbound).await?;
        }
        note(&mut tx, workspace, Verb::AutomationCreate, id, by, json!({ "name": new.name })).await?;
        tx.commit().await
    }

    /// Replaces what its owner decides. A new timing forgets what a condition remembered; a worker that
    /// holds the automation loses it. `seen` is the state that was changed from: another since then is
    /// [`Error::Serialization`].
    pub async fn change_automation(
        &self,
        workspace: WorkspaceId,
        seen: &Automation,
        new: &Definition,
        inbound: &InboundChange,
        by: By,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        check_endpoints(&mut tx, workspace, &new.endpoints).await?;
        let is_new_timing = new.timing != seen.definition.timing;
        let done = sqlx::query(
            "UPDATE automations SET key_id = $3, name = $4, timing = $5::jsonb, task = $6::jsonb, endpoint_ids = $7,
                    missed = $8, overlap = $9, is_paused = $10, pause_reason = NULL, due_at = $11, updated_at = $12,
                    is_raised = is_raised AND NOT $13, fired_at = CASE WHEN $13 THEN NULL ELSE fired_at END,
                    epoch = epoch + 1, lease_expires_at = '-infinity'
             WHERE workspace_id = $1 AND automation_id = $2 AND updated_at = $14",
        )
        .bind(workspace.0)
        .bind(seen.id.0)
        .bind(new.key.0)
        .bind(&new.name)
        .bind(text(&new.timing)?)
        .bind(text(&new.task)?)
        .bind(ids(&new.endpoints))
        .bind(missed_word(new.missed))
        .bind(overlap_word(new.overlap))
        .bind(new.is_paused)
        .bind(new.due_at.map(Timestamp::utc))
        .bind(by.at.utc())
        .bind(is_new_timing)
        .bind(seen.updated_at.utc())
        .execute(tx.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::Serialization);
        }
        match inbound {
            InboundChange::Keep => {}
            InboundChange::Replace(inbound) => self.put_inbound(&mut tx, workspace, seen.id, inbound).await?,
            InboundChange::Remove => {
                sqlx::query(
                    "UPDATE automations SET token_hash = NULL, sealed = NULL, data_key_version = NULL
                     WHERE workspace_id = $1 AND automation_id = $2",
                )
                .bind(workspace.0)
                .bind(seen.id.0)
                .execute(tx.connection())
                .await?;
            }
        }
        let detail = json!({ "name": new.name, "isPaused": new.is_paused });
        note(&mut tx, workspace, Verb::AutomationChange, seen.id, by, detail).await?;
        tx.commit().await
    }

    async fn put_inbound(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        id: AutomationId,
        inbound: &Inbound,
    ) -> Result<(), Error> {
        let data_key = self.data_key(tx, workspace).await?;
        let seal =
            |secret: &SecretString| inbound_cell(workspace, &id).seal(&data_key, secret.expose_secret().as_bytes());
        let sealed = inbound.signing.as_ref().map(seal).transpose()?;
        sqlx::query(
            "UPDATE automations SET token_hash = $3, sealed = $4, data_key_version = $5
             WHERE workspace_id = $1 AND automation_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(&inbound.token_hash[..])
        .bind(sealed)
        .bind(data_key.0)
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    /// Every automation of a workspace, or one, in the order in which they were made.
    pub async fn automations(
        &self,
        workspace: WorkspaceId,
        only: Option<AutomationId>,
    ) -> Result<Vec<Automation>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let sql = format!(
            "SELECT {AUTOMATION} AND ($2::uuid IS NULL OR a.automation_id = $2) ORDER BY a.created_at, a.automation_id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(workspace.0)
            .bind(only.map(|id| id.0))
            .fetch_all(tx.connection())
            .await?;
        tx.commit().await?;
        rows.iter().map(automation).collect()
    }

    /// Its runs and their deliveries go with it. True when there was one.
    pub async fn delete_automation(&self, workspace: WorkspaceId, id: AutomationId, by: By) -> Result<bool, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query("DELETE FROM automations WHERE workspace_id = $1 AND automation_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        if done.rows_affected() == 1 {
            note(&mut tx, workspace, Verb::AutomationRemove, id, by, json!({})).await?;
        }
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// What a key of the workspace opens; `None` when it is unknown or revoked. Expiry is the caller's
    /// to judge.
    pub async fn grant_of_key(&self, workspace: WorkspaceId, key: KeyId) -> Result<Option<Grant>, Error> {
        let keys = self.list_keys(workspace).await?;
        Ok(keys.into_iter().find(|row| row.id == key && row.revoked_at.is_none()).map(|row| Grant {
            workspace,
            key,
            scopes: row.scopes,
            accounts: row.accounts,
            addresses: row.addresses,
            expires_at: row.expires_at,
        }))
    }

    /// The secret that requests of an inbound trigger are signed with; `None` when they need not be.
    pub async fn inbound_secret(
        &self,
        workspace: WorkspaceId,
        id: AutomationId,
    ) -> Result<Option<SecretString>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let secret = self.read_cell(&mut tx, inbound_cell(workspace, &id)).await?.map(text_secret).transpose()?;
        tx.commit().await?;
        Ok(secret)
    }
}

fn inbound_cell(workspace: WorkspaceId, id: &AutomationId) -> Cell<'_> {
    Cell { of: AUTOMATIONS, column: "sealed", workspace, row: id }
}

/// Refuses one more row of a tenant than there may be.
async fn quota(tx: &mut Transaction, workspace: WorkspaceId, table: &'static str, most: i64) -> Result<(), Error> {
    // The workspace's row is held, so that two at once cannot both be the last.
    let sql = format!(
        "SELECT (SELECT count(*) FROM {table} t WHERE t.workspace_id = $1) FROM workspaces w WHERE w.workspace_id = $1
         FOR NO KEY UPDATE"
    );
    let count: Option<i64> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(workspace.0).fetch_optional(tx.connection()).await?;
    match count {
        Some(count) if count < most => Ok(()),
        Some(_) => Err(Error::Conflict { constraint: "quota".into() }),
        None => Err(Error::NotFound),
    }
}

/// Every endpoint must be the workspace's own: [`Error::NotFound`] otherwise.
async fn check_endpoints(tx: &mut Transaction, workspace: WorkspaceId, endpoints: &[EndpointId]) -> Result<(), Error> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let found: i64 =
        sqlx::query_scalar("SELECT count(*) FROM webhook_endpoints WHERE workspace_id = $1 AND endpoint_id = ANY ($2)")
            .bind(workspace.0)
            .bind(ids(endpoints))
            .fetch_one(tx.connection())
            .await?;
    if usize::try_from(found).ok() == Some(endpoints.len()) { Ok(()) } else { Err(Error::NotFound) }
}

fn automation(row: &PgRow) -> Result<Automation, Error> {
    let endpoints: Vec<Uuid> = row.col("endpoint_ids")?;
    Ok(Automation {
        id: AutomationId(row.col("automation_id")?),
        definition: Definition {
            key: KeyId(row.col("key_id")?),
            name: row.col("name")?,
            timing: value(row, "timing")?,
            task: value(row, "task")?,
            endpoints: endpoints.into_iter().map(EndpointId).collect(),
            missed: if row.col::<String>("missed")? == "skip" { Missed::Skip } else { Missed::Once },
            overlap: if row.col::<String>("overlap")? == "queue" { Overlap::Queue } else { Overlap::Skip },
            is_paused: row.col("is_paused")?,
            due_at: row.maybe_at("due_at")?,
        },
        key_accounts: row.col::<Option<Vec<Uuid>>>("key_accounts")?.map(|ids| ids.into_iter().map(AccountId).collect()),
        pause_reason: row.col("pause_reason")?,
        watch: Watch { is_raised: row.col("is_raised")?, fired_at: row.maybe_at("fired_at")? },
        checked_at: row.maybe_at("checked_at")?,
        check_detail: row.col("check_detail")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

fn value<T: DeserializeOwned>(row: &PgRow, column: &'static str) -> Result<T, Error> {
    let text: String = row.col(column)?;
    serde_json::from_str(&text).map_err(|e| Error::Corrupt { column, detail: e.to_string() })
}

fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Driver(Box::new(e)))
}

fn ids(endpoints: &[EndpointId]) -> Vec<Uuid> {
    endpoints.iter().map(|id| id.0).collect()
}

fn missed_word(missed: Missed) -> &'static str {
    match missed {
        Missed::Skip => "skip",
        Missed::Once => "once",
    }
}

fn overlap_word(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
    }
}
