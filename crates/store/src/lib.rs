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
mod row;
pub mod session;
pub mod states;
pub mod streams;
pub mod system;
pub mod vault;
pub mod workspaces;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub use accounts::{Credential, NewAccount};
pub use error::Error;
pub use grant::Grant;
pub use keys::{KeyRow, NewKey};
pub use leases::Lease;
pub use migrations::migrate;
pub use session::{Reader, Session};
pub use vault::MasterKeys;

/// How to reach PostgreSQL, and the keys that seal credentials.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub url: SecretString,
    /// Connections for questions; as many again, at most eight, write.
    pub max_connections: u32,
    /// PostgreSQL ends a statement after this long.
    pub statement_timeout: Duration,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    pub master_keys: MasterKeys,
}

/// Two pools, one role each: questions can only SELECT, the service writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    reads: PgPool,
    writes: PgPool,
    master_keys: MasterKeys,
}

impl Store {
    /// Opens both pools and proves that each role answers.
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
                        Ok(meta.idle_for < Duration::from_secs(5) || connection.ping().await.is_ok())
                    })
                })
                .connect_lazy_with(session_options(options, role, timeout)))
        };
        let store = Self {
            reads: pool("codash_read", config.max_connections, config.statement_timeout)?,
            writes: pool("codash_app", config.max_connections.clamp(1, 8), Duration::from_secs(60))?,
            master_keys: config.master_keys,
        };
        for pool in [&store.reads, &store.writes] {
            warm(pool).await?;
        }
        Ok(store)
    }

    /// Answers when a read connection does.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.reads).await?;
        Ok(())
    }

    /// A key for a purpose of the service's own, the same on every instance; see [`MasterKeys::derive`].
    pub fn derived_key(&self, purpose: &str) -> [u8; 32] {
        self.master_keys.derive(purpose)
    }

    /// How many questions can be asked at once.
    pub fn question_connections(&self) -> u32 {
        self.reads.options().get_max_connections()
    }

    /// Waits for connections in use and closes every one.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
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
