//! The account against a venue of one closure: signing, retries, pages, snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::venues::connect;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;

const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 24 * 3_600_000;

fn ok(data: Value) -> (u16, &'static str, String) {
    (200, "", json!({ "code": "00000", "msg": "success", "requestTime": NOW, "data": data }).to_string())
}

fn refusal(code: &str) -> (u16, &'static str, String) {
    (400, "", json!({ "code": code, "msg": "no", "data": null }).to_string())
}

fn time() -> (u16, &'static str, String) {
    ok(json!({ "serverTime": (NOW + 3000).to_string() }))
}

fn credentials(passphrase: Option<&str>) -> Credentials {
    let passphrase = passphrase.map(|phrase| phrase.to_owned().into());
    Credentials::ApiKey { key: "the-key".into(), secret: "the-secret".into(), passphrase }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    let venues = mock.venues(Timestamp::from_millis(NOW).unwrap());
    connect(&venues, Venue::Bitget, credentials(Some("the-phrase"))).unwrap()
}

fn all_listed(mock: &Mock) {
    for asked in mock.asked() {
        assert!(Listed::new(READS, &asked.method, &asked.path).is_ok(), "{} {}", asked.method, asked.path);
    }
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_time_and_the_three_secrets_parts() {
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => ok(json!({ "authorities": ["stor", "coor", "cpor"] })),
    })
    .await;
    let accepted = account(&mock).attest().await.unwrap();
    assert!(matches!(accepted, Attestation::Accepted(s) if s.assurance == Assurance::ReadOnly));
    assert_eq!(mock.seen(), ["GET /api/v2/public/time", "GET /api/v2/spot/account/info"]);
    let signed = &mock.asked()[1];
    let payload = format!("{}GET/api/v2/spot/account/info", NOW + 3000);
    // The mock hands on headers in lower case.
    let signature = crate::venues::hmac::sha256_base64(&"the-secret".into(), &payload).unwrap().to_ascii_lowercase();
    for header in [
        "access-key: the-key".to_owned(),
        "access-passphrase: the-phrase".into(),
        format!("access-timestamp: {}", NOW + 3000),
        format!("access-sign: {signature}"),
    ] {
        assert!(signed.headers.contains(&header), "{header}");
    }
    assert!(!mock.asked()[0].headers.contains("access-key"), "a public read shows no key");
}

#[tokio::test]
async fn a_key_that_can_do_more_than_read_is_refused() {
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => ok(json!({ "authorities": ["stor", "coor", "cpor", "wwow"] })),
    })
    .await;
    let refused = Attestation::TooPowerful { rights: vec!["wwow".into()] };
    assert_eq!(account(&mock).attest().await.unwrap(), refused);
}

#[tokio::test]
async fn a_clock_or_signature_error_earns_one_resync_and_one_retry() {
    for (code, is_retryable) in [("40008", true), ("40009", false)] {
        let mock = Mock::start(move |asked| if asked.path.ends_with("/time") { time() } else { refusal(code) }).await;
        let error = account(&mock).attest().await.unwrap_err();
        assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
        let (time, read) = ("GET /api/v2/public/time", "GET /api/v2/spot/account/info");
        assert_eq!(mock.seen(), [time, read, time, read]);
    }
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { refusal("40006") }).await;
    let error = account(&mock).attest().await.unwrap_err();
    assert!(matches!(error, VenueError::KeyRefused { .. }));
    assert_eq!(mock.seen().len(), 2, "what is final is not tried again");
    assert!(!format!("{error:?} {error}").contains("the-"));
}

#[tokio::test]
async fn the_venues_words_for_too_many_requests_are_respected() {
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => (200, "", json!({ "code": "429", "msg": "Too Many Requests" }).to_string()),
    })
    .await;
    let account = account(&mock);
    for _ in 0..2 {
        let error = account.page("spot.bills", &Value::Null).await.unwrap_err();
        assert!(matches!(error, VenueError::Retry { after: Some(_), .. }), "{error:?}");
    }
    assert_eq!(mock.seen().len(), 2);
}

/// 250 fills in one day of the second week, newest first, by id.
fn fills(asked: &Asked) -> (u16, &'static str, String) {
    let (from, to) = (asked.number("startTime").unwrap(), asked.number("endTime").unwrap());
    let before = asked.number("idLessThan").unwrap_or(i64::MAX);
    let rows: Vec<Value> = (1..=250_i64)
        .rev()
        .map(|id| (id, NOW - 80 * DAY + id / 5))
        .filter(|(id, at)| *id < before && (from..=to).contains(at))
        .take(100)
        .map(|(id, at)| {
            json!({ "tradeId": id.to_string(), "symbol": "BTCUSDT", "orderId": "1", "price": "2", "baseVolume": "1", "quoteVolume": "2",
                    "side": "buy", "profit": "0.5", "tradeSide": "open", "cTime": at.to_string(),
                    "feeDetail": [{ "feeCoin": "BGB", "totalFee": "-0.001" }] })
        })
        .collect();
    ok(json!({ "fillList": rows, "endId": "x" }))
}

