use super::client::{Key, Paper, settings, signature};

const ACCOUNT: &str = "/api/v3/account";

#[tokio::test(flavor = "multi_thread")]
async fn keys_signatures_and_stamps_are_checked_as_at_binance() {
    let paper = Paper::start(settings()).await;
    let key = paper.read_key(0);
    assert_eq!(paper.read(&key, ACCOUNT, "").await.status, 200);
    assert_eq!(paper.read(&key, "/fapi/v3/account", "").await.status, 200);
    let wrong = Key(key.0.clone(), "x".repeat(64));
    assert_eq!(paper.read(&wrong, ACCOUNT, "").await.code(), (400, Some(-1022)));
    let unknown = Key("a".repeat(64), key.1.clone());
    assert_eq!(paper.read(&unknown, ACCOUNT, "").await.code(), (401, Some(-2015)));
    assert_eq!(paper.read(&Key("short".into(), key.1.clone()), ACCOUNT, "").await.code(), (401, Some(-2014)));
    assert_eq!(paper.get(ACCOUNT).await.code(), (401, Some(-2014)));

    let at = async |stamp: i64, more: &str| {
        let payload = format!("timestamp={stamp}{more}");
        let query = format!("{ACCOUNT}?{payload}&signature={}", signature(&key.1, &payload));
        paper.send("GET", &query, &format!("X-MBX-APIKEY: {}\r\n", key.0), "").await.code()
    };
    let now = paper.server.now();
    assert_eq!(at(now + 999, "").await, (200, None));
    assert_eq!(at(now + 1000, "").await, (400, Some(-1021)));
    assert_eq!(at(now - 5000, "").await, (200, None));
    assert_eq!(at(now - 5001, "").await, (400, Some(-1021)));
    assert_eq!(at(now - 60_000, "&recvWindow=60000").await, (200, None));
    let unsigned = paper.send("GET", ACCOUNT, &format!("X-MBX-APIKEY: {}\r\n", key.0), "").await;
    assert_eq!(unsigned.code(), (400, Some(-1102)));
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_key_can_change_nothing() {
    let paper = Paper::start(settings()).await;
    let key = paper.read_key(2);
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    for (method, path, params) in [
        ("POST", "/fapi/v1/order", order),
        ("POST", "/api/v3/order", order),
        ("POST", "/api/v3/order/test", order),
        ("DELETE", "/api/v3/order", "symbol=BTCUSDT&orderId=1"),
        ("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT"),
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=3"),
        ("POST", "/sapi/v1/asset/transfer", "type=MAIN_UMFUTURE&asset=USDT&amount=1"),
        ("POST", "/sapi/v1/capital/withdraw/apply", "coin=USDT&address=x&amount=1"),
    ] {
        assert_eq!(paper.signed(&key, method, path, params).await.code(), (401, Some(-2015)), "{method} {path}");
    }
    let rights = paper.read(&key, "/sapi/v1/account/apiRestrictions", "").await.json();
    let on: Vec<&String> =
        rights.as_object().unwrap().iter().filter(|(_, on)| **on == true).map(|(name, _)| name).collect();
    assert_eq!(on, ["enableReading"]);
    paper.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_names_and_pages_are_turned_away() {
    let paper = Paper::start(settings()).await;
    let status = async |headers: &str| paper.send("GET", "/paper", headers, "").await.status;
    assert_eq!(status("host: rebound.example:80\r\n").await, 403);
    assert_eq!(status("host: localhost:1\r\n").await, 200);
    assert_eq!(status("origin: https://evil.example\r\n").await, 403);
    assert_eq!(status("origin: http://127.0.0.1:7000\r\n").await, 200);
    assert_eq!(paper.get("/api/v3/nothing").await.status, 404);
    assert_eq!(paper.send("DELETE", "/truth", "", "").await.status, 405);
    paper.server.stop().await;
}
