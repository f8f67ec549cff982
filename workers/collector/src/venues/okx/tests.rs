//! The account against a venue of one closure: signing, retries, pages, snapshots.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 24 * 3_600_000;

type Answer = (u16, &'static str, String);

fn now() -> Timestamp {
    Timestamp::from_millis(NOW).unwrap()
}

fn ok(data: Value) -> Answer {
    (200, "", json!({ "code": "0", "msg": "", "data": data }).to_string())
}

fn refused(status: u16, code: &str) -> Answer {
    (status, "", json!({ "code": code, "msg": "no" }).to_string())
}

/// The venue's clock is three seconds ahead.
fn time() -> Answer {
    ok(json!([{ "ts": (NOW + 3000).to_string() }]))
}

fn config(perm: &str) -> Answer {
    ok(json!([{ "acctLv": "2", "uid": "7", "mainUid": "7", "perm": perm }]))
}

fn key(key: &str, secret: &str, passphrase: Option<&str>) -> Credentials {
    let passphrase = passphrase.map(|text| text.to_owned().into());
    Credentials::ApiKey { key: key.into(), secret: secret.to_owned().into(), passphrase }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    connect(&mock.venues(now()), Venue::Okx, key("the-key", "the-secret", Some("the phrase"))).unwrap()
}

fn assert_only_reads(mock: &Mock) {
    for asked in mock.asked() {
        assert!(Listed::new(READS, &asked.method, &asked.path).is_ok(), "{} {}", asked.method, asked.path);
        assert!(asked.body.is_empty());
    }
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_time_and_the_three_secrets() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { config("read_only") }).await;
    let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!("not accepted") };
    assert_eq!((standing.assurance, standing.kind.as_str()), (Assurance::ReadOnly, "futures"));
    assert_eq!(mock.seen(), ["GET /api/v5/public/time", "GET /api/v5/account/config"]);
    let [clock, signed] = &mock.asked()[..] else { panic!("two requests") };
    assert!(!clock.headers.contains("ok-access"), "public reads carry no key");
    let signature =
        crate::venues::hmac::sha256_base64(&"the-secret".into(), "2026-01-01T00:00:03.000ZGET/api/v5/account/config")
            .unwrap();
    for header in [
        "ok-access-key: the-key".into(),
        "ok-access-timestamp: 2026-01-01t00:00:03.000z".into(),
        "ok-access-passphrase: the phrase".into(),
        format!("ok-access-sign: {}", signature.to_ascii_lowercase()),
    ] {
        assert!(signed.headers.contains(&header), "{header} not in {}", signed.headers);
    }
}

#[tokio::test]
async fn a_key_that_can_do_more_than_read_is_refused_by_the_names_of_its_rights() {
    let more = "read_only,withdraw,trade";
    let mock = Mock::start(move |asked| if asked.path.ends_with("/time") { time() } else { config(more) }).await;
    let rights = vec!["withdraw".into(), "trade".into()];
    assert_eq!(account(&mock).attest().await.unwrap(), Attestation::TooPowerful { rights });
}

#[tokio::test]
async fn a_bad_key_is_refused_and_no_secret_is_shown() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { refused(401, "50105") }).await;
    let error = account(&mock).attest().await.unwrap_err();
    assert!(matches!(error, VenueError::KeyRefused { .. }));
    let shown = format!("{error} {error:?}");
    assert!(!["the-key", "the-secret", "the phrase"].iter().any(|secret| shown.contains(secret)), "{shown}");
    assert_eq!(mock.seen().len(), 2, "asked once");
}

#[tokio::test]
async fn a_clock_error_earns_one_resync_and_one_retry() {
    for (code, retryable) in [("50102", true), ("50113", false)] {
        let mock =
            Mock::start(move |asked| if asked.path.ends_with("/time") { time() } else { refused(401, code) }).await;
        assert_eq!(account(&mock).attest().await.unwrap_err().is_retryable(), retryable);
        let (time, read) = ("GET /api/v5/public/time", "GET /api/v5/account/config");
        assert_eq!(mock.seen(), [time, read, time, read]);
    }
}

