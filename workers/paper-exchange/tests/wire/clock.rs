use serde_json::json;

use super::client::{DAY, ORIGIN, Paper, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_hand_stands_still_until_it_is_moved() {
    let paper = Paper::start(settings()).await;
    let time = async || paper.get("/fapi/v1/time").await.json()["serverTime"].as_i64().unwrap();
    assert_eq!(time().await, ORIGIN + 10 * DAY);
    paper.pass_real_time(5000);
    assert_eq!(time().await, ORIGIN + 10 * DAY);
    let moved = paper.control("POST", "/clock", json!({ "advanceMs": 90_000 })).await;
    assert_eq!(moved.json()["now"], ORIGIN + 10 * DAY + 90_000);
    let moved = paper.control("POST", "/clock", json!({ "now": "2026-10-02T00:00:00Z" })).await;
    assert_eq!(moved.json()["nowText"], "2026-10-02T00:00:00.000Z");
    assert_eq!(paper.control("POST", "/clock", json!({ "now": ORIGIN })).await.status, 400);
    assert_eq!(paper.control("POST", "/clock", json!({ "advance": 1 })).await.status, 400);
    // On from here, a thousand times as fast.
    let before = time().await;
    let faster = paper.control("POST", "/clock", json!({ "speed": 1000 })).await.json();
    assert_eq!((faster["mode"].as_str(), faster["speed"].to_string().as_str()), (Some("faster"), "1000"));
    paper.pass_real_time(60);
    assert_eq!(time().await, before + 60_000);
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_is_told_of_any_account_and_instant_but_the_future() {
    let paper = Paper::start(settings()).await;
    let names = paper.get("/truth/accounts").await.json();
    assert_eq!(names, json!(["acct-01", "acct-02", "acct-paper"]));
    let now = paper.server.now();
    let truth = paper.get(&format!("/truth?account=acct-01&from={ORIGIN}&at={}", now - DAY)).await;
    assert_eq!((truth.status, truth.json()["account"].as_str()), (200, Some("acct-01")));
    for wrong in ["account=nobody", &format!("account=acct-01&at={}", now + 1), "account=acct-01&at=soon", ""] {
        assert_eq!(paper.get(&format!("/truth?{wrong}")).await.status, 400, "{wrong}");
    }
    paper.server.stop().await;
}
