//! The account against a venue of one closure: signatures, rights, pages, snapshots.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::venues::connect;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;

const NOW: i64 = 1_767_225_600_000;
const SECRET: &str = "dGhlIHNlY3JldA==";

type Answer = (u16, &'static str, String);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn ok(body: Value) -> Answer {
    (200, "", body.to_string())
}

fn fault(word: &str) -> Answer {
    ok(json!({ "result": "error", "error": word }))
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    let credentials = Credentials::ApiKey { key: "the-key".into(), secret: SECRET.into(), passphrase: None };
    connect(&mock.venues(at(NOW)), Venue::KrakenFutures, credentials).unwrap()
}

fn listed(mock: &Mock) -> bool {
    mock.asked().iter().all(|asked| Listed::new(sign::READS, &asked.method, &asked.path).is_ok())
}

fn check(general: &str, transfer: &str) -> Answer {
    ok(json!({ "apiKey": "x", "permissions": { "general": general, "transfer": transfer } }))
}

#[tokio::test]
async fn a_private_read_carries_key_and_signature_and_no_nonce() {
    let mock = Mock::start(|_| check("READ_ONLY", "NO_ACCESS")).await;
    let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
    assert_eq!(standing.assurance, Assurance::ReadOnly);
    let asked = &mock.asked()[0];
    let path = "/api/auth/v1/api-keys/v3/check";
    assert_eq!((asked.path.as_str(), asked.query.as_str()), (path, ""));
    let read = Listed::new(sign::READS, "GET", path).unwrap();
    let (_, signature) = sign::private(read, &[], &SECRET.into()).unwrap();
    assert!(asked.headers.contains("apikey: the-key") && !asked.headers.contains("nonce"));
    assert!(asked.headers.contains(&format!("authent: {}", signature.to_ascii_lowercase())));
}

#[tokio::test]
async fn what_a_key_may_do_decides() {
    let mock = Mock::start(|_| check("FULL_ACCESS", "READ_ONLY")).await;
    let refused = Attestation::TooPowerful { rights: vec!["general: FULL_ACCESS".into()] };
    assert_eq!(account(&mock).attest().await.unwrap(), refused);
    let mock = Mock::start(|_| check("NO_ACCESS", "READ_ONLY")).await;
    assert!(matches!(account(&mock).attest().await, Err(VenueError::PermissionMissing { .. })));
}

#[tokio::test]
async fn without_the_check_nothing_is_proven_and_a_bad_key_is_still_bad() {
    for status in [404, 401, 400] {
        let mock = Mock::start(move |asked| match asked.path.ends_with("check") {
            true if status == 400 => fault("permissionDenied"),
            true => (status, "", json!({ "error": "NOT_FOUND", "message": "no", "suberror": null }).to_string()),
            false => ok(json!({ "result": "success", "accounts": {} })),
        })
        .await;
        let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!("{status}") };
        assert_eq!(standing.assurance, Assurance::Unproven);
    }
    let mock = Mock::start(|asked| match asked.path.ends_with("check") {
        true => (401, "", json!({ "error": "NOT_FOUND", "message": "no" }).to_string()),
        false => fault("authenticationError"),
    })
    .await;
    let error = account(&mock).attest().await.unwrap_err();
    assert!(matches!(error, VenueError::KeyRefused { .. }) && !format!("{error:?}").contains("the-key"));
}

#[tokio::test]
async fn too_much_silences_the_history_and_not_the_rest() {
    let mock = Mock::start(|asked| match asked.path.as_str() {
        "/api/history/v3/account-log" => fault("apiLimitExceeded"),
        _ => venue(asked),
    })
    .await;
    let account = account(&mock);
    for _ in 0..2 {
        let error = account.page(LOG, &Value::Null).await.unwrap_err();
        assert!(matches!(error, VenueError::Retry { after: Some(after), .. } if after.as_secs() > 50));
    }
    assert_eq!(mock.seen().iter().filter(|seen| seen.contains("account-log")).count(), 1);
    account.snapshot().await.unwrap();
}

#[tokio::test]
async fn a_refused_nonce_earns_one_retry() {
    let mock = Mock::start(|_| fault("nonceBelowThreshold")).await;
    assert!(account(&mock).attest().await.unwrap_err().is_retryable());
    assert_eq!(mock.seen().len(), 2);
}

