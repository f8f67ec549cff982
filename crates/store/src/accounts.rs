//! Exchange accounts and wallets, their sealed credentials and how their connection stands.

use codash_domain::{AccountId, AccountStatus, Assurance, PortfolioId, Standing, Timestamp, Usd, Venue, WorkspaceId};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, By, Entry, Verb};
use crate::idempotency::Keep;
use crate::row::Columns;
use crate::sealed::{ACCOUNT_SECRETS, Cell};
use crate::session::{Mode, Transaction};
use crate::{Error, Reader, Session, Store, portfolios, vault};

/// What an account is opened with at its venue. Sealed before it reaches a statement.
#[derive(Debug, Clone)]
pub enum Credential {
    ApiKey { key: String, secret: SecretString, passphrase: Option<SecretString> },
    Wallet { address: String },
}

#[derive(Debug, Clone)]
pub struct NewAccount {
    pub id: AccountId,
    pub name: String,
    pub venue: Venue,
    pub credential: Credential,
    pub tags: Vec<String>,
    /// The streams that every account of the venue has from the start.
    pub streams: Vec<String>,
    pub standing: Standing,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub venue: Venue,
    /// The group that it is in.
    pub portfolio_id: Option<PortfolioId>,
    pub tags: Vec<String>,
    pub is_active: bool,
    pub status: AccountStatus,
    pub status_detail: Option<String>,
    /// How sure it is that the credentials can only read; `None` before the venue was asked.
    pub assurance: Option<Assurance>,
    /// The venue's kind of account, in a word of ours.
    pub kind: Option<String>,
    /// What of the account no total holds.
    pub not_covered: Vec<String>,
    pub key_expires_at: Option<Timestamp>,
    /// `None` once it is removed: it is worth nothing to anybody now.
    pub last_nav_usd: Option<Usd>,
    pub last_checked_at: Option<Timestamp>,
    /// Since then nothing is collected; what was read before stays.
    pub removed_at: Option<Timestamp>,
    /// Of what its owner can change.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The accounts of a question.
#[derive(Debug, Clone)]
pub struct Visible {
    /// Oldest first, removed ones too.
    pub accounts: Vec<Account>,
    /// True when the workspace's own sums are theirs: the key sees every account, and none is being erased.
    pub is_whole: bool,
}

/// An account and the state of each of its streams.
#[derive(Debug, Clone)]
pub struct Connectivity {
    pub account: Account,
    pub streams: Vec<StreamState>,
}

#[derive(Debug, Clone)]
pub struct StreamState {
    pub stream: String,
    /// ok, behind (history on its way), degraded (unreadable records), error.
    pub status: String,
    pub covered_from: Option<Timestamp>,
    pub covered_to: Option<Timestamp>,
    pub last_read_at: Option<Timestamp>,
    pub quarantined: i64,
    pub detail: Option<String>,
}

/// The columns of an account with the NAV of its newest snapshot.
const ACCOUNT: &str =
    "SELECT a.account_id, a.name, a.venue, a.tags, a.is_active, a.status, a.status_detail, a.assurance,
        a.kind, a.not_covered, a.key_expires_at, a.portfolio_id, a.version, a.removed_at, a.erasing,
        a.last_checked_at, a.created_at, a.updated_at, n.nav_usd
 FROM accounts a
 LEFT JOIN LATERAL (
    SELECT s.nav_usd FROM nav_snapshots s WHERE s.workspace_id = a.workspace_id AND s.account_id = a.account_id
      AND a.removed_at IS NULL
    ORDER BY s.taken_at DESC LIMIT 1
 ) n ON true
 WHERE a.workspace_id = $1 AND ($2::uuid[] IS NULL OR a.account_id = ANY ($2))
 ORDER BY a.created_at, a.account_id";

impl Store {
    /// [`Store::attach_account`], for whoever runs the service.
    pub async fn create_account(&self, workspace: WorkspaceId, account: &NewAccount) -> Result<Account, Error> {
        self.attach_account(workspace, account, By::operator(account.now), None, None).await
    }

