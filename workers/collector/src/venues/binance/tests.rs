//! The account against a venue of one closure: signing, retries, pages, snapshots.

use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW).unwrap()
}

fn ok(body: impl std::fmt::Display) -> (u16, &'static str, String) {
    (200, "", body.to_string())
}

fn time() -> (u16, &'static str, String) {
    ok(json!({ "serverTime": NOW + 3000 }))
}

fn account(mock: &Mock) -> std::sync::Arc<dyn VenueAccount> {
    let credentials = Credentials::ApiKey { key: "the-key".into(), secret: "the-secret".into(), passphrase: None };
    connect(&mock.venues(now()), codash_domain::Venue::Binance, credentials).unwrap()
}

fn restrictions(extra: &str) -> String {
    format!(r#"{{"enableReading":true,"ipRestrict":false{extra}}}"#)
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_time_and_the_key() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { ok(restrictions("")) }).await;
    assert!(
        matches!(account(&mock).attest().await.unwrap(), Attestation::Accepted(s) if s.assurance == Assurance::ReadOnly)
    );
    assert_eq!(mock.seen(), ["GET /api/v3/time", "GET /sapi/v1/account/apiRestrictions"]);
    let signed = &mock.asked()[1];
    assert_eq!(signed.number("timestamp"), Some(NOW + 3000));
    assert!(signed.headers.contains("x-mbx-apikey: the-key"));
    let (payload, signature) = signed.query.split_once("&signature=").unwrap();
    assert_eq!(signature, crate::venues::hmac::sha256_hex(&"the-secret".into(), payload).unwrap());
}

#[tokio::test]
async fn a_key_that_can_do_more_than_read_is_refused_by_the_names_of_its_rights() {
    let more = r#","enableWithdrawals":true,"enableFutures":false,"permitsUniversalTransfer":true"#;
    let mock =
        Mock::start(move |asked| if asked.path.ends_with("/time") { time() } else { ok(restrictions(more)) }).await;
    let rights = vec!["enableWithdrawals".into(), "permitsUniversalTransfer".into()];
    assert_eq!(account(&mock).attest().await.unwrap(), Attestation::TooPowerful { rights });
}

#[tokio::test]
async fn a_clock_error_earns_one_resync_and_one_retry() {
    for code in [-1021, -1022] {
        let mock = Mock::start(move |asked| match asked.path.ends_with("/time") {
            true => time(),
            false => (400, "", json!({ "code": code, "msg": "no" }).to_string()),
        })
        .await;
        let error = account(&mock).attest().await.unwrap_err();
        assert_eq!(error.is_retryable(), code == -1021);
        let time = "GET /api/v3/time";
        let read = "GET /sapi/v1/account/apiRestrictions";
        assert_eq!(mock.seen(), [time, read, time, read]);
    }
}

#[tokio::test]
async fn futures_refuse_a_good_key_as_if_it_were_bad_and_the_spot_host_tells() {
    let refusal = || (401, "", json!({ "code": -2015, "msg": "Invalid API-key, IP, or permissions" }).to_string());
    for good in [true, false] {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            path if path.ends_with("/time") => time(),
            "/sapi/v1/account/apiRestrictions" if good => ok(restrictions("")),
            _ => refusal(),
        })
        .await;
        let error = account(&mock).page("usdm.income", &Value::Null).await.unwrap_err();
        assert_eq!(matches!(error, VenueError::PermissionMissing { .. }), good);
        assert_eq!(matches!(error, VenueError::KeyRefused { .. }), !good);
        assert!(!format!("{error:?}").contains("the-key"));
    }
}

