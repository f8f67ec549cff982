//! The few statements that see across tenants, all of them functions of the schema:
//!
//! - `find_api_key` (and `api_key_by_hash`, for the version before): a key's holder proves it by the
//!   hash; nothing else can be asked.
//! - `role_of_login`, `workspaces_of`: what a person who logged in belongs to (`people.rs`).
//! - `invitation_by_hash`: an invitation's holder proves it by the hash (`owners.rs`).
//! - `prune_audit`: removes what is older than a retention of at least 30 days (`audit.rs`).
//! - `claim_due_account`: the collector takes one due account under a new epoch.
//! - `accounts_to_erase`: ids of accounts whose rows are on their way out.
//! - `forget_idempotency_keys`: what is older than a day goes, whoever's it is.
//! - `workspaces_to_seal`: ids of dense tenants with hours waiting to be sealed.
//! - `claim_due_automation`, `claim_due_run`, `claim_due_delivery`: a worker takes one of each under a new
//!   epoch (`automations::claims`).
//! - `automation_by_token`: the holder of an inbound trigger's token proves it by the hash.
//! - `master_keys_in_use`, `data_keys_to_rewrap`, `rewrap_data_keys`, `workspaces_to_renew`: master keys are
//!   the service's own, and turning them touches every tenant's data key (`rotation`).

use codash_domain::{AccountId, KeyId, LoginId, PersonId, Role, Scopes, Timestamp, WorkspaceId};
use uuid::Uuid;

use crate::grant::FoundKey;
use crate::row::Columns;
use crate::{Error, Grant, Lease, Store};

impl Store {
    /// What the key with this hash opens; `None` when unknown or revoked, alike. Expiry is the
    /// caller's to judge, by its own clock.
    pub async fn find_grant(&self, key_hash: &[u8; 32]) -> Result<Option<Grant>, Error> {
        Ok(self.find_key(key_hash).await?.map(|key| key.grant))
    }

    /// [`Store::find_grant`], and how the key stands among the others. A secret that a rotation replaced
    /// opens the same until its own end.
    pub async fn find_key(&self, key_hash: &[u8; 32]) -> Result<Option<FoundKey>, Error> {
        let row = sqlx::query("SELECT * FROM find_api_key($1)").bind(&key_hash[..]).fetch_optional(&self.doors).await?;
        let Some(row) = row else { return Ok(None) };
        let scopes: Vec<String> = row.col("scopes")?;
        let addresses: Vec<String> = row.col("addresses")?;
        let corrupt = |column| Error::Corrupt { column, detail: "out of range".into() };
        let grant = Grant {
            workspace: WorkspaceId(row.col("workspace_id")?),
            key: KeyId(row.col("key_id")?),
            scopes: Scopes::new(parse_all(&scopes, "scopes")?),
            accounts: row.col::<Option<Vec<Uuid>>>("account_ids")?.map(|ids| ids.into_iter().map(AccountId).collect()),
            addresses: parse_all(&addresses, "addresses")?,
            expires_at: row.maybe_at("expires_at")?,
        };
        let reads: Option<i32> = row.col("reads_per_minute")?;
        Ok(Some(FoundKey {
            grant,
            hash: row.col::<Vec<u8>>("hash")?.try_into().map_err(|_| corrupt("hash"))?,
            parent: row.col::<Option<Uuid>>("parent_id")?.map(KeyId),
            depth: u8::try_from(row.col::<i16>("depth")?).map_err(|_| corrupt("depth"))?,
            reads_per_minute: reads.map(u32::try_from).transpose().map_err(|_| corrupt("reads_per_minute"))?,
        }))
    }

    /// The role in a workspace of a person whose login has not ended; `None` for every other.
    pub async fn role_of_login(
        &self,
        login: LoginId,
        person: PersonId,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> Result<Option<Role>, Error> {
        let role: Option<String> = sqlx::query_scalar("SELECT role_of_login($1, $2, $3, $4)")
            .bind(login.0)
            .bind(person.0)
            .bind(workspace.0)
            .bind(now.utc())
            .fetch_one(&self.doors)
            .await?;
        role.map(|role| role.parse().map_err(|_| Error::Corrupt { column: "role", detail: role.clone() })).transpose()
    }

    /// Takes over one due account for `ttl`, or `None` when nothing is due.
    pub async fn claim_due_account(&self, holder: &str, ttl: std::time::Duration) -> Result<Option<Lease>, Error> {
        let row = sqlx::query("SELECT * FROM claim_due_account($1, make_interval(secs => $2::int))")
            .bind(holder)
            .bind(i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX))
            .fetch_optional(&self.writes)
            .await?;
        row.map(|row| {
            Ok(Lease {
                workspace: WorkspaceId(row.col("workspace_id")?),
                account: AccountId(row.col("account_id")?),
                epoch: row.col("epoch")?,
            })
        })
        .transpose()
    }

    /// Accounts whose history was to be erased and is not gone yet.
    pub async fn accounts_to_erase(&self) -> Result<Vec<(WorkspaceId, AccountId)>, Error> {
        let rows = sqlx::query("SELECT * FROM accounts_to_erase()").fetch_all(&self.writes).await?;
        rows.iter().map(|row| Ok((WorkspaceId(row.col("workspace_id")?), AccountId(row.col("account_id")?)))).collect()
    }

    /// Forgets idempotency keys of more than a day ago.
    pub async fn forget_idempotency_keys(&self) -> Result<(), Error> {
        sqlx::query("SELECT forget_idempotency_keys()").execute(&self.writes).await?;
        Ok(())
    }

    /// Dense tenants that have hours to seal.
    pub async fn workspaces_to_seal(&self, min_events: i64) -> Result<Vec<WorkspaceId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT workspace_id FROM workspaces_to_seal($1)")
            .bind(min_events)
            .fetch_all(&self.writes)
            .await?;
        Ok(ids.into_iter().map(WorkspaceId).collect())
    }
}

/// Reads a list of words; a word that we do not know is a corrupt row, never a right left out.
pub(crate) fn parse_all<T: std::str::FromStr>(words: &[String], column: &'static str) -> Result<Vec<T>, Error> {
    words.iter().map(|w| w.parse().map_err(|_| Error::Corrupt { column, detail: w.clone() })).collect()
}