    /// Attaches an account: row, sealed credential, streams and lease, or nothing. Into a group when one is
    /// named, and keeping the answer of a request that may be repeated.
    pub async fn attach_account(
        &self,
        workspace: WorkspaceId,
        account: &NewAccount,
        by: By,
        portfolio: Option<PortfolioId>,
        keep: Option<&Keep<'_, Account>>,
    ) -> Result<Account, Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        if let Some(portfolio) = portfolio {
            portfolios::must_exist(&mut tx, workspace, portfolio).await?;
        }
        insert(&mut tx, workspace, account, portfolio).await?;
        self.seal_credential(&mut tx, workspace, account.id, &account.credential).await?;
        crate::streams::add(&mut tx, workspace, account.id, &account.streams).await?;
        sqlx::query("INSERT INTO leases (workspace_id, account_id) VALUES ($1, $2)")
            .bind(workspace.0)
            .bind(account.id.0)
            .execute(tx.connection())
            .await?;
        let created = one(&mut tx, workspace, account.id).await?;
        let detail = json!({ "name": account.name, "venue": account.venue, "tags": account.tags });
        let entry = Entry { detail, ..Entry::done(by, Verb::AccountAttach, account.id.to_string()) };
        audit::record(&mut tx, workspace, &entry).await?;
        if let Some(keep) = keep {
            keep.done(&mut tx, workspace, &created).await?;
        }
        tx.commit().await?;
        Ok(created)
    }

    /// Pauses or resumes the collection of an account. `NotFound` when the workspace has no such account.
    pub async fn set_active(&self, workspace: WorkspaceId, account: AccountId, is_active: bool) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        let done = sqlx::query(
            "UPDATE accounts SET is_active = $3, version = version + 1, updated_at = now() WHERE workspace_id = $1 AND account_id = $2",
        )
        .bind(workspace.0)
        .bind(account.0)
        .bind(is_active)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Seals the credential of an account in place of the one that it had.
    pub(crate) async fn seal_credential(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        account: AccountId,
        credential: &Credential,
    ) -> Result<(), Error> {
        let data_key = self.data_key(tx, workspace).await?;
        let sealed = secret_cell(workspace, &account).seal(&data_key, &vault::credential_json(credential))?;
        sqlx::query(
            "INSERT INTO account_secrets (workspace_id, account_id, data_key_version, sealed) VALUES ($1, $2, $3, $4)
             ON CONFLICT (workspace_id, account_id)
             DO UPDATE SET data_key_version = excluded.data_key_version, sealed = excluded.sealed",
        )
        .bind(workspace.0)
        .bind(account.0)
        .bind(data_key.0)
        .bind(sealed)
        .execute(tx.connection())
        .await?;
        Ok(())
    }

    /// The credential of an account, opened in memory for one pass.
    pub(crate) async fn credential(
        &self,
        tx: &mut Transaction,
        workspace: WorkspaceId,
        account: AccountId,
    ) -> Result<Credential, Error> {
        let plain = self.read_cell(tx, secret_cell(workspace, &account)).await?.ok_or(Error::NotFound)?;
        read_credential(&plain)
    }
}

impl Reader<'_> {
    /// The accounts that this key sees, oldest first, without removed ones.
    pub async fn accounts(self) -> Result<Vec<Account>, Error> {
        let mut session = self.begin().await?;
        let accounts = session.accounts().await?;
        session.finish().await?;
        Ok(accounts.into_iter().filter(|a| a.removed_at.is_none()).collect())
    }

    /// One account, removed or not. `NotFound` alike when there is none and when this key must not see it.
    pub async fn account(self, id: AccountId) -> Result<Account, Error> {
        let mut session = self.begin().await?;
        let accounts = session.accounts().await?;
        session.finish().await?;
        accounts.into_iter().find(|a| a.id == id).ok_or(Error::NotFound)
    }

    /// The accounts that this key sees and the state of their streams, without removed ones.
    pub async fn connectivity(self) -> Result<Vec<Connectivity>, Error> {
        let mut session = self.begin().await?;
        let mut accounts = session.accounts().await?;
        accounts.retain(|a| a.removed_at.is_none());
        let ids: Vec<AccountId> = accounts.iter().map(|a| a.id).collect();
        let mut streams = session.stream_states(&ids).await?;
        session.finish().await?;
        Ok(accounts
            .into_iter()
            .map(|account| {
                let (own, rest) = streams.drain(..).partition(|(id, _)| *id == account.id);
                streams = rest;
                let own: Vec<(AccountId, StreamState)> = own;
                Connectivity { account, streams: own.into_iter().map(|(_, s)| s).collect() }
            })
            .collect())
    }
}

impl Session<'_> {
    /// The accounts that this key sees, oldest first, removed ones too.
    pub async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        Ok(self.visible().await?.accounts)
    }

    /// The accounts that this key sees, and whether they are all that the workspace's sums hold.
    pub async fn visible(&mut self) -> Result<Visible, Error> {
        let grant = self.grant;
        let rows = list(&mut self.transaction, grant.workspace, grant.accounts.as_deref()).await?;
        let erasing = rows.iter().map(|row| row.col("erasing")).collect::<Result<Vec<bool>, Error>>()?;
        let kept = rows.iter().zip(&erasing).filter(|(_, erasing)| !**erasing);
        let accounts = kept.map(|(row, _)| account(row)).collect::<Result<_, _>>()?;
        Ok(Visible { accounts, is_whole: grant.accounts.is_none() && !erasing.contains(&true) })
    }
}

