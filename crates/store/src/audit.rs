//! Who did what, from where, when: appended, never changed.
//!
//! A change records itself in its own transaction ([`record`]), so that neither is there without the
//! other; a request is recorded afterwards, in batches ([`Store::append_audit`]). No entry may hold a
//! secret: arguments appear as their SHA-256, targets as ids and names.

use std::net::IpAddr;
use std::str::FromStr;

use codash_domain::{KeyId, PersonId, Timestamp, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::row::Columns;
use crate::session::{Mode, Session, Transaction};
use crate::workspaces::random;
use crate::{Error, Store};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[schemars(inline)]
        pub enum $name { $($(#[$about])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(s: &str) -> Result<Self, String> {
                match s { $($word => Ok(Self::$variant),)+ _ => Err(s.to_owned()) }
            }
        }
    };
}

words!(
    /// Everything that can be done. To add a verb: a line here; `family.act`.
    Verb {
        /// An MCP tool was called.
        ToolCall = "tool.call",
        /// A REST question was asked.
        RequestRead = "request.read",
        /// A REST route that changes something was called, successfully or not. What it changed has an
        /// entry of its own with the same request id.
        RequestWrite = "request.write",
        /// Requests that were not recorded: `rowCount` of them.
        AuditGap = "audit.gap",
        WorkspaceRegister = "workspace.register",
        WorkspaceClaim = "workspace.claim",
        KeyCreate = "key.create",
        KeyRotate = "key.rotate",
        KeyRevoke = "key.revoke",
        /// A genuine key that has expired, or that came from an address it may not come from.
        KeyRefuse = "key.refuse",
        AccountAttach = "account.attach",
        AccountChange = "account.change",
        AccountRemove = "account.remove",
        PortfolioCreate = "portfolio.create",
        PortfolioChange = "portfolio.change",
        PortfolioRemove = "portfolio.remove",
        AiKeyPut = "ai_key.put",
        AiKeyRemove = "ai_key.remove",
        /// The workspace's secrets are sealed with a new data key.
        DataKeyRenew = "data_key.renew",
        AutomationCreate = "automation.create",
        AutomationChange = "automation.change",
        AutomationRemove = "automation.remove",
        OwnerLogin = "owner.login",
        /// A wrong password for an email that exists.
        OwnerLoginRefused = "owner.login_refused",
        OwnerLogout = "owner.logout",
        /// A refresh token was presented twice: the login was ended.
        OwnerTokenReused = "owner.token_reused",
        OwnerPassword = "owner.password",
        OwnerInvite = "owner.invite",
        OwnerUninvite = "owner.uninvite",
        OwnerJoin = "owner.join",
        OwnerChange = "owner.change",
        OwnerRemove = "owner.remove",
    }
);

words!(
    /// How it went.
    Outcome {
        Done = "done",
        /// The caller's doing: not allowed, not valid, not there.
        Refused = "refused",
        Failed = "failed",
    }
);

words!(
    /// What kind of actor.
    ActorKind {
        Key = "key",
        Person = "person",
        /// Whoever runs the service, at its command line.
        Operator = "operator",
        System = "system",
    }
);

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Key(KeyId),
    Person(PersonId),
    Operator,
    System,
}

impl Actor {
    fn parts(self) -> (ActorKind, Option<Uuid>) {
        match self {
            Self::Key(id) => (ActorKind::Key, Some(id.0)),
            Self::Person(id) => (ActorKind::Person, Some(id.0)),
            Self::Operator => (ActorKind::Operator, None),
            Self::System => (ActorKind::System, None),
        }
    }
}

/// Who acts, from where, when.
#[derive(Debug, Clone)]
pub struct By {
    pub actor: Actor,
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
    pub at: Timestamp,
}

impl By {
    /// The operator's command line.
    pub fn operator(at: Timestamp) -> Self {
        Self { actor: Actor::Operator, address: None, request_id: None, at }
    }
}

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub by: By,
    pub verb: Verb,
    /// What it was done to: an id, a tool, a route.
    pub target: Option<String>,
    pub outcome: Outcome,
    /// The error's code, or the HTTP status when there is none.
    pub code: Option<String>,
    pub arguments_hash: Option<[u8; 32]>,
    pub row_count: Option<i64>,
    pub micros: Option<i64>,
    /// What changed, in names and ids.
    pub detail: Value,
}

impl Entry {
    /// Something that was done.
    pub fn done(by: By, verb: Verb, target: impl Into<String>) -> Self {
        Self {
            by,
            verb,
            target: Some(target.into()),
            outcome: Outcome::Done,
            code: None,
            arguments_hash: None,
            row_count: None,
            micros: None,
            detail: Value::Object(serde_json::Map::new()),
        }
    }
}

/// An entry as it is read.
#[derive(Debug, Clone)]
pub struct AuditRow {
    pub id: Uuid,
    pub at: Timestamp,
    pub actor: ActorKind,
    pub actor_id: Option<Uuid>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// As written: a newer version may know verbs that this one does not.
    pub verb: String,
    pub target: Option<String>,
    pub outcome: Outcome,
    pub code: Option<String>,
    pub arguments_hash: Option<Vec<u8>>,
    pub row_count: Option<i64>,
    pub micros: Option<i64>,
    pub detail: Value,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub verbs: Vec<Verb>,
    pub actor_id: Option<Uuid>,
    /// Inclusive, in ids: see [`first_id_at`].
    pub from: Option<Uuid>,
    /// Exclusive.
    pub before: Option<Uuid>,
}

