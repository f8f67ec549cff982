//! What owners do to their accounts: rename, group, pause, read again, give a new key, remove.
//!
//! Rows are locked in the collector's order, the lease before the account. A write that the collector
//! must not work against draws a new epoch: what it had under way is fenced, and it begins anew.

use codash_domain::{AccountId, PortfolioId, Standing, Timestamp, Venue, WorkspaceId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::{self, Account, fingerprint};
use crate::audit::{self, By, Entry, Verb};
use crate::portfolios::{Expected, Tree};
use crate::row::Columns;
use crate::session::{Mode, Transaction};
use crate::{Credential, Error, Grant, Store};

/// What to change; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    pub name: Option<String>,
    pub tags: Option<Vec<String>>,
    /// `Some(None)`: into no group.
    pub portfolio: Option<Option<PortfolioId>>,
    pub is_active: Option<bool>,
}

/// What an account is opened with from now on, and what the venue said of it.
#[derive(Debug, Clone)]
pub struct NewCredential {
    pub venue: Venue,
    pub credential: Credential,
    pub standing: Standing,
    pub streams: Vec<String>,
}

/// An account as a writer finds it, its row and its lease held.
struct Held {
    venue: Venue,
    fingerprint: Vec<u8>,
    portfolio: Option<PortfolioId>,
    is_active: bool,
    is_removed: bool,
}