async fn insert(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    account: &NewAccount,
    portfolio: Option<PortfolioId>,
) -> Result<(), Error> {
    let fingerprint = fingerprint(account.venue, &account.credential);
    let done = sqlx::query(
        "INSERT INTO accounts (workspace_id, account_id, name, venue, tags, fingerprint, attested_at, created_at, updated_at,
                               kind, assurance, not_covered, key_expires_at, portfolio_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (workspace_id, venue, fingerprint) DO NOTHING",
    )
    .bind(workspace.0)
    .bind(account.id.0)
    .bind(&account.name)
    .bind(account.venue.as_str())
    .bind(&account.tags)
    .bind(&fingerprint[..])
    .bind(account.now.utc())
    .bind(&account.standing.kind)
    .bind(account.standing.assurance.as_str())
    .bind(&account.standing.not_covered)
    .bind(account.standing.key_expires_at.map(|at| at.utc()))
    .bind(portfolio.map(|p| p.0))
    .execute(tx.connection())
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    // Attached again beside its own history, a removed account would count twice.
    let removed: Option<Uuid> = sqlx::query_scalar(
        "SELECT account_id FROM accounts
         WHERE workspace_id = $1 AND venue = $2 AND fingerprint = $3 AND removed_at IS NOT NULL",
    )
    .bind(workspace.0)
    .bind(account.venue.as_str())
    .bind(&fingerprint[..])
    .fetch_optional(tx.connection())
    .await?;
    Err(removed.map_or(Error::Conflict { constraint: "accounts_one_credential".into() }, |account| Error::Removed {
        account: AccountId(account),
    }))
}

/// What tells the credential from every other at its venue.
pub(crate) fn fingerprint(venue: Venue, credential: &Credential) -> [u8; 32] {
    let identity = match credential {
        Credential::ApiKey { key, .. } => key,
        Credential::Wallet { address } => address,
    };
    vault::fingerprint(&[venue.as_str(), identity])
}

pub(crate) async fn one(tx: &mut Transaction, workspace: WorkspaceId, id: AccountId) -> Result<Account, Error> {
    let rows = list(tx, workspace, Some(&[id])).await?;
    rows.first().map(account).transpose()?.ok_or(Error::NotFound)
}

async fn list(
    tx: &mut Transaction,
    workspace: WorkspaceId,
    only: Option<&[AccountId]>,
) -> Result<Vec<sqlx::postgres::PgRow>, Error> {
    let only: Option<Vec<Uuid>> = only.map(|ids| ids.iter().map(|a| a.0).collect());
    Ok(sqlx::query(ACCOUNT).bind(workspace.0).bind(only).fetch_all(tx.connection()).await?)
}

fn account(row: &sqlx::postgres::PgRow) -> Result<Account, Error> {
    Ok(Account {
        id: AccountId(row.col("account_id")?),
        name: row.col("name")?,
        venue: row.parsed("venue")?,
        portfolio_id: row.col::<Option<Uuid>>("portfolio_id")?.map(PortfolioId),
        tags: row.col("tags")?,
        is_active: row.col("is_active")?,
        status: row.parsed("status")?,
        status_detail: row.col("status_detail")?,
        assurance: row.maybe_parsed("assurance")?,
        kind: row.col("kind")?,
        not_covered: row.col("not_covered")?,
        key_expires_at: row.maybe_at("key_expires_at")?,
        last_nav_usd: row.maybe_usd("nav_usd")?,
        last_checked_at: row.maybe_at("last_checked_at")?,
        removed_at: row.maybe_at("removed_at")?,
        version: row.col("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

fn secret_cell(workspace: WorkspaceId, account: &AccountId) -> Cell<'_> {
    Cell { of: ACCOUNT_SECRETS, column: "sealed", workspace, row: account }
}

#[derive(Deserialize)]
struct Plain {
    key: Option<String>,
    secret: Option<String>,
    passphrase: Option<String>,
    address: Option<String>,
}

fn read_credential(plain: &[u8]) -> Result<Credential, Error> {
    let fault = Error::Sealed("its content is not a credential");
    match serde_json::from_slice(plain) {
        Ok(Plain { key: Some(key), secret: Some(secret), passphrase, .. }) => {
            Ok(Credential::ApiKey { key, secret: secret.into(), passphrase: passphrase.map(Into::into) })
        }
        Ok(Plain { address: Some(address), .. }) => Ok(Credential::Wallet { address }),
        _ => Err(fault),
    }
}
