//! One PostgreSQL for the process, one fresh database per test.
//!
//! Every test has a runtime of its own, so nothing that belongs to one (a pool, a connection) may
//! cross tests: they share the server's address and a migrated template, no more.

use std::sync::atomic::{AtomicU32, Ordering};

use codash::dev::postgres::{Cluster, Options};
use codash_store::{MasterKeys, Store, StoreConfig, admin};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use tokio::sync::OnceCell;

static SERVER: OnceCell<Server> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The server that all tests share.
struct Server {
    /// Reaches the database `postgres`, or the one that `CODASH_TEST_DATABASE_URL` names.
    admin: SecretString,
    template: String,
    /// Makes the names of this process unlike those of another on the same server.
    run: String,
    /// Held for the life of the process: the server goes with it.
    _cluster: Option<Cluster>,
}

impl Server {
    async fn start() -> Self {
        super::trace::start();
        let (admin, cluster) = match std::env::var_os("CODASH_TEST_DATABASE_URL") {
            Some(url) => (SecretString::from(url.to_string_lossy().into_owned()), None),
            None => {
                let cluster = Cluster::start(&Options::throwaway(), &|_| {}).await.unwrap();
                (cluster.url("postgres"), Some(cluster))
            }
        };
        let mut bits = [0_u8; 4];
        getrandom::fill(&mut bits).unwrap();
        let template = format!("codash_template_{}", &schema_hash()[..12]);
        make_template(&admin, &template).await;
        Self { admin, template, run: hex::encode(bits), _cluster: cluster }
    }
}

/// Changes with any migration: a server of ours may keep the template of the last run.
fn schema_hash() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).unwrap());
    }
    hex::encode(hash.finalize())
}

async fn make_template(admin: &SecretString, template: &str) {
    let mut connection = PgConnection::connect(admin.expose_secret()).await.unwrap();
    // Other test processes may want the same template of a shared server.
    sqlx::query("SELECT pg_advisory_lock(4242)").execute(&mut connection).await.unwrap();
    admin::create_database(admin, template).await.unwrap();
    codash_store::migrate(&at(admin, template)).await.unwrap();
    connection.close().await.unwrap();
}

/// The same server, another database.
fn at(url: &SecretString, database: &str) -> SecretString {
    let (server, name) = url.expose_secret().rsplit_once('/').unwrap();
    let options = name.split_once('?').map(|(_, options)| format!("?{options}")).unwrap_or_default();
    format!("{server}/{database}{options}").into()
}

/// A database of a test's own, migrated and empty, dropped with this value.
pub struct TestDb {
    pub url: SecretString,
    name: String,
}

impl TestDb {
    pub async fn new() -> Self {
        let server = SERVER.get_or_init(Server::start).await;
        let name = format!("codash_test_{}_{}", server.run, NEXT.fetch_add(1, Ordering::Relaxed));
        admin::clone_database(&server.admin, &server.template, &name).await.unwrap();
        Self { url: at(&server.admin, &name), name }
    }

    /// A store on this database. The master key is the same for every store of a test.
    pub async fn store(&self) -> Store {
        Store::connect(self.store_config()).await.unwrap()
    }

    pub fn store_config(&self) -> StoreConfig {
        StoreConfig {
            url: self.url.clone(),
            max_connections: 4,
            statement_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(10),
            master_keys: master_keys(),
        }
    }

    /// The superuser's own connection: to look behind every wall.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.url.expose_secret()).await.unwrap()
    }
}

/// The key that seals the credentials of tests.
pub fn master_keys() -> MasterKeys {
    MasterKeys::generate("test", [7; 32])
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Some(server) = SERVER.get() else { return };
        let (admin, name) = (server.admin.clone(), self.name.clone());
        // The test's own runtime may be on its way out already.
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(admin::drop_database(&admin, &name)))
        };
        drop(std::thread::spawn(work).join());
    }
}
