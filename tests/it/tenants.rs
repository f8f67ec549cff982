//! Tenants in a database of the test's own, reached through the store.

use codash_domain::{AccountId, ApiKey, Assurance, KeyId, Scopes, Standing, Timestamp, Venue, Window, WorkspaceId};
use codash_store::events::{EventFilter, StoredEvent};
use codash_store::{Credential, Grant, NewAccount, NewKey, Store};
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use crate::harness::TestDb;

/// A migrated, empty database and a store on it.
pub struct TestStore {
    db: TestDb,
    store: Store,
}

/// A workspace and the key that it was registered with.
pub struct Tenant {
    pub workspace: WorkspaceId,
    pub key: ApiKey,
    key_id: KeyId,
}

impl Tenant {
    pub fn new() -> Self {
        Self {
            workspace: WorkspaceId::from_random(random()),
            key: ApiKey::from_random(random()),
            key_id: KeyId::from_random(random()),
        }
    }

    /// The same one every time: one tenant in two databases.
    pub fn number(n: u8) -> Self {
        Self {
            workspace: WorkspaceId::from_random([n; 16]),
            key: ApiKey::from_random([n; 32]),
            key_id: KeyId::from_random([n; 16]),
        }
    }

    /// What the tenant's own key opens.
    pub fn grant(&self) -> Grant {
        Grant {
            workspace: self.workspace,
            key: self.key_id,
            scopes: Scopes::full(),
            accounts: None,
            addresses: vec![],
            expires_at: None,
        }
    }
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// When tenants of tests are made.
pub fn now() -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000).unwrap()
}

impl TestStore {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let store = db.store().await;
        Self { db, store }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn url(&self) -> &SecretString {
        &self.db.url
    }

    pub async fn workspace(&self, name: &str) -> Tenant {
        let tenant = Tenant::new();
        self.register(&tenant, name).await;
        tenant
    }

    pub async fn register(&self, tenant: &Tenant, name: &str) {
        let key = NewKey {
            id: tenant.key_id,
            name: "first".into(),
            hash: tenant.key.hash(),
            hint: tenant.key.hint().into(),
            scopes: Scopes::full(),
            accounts: None,
            addresses: vec![],
            expires_at: None,
            created_at: now(),
        };
        self.store.register(tenant.workspace, name, &key).await.unwrap();
    }

    pub async fn account(&self, tenant: &Tenant, name: &str, streams: &[&str]) -> AccountId {
        self.account_with_id(tenant, AccountId::from_random(random()), name, streams).await
    }

    pub async fn account_with_id(&self, tenant: &Tenant, id: AccountId, name: &str, streams: &[&str]) -> AccountId {
        let account = NewAccount {
            id,
            name: name.into(),
            venue: Venue::Binance,
            credential: Credential::ApiKey { key: format!("key of {name}"), secret: "secret".into(), passphrase: None },
            tags: vec![],
            streams: streams.iter().map(ToString::to_string).collect(),
            standing: standing(),
            now: now(),
        };
        self.store.create_account(tenant.workspace, &account).await.unwrap().id
    }

    /// The superuser's connection, for who looks behind the walls often.
    pub async fn connect(&self) -> sqlx::PgConnection {
        self.db.connect().await
    }

    /// Rows as the superuser sees them: behind every wall.
    pub async fn admin(&self, sql: &str) -> Vec<PgRow> {
        let mut connection = self.db.connect().await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap()
    }

    /// Every event of a tenant, newest first.
    pub async fn events(&self, tenant: &Tenant) -> Vec<StoredEvent> {
        let instant = |millis| Timestamp::from_millis(millis).unwrap();
        let filter = EventFilter {
            accounts: None,
            symbols: vec![],
            event_types: vec![],
            window: Window { from: instant(0), to: instant(4_000_000_000_000) },
        };
        let grant = tenant.grant();
        let mut session = self.store.read(&grant).begin().await.unwrap();
        let events = session.events_page(&filter, None, 100_000).await.unwrap();
        session.finish().await.unwrap();
        events
    }
}

/// Of an account whose venue was never really asked.
pub fn standing() -> Standing {
    Standing { assurance: Assurance::ReadOnly, kind: "test".into(), not_covered: vec![], key_expires_at: None }
}
