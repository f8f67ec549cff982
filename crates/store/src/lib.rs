//! The only room that speaks SQL.
//!
//! Tenant rows are reached through a workspace: [`Reader`] and [`Session`] for questions (a role
//! that can only SELECT), the ingest and write methods of [`Store`] for the rest. The few statements
//! that cross tenants are SQL functions, listed in [`system`]. To add a query: put it in the file of
//! its noun, pass the workspace as `$1`, map rows with [`row::Columns`] so that a bad one names itself.

pub mod accounts;
pub mod admin;
pub mod ai_keys;
pub mod audit;
pub mod automations;
pub mod cash_flows;
pub mod coverage;
pub mod data_keys;
pub mod erase;
pub mod error;
pub mod events;
pub mod exports;
pub mod grant;
pub mod grouped;
pub mod idempotency;
pub mod ingest;
pub mod key_changes;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod manage;
pub mod meters;
pub mod migrations;
pub mod nav;
pub mod owners;
pub mod people;
pub mod performance;
pub mod portfolios;
pub mod positions;
pub mod restatements;
pub mod rollups;
pub mod rotation;
mod row;
pub mod sealed;
pub mod session;
mod shares;
pub mod states;
pub mod streams;
pub mod system;
pub mod vault;
pub mod workspaces;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use shares::Shares;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use accounts::{Credential, NewAccount};
pub use error::Error;
pub use grant::Grant;
pub use keys::{KeyRow, NewKey};
pub use leases::Lease;
pub use migrations::migrate;
pub use session::{Reader, Session};
pub use vault::{Derived, MasterKeys};

/// How to reach PostgreSQL, and the keys that seal credentials.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub url: SecretString,
    /// Connections for questions; as many again, at most eight, write, and at most four look up who asks.
    pub max_connections: u32,
    /// PostgreSQL ends a statement after this long.
    pub statement_timeout: Duration,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    pub master_keys: MasterKeys,
}

/// Pools, of two roles: questions can only SELECT, the service writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    reads: PgPool,
    /// Who asks is looked up beside the questions, so that slow ones keep nobody out.
    doors: PgPool,
    writes: PgPool,
    shares: Shares,
    master_keys: MasterKeys,
}

impl Store {
    /// Opens the pools and proves that each role answers.
    pub async fn connect(config: StoreConfig) -> Result<Self, Error> {
        let pool = |role: &'static str, connections: u32, timeout: Duration| -> Result<PgPool, Error> {
            let options: PgConnectOptions = config.url.expose_secret().parse()?;
            Ok(PgPoolOptions::new()
                // Opened here and kept: a connect costs thousands of hashes on both sides, and a
                // caller that gives up on one in between would start the next from scratch.
                .max_connections(connections)
                .min_connections(connections)
                .idle_timeout(None)
                .acquire_timeout(config.acquire_timeout)
                .test_before_acquire(false)
                .before_acquire(|connection, meta| {
                    Box::pin(async move {
                        use sqlx::Connection;
                        let lives = meta.idle_for < Duration::from_secs(5) || connection.ping().await.is_ok();
                        if cfg!(debug_assertions) && lives {
                            assert_clean(connection).await;
                        }
                        Ok(lives)
                    })
                })
                .connect_lazy_with(session_options(options, role, timeout)))
        };
        let store = Self {
            reads: pool("codash_read", config.max_connections, config.statement_timeout)?,
            doors: pool("codash_read", config.max_connections.clamp(1, 4), config.statement_timeout)?,
            shares: Shares::new(config.max_connections, config.acquire_timeout),
            writes: pool("codash_app", config.max_connections.clamp(1, 8), Duration::from_secs(60))?,
            master_keys: config.master_keys,
        };
        for pool in [&store.reads, &store.doors, &store.writes] {
            warm(pool).await?;
        }
        Ok(store)
    }

    /// Answers when a read connection does.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.reads).await?;
        Ok(())
    }

    /// Keys for a purpose of the service's own, the same on every instance; see [`MasterKeys::derive`].
    pub fn derived_keys(&self, purpose: &str) -> Derived {
        self.master_keys.derive(purpose)
    }

    /// How many questions can be asked at once.
    pub fn question_connections(&self) -> u32 {
        self.reads.options().get_max_connections()
    }

    /// Waits for connections in use and closes every one.
    pub async fn close(&self) {
        self.reads.close().await;
        self.doors.close().await;
        self.writes.close().await;
    }
}

/// What every checkout of a test build is held to: no tenant is left over, no transaction is open. A tenant
/// ends with the transaction that set it; were it otherwise, the pool would give away another's rows. It
/// panics, because the pool takes an error for a connection to be replaced, and goes on.
async fn assert_clean(connection: &mut sqlx::PgConnection) {
    // By the simple protocol a statement alone and its transaction begin at one instant.
    let sql = "SELECT coalesce(current_setting('app.ws', true), '') = '' AND statement_timestamp() = now()";
    // A connection that is gone is its borrower's to find, as without this question.
    if let Ok(row) = sqlx::raw_sql(sql).fetch_one(connection).await {
        let is_clean = sqlx::Row::try_get::<bool, _>(&row, 0);
        assert!(matches!(is_clean, Ok(true)), "a connection came from the pool with a tenant or a transaction");
    }
}

/// Opens every connection of a pool, one after the other.
async fn warm(pool: &PgPool) -> Result<(), Error> {
    let mut held = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        held.push(pool.acquire().await?);
    }
    Ok(())
}

/// Every setting rides along with the connection's start: no round trip of its own.
fn session_options(options: PgConnectOptions, role: &str, statement_timeout: Duration) -> PgConnectOptions {
    options.application_name("codash").options([
        ("role", role.to_owned()),
        ("timezone", "UTC".to_owned()),
        // One SQL text per filter shape: planning it anew at every call costs half the throughput.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("jit", "off".to_owned()),
        ("statement_timeout", statement_timeout.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", "12000".to_owned()),
        ("lock_timeout", "8000".to_owned()),
        // A question whose asker went away is noticed while it runs, and ended.
        ("client_connection_check_interval", "500".to_owned()),
    ])
}