/// 1200 executions of two entries each; the two are not always neighbours.
fn log_entry(id: i64) -> Value {
    let execution = (id - 1) / 2;
    let date = at(NOW - 10 * 86_400_000 + execution / 4).to_string();
    let is_money = (id % 2 == 0) != (execution % 3 == 0);
    let (asset, uid) = if is_money { ("xbt", format!("m{execution}")) } else { ("pi_xbtusd", format!("p{execution}")) };
    json!({ "id": id, "asset": asset, "booking_uid": uid, "contract": "pi_xbtusd", "date": date, "execution": format!("e{execution}"),
            "fee": if is_money { json!(0.001) } else { Value::Null }, "info": "futures trade", "margin_account": "fi_xbtusd",
            "old_balance": 0, "new_balance": if is_money { json!(0.009) } else { json!(100) },
            "realized_pnl": if is_money { json!(0.01) } else { Value::Null }, "trade_price": 50000 })
}

/// 250 fills of which every fiftieth was forced, a hundred at a time, newest first.
fn fills(asked: &Asked) -> Value {
    let before = asked.param("lastFillTime").map_or(i64::MAX, |at| at.parse::<Timestamp>().unwrap().millis());
    let all = (0..250_i64).rev().map(|i| (i, NOW - 86_400_000 + i / 2)).filter(|(_, at)| *at < before).take(100);
    let fill = |(i, time)| {
        json!({ "fill_id": format!("e{i}"), "symbol": "PF_XBTUSD", "side": "buy", "order_id": "o", "size": 1, "price": 50000,
                "fillTime": at(time), "fillType": if i % 50 == 0 { "liquidation" } else { "taker" } })
    };
    all.map(fill).collect()
}

fn venue(asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/derivatives/api/v3/tickers" => ok(json!({ "result": "success", "serverTime": at(NOW + 2000), "tickers": [
            { "symbol": "PI_XBTUSD", "markPrice": 50100.5, "indexPrice": 50000 },
            { "symbol": "PF_ETHUSD", "markPrice": 3000, "indexPrice": 2999 }, { "symbol": "odd", "markPrice": null }] })),
        "/derivatives/api/v3/accounts" => ok(json!({ "result": "success", "accounts": {
            "cash": { "type": "cashAccount", "balances": { "xbt": 0.1, "usd": 50, "what": 2 } },
            "fi_xbtusd": { "type": "marginAccount", "currency": "xbt", "balances": { "xbt": 1 }, "auxiliary": { "pv": 1.1, "pnl": 0.1 } },
            "flex": { "type": "multiCollateralMarginAccount", "portfolioValue": 1000.25, "currencies": { "USD": { "quantity": 900, "value": 900 } } } } })),
        "/derivatives/api/v3/openpositions" => ok(json!({ "result": "success", "openPositions": [
            { "side": "long", "symbol": "PF_ETHUSD", "price": 2900, "size": 2 }] })),
        "/derivatives/api/v3/fills" => ok(json!({ "result": "success", "fills": fills(asked) })),
        "/api/history/v3/account-log" => {
            let from = asked.number("from").unwrap();
            let last = (from + asked.number("count").unwrap() - 1).min(2400);
            ok(json!({ "accountUid": "x", "logs": (from..=last).map(log_entry).collect::<Vec<_>>() }))
        }
        path if path.starts_with("/api/charts/v1/spot/PI_XBTUSD") => {
            let (from, to) = (asked.number("from").unwrap(), asked.number("to").unwrap());
            let minutes = (from..=to).step_by(60);
            ok(json!({ "candles": minutes.map(|s| json!({ "time": s * 1000, "close": "50000" })).collect::<Vec<_>>() }))
        }
        _ => (404, "", "no".into()),
    }
}

