//! The account against a venue of one closure: signing, retries, pages, snapshots.

use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::paging::DAY_MILLIS;
use crate::venues::reads::Listed;
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;
/// The venue's clock runs three seconds ahead.
const SERVER: i64 = NOW + 3000;

type Answer = (u16, &'static str, String);

fn ok(result: Value) -> Answer {
    (200, "", json!({ "retCode": 0, "retMsg": "OK", "result": result, "time": SERVER }).to_string())
}

fn refused(code: i64, message: &str) -> Answer {
    (200, "", json!({ "retCode": code, "retMsg": message, "result": {}, "time": SERVER }).to_string())
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    let credentials =
        Credentials::ApiKey { key: "the-key".into(), secret: "the-secret".to_owned().into(), passphrase: None };
    let now = Timestamp::from_millis(NOW).unwrap();
    connect(&mock.venues(now), Venue::Bybit, credentials).unwrap()
}

fn key(read_only: i64, permissions: Value, uta: i64) -> Answer {
    ok(json!({ "readOnly": read_only, "permissions": permissions, "uta": uta, "isMaster": false,
               "expiredAt": "2026-04-01T00:00:00Z", "deadlineDay": 90 }))
}

/// Everything that was asked is a listed read.
fn assert_reads(mock: &Mock) {
    for asked in mock.asked() {
        Listed::new(READS, &asked.method, &asked.path).unwrap();
    }
}

/// The venue of an account that may only read, with this answer to everything else.
fn venue(asked: &Asked, generation: i64, rest: impl Fn(&Asked) -> Answer) -> Answer {
    match asked.path.as_str() {
        "/v5/market/time" => ok(json!({ "timeSecond": (SERVER / 1000).to_string() })),
        "/v5/user/query-api" => key(1, json!({ "Wallet": ["AccountTransfer"], "Spot": ["SpotTrade"] }), 1),
        "/v5/account/info" => ok(json!({ "unifiedMarginStatus": generation })),
        _ => rest(asked),
    }
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_time_and_the_key_and_covers_the_query() {
    let mock = Mock::start(|asked| venue(asked, 6, |_| ok(json!({ "list": [], "nextPageCursor": "" })))).await;
    account(&mock).page(LOG, &Value::Null).await.unwrap();
    assert_eq!(mock.seen(), ["GET /v5/market/time", "GET /v5/account/transaction-log"]);
    let signed = &mock.asked()[1];
    let header = |name: &str| {
        let line = signed.headers.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap().to_owned()
    };
    assert_eq!((header("x-bapi-api-key").as_str(), header("x-bapi-recv-window").as_str()), ("the-key", "5000"));
    assert_eq!(header("x-bapi-timestamp"), SERVER.to_string());
    let payload = format!("{SERVER}the-key5000{}", signed.query);
    assert_eq!(header("x-bapi-sign"), crate::venues::hmac::sha256_hex(&"the-secret".into(), &payload).unwrap());
    assert!(!mock.asked()[0].headers.contains("x-bapi"), "a public read shows no key");
    assert_eq!(signed.param("accountType").as_deref(), Some("UNIFIED"));
}

#[tokio::test]
async fn a_key_that_can_only_read_a_unified_account_is_accepted_with_its_end() {
    for (generation, gaps) in [(6, 4), (4, 5)] {
        let mock = Mock::start(move |asked| venue(asked, generation, |_| ok(json!({})))).await;
        let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
        assert_eq!((standing.assurance, standing.not_covered.len()), (Assurance::ReadOnly, gaps));
        assert_eq!(standing.key_expires_at.unwrap().to_string(), "2026-04-01T00:00:00.000Z");
        assert_reads(&mock);
    }
}

#[tokio::test]
async fn a_key_that_can_do_more_is_refused_by_the_names_of_its_rights() {
    let cases = [
        (0, json!({ "Spot": ["SpotTrade"], "NFT": [] }), vec!["Spot: SpotTrade"]),
        (1, json!({ "Wallet": ["AccountTransfer", "Withdraw"] }), vec!["Wallet: Withdraw"]),
    ];
    for (read_only, permissions, rights) in cases {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            "/v5/user/query-api" => key(read_only, permissions.clone(), 1),
            _ => venue(asked, 6, |_| ok(json!({}))),
        })
        .await;
        let rights = rights.into_iter().map(Into::into).collect();
        assert_eq!(account(&mock).attest().await.unwrap(), Attestation::TooPowerful { rights });
    }
}

