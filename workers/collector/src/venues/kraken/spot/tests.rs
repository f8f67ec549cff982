//! The account against a venue of one closure: nonces, rights, pages, snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use codash_domain::Timestamp;
use serde_json::json;

use super::*;
use crate::venues::connect;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;

const NOW: i64 = 1_767_225_600_000;
const SECRET: &str = "dGhlIHNlY3JldA==";

type Answer = (u16, &'static str, String);

fn now() -> Timestamp {
    Timestamp::from_millis(NOW).unwrap()
}

fn ok(result: impl serde::Serialize) -> Answer {
    (200, "", json!({ "error": [], "result": result }).to_string())
}

fn fault(word: &str) -> Answer {
    (200, "", json!({ "error": [word] }).to_string())
}

fn credentials() -> Credentials {
    Credentials::ApiKey { key: "the-key".into(), secret: SECRET.into(), passphrase: None }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    connect(&mock.venues(now()), Venue::Kraken, credentials()).unwrap()
}

/// A field of a form.
fn field(asked: &Asked, name: &str) -> Option<i64> {
    let pair = asked.body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    pair?.parse().ok()
}

fn key(permissions: &[&str], rest: serde_json::Value) -> Answer {
    let mut info = rest;
    info["permissions"] = json!(permissions);
    ok(info)
}

const READING: [&str; 4] = ["query-funds", "query-open-trades", "query-closed-trades", "query-ledger"];

fn listed(mock: &Mock) -> bool {
    mock.asked().iter().all(|asked| Listed::new(sign::READS, &asked.method, &asked.path).is_ok())
}

#[tokio::test]
async fn a_private_read_carries_key_nonce_and_signature() {
    let mock = Mock::start(|_| key(&READING, json!({ "valid_until": "1798761600" }))).await;
    let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
    assert_eq!((standing.assurance, standing.not_covered.len()), (Assurance::ReadOnly, 3));
    assert_eq!(standing.key_expires_at.unwrap().millis(), 1_798_761_600_000);
    let asked = &mock.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/0/private/GetApiKeyInfo"));
    assert_eq!(asked.body, format!("nonce={}", NOW * 1000));
    let read = Listed::new(sign::READS, "POST", "/0/private/GetApiKeyInfo").unwrap();
    let nonce = u64::try_from(NOW * 1000).unwrap();
    let (_, signature) = sign::private(read, &[], nonce, &SECRET.into()).unwrap();
    assert!(asked.headers.contains("api-key: the-key"));
    // The mock lowers headers.
    assert!(asked.headers.contains(&format!("api-sign: {}", signature.to_ascii_lowercase())));
    assert!(asked.headers.contains("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_key_that_can_do_more_or_less_than_read_is_told_why() {
    let mock = Mock::start(|_| key(&[READING.as_slice(), &["withdraw-funds"]].concat(), json!({}))).await;
    let refused = Attestation::TooPowerful { rights: vec!["withdraw-funds".into()] };
    assert_eq!(account(&mock).attest().await.unwrap(), refused);
    let mock = Mock::start(|_| key(&READING[..2], json!({}))).await;
    assert!(matches!(account(&mock).attest().await, Err(VenueError::PermissionMissing { .. })));
    let mock = Mock::start(|_| key(&READING, json!({ "query_from": "1767225600" }))).await;
    assert!(matches!(account(&mock).attest().await, Err(VenueError::PermissionMissing { .. })));
    let mock = Mock::start(|_| fault("EAPI:Invalid key")).await;
    let error = account(&mock).attest().await.unwrap_err();
    assert!(matches!(error, VenueError::KeyRefused { .. }) && !format!("{error:?}").contains("the-key"));
    assert_eq!(mock.seen().len(), 1, "a bad key is not tried again");
}

#[tokio::test]
async fn a_refused_nonce_earns_one_retry_with_a_larger_one() {
    let mock = Mock::start(|_| fault("EAPI:Invalid nonce")).await;
    assert!(account(&mock).attest().await.unwrap_err().is_retryable());
    let nonces: Vec<i64> = mock.asked().iter().filter_map(|asked| field(asked, "nonce")).collect();
    assert_eq!(nonces.len(), 2);
    assert!(nonces[1] > nonces[0] + 1_000_000);
}

#[tokio::test]
async fn one_request_of_a_key_is_under_way_at_a_time_and_the_nonce_only_grows() {
    let mock = Mock::start(|_| key(&READING, json!({}))).await;
    let venues = mock.venues(now());
    // Two turns of the same key share its nonce.
    let accounts = [0, 1].map(|_| connect(&venues, Venue::Kraken, credentials()).unwrap());
    let turns = (0..6).map(|turn| accounts[turn % 2].attest());
    for outcome in futures::future::join_all(turns).await {
        outcome.unwrap();
    }
    let nonces: Vec<i64> = mock.asked().iter().filter_map(|asked| field(asked, "nonce")).collect();
    assert_eq!(nonces.len(), 6);
    assert!(nonces.windows(2).all(|pair| pair[0] < pair[1]), "{nonces:?}");
}

#[tokio::test]
async fn a_key_that_asked_too_much_is_silent_and_public_reads_go_on() {
    for word in ["EAPI:Rate limit exceeded", "EGeneral:Temporary lockout"] {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            "/0/public/Time" => ok(json!({ "unixtime": NOW / 1000 })),
            _ => fault(word),
        })
        .await;
        let venues = mock.venues(now());
        let account = Spot::new(venues, &HOST, credentials()).unwrap();
        for _ in 0..2 {
            let error = account.attest().await.unwrap_err();
            assert!(matches!(error, VenueError::Retry { after: Some(after), .. } if after.as_secs() > 20));
        }
        assert_eq!(mock.seen().len(), 1, "{word}");
        assert_eq!(account.server_now().await.unwrap().millis(), NOW);
    }
}

fn entry(kind: &str, refid: &str, at: i64) -> serde_json::Value {
    let time = serde_json::Number::from_string_unchecked(format!("{}.{:03}", at / 1000, at % 1000));
    json!({ "refid": refid, "time": time, "type": kind, "aclass": "currency", "asset": "ZUSD", "amount": "-10", "fee": "1" })
}

/// 130 records of each kind, newest first, fifty at an offset; in the ledger two legs of a purchase
/// that is a trade too, and two of one that is not.
fn history(asked: &Asked) -> Answer {
    let (start, end) = (field(asked, "start").unwrap() * 1000, field(asked, "end").unwrap() * 1000);
    let ofs = usize::try_from(field(asked, "ofs").unwrap()).unwrap();
    let is_ledger = asked.path.ends_with("Ledgers");
    let all = (0..130).map(|i| (i, NOW - 400 * 86_400_000 + i * 100)).filter(|(_, at)| *at > start && *at <= end);
    let mut rows: Vec<(String, serde_json::Value)> = all
        .map(|(i, at)| match (is_ledger, i) {
            (true, 7 | 8) => (format!("L{i}"), entry("spend", "T7", at)),
            (true, 9 | 10) => (format!("L{i}"), entry("receive", "S9", at)),
            (true, _) => (format!("L{i}"), entry("deposit", "F", at)),
            (false, _) => {
                let mut trade = entry("buy", "", at);
                trade["pair"] = "XXBTZEUR".into();
                trade["price"] = "100".into();
                trade["vol"] = "2".into();
                trade["cost"] = "200".into();
                (format!("T{i}"), trade)
            }
        })
        .collect();
    rows.reverse();
    let count = rows.len();
    let page: Vec<String> = rows.into_iter().skip(ofs).take(50).map(|(id, row)| format!("\"{id}\":{row}")).collect();
    let name = if is_ledger { "ledger" } else { "trades" };
    (200, "", format!(r#"{{"error":[],"result":{{"{name}":{{{}}},"count":{count}}}}}"#, page.join(",")))
}

fn venue(asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/0/public/Time" => ok(json!({ "unixtime": NOW / 1000 })),
        "/0/public/AssetPairs" => ok(json!({
            "XXBTZUSD": { "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD" },
            "XXBTZEUR": { "altname": "XBTEUR", "wsname": "XBT/EUR", "base": "XXBT", "quote": "ZEUR" },
            "ZEURZUSD": { "altname": "EURUSD", "wsname": "EUR/USD", "base": "ZEUR", "quote": "ZUSD" } })),
        "/0/public/Ticker" => ok(json!({ "XXBTZUSD": { "c": ["90000", "1"] }, "ZEURZUSD": { "c": ["1.1", "1"] } })),
        "/0/public/Trades" => {
            let since = asked.number("since").unwrap() / 1_000_000;
            let trade = json!(["1.5", "1", since / 1000 + 5, "b", "l", "", 1]);
            ok(json!({ "ZEURZUSD": [trade], "last": "1" }))
        }
        "/0/private/Balance" => ok(json!({ "ZUSD": "100", "XXBT": "0.5", "ETH2.S": "1", "KFEE": "7", "ZEUR": "0" })),
        "/0/private/TradeBalance" => ok(json!({ "eb": "45100", "n": "-10.5", "e": "1" })),
        "/0/private/OpenPositions" => ok(json!({
            "T1": { "pair": "XXBTZUSD", "type": "sell", "cost": "1000", "vol": "0.01", "vol_closed": "0", "value": "900", "net": "+100" },
            "T2": { "pair": "XXBTZUSD", "type": "sell", "cost": "1000", "vol": "0.01", "vol_closed": "0", "value": "900", "net": "-110.5" } })),
        "/0/private/TradesHistory" | "/0/private/Ledgers" => history(asked),
        _ => fault("EGeneral:Unknown method"),
    }
}

struct Read {
    ids: BTreeMap<String, usize>,
    flows: BTreeMap<String, usize>,
    spans: Vec<(Timestamp, Timestamp)>,
    cursor: Value,
    mock: Mock,
}

/// Reads a stream to its end. The budget of a key is small, so each page has a collector of its own.
async fn read_all(stream: &str) -> Read {
    let mock = Mock::start(venue).await;
    let (mut cursor, mut ids, mut flows, mut spans) = (Value::Null, BTreeMap::new(), BTreeMap::new(), vec![]);
    for _ in 0..60 {
        let page = account(&mock).page(stream, &cursor).await.unwrap();
        assert!(page.parsed.unreadable.is_empty(), "{:?}", page.parsed.unreadable);
        for record in page.parsed.records {
            // Two times 100 and a fee of 1, in euros of 1.5 dollars.
            assert_eq!(record.event.notional_usd.unwrap().to_string(), "300");
            assert_eq!(record.event.fee_usd.unwrap().to_string(), "1.5");
            *ids.entry(record.event.native_id).or_default() += 1;
        }
        for flow in page.parsed.cash_flows {
            *flows.entry(format!("{} {}", flow.kind, flow.native_id)).or_default() += 1;
        }
        spans.extend(page.covered);
        cursor = page.cursor;
        if !page.more {
            return Read { ids, flows, spans, cursor, mock };
        }
    }
    panic!("{stream} never ends");
}

#[tokio::test]
async fn trades_are_read_once_each_and_priced_by_the_minute() {
    let read = read_all(FILLS).await;
    assert_eq!(read.ids.len(), 130);
    assert!(read.ids.values().all(|times| *times == 1));
    assert!(read.spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {:?}", read.spans);
    assert_eq!((read.spans[0].0.millis(), read.spans.last().unwrap().1.millis()), (0, NOW));
    assert!(listed(&read.mock));
    let ends: Vec<_> = read
        .mock
        .asked()
        .iter()
        .filter(|asked| field(asked, "ofs").is_some_and(|ofs| ofs > 0))
        .map(|asked| field(asked, "end"))
        .collect();
    assert!(ends.len() == 2 && ends[0] == ends[1], "a window keeps its end while it is read");
    assert!(read.cursor["time"]["from"].as_i64().unwrap() < NOW - 5 * 60_000, "with an overlap");
}

#[tokio::test]
async fn a_purchase_that_is_a_trade_is_no_conversion() {
    let read = read_all(LEDGER).await;
    assert_eq!((read.ids.len(), read.flows.len()), (0, 128));
    let conversions: Vec<&String> = read.flows.keys().filter(|flow| flow.starts_with("conversion")).collect();
    assert_eq!(conversions, ["conversion kraken:ledger:L10", "conversion kraken:ledger:L9"]);
    assert!(listed(&read.mock));
}

#[tokio::test]
async fn the_counter_of_a_key_is_respected() {
    let mock = Mock::start(venue).await;
    let account = account(&mock);
    let asked = AtomicUsize::new(0);
    let mut cursor = Value::Null;
    let error = loop {
        match account.page(FILLS, &cursor).await {
            Ok(page) => cursor = page.cursor,
            Err(error) => break error,
        }
        asked.fetch_add(1, Ordering::Relaxed);
    };
    // Fifteen points, two for each page.
    assert!(asked.into_inner() <= 7);
    assert!(matches!(error, VenueError::Retry { after: Some(after), .. } if after > Duration::from_secs(15)));
}

#[tokio::test]
async fn a_snapshot_states_the_venues_equity_and_names_what_has_no_price() {
    let mock = Mock::start(venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), streams.len()), ("45089.5", 0));
    let values: Vec<_> =
        snapshot.balances.iter().map(|b| (b.wallet, b.asset.as_str(), b.value_usd.map(|v| v.to_string()))).collect();
    assert_eq!(values[..2], [("spot", "USD", Some("100".into())), ("spot", "BTC", Some("45000".into()))]);
    assert_eq!(values[2..], [("staked", "ETH", None), ("spot", "KFEE", None)]);
    let position = &snapshot.positions[0];
    assert_eq!((snapshot.positions.len(), position.qty.to_string().as_str(), position.leg), (1, "-0.02", "short"));
    assert_eq!(
        (position.notional_usd.to_string().as_str(), position.unrealized_pnl_usd.to_string().as_str()),
        ("1800", "-10.5")
    );
    assert_eq!(snapshot.btc_price_usd.unwrap().to_string(), "90000");
    assert!(listed(&mock));
}

#[tokio::test]
async fn without_the_right_for_positions_the_balances_are_the_equity() {
    let mock = Mock::start(|asked| match asked.path.as_str() {
        "/0/private/TradeBalance" | "/0/private/OpenPositions" => fault("EGeneral:Permission denied"),
        _ => venue(asked),
    })
    .await;
    let (snapshot, _) = account(&mock).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), snapshot.positions.len()), ("45100", 0));
}

#[tokio::test]
async fn streams_are_planned_and_strangers_have_no_plan() {
    let mock = Mock::start(venue).await;
    let account = account(&mock);
    assert_eq!(account.initial_streams(), [FILLS, LEDGER]);
    assert!(account.plan(LEDGER).unwrap().horizon.is_none() && account.plan("spot.fills:X").is_none());
    assert!(account.page("orders", &Value::Null).await.is_err() && account.reread("orders", &[]).await.is_err());
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn credentials_of_another_kind_are_refused_and_never_shown() {
    let mock = Mock::start(venue).await;
    let refused = |credentials| {
        matches!(connect(&mock.venues(now()), Venue::Kraken, credentials), Err(VenueError::KeyRefused { .. }))
    };
    let key = |key: &str, secret: &str| Credentials::ApiKey {
        key: key.into(),
        secret: secret.to_owned().into(),
        passphrase: None,
    };
    assert!(refused(Credentials::Wallet { address: "0x0".into() }));
    assert!(refused(key("k\r\nx: y", SECRET)) && refused(key("k", "not base64!")) && refused(key("", SECRET)));
    assert!(!format!("{:?}", key("k", "hidden")).contains("hidden"));
}
