//! The schema's history, embedded so that the binary stands alone.

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr};

use crate::Error;

const ALL: [(i64, &str, &str); 15] = [
    (1, "workspaces and keys", include_str!("../../../migrations/0001_workspaces_and_keys.sql")),
    (2, "accounts and leases", include_str!("../../../migrations/0002_accounts_and_leases.sql")),
    (3, "events", include_str!("../../../migrations/0003_events.sql")),
    (4, "states", include_str!("../../../migrations/0004_states.sql")),
    (5, "rollups", include_str!("../../../migrations/0005_rollups.sql")),
    (6, "ai keys", include_str!("../../../migrations/0006_ai_keys.sql")),
    (7, "standing and cash flows", include_str!("../../../migrations/0007_standing_and_cash_flows.sql")),
    (8, "sweeps", include_str!("../../../migrations/0008_sweeps.sql")),
    (9, "venue meters", include_str!("../../../migrations/0009_venue_meters.sql")),
    (10, "superseded events", include_str!("../../../migrations/0010_superseded_events.sql")),
    (11, "managing", include_str!("../../../migrations/0011_managing.sql")),
    (14, "watermarks", include_str!("../../../migrations/0014_watermarks.sql")),
    (15, "keys, owners, audit", include_str!("../../../migrations/0015_keys_owners_audit.sql")),
    (16, "automations", include_str!("../../../migrations/0016_automations.sql")),
    (17, "rotating keys", include_str!("../../../migrations/0017_rotating_keys.sql")),
];

/// Tries of a migration that a lock keeps waiting: some five minutes.
const TRIES: u32 = 200;

/// Brings the schema up to date. Safe to call from several processes at once, and beside a service that
/// runs: whoever waits for a table's lock makes everybody behind it wait, so that a lock which is not had
/// at once is given up, and the migration tried again a second later.
pub async fn migrate(url: &SecretString) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    let migrator = Migrator::with_migrations(migrations());
    let mut attempt = 1;
    loop {
        // Shorter than PostgreSQL's deadlock_timeout (1 s), so that no request is chosen to end a circle;
        // at times longer, for then an autovacuum in the way gives up.
        let patience = if attempt % 10 == 0 { "2s" } else { "400ms" };
        sqlx::query("SELECT set_config('lock_timeout', $1, false)").bind(patience).execute(&mut connection).await?;
        match migrator.run(&mut connection).await {
            // Another process migrates, however long that takes.
            Err(MigrateError::Execute(cause)) if waited(&cause) => {}
            Err(MigrateError::ExecuteMigration(cause, version)) if waited(&cause) && attempt < TRIES => {
                tracing::info!(version, attempt, "the migration waits for a lock");
                attempt += 1;
            }
            done => {
                done?;
                return Ok(connection.close().await?);
            }
        }
        sqlx::query("SELECT pg_sleep(1)").execute(&mut connection).await?;
    }
}

/// For a lock: in vain, or in a circle with a request of the service.
fn waited(cause: &sqlx::Error) -> bool {
    matches!(cause, sqlx::Error::Database(db) if matches!(db.code().as_deref(), Some("55P03" | "40P01")))
}

fn migrations() -> Vec<Migration> {
    ALL.into_iter()
        .map(|(version, name, sql)| {
            let no_tx = sql.starts_with("-- no-transaction");
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), no_tx)
        })
        .collect()
}