#[tokio::test]
async fn the_log_is_read_once_each_with_both_entries() {
    let mock = Mock::start(venue).await;
    let account = account(&mock);
    let (mut cursor, mut ids, mut spans) = (Value::Null, BTreeMap::<String, usize>::new(), vec![]);
    loop {
        let page = account.page(LOG, &cursor).await.unwrap();
        assert!(page.parsed.unreadable.is_empty());
        for record in page.parsed.records {
            let event = record.event;
            assert_eq!(
                (event.qty.unwrap().to_string().as_str(), event.notional_usd.unwrap().to_string().as_str()),
                ("0.002", "100")
            );
            assert_eq!(event.net_pnl_impact_usd().unwrap().to_string(), "450");
            assert!(event.native_id.starts_with("kraken:futures:log:m"));
            *ids.entry(event.native_id).or_default() += 1;
        }
        spans.extend(page.covered);
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 1200);
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {spans:?}");
    assert_eq!((spans[0].0.millis(), spans.last().unwrap().1.millis()), (0, NOW + 2000));
    let again = account.page(LOG, &cursor).await.unwrap();
    assert!(!again.parsed.records.is_empty() && !again.more, "the last execution is read again");
    assert!(listed(&mock));
}

#[tokio::test]
async fn forced_fills_classify_and_are_read_back_to_the_first() {
    let mock = Mock::start(venue).await;
    let account = account(&mock);
    let (mut cursor, mut found, mut covered) = (Value::Null, vec![], None);
    for _ in 0..9 {
        let page = account.page(FILLS, &cursor).await.unwrap();
        found.extend(page.parsed.records.into_iter().map(|record| (record.role, record.event.order_ref.unwrap())));
        covered = covered.or(page.covered);
        cursor = page.cursor;
        if !page.more {
            break;
        }
    }
    found.dedup();
    let refs: Vec<&str> = found.iter().map(|(_, order)| order.as_str()).collect();
    assert_eq!(refs, [200, 150, 100, 50, 0].map(|i| format!("kraken:futures:execution:e{i}")));
    assert!(found.iter().all(|(role, _)| *role == crate::venues::Role::Classifier));
    assert_eq!(covered.unwrap(), (at(0), at(NOW + 2000)));
}

#[tokio::test]
async fn a_snapshot_adds_every_wallet_and_marks_positions() {
    let mock = Mock::start(venue).await;
    let (snapshot, _) = account(&mock).snapshot().await.unwrap();
    // 1000.25 of the multi-collateral wallet, 50 and 0.1 BTC of cash, and 1.1 BTC at the index of 50000.
    assert_eq!(snapshot.nav_usd.to_string(), "61050.25");
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    let position = &snapshot.positions[0];
    assert_eq!((position.symbol.as_str(), position.notional_usd.to_string().as_str()), ("ETH-PERP", "6000"));
    assert_eq!((position.unrealized_pnl_usd.to_string().as_str(), snapshot.taken_at), ("200", at(NOW + 2000)));
    assert!(listed(&mock));
}

#[tokio::test]
async fn a_user_without_a_futures_account_holds_nothing() {
    let mock = Mock::start(|asked| match asked.path.as_str() {
        "/derivatives/api/v3/tickers" => venue(asked),
        _ => fault("accountInactive"),
    })
    .await;
    let account = account(&mock);
    let (snapshot, _) = account.snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), snapshot.balances.len()), ("0", 0));
    for stream in [FILLS, LOG] {
        let page = account.page(stream, &Value::Null).await.unwrap();
        assert_eq!((page.covered, page.more), (Some((at(0), at(NOW + 2000))), false));
    }
    assert!(matches!(account.attest().await.unwrap(), Attestation::Accepted(s) if s.assurance == Assurance::Unproven));
}

#[tokio::test]
async fn streams_are_planned_classifiers_first_and_credentials_of_another_kind_are_refused() {
    let mock = Mock::start(venue).await;
    let account = account(&mock);
    assert!(account.plan(FILLS).unwrap().order < account.plan(LOG).unwrap().order);
    assert!(account.plan("futures.x").is_none() && account.page("x", &Value::Null).await.is_err());
    let refused = |credentials| {
        matches!(connect(&mock.venues(at(NOW)), Venue::KrakenFutures, credentials), Err(VenueError::KeyRefused { .. }))
    };
    assert!(refused(Credentials::Wallet { address: "0x0".into() }));
    assert!(refused(Credentials::ApiKey { key: "k".into(), secret: "not base64!".into(), passphrase: None }));
    assert!(mock.seen().is_empty());
}