fn trading_venue(asked: &Asked) -> (u16, &'static str, String) {
    let is_usdt = asked.query.contains("USDT-FUTURES");
    match asked.path.as_str() {
        "/api/v2/public/time" => time(),
        "/api/v2/mix/order/fill-history" => fills(asked),
        "/api/v2/spot/market/tickers" => ok(json!([
            { "symbol": "BGBUSDT", "lastPr": "4" }, { "symbol": "BTCUSDT", "lastPr": "90000" }])),
        "/api/v2/spot/market/history-candles" => {
            let end = asked.number("endTime").unwrap();
            ok((1..=200).map(|i| json!([(end - i * 60_000).to_string(), "1", "1", "1", "4", "1"])).collect())
        }
        "/api/v2/spot/account/assets" => ok(json!([
            { "coin": "BTC", "available": "0.5", "frozen": "0.5", "locked": "" }, { "coin": "WHAT", "available": "3" }])),
        "/api/v2/mix/account/accounts" if is_usdt => ok(json!([{ "marginCoin": "USDT", "accountEquity": "10.5" }])),
        "/api/v2/mix/account/accounts" => ok(json!([])),
        "/api/v2/mix/position/all-position" if is_usdt => ok(json!([
            { "symbol": "BTCUSDT", "marginCoin": "USDT", "holdSide": "short", "posMode": "hedge_mode", "total": "0.01",
              "openPriceAvg": "91000", "markPrice": "90000", "unrealizedPL": "10" }])),
        "/api/v2/mix/position/all-position" => ok(json!([])),
        path => panic!("{path}"),
    }
}

#[tokio::test]
async fn every_fill_is_read_once_priced_by_its_minute_and_windows_follow_without_a_gap() {
    let mock = Mock::start(trading_venue).await;
    let account = account(&mock);
    let (mut at, mut ids, mut records, mut spans) = (Value::Null, BTreeSet::new(), 0, vec![]);
    loop {
        let page = account.page("futures.fills:USDT-FUTURES", &at).await.unwrap();
        assert!(page.parsed.unreadable.is_empty());
        for record in page.parsed.records {
            assert_eq!(record.event.fee_usd.unwrap().to_string(), "0.004");
            ids.insert(record.event.native_id);
            records += 1;
        }
        spans.extend(page.covered);
        at = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!((ids.len(), records), (250, 250));
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {spans:?}");
    assert_eq!(spans[0].0.millis(), NOW + 3000 - HORIZON_MILLIS);
    assert_eq!(spans.last().unwrap().1.millis(), NOW + 3000, "never past the server's now");
    let asked = mock.asked();
    let windows = asked.iter().filter(|asked| asked.path.ends_with("fill-history"));
    for asked in windows {
        assert!(asked.number("endTime").unwrap() - asked.number("startTime").unwrap() < 7 * DAY);
    }
    all_listed(&mock);
}

#[tokio::test]
async fn a_snapshot_adds_the_wallets_and_names_what_has_no_price() {
    let mock = Mock::start(trading_venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), streams.len()), ("90010.5", 0));
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    let exposure = codash_domain::Exposure::of(&snapshot.positions);
    assert_eq!((exposure.short_usd.to_string().as_str(), snapshot.positions[0].leg), ("900", "short"));
    all_listed(&mock);
}

#[tokio::test]
async fn streams_are_planned_with_their_horizon_and_strangers_have_no_plan() {
    let mock = Mock::start(|_| time()).await;
    let account = account(&mock);
    for stream in account.initial_streams() {
        let plan = account.plan(&stream).unwrap();
        assert_eq!(plan.horizon.unwrap().0.millis(), NOW - HORIZON_MILLIS);
    }
    assert!(account.plan("futures.fills").is_none() && account.plan("x").is_none());
    assert!(account.page("x", &Value::Null).await.is_err() && mock.seen().is_empty());
}

#[test]
fn credentials_of_another_kind_are_refused_and_never_shown() {
    let venues = crate::venues::Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: Arc::new(codash_domain::SystemClock),
    };
    for given in [
        credentials(None),
        credentials(Some("")),
        credentials(Some("a\r\nb")),
        Credentials::Wallet { address: "0x".into() },
    ] {
        match connect(&venues, Venue::Bitget, given) {
            Err(error @ VenueError::KeyRefused { .. }) => assert!(!format!("{error:?}").contains("the-secret")),
            _ => panic!("accepted"),
        }
    }
}