/// 2500 records of income in one day, ten a millisecond, in pages as long as the venue grants.
fn income(asked: &Asked, cap: usize) -> (u16, &'static str, String) {
    let (from, to) = (asked.number("startTime").unwrap(), asked.number("endTime").unwrap());
    let page = asked.number("page").unwrap() - 1;
    let all = (0..2500).map(|i| (i, NOW - 20 * 24 * 3_600_000 + i / 10)).filter(|(_, at)| (from..=to).contains(at));
    let rows: Vec<Value> = all
        .skip(usize::try_from(page).unwrap() * cap)
        .take(cap)
        .map(|(i, at)| json!({ "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "0.1", "asset": "USDT", "time": at, "tranId": i }))
        .collect();
    ok(Value::from(rows))
}

#[tokio::test]
async fn income_is_read_whole_when_the_venue_changes_how_long_its_pages_are() {
    for caps in [[41, 1000], [1000, 41], [7, 300], [9, 10]] {
        let cap = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let granted = cap.clone();
        let mock = Mock::start(move |asked| match asked.path.ends_with("/time") {
            true => time(),
            false => income(asked, granted.load(std::sync::atomic::Ordering::Relaxed)),
        })
        .await;
        let (mut at, mut ids, mut through) = (Value::Null, std::collections::BTreeSet::new(), None);
        for turn in 0.. {
            // Another collector goes on from what the last one stored.
            cap.store(caps[turn % 2], std::sync::atomic::Ordering::Relaxed);
            let page = account(&mock).page("usdm.income", &at).await.unwrap();
            ids.extend(page.parsed.records.into_iter().map(|record| record.event.native_id));
            if let Some((from, to)) = page.covered {
                assert!(through.is_none_or(|through| from <= through), "without a gap");
                through = Some(to);
            }
            at = page.cursor;
            if !page.more {
                break;
            }
        }
        assert_eq!((ids.len(), through.unwrap().millis()), (2500, NOW + 3000), "pages of {caps:?}");
    }
}

#[tokio::test]
async fn income_is_read_whole_and_reveals_its_symbols() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { income(asked, 1000) }).await;
    let account = account(&mock);
    let (mut at, mut ids, mut spans) = (Value::Null, std::collections::BTreeSet::new(), vec![]);
    loop {
        let page = account.page("usdm.income", &at).await.unwrap();
        ids.extend(page.parsed.records.into_iter().map(|record| record.event.native_id));
        spans.extend(page.covered);
        assert!(page.new_streams.iter().all(|stream| stream == "usdm.fills:BTCUSDT"));
        at = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 2500);
    assert_eq!(spans.last().unwrap().1.millis(), NOW + 3000, "never past the server's now");
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap");
    assert!(
        mock.asked().iter().filter(|asked| asked.path == "/fapi/v1/income").all(|asked| {
            asked.number("endTime").unwrap() - asked.number("startTime").unwrap() <= 7 * 24 * 3_600_000
        })
    );
}

/// 2100 fills, ten to a millisecond, answered by id or by window.
fn fills(asked: &Asked) -> (u16, &'static str, String) {
    let all = (1..=2100_i64).map(|id| (id, NOW - 8 * 24 * 3_600_000 + id / 10));
    let rows: Vec<Value> = all
        .filter(|(id, at)| match asked.number("fromId") {
            Some(from) => *id >= from,
            None => (asked.number("startTime").unwrap()..=asked.number("endTime").unwrap()).contains(at),
        })
        .take(1000)
        .map(|(id, at)| {
            json!({ "symbol": "BTCUSDT", "id": id, "orderId": 1, "side": "BUY", "price": "2", "qty": "1", "quoteQty": "2",
                    "realizedPnl": "0", "commission": "0.001", "commissionAsset": "BNB", "time": at, "isBuyer": true })
        })
        .collect();
    ok(Value::from(rows))
}

fn trading_venue(asked: &Asked) -> (u16, &'static str, String) {
    match asked.path.as_str() {
        "/api/v3/time" | "/fapi/v1/time" => time(),
        "/api/v3/klines" => {
            let (start, count) = (asked.number("startTime").unwrap(), asked.number("limit").unwrap());
            let candles = (0..count).map(|i| json!([start + i * 60_000, "1", "1", "1", "600.5", "1"]));
            ok(Value::from(candles.collect::<Vec<_>>()))
        }
        "/api/v3/exchangeInfo" => ok(json!({ "symbols": [
            { "symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT" },
            { "symbol": "LTCBTC", "baseAsset": "LTC", "quoteAsset": "BTC" },
            { "symbol": "LTCUSDT", "baseAsset": "LTC", "quoteAsset": "USDT" }] })),
        "/api/v3/ticker/price" => ok(json!([
            { "symbol": "BTCUSDT", "price": "90000" }, { "symbol": "LTCBTC", "price": "0.001" }, { "symbol": "ODD", "price": null }])),
        "/api/v3/account" => ok(json!({ "balances": [
            { "asset": "LTC", "free": "1", "locked": "1" }, { "asset": "LDBTC", "free": "9", "locked": "0" },
            { "asset": "WHAT", "free": "3", "locked": "0" }] })),
        "/fapi/v3/account" => ok(json!({ "assets": [
            { "asset": "USDT", "walletBalance": "10", "unrealizedProfit": "-1" },
            { "asset": "USDC", "walletBalance": "5", "unrealizedProfit": "0" }] })),
        "/fapi/v3/positionRisk" => ok(json!([
            { "symbol": "SOLUSDT", "positionSide": "BOTH", "positionAmt": "-2", "entryPrice": "150", "markPrice": "140.5",
              "unRealizedProfit": "19", "notional": "-281" }])),
        _ => fills(asked),
    }
}

#[tokio::test]
async fn fills_are_read_once_each_priced_by_the_minute_and_the_fees_are_exact() {
    for stream in ["usdm.fills:BTCUSDT", "spot.fills:BTCUSDT"] {
        let mock = Mock::start(trading_venue).await;
        let account = account(&mock);
        let (mut at, mut ids, mut spans, mut reads) = (Value::Null, std::collections::BTreeSet::new(), vec![], 0);
        loop {
            let page = account.page(stream, &at).await.unwrap();
            assert!(page.parsed.unreadable.is_empty());
            for record in page.parsed.records {
                assert_eq!(record.event.fee_usd.unwrap().to_string(), "0.6005");
                ids.insert(record.event.native_id);
            }
            spans.extend(page.covered);
            (at, reads) = (page.cursor, reads + 1);
            if !page.more {
                break;
            }
        }
        assert_eq!(ids.len(), 2100, "{stream}");
        assert!(reads < 40, "{reads} reads of {stream}");
        assert!(spans.windows(2).all(|pair| pair[0].1 >= pair[1].0), "without a gap: {spans:?}");
        assert_eq!(spans.last().unwrap().1.millis(), NOW + 3000);
        let again = account.page(stream, &at).await.unwrap();
        assert!(!again.parsed.records.is_empty(), "the last fill is read again");
    }
}

#[tokio::test]
async fn a_snapshot_adds_both_wallets_and_names_what_has_no_price() {
    let mock = Mock::start(trading_venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    // 2 LTC at 0.001 BTC of 90000, 9 USDT and 5 USDC; the mirror of earn is left out.
    assert_eq!(snapshot.nav_usd.to_string(), "194");
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    assert_eq!(snapshot.btc_price_usd.unwrap().to_string(), "90000");
    let exposure = codash_domain::Exposure::of(&snapshot.positions);
    assert_eq!(
        (exposure.short_usd.to_string().as_str(), exposure.futures_upnl_usd.to_string().as_str()),
        ("281", "19")
    );
    assert_eq!(streams, ["spot.fills:LTCBTC", "spot.fills:LTCUSDT", "usdm.fills:SOLUSDT"]);
    assert_eq!(snapshot.taken_at.millis(), NOW + 3000);
}

#[tokio::test]
async fn streams_are_planned_classifiers_first_and_strangers_have_no_plan() {
    let mock = Mock::start(|_| time()).await;
    let account = account(&mock);
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(order("usdm.forced") < order("usdm.income") && order("usdm.income") < order("usdm.fills:BTCUSDT"));
    assert_eq!([order("usdm.fills"), order("usdm.fills:"), order("coinm.fills:X")], [None, None, None]);
    assert_eq!(account.plan("usdm.income").unwrap().horizon.unwrap().0.millis(), NOW - HORIZON_MILLIS);
    assert!(account.plan("spot.fills:BTCUSDT").unwrap().horizon.is_none());
    assert!(account.page("orders", &Value::Null).await.is_err() && mock.seen().is_empty());
}

#[test]
fn credentials_of_another_kind_are_refused_and_never_shown() {
    let venues = || crate::venues::Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: std::sync::Arc::new(codash_domain::SystemClock),
    };
    let key = |key: &str, secret: &str| Credentials::ApiKey {
        key: key.into(),
        secret: secret.to_owned().into(),
        passphrase: None,
    };
    let refused =
        |venue, credentials| matches!(connect(&venues(), venue, credentials), Err(VenueError::KeyRefused { .. }));
    use codash_domain::Venue;
    assert!(refused(Venue::Binance, key("k", "-----BEGIN PRIVATE KEY-----")));
    assert!(refused(Venue::Binance, key("k\r\nx: y", "s")));
    assert!(refused(Venue::Binance, Credentials::Wallet { address: "0x0".into() }));
    assert!(refused(Venue::Hyperliquid, key("k", "s")));
    assert!(refused(Venue::Hyperliquid, Credentials::Wallet { address: "0xzz".into() }));
    assert!(!format!("{:?}", key("k", "hidden")).contains("hidden"));
}