#[tokio::test]
async fn too_many_silences_the_endpoint_and_the_firewall_the_host() {
    let mock = Mock::start(|asked| match asked.path.as_str() {
        "/api/v5/public/time" => time(),
        "/api/v5/account/config" => config("read_only"),
        "/api/v5/account/bills-archive" => refused(200, "50011"),
        _ => (403, "", "<html>".into()),
    })
    .await;
    let account = account(&mock);
    for _ in 0..2 {
        let error = account.page("bills", &Value::Null).await.unwrap_err();
        assert!(matches!(error, VenueError::Retry { after: Some(_), .. }), "{error}");
    }
    assert_eq!(mock.seen().len(), 2, "the endpoint was left alone");
    assert!(account.attest().await.is_ok(), "others were not");
    assert!(matches!(account.page("flows.deposits", &Value::Null).await, Err(VenueError::Banned { .. })));
    assert!(matches!(account.attest().await, Err(VenueError::Banned { .. })));
    assert_eq!(mock.seen().len(), 4);
}

/// What OKX would answer of these records, newest first: id and instant.
fn page_of(asked: &Asked, mut all: Vec<(i64, i64)>, row: impl Fn(i64, i64) -> Value) -> Answer {
    let (begin, end) = (asked.number("begin").unwrap(), asked.number("end").unwrap());
    all.sort_by_key(|(id, _)| -id);
    let older = asked.number("after").unwrap_or(i64::MAX);
    let inside = all.into_iter().filter(|(id, at)| *id < older && (begin..=end).contains(at));
    ok(inside.take(100).map(|(id, at)| row(id, at)).collect())
}

/// 730 records of one burst, many in one millisecond, and some of every week.
fn records() -> Vec<(i64, i64)> {
    let burst = (0..730).map(|i| (5_000_000 + i, NOW - 20 * DAY + i / 300));
    let weekly = (0..12).map(|week| (9_000_000 - week, NOW - 1000 - week * 7 * DAY));
    burst.chain(weekly).map(|(id, at)| (if at < NOW - 20 * DAY { id - 8_000_000 } else { id }, at)).collect()
}

fn history_venue(asked: &Asked) -> Answer {
    let bill = |id: i64, at: i64| {
        json!({ "billId": id.to_string(), "ts": at.to_string(), "type": "8", "subType": "174", "ccy": "USDT",
                "pnl": "0.1", "balChg": "0.1", "instType": "SWAP", "instId": "BTC-USDT-SWAP", "px": "100", "sz": "1" })
    };
    let fill = |id: i64, at: i64| {
        json!({ "billId": id.to_string(), "ts": at.to_string(), "fillTime": at.to_string(), "tradeId": "1", "ordId": "2",
                "instType": "SPOT", "instId": "LTC-USDT", "side": "buy", "subType": "1", "fillPx": "100", "fillSz": "1",
                "fillPnl": "0", "fee": "-0.001", "feeCcy": "LTC" })
    };
    match asked.path.as_str() {
        "/api/v5/public/time" => time(),
        "/api/v5/public/instruments" => ok(
            json!([{ "instId": "BTC-USDT-SWAP", "ctVal": "0.01", "ctMult": "1", "ctType": "linear", "settleCcy": "USDT" }]),
        ),
        "/api/v5/market/history-candles" | "/api/v5/market/candles" => {
            let (before, after) = (asked.number("before").unwrap(), asked.number("after").unwrap());
            let minutes = (before + 1..after).filter(|at| at % 60_000 == 0);
            ok(minutes.map(|at| json!([at.to_string(), "1", "1", "1", "102.5", "1"])).collect())
        }
        "/api/v5/account/bills" => recent(asked, 7).unwrap_or_else(|| page_of(asked, records(), bill)),
        "/api/v5/account/bills-archive" => page_of(asked, records(), bill),
        "/api/v5/trade/fills" => recent(asked, 3).unwrap_or_else(|| page_of(asked, records(), fill)),
        "/api/v5/trade/fills-history" => page_of(asked, records(), fill),
        other => panic!("asked for {other}"),
    }
}

/// The quick endpoints answer for a few days only; to ask them about more would lose records.
fn recent(asked: &Asked, days: i64) -> Option<Answer> {
    (asked.number("begin").unwrap() < NOW - days * DAY).then(|| refused(400, "51000"))
}

