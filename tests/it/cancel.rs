//! A question whose asker went away: its query ends, its connection is clean, its neighbours are served.

use std::time::Duration;

use sqlx::{Connection, Row};
use tokio::io::AsyncWriteExt;

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

#[tokio::test]
async fn a_connection_that_postgresql_ended_is_told_as_lost_and_the_pool_recovers() {
    let db = TestStore::new().await;
    let tenant = db.workspace("w").await;
    assert_eq!(ask(&db, &tenant).await, 0);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'codash' AND datname = current_database()";
    assert!(!db.admin(end).await.is_empty(), "the pool held connections");
    let mut lost = 0;
    for _ in 0..50 {
        match db.store().read(&tenant.grant()).accounts().await {
            Ok(_) => {}
            Err(codash_store::Error::Lost(_)) => lost += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(lost > 0, "somebody asked over a connection that was gone");
    assert_eq!(ask(&db, &tenant).await, 0);
}

/// Clients that reset their connections at any point of a request, ten thousand of them with
/// `CODASH_ABORTED_REQUESTS=10000`.
#[tokio::test]
async fn requests_that_are_reset_leave_no_transaction_open_and_no_connection_held() {
    let aborted = std::env::var_os("CODASH_ABORTED_REQUESTS");
    let aborted: u64 = aborted.map_or(300, |text| text.to_string_lossy().parse().expect("a whole number"));
    let (world, ..) = crate::rest::world().await;
    let agent = world.agent();
    let call = |tool: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
        let kind = "content-type: application/json";
        format!("POST /mcp HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: {}\r\n%\r\n{body}", body.len())
    };
    let requests = [
        call("get_pnl_by_symbol"),
        call("get_trade_events"),
        "GET /api/portfolio/report HTTP/1.1\r\nhost: x\r\n%\r\n".into(),
        "GET /api/export/events?format=csv HTTP/1.1\r\nhost: x\r\n%\r\n".into(),
        "POST /api/portfolios HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 13\r\n%\r\n{\"name\":\"x y\"}".into(),
    ]
    .map(|request: String| request.replace('%', &format!("authorization: Bearer {}\r\n", agent.key)));
    for n in 0..aborted {
        let mut socket = tokio::net::TcpStream::connect(agent.address).await.unwrap();
        socket.set_zero_linger().unwrap();
        let request = &requests[usize::try_from(n).unwrap() % requests.len()];
        socket.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(n * 379 % 9_000)).await;
        drop(socket);
    }
    assert!(settles(&world.db).await, "a session of ours is still busy");
    for _ in 0..20 {
        assert!(agent.call("get_pnl_by_symbol", serde_json::json!({})).await["count"].is_number());
    }
}
