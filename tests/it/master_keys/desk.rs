//! A workspace with every kind of secret, and an opener of secrets that shares no code with the store.

use std::collections::BTreeMap;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use codash_domain::automation::{Missed, Overlap, Task, Timing};
use codash_domain::{AccountId, AutomationId, EndpointId, WorkspaceId};
use codash_store::audit::By;
use codash_store::automations::endpoints::NewEndpoint;
use codash_store::automations::{Definition, Inbound};
use codash_store::sealed::SEALED;
use codash_store::{Credential, Error, MasterKeys, Store, StoreConfig};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::tenants::{Tenant, TestStore, now, random};

/// Id and every byte of a master key.
pub type Key = (&'static str, u8);
/// What every store of a test seals with.
pub const OLD: Key = ("test", 7);
pub const NEW: Key = ("k2", 8);

/// Plain content by `table.column:workspace:row`; data keys with their version.
pub type Opened = BTreeMap<String, Vec<u8>>;

pub fn list(keys: &[Key]) -> MasterKeys {
    let one = |(id, bits): &Key| MasterKeys::generate(id, [*bits; 32]).to_text().expose_secret().to_owned();
    MasterKeys::parse(&keys.iter().map(one).collect::<Vec<_>>().join(",")).unwrap()
}

/// A process of the fleet.
pub async fn store(db: &TestStore, keys: &[Key]) -> Store {
    let config = StoreConfig {
        url: db.url().clone(),
        max_connections: 2,
        statement_timeout: Duration::from_secs(30),
        acquire_timeout: Duration::from_secs(30),
        master_keys: list(keys),
    };
    Store::connect(config).await.unwrap()
}

pub struct Desk {
    pub workspace: WorkspaceId,
    accounts: [AccountId; 2],
    automation: AutomationId,
}

impl Desk {
    pub async fn new(db: &TestStore, name: &str) -> Self {
        let tenant = db.workspace(name).await;
        let workspace = tenant.workspace;
        let accounts = [
            db.account(&tenant, &format!("{name} a"), &[]).await,
            db.account(&tenant, &format!("{name} b"), &[]).await,
        ];
        let by = By::operator(now());
        let ai_key = format!("ai key of {name}").into();
        db.store().put_ai_key(workspace, "openai", &ai_key, "hint", by.clone()).await.unwrap();
        let endpoint = EndpointId::from_random(random());
        let new = NewEndpoint {
            id: endpoint,
            key: tenant.grant().key,
            url: "https://example.com/".into(),
            secret: format!("first of {name}").into(),
            now: now(),
        };
        db.store().create_endpoint(workspace, &new, 10).await.unwrap();
        let next = format!("second of {name}").into();
        db.store().rotate_endpoint_secret(workspace, endpoint, &next, now(), now()).await.unwrap();
        let automation = AutomationId::from_random(random());
        let inbound = Inbound { token_hash: random(), signing: Some(trigger_secret(workspace).into()) };
        let definition = definition(&tenant);
        let made = db.store().create_automation(workspace, automation, &definition, Some(&inbound), 10, by);
        made.await.unwrap();
        Self { workspace, accounts, automation }
    }

    /// Opens what the service opens: each secret must be there and right.
    pub async fn read(&self, store: &Store) {
        let errors = self.try_read(store).await;
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub async fn try_read(&self, store: &Store) -> Vec<Error> {
        let mut errors = Vec::new();
        for account in self.accounts {
            // Readers of one account take turns: whoever lost it to another takes it again.
            let opened = loop {
                let lease = store.take_lease(self.workspace, account, "test", Duration::from_secs(60)).await.unwrap();
                match store.open_account(&lease).await {
                    Err(Error::Fenced) => {}
                    opened => break opened,
                }
            };
            match opened {
                Ok(opened) => {
                    let Credential::ApiKey { key, secret, .. } = opened.credential else { panic!("an API key") };
                    assert!(key.starts_with("key of") && secret.expose_secret() == "secret");
                }
                Err(error) => errors.push(error),
            }
        }
        match store.inbound_secret(self.workspace, self.automation).await {
            Ok(secret) => assert_eq!(secret.unwrap().expose_secret(), trigger_secret(self.workspace)),
            Err(error) => errors.push(error),
        }
        errors
    }

    /// Seals something new in place of what was there.
    pub async fn write(&self, store: &Store) {
        let key = "ai key that was replaced".to_owned().into();
        store.put_ai_key(self.workspace, "openai", &key, "hint", By::operator(now())).await.unwrap();
    }
}

fn trigger_secret(workspace: WorkspaceId) -> String {
    format!("signs for {workspace}")
}

fn definition(tenant: &Tenant) -> Definition {
    let timing: Timing = serde_json::from_value(json!({ "trigger": {} })).unwrap();
    let task: Task = serde_json::from_value(json!({ "question": { "name": "get_portfolio_summary" } })).unwrap();
    Definition {
        key: tenant.grant().key,
        name: "on call".into(),
        timing,
        task,
        endpoints: vec![],
        missed: Missed::Skip,
        overlap: Overlap::Skip,
        is_paused: false,
        due_at: None,
    }
}

fn open(key: &[u8], place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, msg) = sealed.split_at_checked(24)?;
    let key: [u8; 32] = key.try_into().ok()?;
    let nonce: [u8; 24] = nonce.try_into().ok()?;
    let payload = Payload { msg, aad: place.as_bytes() };
    XChaCha20Poly1305::new(&CipherKey::from(key)).decrypt(&XNonce::from(nonce), payload).ok()
}

fn seal(key: &[u8; 32], place: &str, msg: &[u8]) -> Vec<u8> {
    let nonce: [u8; 24] = random();
    let payload = Payload { msg, aad: place.as_bytes() };
    let sealed = XChaCha20Poly1305::new(&CipherKey::from(*key)).encrypt(&XNonce::from(nonce), payload).unwrap();
    [&nonce[..], &sealed].concat()
}

/// Every secret of a database, opened with these master keys alone. Each must open.
pub async fn opened(db: &TestStore, keys: &[Key]) -> Opened {
    let (opened, faults) = walk(db, keys).await;
    assert!(faults.is_empty(), "{faults:?}");
    opened
}

/// The cells that do not open.
pub async fn faults(db: &TestStore, keys: &[Key]) -> Vec<String> {
    walk(db, keys).await.1
}

async fn walk(db: &TestStore, keys: &[Key]) -> (Opened, Vec<String>) {
    let (mut opened, mut faults, mut data_keys) = (Opened::new(), Vec::new(), BTreeMap::new());
    for row in db.admin("SELECT workspace_id, version, master_key_id, wrapped FROM data_keys").await {
        let (workspace, version): (Uuid, i32) = (row.get(0), row.get(1));
        let place = format!("data_keys:{workspace}:{version}");
        let master = keys.iter().find(|(id, _)| *id == row.get::<String, _>(2));
        match master.and_then(|(_, bits)| open(&[*bits; 32], &place, row.get(3))) {
            Some(key) => {
                data_keys.insert((workspace, version), key.clone());
                opened.insert(place, key);
            }
            None => faults.push(place),
        }
    }
    for of in SEALED {
        for column in of.columns {
            let (table, row) = (of.table, of.row);
            let sql = format!(
                "SELECT workspace_id, {row}::text, data_key_version, {column} FROM {table} WHERE {column} IS NOT NULL"
            );
            for cell in db.admin(&sql).await {
                let (workspace, id, version): (Uuid, String, i32) = (cell.get(0), cell.get(1), cell.get(2));
                let name = if *column == "sealed" { table.to_owned() } else { format!("{table}.{column}") };
                let place = format!("{name}:{workspace}:{id}");
                let key = data_keys.get(&(workspace, version));
                match key.and_then(|key| open(key, &format!("{place}:{version}"), cell.get(3))) {
                    Some(plain) => drop(opened.insert(place, plain)),
                    None => faults.push(place),
                }
            }
        }
    }
    (opened, faults)
}

/// Many workspaces with a data key of the old master key, each with so many AI keys.
pub async fn fill(db: &TestStore, workspaces: usize, secrets: usize) {
    let mut connection = PgConnection::connect(db.url().expose_secret()).await.unwrap();
    let (mut left, chunk) = (workspaces, (5000 / (secrets + 1)).max(1));
    while left > 0 {
        let made: Vec<(Uuid, [u8; 32])> =
            (0..left.min(chunk)).map(|_| (WorkspaceId::from_random(random()).0, random())).collect();
        left -= made.len();
        let ids: Vec<Uuid> = made.iter().map(|(id, _)| *id).collect();
        let wrapped = made.iter().map(|(id, key)| seal(&[OLD.1; 32], &format!("data_keys:{id}:1"), key));
        let of_workspaces = "INSERT INTO workspaces (workspace_id, name, created_at) SELECT id, 'many', now() FROM unnest($1::uuid[]) id";
        sqlx::query(of_workspaces).bind(&ids).execute(&mut connection).await.unwrap();
        sqlx::query(
            "INSERT INTO data_keys (workspace_id, version, master_key_id, wrapped)
             SELECT n.id, 1, $3, n.wrapped FROM unnest($1::uuid[], $2::bytea[]) AS n(id, wrapped)",
        )
        .bind(&ids)
        .bind(wrapped.collect::<Vec<_>>())
        .bind(OLD.0)
        .execute(&mut connection)
        .await
        .unwrap();
        let (mut of, mut providers, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for (id, key) in &made {
            for i in 0..secrets {
                let provider = format!("p{i:04}");
                sealed.push(seal(key, &format!("ai_keys:{id}:{provider}:1"), b"sk-0123456789abcdef0123456789abcdef"));
                of.push(*id);
                providers.push(provider);
            }
        }
        sqlx::query(
            "INSERT INTO ai_keys (workspace_id, provider, data_key_version, sealed, hint, created_at, updated_at)
             SELECT n.id, n.provider, 1, n.sealed, '', now(), now()
             FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS n(id, provider, sealed)",
        )
        .bind(of)
        .bind(providers)
        .bind(sealed)
        .execute(&mut connection)
        .await
        .unwrap();
    }
    connection.close().await.unwrap();
}
