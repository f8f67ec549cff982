//! The second wall, read from the catalogue: what a new table could forget, this fails on.

use codash_domain::WorkspaceId;
use sqlx::{Connection, PgConnection, Row};

use crate::tenants::TestStore;

/// Not a tenant's: the migration log, the budgets of venues, which belong to an egress address, and
/// people, who may own several workspaces, with their logins.
const SHARED: [&str; 5] = ["_sqlx_migrations", "venue_meters", "venue_silences", "people", "logins"];

async fn admin(db: &TestStore) -> PgConnection {
    use secrecy::ExposeSecret;
    PgConnection::connect(db.url().expose_secret()).await.unwrap()
}

async fn names(db: &TestStore, sql: &'static str) -> Vec<String> {
    let mut connection = admin(db).await;
    let rows = sqlx::query(sql).bind(&SHARED[..]).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|r| r.get::<String, _>(0)).collect()
}

#[tokio::test]
async fn every_tenant_table_has_workspace_id_first_in_its_primary_key() {
    let db = TestStore::new().await;
    let wrong = names(
        &db,
        "SELECT c.relname::text FROM pg_class c
         LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> ALL ($1)
           AND a.attname IS DISTINCT FROM 'workspace_id'",
    )
    .await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn every_foreign_key_begins_with_workspace_id() {
    let db = TestStore::new().await;
    let wrong = names(
        &db,
        "SELECT k.conname::text FROM pg_constraint k
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
         JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = k.confkey[1]
         WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND cardinality($1) > 0
           AND (a.attname <> 'workspace_id' OR f.attname <> 'workspace_id')",
    )
    .await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn row_level_security_is_forced_with_a_policy_for_both_roles_on_every_tenant_table() {
    let db = TestStore::new().await;
    let wrong = names(
        &db,
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relname <> ALL ($1)
           AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
                SELECT FROM pg_policies p WHERE p.schemaname = 'public' AND p.tablename = c.relname AND p.policyname = 'tenant'
                  AND p.roles @> ARRAY['codash_app', 'codash_read']::name[]
                  AND p.qual LIKE '%workspace_id = %app.ws%' AND p.with_check LIKE '%workspace_id = %app.ws%'))",
    )
    .await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn the_roles_own_nothing_log_in_nowhere_and_bypass_nothing() {
    let db = TestStore::new().await;
    let wrong = names(
        &db,
        "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname IN ('codash_app', 'codash_read') AND cardinality($1) > 0
           AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR r.rolcreatedb OR r.rolcreaterole
                OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid)
                OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid))",
    )
    .await;
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn the_reading_role_can_only_select_and_not_secrets_nor_raw_records() {
    let db = TestStore::new().await;
    let more_than_select = names(
        &db,
        "SELECT table_name || '.' || privilege_type FROM information_schema.role_table_grants
         WHERE grantee = 'codash_read' AND privilege_type <> 'SELECT' AND cardinality($1) > 0",
    )
    .await;
    assert_eq!(more_than_select, Vec::<String>::new());
    let secrets = names(
        &db,
        "SELECT table_name || '.' || column_name FROM information_schema.column_privileges
         WHERE grantee = 'codash_read' AND cardinality($1) > 0
           AND (column_name IN ('raw', 'sealed', 'wrapped', 'hash', 'cursor', 'native_id')
                OR table_name IN ('account_secrets', 'data_keys', 'api_keys', 'ai_keys', 'leases', 'people', 'logins', 'invitations'))",
    )
    .await;
    assert_eq!(secrets, Vec::<String>::new());
}

#[tokio::test]
async fn without_the_predicate_a_statement_sees_its_own_tenant_and_without_a_tenant_nothing() {
    let db = TestStore::new().await;
    let ours = db.workspace("ours").await;
    let theirs = db.workspace("theirs").await;
    let mut connection = admin(&db).await;
    for role in ["codash_read", "codash_app"] {
        for (setting, expected) in [
            (Some(ours.workspace), vec![ours.workspace]),
            (Some(theirs.workspace), vec![theirs.workspace]),
            (None, vec![]),
        ] {
            let mut tx = connection.begin().await.unwrap();
            sqlx::query("SELECT set_config('role', $1, true)").bind(role).execute(&mut *tx).await.unwrap();
            if let Some(workspace) = setting {
                let sql = "SELECT set_config('app.ws', $1, true)";
                sqlx::query(sql).bind(workspace.to_string()).execute(&mut *tx).await.unwrap();
            }
            let seen: Vec<uuid::Uuid> =
                sqlx::query_scalar("SELECT workspace_id FROM workspaces").fetch_all(&mut *tx).await.unwrap();
            assert_eq!(seen.into_iter().map(WorkspaceId).collect::<Vec<_>>(), expected, "{role}");
            tx.commit().await.unwrap();
        }
    }
    let left: Option<String> = sqlx::query_scalar("SELECT nullif(current_setting('app.ws', true), '')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, None, "a tenant set for a transaction is gone after it");
}

#[tokio::test]
async fn a_tenant_cannot_write_into_another() {
    let db = TestStore::new().await;
    let ours = db.workspace("ours").await;
    let theirs = db.workspace("theirs").await;
    let mut connection = admin(&db).await;
    let mut tx = connection.begin().await.unwrap();
    sqlx::query("SELECT set_config('role', 'codash_app', true), set_config('app.ws', $1, true)")
        .bind(ours.workspace.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    let refused = sqlx::query("INSERT INTO rollup_marks (workspace_id, hour) VALUES ($1, now())")
        .bind(theirs.workspace.0)
        .execute(&mut *tx)
        .await;
    assert!(refused.unwrap_err().to_string().contains("row-level security"));
}
