//! A question whose asker went away: its query ends, its connection is clean, its neighbours are served.

use std::time::Duration;

use sqlx::{Connection, Row};

use crate::tenants::{Tenant, TestStore};

/// Sessions of ours that are busy or stuck in a transaction.
async fn stuck(db: &TestStore) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'codash'
               AND datname = current_database() AND state <> 'idle'";
    db.admin(sql).await[0].get(0)
}

async fn settles(db: &TestStore) -> bool {
    for _ in 0..40 {
        if stuck(db).await == 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

async fn ask(db: &TestStore, tenant: &Tenant) -> usize {
    db.store().read(&tenant.grant()).accounts().await.unwrap().len()
}

#[tokio::test]
async fn a_cancelled_question_ends_its_query_and_leaves_no_transaction_behind() {
    let db = TestStore::new().await;
    let tenant = db.workspace("w").await;
    let mut blocker = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(db.url())).await.unwrap();
    let mut lock = blocker.begin().await.unwrap();
    sqlx::query("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    for _ in 0..8 {
        let asked = tokio::time::timeout(Duration::from_millis(60), ask(&db, &tenant)).await;
        assert!(asked.is_err(), "the table is locked");
    }
    assert!(settles(&db).await, "PostgreSQL noticed that nobody waits");
    lock.rollback().await.unwrap();
    assert_eq!(ask(&db, &tenant).await, 0, "the pool serves at once");
}

#[tokio::test]
async fn questions_cancelled_at_any_point_never_poison_the_pool() {
    let db = TestStore::new().await;
    let tenant = db.workspace("w").await;
    for round in 0..200_u64 {
        let patience = Duration::from_micros(round * 37 % 3_000);
        let _ = tokio::time::timeout(patience, ask(&db, &tenant)).await;
    }
    assert!(settles(&db).await);
    for _ in 0..20 {
        assert_eq!(ask(&db, &tenant).await, 0);
    }
}
