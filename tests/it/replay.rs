//! The replaying venue: it asks for a real signature, keeps the venue's rules, and can be read only.

use std::sync::Arc;

use chrono::TimeDelta;
use codash::dev::replay::{Keys, Replay, Trouble};
use codash_domain::{Clock, FixedClock, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const DAY: i64 = 24 * 3_600_000;

struct Stage {
    replay: Replay,
    clock: Arc<FixedClock>,
}

fn anchor() -> Timestamp {
    "2026-05-15T10:20:30.456Z".parse().unwrap()
}

fn address() -> String {
    format!("0x{}", "d".repeat(40))
}

impl Stage {
    async fn set() -> Self {
        let clock = Arc::new(FixedClock::at(anchor()));
        let keys = Keys { api_key: "known".into(), secret: "secret".to_owned().into(), address: address() };
        let replay = Replay::start(anchor(), keys, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        Self { replay, clock }
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }

    async fn ask(&self, method: Method, path: &str, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = crate::http_client().request(method, format!("{}{path}", self.replay.url));
        if let Some(key) = key {
            request = request.header("X-MBX-APIKEY", key);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// A signed read, as the venue wants it.
    async fn signed(&self, path: &str, query: &str) -> (StatusCode, Value) {
        let query = format!("{query}{}timestamp={}", if query.is_empty() { "" } else { "&" }, self.now());
        self.ask(Method::GET, &format!("{path}?{query}&signature={}", sign(&query, "secret")), Some("known")).await
    }

    async fn info(&self, body: Value) -> (StatusCode, Value) {
        let request = crate::http_client().post(format!("{}/info", self.replay.url)).body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }
}

fn sign(payload: &str, secret: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn refused(answer: &(StatusCode, Value)) -> (u16, i64) {
    (answer.0.as_u16(), answer.1["code"].as_i64().unwrap())
}

#[tokio::test]
async fn only_a_known_key_a_fresh_timestamp_and_a_true_signature_are_let_in() {
    let stage = Stage::set().await;
    assert_eq!(stage.signed("/api/v3/account", "").await.0, StatusCode::OK);

    let query = |at: i64| format!("recvWindow=5000&timestamp={at}");
    let path = |query: &str, secret| format!("/fapi/v1/income?{query}&signature={}", sign(query, secret));
    let (now, late, early) = (query(stage.now()), query(stage.now() - 5001), query(stage.now() + 1000));
    let good = path(&now, "secret");
    for (path, key, expected) in [
        (&good, None, (401, -2014)),
        (&good, Some("stranger"), (401, -2015)),
        (&path(&now, "guess"), Some("known"), (400, -1022)),
        (&good.replace("recvWindow=5000", "recvWindow=4000"), Some("known"), (400, -1022)),
        (&path(&late, "secret"), Some("known"), (400, -1021)),
        (&path(&early, "secret"), Some("known"), (400, -1021)),
        (&format!("/fapi/v1/income?{now}"), Some("known"), (400, -1102)),
        (&"/fapi/v1/income".to_owned(), Some("known"), (400, -1102)),
    ] {
        assert_eq!(refused(&stage.ask(Method::GET, path, key).await), expected, "{path}");
    }
}

#[tokio::test]
async fn there_is_nothing_to_write_to() {
    let stage = Stage::set().await;
    for (method, path) in [
        (Method::POST, "/api/v3/order"),
        (Method::DELETE, "/api/v3/order"),
        (Method::POST, "/fapi/v1/order"),
        (Method::POST, "/fapi/v1/leverage"),
        (Method::POST, "/sapi/v1/asset/transfer"),
        (Method::POST, "/sapi/v1/capital/withdraw/apply"),
        (Method::POST, "/api/v3/account"),
        (Method::POST, "/exchange"),
        (Method::GET, "/api/v3/order"),
        (Method::GET, "/"),
    ] {
        assert_eq!(stage.ask(method, path, Some("known")).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn fills_are_asked_for_by_market_in_windows_or_from_an_id() {
    let stage = Stage::set().await;
    let fills = "/fapi/v1/userTrades";
    assert_eq!(refused(&stage.signed(fills, "").await), (400, -1102));
    assert_eq!(refused(&stage.signed(fills, "symbol=NOSUCH").await), (400, -1121));
    assert_eq!(refused(&stage.signed(fills, "symbol=SOLUSDT&fromId=1&startTime=5").await), (400, -1128));
    let week = |days: i64| format!("symbol=SOLUSDT&startTime={}&endTime={}", stage.now() - days * DAY, stage.now());
    assert_eq!(refused(&stage.signed(fills, &week(8)).await), (400, -4165));
    assert_eq!(stage.signed(fills, &week(7)).await.1.as_array().unwrap().len(), 2);
    assert_eq!(stage.signed(fills, &week(5)).await.1, json!([]));
    assert_eq!(stage.signed(fills, "symbol=SOLUSDT&fromId=5502").await.1[0]["id"], 5502);
    assert_eq!(stage.signed(fills, "symbol=SOLUSDT&limit=1").await.1[0]["id"], 5502, "the newest");
    assert_eq!(
        refused(&stage.signed("/api/v3/myTrades", "symbol=LTCUSDT&startTime=0&endTime=86400001").await),
        (400, -1127)
    );
}

#[tokio::test]
async fn income_is_paged_and_weighs_on_the_minute() {
    let stage = Stage::set().await;
    let all = format!("startTime={}", stage.now() - 30 * DAY);
    let (_, rows) = stage.signed("/fapi/v1/income", &all).await;
    assert_eq!(rows.as_array().unwrap().len(), 9);
    let (_, second) = stage.signed("/fapi/v1/income", &format!("{all}&limit=4&page=2")).await;
    assert_eq!(second.as_array().unwrap()[..], rows.as_array().unwrap()[4..8]);

    let used = async || {
        let response = crate::http_client().get(format!("{}/fapi/v1/time", stage.replay.url)).send().await.unwrap();
        response.headers()["x-mbx-used-weight-1m"].to_str().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(used().await, 61);
    assert_eq!(used().await, 62);
    stage.clock.advance(TimeDelta::minutes(1));
    assert_eq!(used().await, 1);
    for _ in 0..80 {
        stage.signed("/fapi/v1/income", "").await;
    }
    assert_eq!(refused(&stage.signed("/fapi/v1/income", "").await), (429, -1003));
}

#[tokio::test]
async fn a_wallet_is_read_oldest_first_and_only_our_own_is_known() {
    let stage = Stage::set().await;
    let fills = |user: &str, start: i64| json!({ "type": "userFillsByTime", "user": user, "startTime": start });
    let (_, rows) = stage.info(fills(&address().to_uppercase().replace("0X", "0x"), 0)).await;
    let times: Vec<i64> = rows.as_array().unwrap().iter().map(time).collect();
    assert!(times.len() > 120 && times.is_sorted() && *times.last().unwrap() < stage.now());
    let (_, later) = stage.info(fills(&address(), times[times.len() - 1])).await;
    assert!(later.as_array().unwrap().iter().all(|row| time(row) == times[times.len() - 1]));

    let stranger = format!("0x{}", "e".repeat(40));
    assert_eq!(stage.info(fills(&stranger, 0)).await.1, json!([]));
    let role = async |user: &str| stage.info(json!({ "type": "userRole", "user": user })).await.1;
    assert_eq!(
        (role(&address()).await, role(&stranger).await),
        (json!({ "role": "user" }), json!({ "role": "missing" }))
    );
    assert_eq!(stage.info(json!({ "type": "order", "user": address() })).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

fn time(row: &Value) -> i64 {
    row["time"].as_i64().or_else(|| row["time"].as_str()?.parse().ok()).unwrap()
}

#[tokio::test]
async fn what_is_still_to_come_is_not_told() {
    let stage = Stage::set().await;
    let count = async || {
        let (_, rows) = stage.info(json!({ "type": "userFunding", "user": address(), "startTime": 0 })).await;
        rows.as_array().unwrap().len()
    };
    assert_eq!(count().await, 93);
    stage.clock.advance(TimeDelta::days(-10));
    let then = count().await;
    assert!(then > 0 && then < 93, "{then}");
    stage.clock.advance(TimeDelta::days(-30));
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn troubles_come_when_ordered_and_the_same_anchor_gives_the_same_records() {
    let (stage, again) = (Stage::set().await, Stage::set().await);
    let faults = stage.replay.faults();
    let busy = Trouble::Answer { status: 429, body: "{}".into(), retry_after: Some(7) };
    faults.next("/fapi/v1/income", 1, busy);
    assert_eq!(stage.signed("/fapi/v1/income", "").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(faults.asked("/fapi/v1/income"), 1);

    faults.next("/fapi/v1/income", 1, Trouble::SpoilRow(0));
    let (_, spoiled) = stage.signed("/fapi/v1/income", "").await;
    let (_, sound) = stage.signed("/fapi/v1/income", "").await;
    assert!(spoiled[0]["income"].is_object() && spoiled[1] == sound[1]);
    assert_eq!(again.signed("/fapi/v1/income", "").await.1, sound);

    faults.next("/api/v3/time", 1, Trouble::BreakOff);
    let broken = crate::http_client().get(format!("{}/api/v3/time", stage.replay.url)).send().await;
    let text = match broken {
        Ok(response) => response.text().await,
        Err(error) => Err(error),
    };
    assert!(text.is_err());
}
