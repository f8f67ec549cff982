use serde_json::{Value, json};

use super::client::{DAY, Key, Paper, Reply, settings};

const INCOME: &str = "/fapi/v1/income";

async fn started() -> (Paper, Key) {
    let paper = Paper::start(settings()).await;
    paper.fund().await;
    let key = paper.trade_key();
    for side in ["BUY", "SELL", "BUY", "SELL", "BUY", "SELL"] {
        let order = format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity=0.05");
        assert_eq!(paper.signed(&key, "POST", "/fapi/v1/order", &order).await.status, 200);
    }
    (paper, key)
}

async fn put(paper: &Paper, rules: Value) {
    let reply = paper.control("PUT", "/faults", rules).await;
    assert_eq!(reply.status, 200, "{:?}", String::from_utf8_lossy(&reply.body));
}

async fn income(paper: &Paper, key: &Key) -> Reply {
    paper.read(key, INCOME, "limit=1000").await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_request_is_seen_and_named_in_the_log() {
    let (paper, key) = started().await;
    let whole = income(&paper, &key).await;
    assert!(whole.is_whole());
    let logged = async || {
        let log = paper.get("/faults").await.json()["log"].clone();
        log.as_array().unwrap().last().map(|entry| entry["rule"].as_str().unwrap().to_owned())
    };

    put(&paper, json!({ "cutPage": { "chance": 1 }, "only": ["/fapi"] })).await;
    let cut = income(&paper, &key).await;
    assert!(cut.status == 200 && !cut.is_whole() && whole.body.starts_with(&cut.body), "{cut:?}");
    assert_eq!(logged().await.as_deref(), Some("cutPage"));
    assert!(paper.get("/api/v3/time").await.is_whole(), "only /fapi is concerned");

    put(&paper, json!({ "status5xx": { "chance": 1 } })).await;
    assert!(income(&paper, &key).await.status >= 500);
    assert_eq!(paper.get("/faults").await.status, 200, "control doors are never spoiled");

    put(&paper, json!({ "timeout": { "chance": 1, "ms": 50 } })).await;
    assert_eq!(income(&paper, &key).await.code(), (504, Some(-1007)));

    put(&paper, json!({ "compressedBomb": { "chance": 1 } })).await;
    let bomb = income(&paper, &key).await;
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.len() < 2_000_000);

    put(&paper, json!({ "latencyMs": { "chance": 1, "ms": 60 } })).await;
    let before = std::time::Instant::now();
    assert_eq!(income(&paper, &key).await.json(), whole.json());
    assert!(before.elapsed().as_millis() >= 60);

    put(&paper, json!({ "status418": { "chance": 1, "retryAfterSeconds": 3 } })).await;
    let banned = income(&paper, &key).await;
    assert_eq!((banned.status, banned.header("retry-after")), (418, Some("3")));
    assert_eq!(logged().await.as_deref(), Some("status418"));
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_twice_in_disorder_late_restated_and_broken() {
    let (paper, key) = started().await;
    let whole = income(&paper, &key).await.rows();

    put(&paper, json!({ "seed": 4, "duplicateRows": { "chance": 1 }, "shuffleRows": { "chance": 1 } })).await;
    let mixed = income(&paper, &key).await.rows();
    assert!(mixed.len() > whole.len() && mixed.iter().all(|row| whole.contains(row)));
    assert!(whole.iter().all(|row| mixed.contains(row)));
    assert_ne!(mixed[..whole.len()], whole[..]);

    put(&paper, json!({ "lateRecords": { "share": 0.5, "delayMs": 600_000 } })).await;
    let early = income(&paper, &key).await.rows();
    assert!(early.len() < whole.len() && early.iter().all(|row| whole.contains(row)));
    paper.server.move_to(paper.server.now() + 600_000).await.unwrap();
    let later = income(&paper, &key).await.rows();
    assert!(whole.iter().all(|row| later.contains(row)));

    put(&paper, json!({ "restateRecords": { "share": 1, "delayMs": 3_600_000 } })).await;
    let restated = income(&paper, &key).await.rows();
    assert_eq!(restated.len(), later.len());
    assert!(restated.iter().zip(&later).any(|(other, row)| other["income"] != row["income"]));
    paper.server.move_to(paper.server.now() + 3_600_000).await.unwrap();
    let settled = income(&paper, &key).await.rows();
    assert!(later.iter().all(|row| settled.contains(row)));

    put(&paper, json!({ "malformedRows": { "share": 0.5 } })).await;
    let broken = income(&paper, &key).await.rows();
    assert!(broken.len() == settled.len() && broken != settled);
    assert_eq!(income(&paper, &key).await.rows(), broken, "the same rows, in the same way");

    put(&paper, json!({ "unknownTypes": true })).await;
    assert!(income(&paper, &key).await.rows().iter().all(|row| row.get("paperNeverSeen").is_some()));

    put(&paper, json!({ "pageCap": 3 })).await;
    assert_eq!(income(&paper, &key).await.rows(), settled[..3]);

    put(&paper, json!({})).await;
    assert_eq!(income(&paper, &key).await.rows(), settled);
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_the_key_and_the_history_can_be_wrong() {
    let (paper, key) = started().await;
    let reader = paper.read_key(0);
    let now = paper.server.now();

    put(&paper, json!({ "clockSkewMs": 90_000 })).await;
    assert_eq!(paper.get("/fapi/v1/time").await.json()["serverTime"], now + 90_000);
    assert_eq!(income(&paper, &key).await.code(), (400, Some(-1021)));

    put(&paper, json!({ "permissions": "trade" })).await;
    let rights = paper.read(&reader, "/sapi/v1/account/apiRestrictions", "").await.json();
    assert_eq!((&rights["enableFutures"], &rights["enableWithdrawals"]), (&json!(true), &json!(false)));
    put(&paper, json!({ "permissions": "withdraw" })).await;
    let rights = paper.read(&reader, "/sapi/v1/account/apiRestrictions", "").await.json();
    assert_eq!(rights["enableWithdrawals"], true);
    put(&paper, json!({ "permissions": "none" })).await;
    assert_eq!(paper.read(&reader, "/api/v3/account", "").await.code(), (401, Some(-2015)));

    put(&paper, json!({ "historyDays": 3 })).await;
    let old = format!("symbol=BTCUSDT&startTime={}", now - 4 * DAY);
    assert_eq!(paper.read(&key, "/fapi/v1/userTrades", &old).await.code(), (400, Some(-4166)));
    assert_eq!(paper.read(&key, "/fapi/v1/forceOrders", &old).await.code(), (400, Some(-4166)));
    assert_eq!(paper.read(&key, INCOME, &old).await.code(), (400, Some(-4166)));
    assert_eq!(
        paper.read(&reader, "/api/v3/myTrades", &format!("{old}&endTime={}", now - 3 * DAY)).await.rows().len(),
        0
    );
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_run_can_be_replayed_and_a_seeded_one_repeats_itself() {
    let (paper, key) = started().await;
    let run = async || {
        paper.pass_real_time(60_000);
        let mut seen = Vec::new();
        for n in 0..30 {
            let reply = paper.read(&key, INCOME, &format!("limit={}", 1 + n % 3)).await;
            seen.push((reply.status, String::from_utf8_lossy(&reply.body).into_owned()));
        }
        seen
    };
    let rules = json!({ "seed": 11, "status5xx": { "chance": 0.3 }, "cutPage": { "chance": 0.2 },
        "shuffleRows": { "chance": 0.5 }, "restateRecords": { "share": 0.5, "delayMs": 9_000_000 } });
    put(&paper, rules.clone()).await;
    let first = run().await;
    let log = paper.get("/faults").await.json()["log"].clone();
    assert!(log.as_array().unwrap().len() > 5);
    put(&paper, rules).await;
    assert_eq!(run().await, first, "the same seed");
    put(&paper, json!({ "seed": 11, "replay": log })).await;
    assert_eq!(run().await, first, "the log");
    paper.server.stop().await;
}