#[tokio::test]
async fn an_account_that_is_not_unified_is_none_of_ours() {
    for (uta, generation) in [(0, 6), (1, 1)] {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            "/v5/user/query-api" => key(1, json!({}), uta),
            _ => venue(asked, generation, |_| ok(json!({}))),
        })
        .await;
        assert!(matches!(account(&mock).attest().await.unwrap(), Attestation::NotAnAccount { .. }));
    }
}

#[tokio::test]
async fn a_clock_or_signature_error_earns_one_resync_and_one_retry_and_no_secret_is_told() {
    for (code, retryable) in [(10002, true), (10004, false)] {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            "/v5/user/query-api" => refused(code, "error sign! origin_string[1767225603000the-key5000]"),
            _ => venue(asked, 6, |_| ok(json!({}))),
        })
        .await;
        let error = account(&mock).attest().await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable);
        assert!(!format!("{error} {error:?}").contains("the-key"));
        let (time, read) = ("GET /v5/market/time", "GET /v5/user/query-api");
        assert_eq!(mock.seen(), [time, read, time, read]);
    }
}

#[tokio::test]
async fn a_bad_key_is_final_and_a_missing_right_is_told_apart() {
    for (code, class) in
        [(10003, "key_refused"), (10010, "key_refused"), (33004, "key_refused"), (10005, "permission_missing")]
    {
        let mock = Mock::start(move |asked| match asked.path.as_str() {
            "/v5/market/time" => venue(asked, 6, |_| ok(json!({}))),
            _ => refused(code, "no"),
        })
        .await;
        assert_eq!(account(&mock).page(LOG, &Value::Null).await.unwrap_err().class(), class);
    }
}

#[tokio::test]
async fn too_many_requests_of_a_user_silence_that_endpoint_alone() {
    let mock = Mock::start(|asked| {
        venue(asked, 6, |asked| match asked.path.as_str() {
            // Two seconds past the venue's clock.
            "/v5/account/transaction-log" => {
                let (_, _, body) = refused(10006, "Too many visits!");
                (200, "x-bapi-limit-reset-timestamp: 1767225605000", body)
            }
            _ => ok(json!({ "list": [], "nextPageCursor": "" })),
        })
    })
    .await;
    let account = account(&mock);
    let error = account.page(LOG, &Value::Null).await.unwrap_err();
    assert!(matches!(error, VenueError::Retry { after: Some(after), .. } if after.as_millis() == 2000));
    assert!(account.page(LOG, &Value::Null).await.unwrap_err().is_retryable());
    account.page(SPOT_FILLS, &Value::Null).await.unwrap();
    assert_eq!(mock.seen().iter().filter(|seen| seen.ends_with("transaction-log")).count(), 1);
}

#[tokio::test]
async fn an_address_that_asked_too_often_is_silent_for_ten_minutes() {
    for code in [None, Some(10018)] {
        let mock = Mock::start(move |asked| match (asked.path.as_str(), code) {
            ("/v5/market/time", _) => venue(asked, 6, |_| ok(json!({}))),
            (_, None) => (403, "", "access too frequent".into()),
            (_, Some(code)) => refused(code, "Exceeded the IP Rate Limit."),
        })
        .await;
        let account = account(&mock);
        let error = account.page(LOG, &Value::Null).await.unwrap_err();
        assert!(matches!(error, VenueError::Banned { after, .. } if after == BAN));
        assert!(matches!(account.snapshot().await.unwrap_err(), VenueError::Banned { .. }));
        assert_eq!(mock.seen().len(), 2);
    }
}

/// 330 fills of the last 16 days, newest first, in pages that an encoded token leads through; as
/// the documents show it, the last page names a token too.
fn history(asked: &Asked, limit: usize, row: impl Fn(i64, i64) -> Value) -> Answer {
    let (from, to) = (asked.number("startTime").unwrap(), asked.number("endTime").unwrap());
    assert!(to - from < 7 * DAY_MILLIS && to <= SERVER, "{}", asked.query);
    assert_eq!(asked.number("limit"), Some(limit as i64));
    let offset: usize = match asked.param("cursor") {
        Some(token) => token.strip_prefix("at%3A").unwrap().parse().unwrap(),
        None => 0,
    };
    let mut all: Vec<(i64, i64)> = (0..330).map(|i| (i, SERVER - 16 * DAY_MILLIS + (i / 10) * 40_000_000)).collect();
    all.reverse();
    let rows: Vec<Value> = all
        .into_iter()
        .filter(|(_, at)| (from..=to).contains(at))
        .skip(offset)
        .take(limit)
        .map(|(id, at)| row(id, at))
        .collect();
    let next = if rows.is_empty() { String::new() } else { format!("at%3A{}", offset + rows.len()) };
    ok(json!({ "category": "spot", "list": rows, "nextPageCursor": next }))
}

