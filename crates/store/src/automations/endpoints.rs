//! Webhook endpoints: an address, and the secrets that messages to it are signed with.

use codash_domain::{AccountId, EndpointId, KeyId, Timestamp, WorkspaceId};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Claim, quota};
use crate::row::Columns;
use crate::sealed::{Cell, WEBHOOK_ENDPOINTS, text};
use crate::session::{Mode, Transaction};
use crate::{Error, Store};

const SEALED: &str = "sealed";
const PREVIOUS: &str = "sealed_previous";

/// An endpoint as its owner sees it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: EndpointId,
    pub key: KeyId,
    /// Accounts of the key that made it; `None`: every one.
    pub key_accounts: Option<Vec<AccountId>>,
    pub url: String,
    pub is_disabled: bool,
    pub disabled_reason: Option<String>,
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before the present one signs too.
    pub previous_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An endpoint to be stored.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub id: EndpointId,
    pub key: KeyId,
    pub url: String,
    pub secret: SecretString,
    pub now: Timestamp,
}

impl Store {
    /// Stores an endpoint, unless the workspace has `most` already ([`Error::Conflict`], `quota`).
    pub async fn create_endpoint(&self, workspace: WorkspaceId, new: &NewEndpoint, most: i64) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        quota(&mut tx, workspace, "webhook_endpoints", most).await?;
        let data_key = self.data_key(&mut tx, workspace).await?;
        let sealed = cell(workspace, &new.id, SEALED).seal(&data_key, new.secret.expose_secret().as_bytes())?;
        sqlx::query(
            "INSERT INTO webhook_endpoints (workspace_id, endpoint_id, key_id, url, data_key_version, sealed, created_at,
                                            updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(workspace.0)
        .bind(new.id.0)
        .bind(new.key.0)
        .bind(&new.url)
        .bind(data_key.0)
        .bind(sealed)
        .bind(new.now.utc())
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Every endpoint of a workspace, or one, in the order in which they were made.
    pub async fn endpoints(&self, workspace: WorkspaceId, only: Option<EndpointId>) -> Result<Vec<Endpoint>, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let rows = sqlx::query(
            "SELECT e.endpoint_id, e.key_id, e.url, e.is_disabled, e.disabled_reason, e.failing_since, e.previous_until,
                    e.created_at, e.updated_at, k.account_ids AS key_accounts
             FROM webhook_endpoints e JOIN api_keys k ON k.workspace_id = e.workspace_id AND k.key_id = e.key_id
             WHERE e.workspace_id = $1 AND ($2::uuid IS NULL OR e.endpoint_id = $2)
             ORDER BY e.created_at, e.endpoint_id",
        )
        .bind(workspace.0)
        .bind(only.map(|id| id.0))
        .fetch_all(tx.connection())
        .await?;
        tx.commit().await?;
        rows.iter().map(endpoint).collect()
    }

