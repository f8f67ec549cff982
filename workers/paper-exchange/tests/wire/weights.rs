use super::client::{Paper, settings};

#[tokio::test(flavor = "multi_thread")]
async fn over_the_budget_is_429_and_going_on_is_418() {
    let paper = Paper::start(settings()).await;
    let key = paper.read_key(0);
    let limits = paper.get("/fapi/v1/exchangeInfo").await.json()["rateLimits"].clone();
    assert_eq!((&limits[0]["rateLimitType"], &limits[0]["limit"]), (&"REQUEST_WEIGHT".into(), &2400.into()));
    paper.pass_real_time(60_000);
    let income = async || paper.read(&key, "/fapi/v1/income", "").await;
    for n in 1..=80_u32 {
        let reply = income().await;
        assert_eq!((reply.status, reply.header("x-mbx-used-weight-1m")), (200, Some((30 * n).to_string().as_str())));
    }
    let refused = income().await;
    assert_eq!(refused.code(), (429, Some(-1003)));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    // The other family has its own budget.
    assert_eq!(paper.get("/api/v3/ping").await.status, 200);
    for _ in 0..4 {
        assert_eq!(income().await.status, 429);
    }
    let banned = income().await;
    assert_eq!((banned.status, banned.header("retry-after")), (418, Some("120")));
    let meter = paper.get("/meter").await.json();
    assert_eq!(meter["usdm"]["during429"], 5);
    assert_eq!(meter["usdm"]["requests"], 87);
    assert_eq!(meter["spot"]["during429"], 0);
    paper.pass_real_time(120_000);
    // The exchange's own clock is in hand, and stood still: only the weights run on real time.
    assert_eq!(income().await.status, 200);
    assert_eq!(paper.control("DELETE", "/meter", serde_json::json!({})).await.json()["usdm"]["requests"], 0);
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_asks_for_silence_is_metered_like_a_real_one() {
    let paper = Paper::start(settings()).await;
    paper.server.set_faults(serde_json::json!({ "status429": { "chance": 1, "retryAfterSeconds": 2 } })).unwrap();
    let first = paper.get("/fapi/v1/time").await;
    assert_eq!((first.status, first.header("retry-after")), (429, Some("2")));
    paper.pass_real_time(1500);
    let early = paper.get("/fapi/v1/time").await;
    assert_eq!((early.status, early.header("retry-after")), (429, Some("1")));
    assert_eq!(paper.server.meter()["usdm"]["during429"], 1);
    paper.server.set_faults(serde_json::json!({})).unwrap();
    paper.pass_real_time(500);
    assert_eq!(paper.get("/fapi/v1/time").await.status, 200);
    paper.server.stop().await;
}