fn log_row(id: i64, at: i64) -> Value {
    json!({ "id": "1_X", "symbol": "BTCUSDT", "category": "linear", "side": "Buy", "transactionTime": at.to_string(),
            "type": "TRADE", "qty": "1", "currency": "USDT", "tradePrice": "2", "funding": "", "fee": "0.001",
            "cashFlow": "0", "change": "-0.001", "tradeId": id.to_string(), "orderId": "o" })
}

fn execution(id: i64, at: i64) -> Value {
    json!({ "symbol": "ETHUSDC", "side": "Buy", "execId": id.to_string(), "orderId": "o", "execTime": at.to_string(),
            "execType": "Trade", "execPrice": "3000", "execQty": "1", "execValue": "3000", "execFee": "0.001",
            "feeCurrency": "ETH", "isMaker": false })
}

fn trading_venue(asked: &Asked) -> Answer {
    venue(asked, 6, |asked| match asked.path.as_str() {
        "/v5/account/transaction-log" => history(asked, 50, log_row),
        "/v5/execution/list" => history(asked, 100, execution),
        "/v5/market/kline" if asked.param("symbol").as_deref() == Some("ETHUSDT") => {
            let (start, end) = (asked.number("start").unwrap(), asked.number("end").unwrap());
            let candle = |at: i64| json!([at.to_string(), "1", "1", "1", "600.5", "1", "1"]);
            // Newest first, as the venue has it.
            let candles: Vec<Value> = (0..=(end - start) / 60_000).rev().map(|i| candle(start + i * 60_000)).collect();
            ok(json!({ "category": "spot", "list": candles }))
        }
        "/v5/market/kline" => refused(10001, "Not supported symbols"),
        "/v5/market/instruments-info" => ok(json!({ "category": "spot", "list": [
            { "symbol": "ETHUSDC", "baseCoin": "ETH", "quoteCoin": "USDC" }] })),
        "/v5/market/tickers" => ok(json!({ "category": "spot", "list": [
            { "symbol": "BTCUSDT", "lastPrice": "90000" }, { "symbol": "ETHUSDC", "lastPrice": "3000" },
            { "symbol": "ODD", "lastPrice": "" }] })),
        "/v5/account/wallet-balance" => {
            ok(json!({ "list": [{ "accountType": "UNIFIED", "totalEquity": "1000.5", "coin": [
            { "coin": "USDT", "equity": "1000.5", "walletBalance": "1000.5", "usdValue": "1000.4" },
            { "coin": "SOL", "equity": "0", "walletBalance": "0", "usdValue": "" }] }] }))
        }
        "/v5/asset/transfer/query-account-coins-balance" => ok(json!({ "accountType": "FUND", "balance": [
            { "coin": "ETH", "walletBalance": "2" }, { "coin": "WHAT", "walletBalance": "5" },
            { "coin": "BTC", "walletBalance": "0" }] })),
        "/v5/position/list" => positions(asked),
        _ => refused(10017, "Route not found."),
    })
}

fn positions(asked: &Asked) -> Answer {
    let row = |symbol: &str, side: &str, size: &str, mark: &str, profit: &str| {
        json!({ "symbol": symbol, "side": side, "size": size, "positionIdx": 0, "avgPrice": "1", "markPrice": mark,
                "unrealisedPnl": profit })
    };
    let (category, settle, token) =
        (asked.param("category").unwrap(), asked.param("settleCoin"), asked.param("cursor"));
    let (list, next) = match (category.as_str(), settle.as_deref(), token.as_deref()) {
        ("linear", Some("USDT"), None) => (vec![row("SOLUSDT", "Sell", "2", "140.5", "19")], "p%3D2"),
        ("linear", Some("USDT"), Some("p%3D2")) => (vec![row("XRPUSDT", "Buy", "10", "2", "-1")], ""),
        ("linear", Some("USDC"), None) => (vec![row("BTCPERP", "", "0", "0", "")], ""),
        ("inverse", None, None) => (vec![row("BTCUSD", "Buy", "300", "100000", "0.0001")], ""),
        ("option", None, None) => (vec![], ""),
        other => panic!("{other:?}"),
    };
    ok(json!({ "category": category, "list": list, "nextPageCursor": next }))
}