/// The smallest id of a millisecond.
pub fn first_id_at(millis: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(millis.clamp(0, (1 << 48) - 1)).unwrap_or_default() << 80)
}

fn new_id(at: Timestamp) -> Result<Uuid, Error> {
    let mut low = [0_u8; 16];
    low[6..].copy_from_slice(&random::<10>()?);
    Ok(Uuid::from_u128(first_id_at(at.millis()).as_u128() | u128::from_be_bytes(low)))
}

/// Appends an entry to the transaction of the change that it tells of.
pub(crate) async fn record(tx: &mut Transaction, workspace: WorkspaceId, entry: &Entry) -> Result<(), Error> {
    append(tx, workspace, std::slice::from_ref(entry)).await
}

impl Store {
    /// Appends what was asked of one workspace: all entries or none.
    pub async fn append_audit(&self, workspace: WorkspaceId, entries: &[Entry]) -> Result<(), Error> {
        let mut tx = Transaction::begin(&self.writes, workspace, Mode::Write).await?;
        append(&mut tx, workspace, entries).await?;
        tx.commit().await
    }

    /// Removes up to `most` entries older than `days` (30 at least), and logins that ended long ago.
    /// The number of entries removed.
    pub async fn prune_audit(&self, days: u32, most: i32) -> Result<i64, Error> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        sqlx::query("DELETE FROM logins WHERE expires_at < now() - interval '7 days'").execute(&self.writes).await?;
        Ok(sqlx::query_scalar("SELECT prune_audit(make_interval(days => $1), $2)")
            .bind(days)
            .bind(most)
            .fetch_one(&self.writes)
            .await?)
    }
}

async fn append(tx: &mut Transaction, workspace: WorkspaceId, entries: &[Entry]) -> Result<(), Error> {
    let ids = entries.iter().map(|e| new_id(e.by.at)).collect::<Result<Vec<_>, _>>()?;
    let texts = |read: &dyn Fn(&Entry) -> Option<String>| -> Vec<Option<String>> { entries.iter().map(read).collect() };
    let numbers = |read: &dyn Fn(&Entry) -> Option<i64>| -> Vec<Option<i64>> { entries.iter().map(read).collect() };
    let hashes: Vec<Option<Vec<u8>>> = entries.iter().map(|e| e.arguments_hash.map(Vec::from)).collect();
    sqlx::query(
        "INSERT INTO audit (workspace_id, audit_id, at, actor, actor_id, address, request_id, verb, target, outcome, code,
                            arguments_hash, row_count, micros, detail)
         SELECT $1, * FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                                  $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bigint[], $14::bigint[],
                                  $15::jsonb[])",
    )
    .bind(workspace.0)
    .bind(ids)
    .bind(entries.iter().map(|e| e.by.at.utc()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.by.actor.parts().0.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.by.actor.parts().1).collect::<Vec<_>>())
    .bind(texts(&|e| e.by.address.map(|a| a.to_canonical().to_string())))
    .bind(texts(&|e| e.by.request_id.clone()))
    .bind(entries.iter().map(|e| e.verb.as_str()).collect::<Vec<_>>())
    .bind(texts(&|e| e.target.clone()))
    .bind(entries.iter().map(|e| e.outcome.as_str()).collect::<Vec<_>>())
    .bind(texts(&|e| e.code.clone()))
    .bind(hashes)
    .bind(numbers(&|e| e.row_count))
    .bind(numbers(&|e| e.micros))
    .bind(entries.iter().map(|e| &e.detail).collect::<Vec<_>>())
    .execute(tx.connection())
    .await?;
    Ok(())
}

impl Session<'_> {
    /// Entries, newest first.
    pub async fn audit_page(&mut self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>, Error> {
        let workspace = self.workspace();
        let verbs: Option<Vec<&str>> =
            (!filter.verbs.is_empty()).then(|| filter.verbs.iter().map(|v| v.as_str()).collect());
        let rows = sqlx::query(
            "SELECT audit_id, at, actor, actor_id, address, request_id, verb, target, outcome, code, arguments_hash,
                    row_count, micros, detail
             FROM audit
             WHERE workspace_id = $1 AND ($2::text[] IS NULL OR verb = ANY ($2)) AND ($3::uuid IS NULL OR actor_id = $3)
               AND audit_id >= coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
               AND audit_id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
             ORDER BY audit_id DESC LIMIT $6",
        )
        .bind(workspace)
        .bind(verbs)
        .bind(filter.actor_id)
        .bind(filter.from)
        .bind(filter.before)
        .bind(limit)
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(audit_row).collect()
    }
}

fn audit_row(row: &sqlx::postgres::PgRow) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        id: row.col("audit_id")?,
        at: row.at("at")?,
        actor: row.parsed("actor")?,
        actor_id: row.col("actor_id")?,
        address: row.col("address")?,
        request_id: row.col("request_id")?,
        verb: row.col("verb")?,
        target: row.col("target")?,
        outcome: row.parsed("outcome")?,
        code: row.col("code")?,
        arguments_hash: row.col("arguments_hash")?,
        row_count: row.col("row_count")?,
        micros: row.col("micros")?,
        detail: row.col("detail")?,
    })
}