#[tokio::test]
async fn histories_are_read_whole_and_once_and_covered_without_a_gap() {
    let expected: BTreeSet<String> = records().iter().map(|(id, _)| format!("okx:bill:{id}")).collect();
    for (stream, most) in [("bills", 40), ("spot.fills:LTC-USDT", 30)] {
        let mock = Mock::start(history_venue).await;
        let (mut at, mut ids, mut spans, mut reads) = (Value::Null, BTreeSet::new(), vec![], 0);
        loop {
            // Every account has meters of its own, so that none waits.
            let page = account(&mock).page(stream, &at).await.unwrap();
            assert_eq!(page.parsed.unreadable, []);
            for record in page.parsed.records {
                assert_eq!(record.role, crate::venues::Role::Primary);
                assert!(!record.event.unpriced);
                ids.insert(record.event.native_id);
            }
            assert!(page.new_streams.is_empty(), "funding is no fill");
            spans.extend(page.covered);
            (at, reads) = (page.cursor, reads + 1);
            if !page.more {
                break;
            }
        }
        assert_eq!(ids, expected, "{stream}");
        assert!(reads < most, "{reads} reads of {stream}");
        assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {spans:?}");
        assert_eq!(spans.first().unwrap().0.millis(), NOW + 3000 - HORIZON_MILLIS);
        assert_eq!(spans.last().unwrap().1.millis(), NOW + 3000, "never past the server's now");
        let again = account(&mock).page(stream, &at).await.unwrap();
        assert!(!again.parsed.records.is_empty() && !again.more, "the last record is read again");
        assert_only_reads(&mock);
        let wrong_kind =
            |asked: &Asked| asked.path.contains("fills") && asked.param("instType").as_deref() != Some("SPOT");
        assert!(!mock.asked().iter().any(wrong_kind));
    }
}

#[tokio::test]
async fn fills_of_a_market_that_is_gone_are_found_among_those_of_its_kind() {
    let mock = Mock::start(|asked| {
        if asked.path.ends_with("/time") {
            return time();
        }
        if asked.param("instId").is_some() {
            return refused(400, "51001");
        }
        let row = |id: i64, at: i64| {
            let market = if id % 2 == 0 { "OLD-USDT" } else { "LTC-USDT" };
            json!({ "billId": id, "ts": at, "instType": "SPOT", "instId": market, "side": "buy", "fillPx": "1", "fillSz": "1" })
        };
        page_of(asked, records(), row)
    })
    .await;
    let (mut at, mut ids) = (Value::Null, BTreeSet::new());
    loop {
        let page = account(&mock).page("spot.fills:OLD-USDT", &at).await.unwrap();
        ids.extend(page.parsed.records.into_iter().map(|record| record.event.native_id));
        at = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), records().iter().filter(|(id, _)| id % 2 == 0).count());
}

#[tokio::test]
async fn a_fee_in_the_coin_is_priced_by_its_minute() {
    let mock = Mock::start(history_venue).await;
    let mut at = Value::Null;
    let record = loop {
        let page = account(&mock).page("spot.fills:LTC-USDT", &at).await.unwrap();
        if let Some(record) = page.parsed.records.into_iter().next() {
            break record;
        }
        at = page.cursor;
    };
    assert_eq!(record.event.fee_usd.unwrap().to_string(), "0.1025");
    let raw = RawValue::from_string(record.event.raw.clone()).unwrap();
    let again = account(&mock).reread("spot.fills", &[raw]).await.unwrap();
    assert_eq!(again.records, [record]);
}

#[tokio::test]
async fn deposits_come_whole_however_many_there_are() {
    let deposits: Vec<(i64, i64)> = (0..250).map(|i| (i, NOW - 400 * DAY + i * 3_600_000)).collect();
    let mock = Mock::start(move |asked| {
        if asked.path.ends_with("/time") {
            return time();
        }
        let (before, after) = (asked.number("before").unwrap(), asked.number("after").unwrap());
        let inside = deposits.iter().rev().filter(|(_, at)| (before + 1..after).contains(at));
        let row = |(id, at): &(i64, i64)| json!({ "depId": id, "ccy": "USDT", "amt": "1", "state": "2", "ts": at.to_string() });
        ok(inside.take(100).map(row).collect())
    })
    .await;
    let (mut at, mut ids, mut reads) = (Value::Null, BTreeSet::new(), 0);
    loop {
        let page = account(&mock).page("flows.deposits", &at).await.unwrap();
        ids.extend(page.parsed.cash_flows.into_iter().map(|flow| flow.native_id));
        (at, reads) = (page.cursor, reads + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 250);
    assert!(reads < 40, "{reads} reads");
    assert_only_reads(&mock);
}

fn rich_venue(asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/api/v5/public/time" => time(),
        "/api/v5/account/balance" => ok(json!([{ "totalEq": "1000.5", "details": [
            { "ccy": "USDT", "eq": "900", "eqUsd": "899.5" }, { "ccy": "OKB", "eq": "2", "eqUsd": "101" }] }])),
        "/api/v5/account/positions" => ok(json!([
            { "instType": "SWAP", "instId": "BTC-USD-SWAP", "pos": "-2", "posSide": "net", "avgPx": "90000", "markPx": "80000",
              "notionalUsd": "200", "upl": "0.0002", "ccy": "BTC" }])),
        "/api/v5/asset/balances" => ok(json!([{ "ccy": "BTC", "bal": "0.5", "frozenBal": "0", "availBal": "0.5" }])),
        "/api/v5/asset/asset-valuation" => {
            assert_eq!(asked.param("ccy").as_deref(), Some("USD"));
            ok(
                json!([{ "details": { "funding": "40000", "trading": "1000.4", "earn": "9.5", "classic": "0" }, "totalBal": "41009.9" }]),
            )
        }
        "/api/v5/public/instruments" => {
            assert_eq!(asked.param("instType").as_deref(), Some("SWAP"));
            ok(
                json!([{ "instId": "BTC-USD-SWAP", "ctVal": "100", "ctMult": "1", "ctType": "inverse", "settleCcy": "BTC" }]),
            )
        }
        "/api/v5/market/tickers" => {
            ok(json!([{ "instId": "BTC-USDT", "last": "80000" }, { "instId": "ODD", "last": null }]))
        }
        other => panic!("asked for {other}"),
    }
}