    /// Signs with `secret` from now on, and with the one before as well until `until`.
    pub async fn rotate_endpoint_secret(
        &self,
        workspace: WorkspaceId,
        id: EndpointId,
        secret: &SecretString,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let data_key = self.data_key(&mut tx, workspace).await?;
        // Held first and read then: in one statement, a row that we waited for would meet the data key
        // that it had before.
        sqlx::query("SELECT 1 FROM webhook_endpoints WHERE workspace_id = $1 AND endpoint_id = $2 FOR UPDATE")
            .bind(workspace.0)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        // Sealed anew for its column: a secret that was replaced cannot be put back in its old place.
        let previous = self.read_cell(&mut tx, cell(workspace, &id, SEALED)).await?.ok_or(Error::NotFound)?;
        let previous = cell(workspace, &id, PREVIOUS).seal(&data_key, &previous)?;
        let sealed = cell(workspace, &id, SEALED).seal(&data_key, secret.expose_secret().as_bytes())?;
        sqlx::query(
            "UPDATE webhook_endpoints SET sealed_previous = $7, previous_until = $4, sealed = $3, updated_at = $5,
                    data_key_version = $6
             WHERE workspace_id = $1 AND endpoint_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(sealed)
        .bind(until.utc())
        .bind(now.utc())
        .bind(data_key.0)
        .bind(previous)
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Takes messages, or no more. Enabling forgets the failures; disabling ends what waits.
    pub async fn set_endpoint_disabled(
        &self,
        workspace: WorkspaceId,
        id: EndpointId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        match reason {
            Some(reason) => disable(&mut tx, workspace, id, reason).await?,
            None => {
                sqlx::query(
                    "UPDATE webhook_endpoints SET is_disabled = false, disabled_reason = NULL, failing_since = NULL
                     WHERE workspace_id = $1 AND endpoint_id = $2",
                )
                .bind(workspace.0)
                .bind(id.0)
                .execute(tx.connection())
                .await?;
            }
        }
        sqlx::query("UPDATE webhook_endpoints SET updated_at = $3 WHERE workspace_id = $1 AND endpoint_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .bind(now.utc())
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    /// Its deliveries go with it, and no automation names it any longer. True when there was one.
    pub async fn delete_endpoint(&self, workspace: WorkspaceId, id: EndpointId) -> Result<bool, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        sqlx::query(
            "UPDATE automations SET endpoint_ids = array_remove(endpoint_ids, $2)
             WHERE workspace_id = $1 AND $2 = ANY (endpoint_ids)",
        )
        .bind(workspace.0)
        .bind(id.0)
        .execute(tx.connection())
        .await?;
        let done = sqlx::query("DELETE FROM webhook_endpoints WHERE workspace_id = $1 AND endpoint_id = $2")
            .bind(workspace.0)
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The secrets that sign at this moment, the newest first. `row` is as [`Store::open_cell`] wants it.
    pub(super) fn signing_secrets(
        &self,
        claim: &Claim,
        id: EndpointId,
        row: &PgRow,
    ) -> Result<Vec<SecretString>, Error> {
        let present = self.open_cell(cell(claim.workspace, &id, SEALED), row)?.ok_or(Error::NotFound)?;
        // The one before only eases a change: a message that it cannot sign goes out all the same.
        let previous = self.open_cell(cell(claim.workspace, &id, PREVIOUS), row).unwrap_or_else(|error| {
            tracing::error!(%error, endpoint.id = %id, "a webhook's previous secret cannot be opened: rotate it again");
            None
        });
        std::iter::once(present).chain(previous).map(text).collect()
    }
}

/// No more messages; those that wait have failed.
pub(super) async fn disable(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    id: EndpointId,
    reason: &str,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE webhook_endpoints SET is_disabled = true, disabled_reason = $3
         WHERE workspace_id = $1 AND endpoint_id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(reason)
    .execute(tx.connection())
    .await?;
    sqlx::query(
        "UPDATE webhook_deliveries SET state = 'failed', detail = $3, ended_at = clock_timestamp()
         WHERE workspace_id = $1 AND endpoint_id = $2 AND state = 'pending'",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind("the endpoint is disabled")
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn cell<'a>(workspace: WorkspaceId, id: &'a EndpointId, column: &'static str) -> Cell<'a> {
    Cell { of: WEBHOOK_ENDPOINTS, column, workspace, row: id }
}

fn endpoint(row: &PgRow) -> Result<Endpoint, Error> {
    Ok(Endpoint {
        id: EndpointId(row.col("endpoint_id")?),
        key: KeyId(row.col("key_id")?),
        key_accounts: row.col::<Option<Vec<Uuid>>>("key_accounts")?.map(|ids| ids.into_iter().map(AccountId).collect()),
        url: row.col("url")?,
        is_disabled: row.col("is_disabled")?,
        disabled_reason: row.col("disabled_reason")?,
        failing_since: row.maybe_at("failing_since")?,
        previous_until: row.maybe_at("previous_until")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}