impl Store {
    pub async fn change_account(
        &self,
        grant: &Grant,
        id: AccountId,
        expected: &Expected,
        change: &AccountChange,
        by: By,
    ) -> Result<Account, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let tree = match change.portfolio {
            Some(_) => Some(Tree::hold(&mut tx, workspace).await?),
            None => None,
        };
        let held = hold(&mut tx, grant, id, expected).await?;
        if let (Some(tree), Some(portfolio)) = (tree, change.portfolio.filter(|to| *to != held.portfolio)) {
            tree.may_regroup(grant, held.portfolio, portfolio)?;
        }
        let is_active = change.is_active.unwrap_or(held.is_active);
        if is_active != held.is_active {
            held.must_be_there(id)?;
            hand_over(&mut tx, workspace, id).await?;
        }
        sqlx::query(
            "UPDATE accounts SET name = coalesce($3, name), tags = coalesce($4, tags), portfolio_id = $5, is_active = $6,
                    version = version + 1, updated_at = $7
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(&change.name)
        .bind(&change.tags)
        .bind(change.portfolio.unwrap_or(held.portfolio).map(|p| p.0))
        .bind(is_active)
        .bind(by.at.utc())
        .execute(tx.connection())
        .await?;
        let changed = accounts::one(&mut tx, workspace, id).await?;
        let AccountChange { name, tags, portfolio, is_active } = change;
        let detail = json!({ "name": name, "tags": tags, "portfolioId": portfolio, "isActive": is_active });
        note(&mut tx, workspace, Verb::AccountChange, id, by, detail).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Makes the account due now. With `from`, every stream that its venue can give again is read again
    /// from there on.
    pub async fn sync_account(
        &self,
        grant: &Grant,
        id: AccountId,
        from: Option<Timestamp>,
        by: By,
    ) -> Result<Account, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let held = hold(&mut tx, grant, id, &Expected::Any).await?;
        held.must_be_there(id)?;
        if !held.is_active {
            return Err(Error::Paused);
        }
        hand_over(&mut tx, workspace, id).await?;
        sqlx::query(
            "UPDATE streams SET due_at = clock_timestamp(), failures = 0, resync_from = least(resync_from, $3)
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(from.map(Timestamp::utc))
        .execute(tx.connection())
        .await?;
        let account = accounts::one(&mut tx, workspace, id).await?;
        note(&mut tx, workspace, Verb::AccountChange, id, by, json!({ "sync": true, "from": from })).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Seals another credential in place of the account's own, which is gone then. A removed account is
    /// back, and is read on from where it was left.
    pub async fn replace_credential(
        &self,
        grant: &Grant,
        id: AccountId,
        expected: &Expected,
        new: &NewCredential,
        by: By,
    ) -> Result<Account, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let held = hold(&mut tx, grant, id, expected).await?;
        let fingerprint = fingerprint(new.venue, &new.credential);
        // An address is the account itself; a key is one of several.
        let is_another = matches!(new.credential, Credential::Wallet { .. }) && held.fingerprint != fingerprint;
        if new.venue != held.venue || is_another {
            return Err(Error::AnotherAccount);
        }
        self.seal_credential(&mut tx, workspace, id, &new.credential).await?;
        sqlx::query(
            "UPDATE accounts SET fingerprint = $3, status = 'pending', status_detail = NULL, attested_at = $4, kind = $5,
                    assurance = $6, not_covered = $7, key_expires_at = $8, is_active = is_active OR $9, removed_at = NULL,
                    version = version + 1, updated_at = $4
             WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .bind(&fingerprint[..])
        .bind(by.at.utc())
        .bind(&new.standing.kind)
        .bind(new.standing.assurance.as_str())
        .bind(&new.standing.not_covered)
        .bind(new.standing.key_expires_at.map(|at| at.utc()))
        .bind(held.is_removed)
        .execute(tx.connection())
        .await?;
        crate::streams::add(&mut tx, workspace, id, &new.streams).await?;
        sqlx::query(
            "UPDATE streams SET due_at = clock_timestamp(), failures = 0 WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(workspace.0)
        .bind(id.0)
        .execute(tx.connection())
        .await?;
        hand_over(&mut tx, workspace, id).await?;
        let account = accounts::one(&mut tx, workspace, id).await?;
        note(&mut tx, workspace, Verb::AccountChange, id, by, json!({ "credentials": "replaced" })).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Ends collection and destroys the credential, at once. History stays, unless `erase`: then the
    /// account is in no answer from here on, and [`Store::erase_some`] takes its rows away. `None` then.
    pub async fn remove_account(
        &self,
        grant: &Grant,
        id: AccountId,
        expected: &Expected,
        erase: bool,
        by: By,
    ) -> Result<Option<Account>, Error> {
        let workspace = grant.workspace;
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let held = hold(&mut tx, grant, id, expected).await?;
        if !held.is_removed {
            end(&mut tx, workspace, id, by.at).await?;
        }
        let account = if erase {
            begin_erasing(&mut tx, workspace, id).await?;
            None
        } else {
            Some(accounts::one(&mut tx, workspace, id).await?)
        };
        let detail = json!({ "history": if erase { "deleted" } else { "kept" } });
        note(&mut tx, workspace, Verb::AccountRemove, id, by, detail).await?;
        tx.commit().await?;
        Ok(account)
    }
}

/// Records a change of an account in its own transaction.
async fn note(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    verb: Verb,
    account: AccountId,
    by: By,
    detail: Value,
) -> Result<(), Error> {
    audit::record(tx, workspace, &Entry { detail, ..Entry::done(by, verb, account.to_string()) }).await
}

impl Held {
    fn must_be_there(&self, account: AccountId) -> Result<(), Error> {
        if self.is_removed { Err(Error::Removed { account }) } else { Ok(()) }
    }
}

/// Locks an account that the key sees. `NotFound` alike for a stranger's, a hidden one and none.
async fn hold(tx: &mut Transaction, grant: &Grant, id: AccountId, expected: &Expected) -> Result<Held, Error> {
    if grant.accounts.as_ref().is_some_and(|only| !only.contains(&id)) {
        return Err(Error::NotFound);
    }
    sqlx::query("SELECT 1 FROM leases WHERE workspace_id = $1 AND account_id = $2 FOR UPDATE")
        .bind(grant.workspace.0)
        .bind(id.0)
        .execute(tx.connection())
        .await?;
    let row = sqlx::query(
        "SELECT venue, fingerprint, portfolio_id, is_active, removed_at IS NOT NULL AS is_removed, version FROM accounts
         WHERE workspace_id = $1 AND account_id = $2 AND NOT erasing FOR NO KEY UPDATE",
    )
    .bind(grant.workspace.0)
    .bind(id.0)
    .fetch_optional(tx.connection())
    .await?
    .ok_or(Error::NotFound)?;
    expected.check(row.col("version")?)?;
    Ok(Held {
        venue: row.parsed("venue")?,
        fingerprint: row.col("fingerprint")?,
        portfolio: row.col::<Option<Uuid>>("portfolio_id")?.map(PortfolioId),
        is_active: row.col("is_active")?,
        is_removed: row.col("is_removed")?,
    })
}

/// Takes the account from whoever collects it and makes it due now.
async fn hand_over(tx: &mut Transaction, workspace: WorkspaceId, id: AccountId) -> Result<(), Error> {
    sqlx::query(
        "UPDATE leases SET epoch = epoch + 1, holder = NULL, expires_at = '-infinity', due_at = clock_timestamp()
         WHERE workspace_id = $1 AND account_id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// No credential, no turn, nothing held now. The lease's row stays, for its epoch: it fences whoever
/// still works under an older one, also after the account is back.
async fn end(tx: &mut Transaction, workspace: WorkspaceId, id: AccountId, now: Timestamp) -> Result<(), Error> {
    let statements = [
        "DELETE FROM account_secrets WHERE workspace_id = $1 AND account_id = $2",
        "DELETE FROM balances WHERE workspace_id = $1 AND account_id = $2",
        "DELETE FROM positions WHERE workspace_id = $1 AND account_id = $2",
        "UPDATE streams SET sweep = NULL, resync_from = NULL WHERE workspace_id = $1 AND account_id = $2",
        "UPDATE leases SET epoch = epoch + 1, holder = NULL, expires_at = '-infinity', due_at = 'infinity'
         WHERE workspace_id = $1 AND account_id = $2",
    ];
    for sql in statements {
        sqlx::query(sql).bind(workspace.0).bind(id.0).execute(tx.connection()).await?;
    }
    sqlx::query(
        "UPDATE accounts SET removed_at = $3, is_active = false, version = version + 1, updated_at = $3
         WHERE workspace_id = $1 AND account_id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now.utc())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The credential may be attached anew, as another account. Sums change: the data has another version.
async fn begin_erasing(tx: &mut Transaction, workspace: WorkspaceId, id: AccountId) -> Result<(), Error> {
    sqlx::query(
        "UPDATE accounts SET erasing = true, portfolio_id = NULL, fingerprint = sha256(uuid_send(account_id))
         WHERE workspace_id = $1 AND account_id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .execute(tx.connection())
    .await?;
    sqlx::query("UPDATE workspaces SET data_version = data_version + 1 WHERE workspace_id = $1")
        .bind(workspace.0)
        .execute(tx.connection())
        .await?;
    Ok(())
}