#[tokio::test]
async fn a_snapshot_adds_the_accounts_once_each() {
    let mock = Mock::start(rich_venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    // The trading account's own equity, and the valuation of funding and earn alone.
    assert_eq!(snapshot.nav_usd.to_string(), "41010");
    assert_eq!(snapshot.unpriced_assets, []);
    let told: Vec<String> = snapshot
        .balances
        .iter()
        .map(|b| format!("{} {} {} {}", b.wallet, b.asset, b.total, b.value_usd.unwrap()))
        .collect();
    assert_eq!(told, ["trading USDT 900 899.5", "trading OKB 2 101", "funding BTC 0.5 40000"]);
    let position = &snapshot.positions[0];
    assert_eq!((position.symbol.as_str(), position.qty.to_string().as_str()), ("BTC-PERP-USD", "-0.0025"));
    assert_eq!(position.unrealized_pnl_usd.to_string(), "16");
    assert_eq!(snapshot.btc_price_usd.unwrap().to_string(), "80000");
    assert_eq!(streams, ["swap.fills:BTC-USD-SWAP"]);
    assert_eq!(snapshot.taken_at.millis(), NOW + 3000);
    assert_only_reads(&mock);
}

#[tokio::test]
async fn streams_are_planned_bills_first_and_strangers_have_no_plan() {
    let mock = Mock::start(|_| time()).await;
    let account = account(&mock);
    assert!(account.initial_streams().iter().all(|stream| account.plan(stream).is_some()));
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(order("bills") < order("swap.fills:BTC-USDT-SWAP"));
    assert_eq!([order("swap.fills"), order("swap.fills:"), order("orders"), order("bills:X")], [None; 4]);
    assert_eq!(account.plan("option.fills:X").unwrap().horizon.unwrap().0.millis(), NOW - HORIZON_MILLIS);
    assert!(account.plan("flows.deposits").unwrap().horizon.is_none());
    let every = |stream: &str| account.plan(stream).unwrap().every.as_secs();
    assert_eq!(every("futures.fills:ETH-USDT-251226"), 24 * 3600, "it has expired");
    assert_eq!(every("futures.fills:ETH-USDT-260327"), 300);
    assert!(account.page("orders", &Value::Null).await.is_err() && account.page("x:y", &Value::Null).await.is_err());
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn credentials_of_another_kind_are_refused_and_never_shown() {
    let mock = Mock::start(|_| time()).await;
    let refused = |credentials| {
        let outcome = connect(&mock.venues(now()), Venue::Okx, credentials);
        matches!(outcome, Err(VenueError::KeyRefused { reason }) if !reason.contains("hidden"))
    };
    assert!(refused(key("hidden", "hidden", None)));
    assert!(refused(key("hidden", "hidden", Some(""))));
    assert!(refused(key("hidden", "hidden", Some("hidden\r\nx: y"))));
    assert!(refused(key("hidden\r\nx: y", "hidden", Some("hidden"))));
    assert!(refused(Credentials::Wallet { address: "0xhidden".into() }));
    assert!(!format!("{:?}", key("k", "hidden", Some("hidden"))).contains("hidden"));
    assert!(mock.seen().is_empty());
}