#[tokio::test]
async fn histories_are_read_once_each_and_covered_only_when_complete() {
    for (stream, fee) in [(LOG, "0.001"), (SPOT_FILLS, "0.6005")] {
        let mock = Mock::start(trading_venue).await;
        let account = account(&mock);
        let mut at = json!({ "time": { "from": SERVER - 20 * DAY_MILLIS } });
        let (mut ids, mut spans, mut reads) = (std::collections::BTreeSet::new(), vec![], 0);
        loop {
            let page = account.page(stream, &at).await.unwrap();
            assert!(page.parsed.unreadable.is_empty());
            for record in page.parsed.records {
                assert_eq!(record.event.fee_usd.unwrap().to_string(), fee);
                assert!(ids.insert(record.event.native_id), "read twice");
            }
            assert!(page.covered.is_none() || page.cursor.get("token").is_none());
            spans.extend(page.covered);
            (at, reads) = (page.cursor, reads + 1);
            if !page.more {
                break;
            }
        }
        assert_eq!(ids.len(), 330, "{stream}");
        assert!(reads < 20, "{reads} reads of {stream}");
        assert_eq!(spans.len(), 3);
        assert_eq!(spans[0].0.millis(), SERVER - 20 * DAY_MILLIS);
        assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {spans:?}");
        assert_eq!(spans[2].1.millis(), SERVER, "never past the server's now");
        let again = account.page(stream, &at).await.unwrap();
        assert!(again.parsed.records.len() >= 10, "the last records are read again");
        assert_reads(&mock);
    }
}

#[tokio::test]
async fn a_snapshot_adds_both_wallets_and_all_products_and_names_what_has_no_price() {
    let mock = Mock::start(trading_venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    // The equity that the venue states, and 2 ETH at 3000 in the funding wallet.
    assert_eq!(snapshot.nav_usd.to_string(), "7000.5");
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    assert_eq!(snapshot.btc_price_usd.unwrap().to_string(), "90000");
    let exposure = codash_domain::Exposure::of(&snapshot.positions);
    // 10 XRP at 2 and 300 dollars of BTC; 2 SOL at 140.5; 19 - 1 + 0.0001 BTC at 90000.
    assert_eq!(
        [exposure.long_usd, exposure.short_usd, exposure.futures_upnl_usd].map(|usd| usd.to_string()),
        ["320", "281", "27"]
    );
    let inverse = snapshot.positions.iter().find(|position| position.native_symbol == "BTCUSD").unwrap();
    assert_eq!((inverse.qty.to_string().as_str(), inverse.symbol.as_str()), ("0.003", "BTC-PERP-USD"));
    assert_eq!((streams.len(), snapshot.taken_at.millis()), (0, SERVER));
    assert_reads(&mock);
}

#[tokio::test]
async fn a_sub_account_that_may_not_ask_for_withdrawals_has_none() {
    let mock = Mock::start(|asked| venue(asked, 6, |_| refused(10005, "Permission denied"))).await;
    let account = account(&mock);
    let page = account.page(WITHDRAWALS, &Value::Null).await.unwrap();
    assert!(page.covered.is_some() && page.more);
    assert!(matches!(account.page(DEPOSITS, &Value::Null).await, Err(VenueError::PermissionMissing { .. })));
}

#[tokio::test]
async fn streams_are_planned_classifiers_first_and_strangers_have_no_plan() {
    let mock = Mock::start(|_| ok(json!({}))).await;
    let account = account(&mock);
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(order(LINEAR_FORCED) < order(LOG) && order(LOG) < order(SPOT_FILLS) && order(SPOT_FILLS) < order(DEPOSITS));
    assert_eq!([order("spot.fills:BTCUSDT"), order("orders"), order("")], [None, None, None]);
    assert!(account.initial_streams().iter().all(|stream| order(stream).is_some()));
    assert_eq!(account.plan(LOG).unwrap().horizon.unwrap().0.millis(), NOW - HORIZON_MILLIS);
    assert!(account.page("orders", &Value::Null).await.is_err() && account.reread("orders", &[]).await.is_err());
    assert!(mock.seen().is_empty());
}

#[test]
fn credentials_of_another_kind_are_refused() {
    let venues = || Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: Arc::new(codash_domain::SystemClock),
    };
    let key = |key: &str, secret: &str| Credentials::ApiKey {
        key: key.into(),
        secret: secret.to_owned().into(),
        passphrase: None,
    };
    let refused =
        |credentials| matches!(connect(&venues(), Venue::Bybit, credentials), Err(VenueError::KeyRefused { .. }));
    assert!(refused(key("k", "-----BEGIN PRIVATE KEY-----")));
    assert!(refused(key("k\r\nx: y", "s")) && refused(key("", "s")));
    assert!(refused(Credentials::Wallet { address: "0x0".into() }));
    assert!(!refused(key("k", "s")));
}
