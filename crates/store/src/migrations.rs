//! The schema's history, embedded so that the binary stands alone.

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr};

use crate::Error;

const ALL: [(i64, &str, &str); 14] = [
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
];

/// Brings the schema up to date. Safe to call from several processes at once.
pub async fn migrate(url: &SecretString) -> Result<(), Error> {
    let migrations = ALL
        .into_iter()
        .map(|(version, name, sql)| {
            let no_tx = sql.starts_with("-- no-transaction");
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), no_tx)
        })
        .collect();
    let mut connection = PgConnection::connect(url.expose_secret()).await?;
    Migrator::with_migrations(migrations).run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
