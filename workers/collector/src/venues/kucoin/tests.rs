//! The account against a venue of one closure: signing, retries, pools, pages, snapshots.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::paging::DAY_MILLIS;
use crate::venues::reads::Listed;
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;

type Answer = (u16, &'static str, String);

fn ok(data: Value) -> Answer {
    (200, "", json!({ "code": "200000", "data": data }).to_string())
}

fn fault(status: u16, code: &str) -> Answer {
    (status, "", json!({ "code": code, "msg": "no" }).to_string())
}

fn credentials() -> Credentials {
    Credentials::ApiKey {
        key: "the-key".into(),
        secret: "the-secret".into(),
        passphrase: Some("the-passphrase".into()),
    }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    connect(&mock.venues(Timestamp::from_millis(NOW).unwrap()), Venue::Kucoin, credentials()).unwrap()
}

async fn venue(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Mock {
    Mock::start(move |asked| match asked.path.as_str() {
        "/api/v1/timestamp" => ok(json!(NOW + 3000)),
        _ => answer(asked),
    })
    .await
}

fn assert_only_reads(mock: &Mock) {
    for asked in mock.asked() {
        assert!(Listed::new(READS, &asked.method, &asked.path).is_ok(), "{} {}", asked.method, asked.path);
    }
}

fn key(permission: &str) -> Value {
    json!({ "permission": permission, "apiVersion": 3, "ipWhitelist": "" })
}

/// The answer about the key, then one about everything else.
fn with_key(permission: &'static str, rest: Answer) -> impl Fn(&Asked) -> Answer {
    move |asked| if asked.path.ends_with("/api-key") { ok(key(permission)) } else { rest.clone() }
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_time_the_key_and_the_signed_passphrase() {
    let mock = venue(with_key("General", ok(json!([])))).await;
    let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
    assert_eq!((standing.assurance, standing.not_covered.len()), (Assurance::ReadOnly, NOT_COVERED.len()));
    let time = "GET /api/v1/timestamp";
    assert_eq!(mock.seen(), [time, "GET /api/v1/user/api-key", time, "GET /api/v1/positions"]);
    let headers = &mock.asked()[1].headers;
    let sign =
        |text: &str| crate::venues::hmac::sha256_base64(&"the-secret".into(), text).unwrap().to_ascii_lowercase();
    for header in [
        "kc-api-key: the-key".to_owned(),
        format!("kc-api-timestamp: {}", NOW + 3000),
        format!("kc-api-sign: {}", sign(&format!("{}GET/api/v1/user/api-key", NOW + 3000))),
        format!("kc-api-passphrase: {}", sign("the-passphrase")),
        "kc-api-key-version: 2".to_owned(),
    ] {
        assert!(headers.contains(&header), "{header} not in {headers}");
    }
    assert!(!headers.contains("the-secret") && !headers.contains("the-passphrase"));
    assert!(!mock.asked()[0].headers.contains("kc-api"), "the clock is asked without the key");
}

#[tokio::test]
async fn a_key_that_can_do_more_than_read_is_refused_by_the_names_of_its_rights() {
    let mock = venue(with_key("General,Spot,InnerTransfer", ok(json!([])))).await;
    let rights = vec!["Spot".into(), "InnerTransfer".into()];
    assert_eq!(account(&mock).attest().await.unwrap(), Attestation::TooPowerful { rights });
    let mock = venue(with_key("", ok(json!([])))).await;
    assert!(matches!(account(&mock).attest().await, Err(VenueError::PermissionMissing { .. })));
}

#[tokio::test]
async fn bad_keys_are_refused_for_good_and_never_shown() {
    for code in ["400001", "400003", "400004", "400006", "411100"] {
        let mock = venue(move |_| fault(401, code)).await;
        let error = account(&mock).attest().await.unwrap_err();
        assert!(matches!(error, VenueError::KeyRefused { .. }), "{code}");
        assert!(!format!("{error} {error:?}").contains("the-"));
        assert_eq!(mock.seen().len(), 2, "no retry");
    }
}

#[tokio::test]
async fn a_clock_or_signature_error_earns_one_resync_and_one_retry() {
    for (code, retryable) in [("400002", true), ("400005", false)] {
        let mock = venue(move |_| fault(400, code)).await;
        let error = account(&mock).attest().await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable);
        let (time, read) = ("GET /api/v1/timestamp", "GET /api/v1/user/api-key");
        assert_eq!(mock.seen(), [time, read, time, read]);
    }
}

#[tokio::test]
async fn a_used_up_pool_is_left_alone_and_only_that_one() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v1/user/api-key" => {
            (200, "gw-ratelimit-reset: 25000", json!({ "code": "429000", "msg": "Too many requests" }).to_string())
        }
        _ => ok(json!({ "items": [], "lastId": 0 })),
    })
    .await;
    let account = account(&mock);
    for _ in 0..2 {
        let error = account.attest().await.unwrap_err();
        assert!(
            matches!(error, VenueError::Retry { after: Some(after), .. } if after > Duration::from_secs(20) && after <= Duration::from_secs(25))
        );
    }
    assert_eq!(mock.seen().len(), 2, "not asked again");
    assert!(account.page("spot.fills:BTC-USDT", &Value::Null).await.is_ok(), "another pool");
}

#[tokio::test]
async fn what_is_no_reply_of_kucoins_is_an_error() {
    let mock = venue(|_| (403, "", "<html>".into())).await;
    assert!(account(&mock).attest().await.unwrap_err().is_retryable());
    let mock = venue(|_| (200, "", "[]".into())).await;
    assert!(matches!(account(&mock).attest().await, Err(VenueError::Unreadable { .. })));
}

/// Reads a stream to its present end: records, cash flows, revealed streams, and the covered spans.
async fn read_all(account: &dyn VenueAccount, stream: &str) -> (Vec<Parsed>, BTreeSet<String>, Vec<(i64, i64)>) {
    let (mut at, mut parsed, mut streams, mut spans) = (Value::Null, vec![], BTreeSet::new(), vec![]);
    for _ in 0..500 {
        let page = account.page(stream, &at).await.unwrap();
        parsed.push(page.parsed);
        streams.extend(page.new_streams);
        spans.extend(page.covered.map(|(from, to)| (from.millis(), to.millis())));
        at = page.cursor;
        if !page.more {
            return (parsed, streams, spans);
        }
    }
    panic!("{stream} has no end");
}

fn assert_gapless(spans: &[(i64, i64)], horizon: i64) {
    assert_eq!(spans.first().unwrap().0, NOW + 3000 - horizon);
    assert_eq!(spans.last().unwrap().1, NOW + 3000, "never past the server's now");
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "{spans:?}");
}

/// Rows of one page by number, newest first.
fn numbered(asked: &Asked, page: &str, size: &str, all: Vec<(i64, Value)>) -> Value {
    let (from, to) = ("startAt", "endAt");
    let from = asked.number(from).or(asked.number("from")).unwrap();
    let to = asked.number(to).or(asked.number("to")).unwrap();
    assert!(to - from < 7 * DAY_MILLIS);
    let mut rows: Vec<(i64, Value)> = all.into_iter().filter(|(at, _)| (from..=to).contains(at)).collect();
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let (page, size) = (asked.number(page).unwrap(), usize::try_from(asked.number(size).unwrap()).unwrap());
    let total = rows.len().div_ceil(size);
    let items: Vec<Value> =
        rows.into_iter().skip((usize::try_from(page).unwrap() - 1) * size).take(size).map(|(_, row)| row).collect();
    json!({ "currentPage": page, "pageSize": size, "totalPage": total, "items": items })
}

fn contracts() -> Answer {
    ok(json!([{ "symbol": "XBTUSDTM", "baseCurrency": "XBT", "quoteCurrency": "USDT", "settleCurrency": "USDT",
                "multiplier": 0.001, "isInverse": false, "expireDate": null }]))
}

#[tokio::test]
async fn futures_fills_are_read_whole_and_reveal_their_funding() {
    let fill = |i: i64| {
        let at = NOW - 20 * DAY_MILLIS + i / 10;
        let row = json!({ "symbol": "XBTUSDTM", "tradeId": i.to_string(), "orderId": "o", "side": "buy", "price": "90000",
                "size": 2, "value": "180", "fee": "0.1", "feeCurrency": "USDT", "settleCurrency": "USDT",
                "tradeType": "trade", "tradeTime": at * 1_000_000, "createdAt": at });
        (at, row)
    };
    let mock = venue(move |asked| match asked.path.as_str() {
        "/api/v1/contracts/active" => contracts(),
        _ => ok(numbered(asked, "currentPage", "pageSize", (0..2500).map(fill).collect())),
    })
    .await;
    let (parsed, streams, spans) = read_all(account(&mock).as_ref(), "futures.fills").await;
    let records: Vec<_> = parsed.into_iter().flat_map(|parsed| parsed.records).collect();
    let ids: BTreeSet<String> = records.iter().map(|record| record.event.native_id.clone()).collect();
    assert_eq!((ids.len(), records.len()), (2500, 2500));
    assert!(records.iter().all(|record| record.event.qty.unwrap().to_string() == "0.002"));
    assert_eq!(streams.into_iter().collect::<Vec<_>>(), ["futures.funding:XBTUSDTM"]);
    assert_gapless(&spans, 90 * DAY_MILLIS);
    assert_only_reads(&mock);
}

/// 730 spot fills of one day, three to a millisecond, answered below an id.
fn spot_fills(asked: &Asked) -> Answer {
    let (from, to) = (asked.number("startAt").unwrap(), asked.number("endAt").unwrap());
    let below = asked.number("lastId").unwrap_or(i64::MAX);
    let all = (1..=730_i64).rev().map(|id| (id, NOW - DAY_MILLIS + id / 3));
    let items: Vec<Value> = all
        .filter(|(id, at)| (from..=to).contains(at) && *id < below)
        .take(usize::try_from(asked.number("limit").unwrap()).unwrap())
        .map(|(id, at)| {
            json!({ "id": id, "symbol": "KCS-USDT", "tradeId": id, "orderId": "o", "side": "sell", "price": "2", "size": "3",
                    "funds": "6", "fee": "0.5", "feeCurrency": "KCS", "createdAt": at })
        })
        .collect();
    ok(json!({ "lastId": items.last().map(|row| row["id"].clone()), "items": items }))
}

fn candles_of_ten(asked: &Asked) -> Answer {
    let (from, to) = (asked.number("startAt").unwrap(), asked.number("endAt").unwrap());
    let minutes = (from / 60..to / 60).rev();
    ok(minutes.map(|minute| json!([(minute * 60).to_string(), "9", "10", "11", "8", "1", "1"])).collect())
}

#[tokio::test]
async fn spot_fills_are_read_once_each_and_their_fees_priced_by_the_minute() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v1/market/candles" => candles_of_ten(asked),
        _ => spot_fills(asked),
    })
    .await;
    let account = account(&mock);
    let (parsed, _, spans) = read_all(account.as_ref(), "spot.fills:KCS-USDT").await;
    let records: Vec<_> = parsed.into_iter().flat_map(|parsed| parsed.records).collect();
    let ids: BTreeSet<String> = records.iter().map(|record| record.event.native_id.clone()).collect();
    assert_eq!((ids.len(), records.len()), (730, 730));
    assert!(ids.contains("kucoin:spot:KCS-USDT:1"));
    assert!(records.iter().all(|record| record.event.fee_usd.unwrap().to_string() == "5"));
    assert_gapless(&spans, 7 * DAY_MILLIS - streams::GRACE_MILLIS);
    let candles = mock.asked().into_iter().find(|asked| asked.path.ends_with("/candles")).unwrap();
    assert_eq!((candles.param("type").unwrap(), candles.param("symbol").unwrap()), ("1min".into(), "KCS-USDT".into()));
    assert_only_reads(&mock);
}

#[tokio::test]
async fn a_full_window_of_funding_is_read_in_pieces() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v1/contracts/active" => contracts(),
        _ => {
            let (from, to) = (asked.number("startAt").unwrap(), asked.number("endAt").unwrap());
            assert_eq!(asked.param("symbol").unwrap(), "XBTUSDTM");
            let hours = (0..90 * 24).map(|i| NOW - i * 3_600_000).filter(|at| (from..=to).contains(at));
            let all: Vec<Value> = hours
                .map(|at| {
                    json!({ "id": at / 1000, "symbol": "XBTUSDTM", "timePoint": at, "markPrice": 90000, "positionQty": -1,
                            "positionCost": -90, "funding": 0.5, "settleCurrency": "USDT" })
                })
                .collect();
            ok(json!({ "hasMore": all.len() > 100, "dataList": all[..all.len().min(100)] }))
        }
    })
    .await;
    let (parsed, _, spans) = read_all(account(&mock).as_ref(), "futures.funding:XBTUSDTM").await;
    let ids: BTreeSet<String> =
        parsed.into_iter().flat_map(|parsed| parsed.records).map(|record| record.event.native_id).collect();
    assert_eq!(ids.len(), 90 * 24);
    assert_gapless(&spans, 90 * DAY_MILLIS);
}

#[tokio::test]
async fn ledgers_give_flows_once_and_reveal_markets() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v1/hf/accounts/ledgers" => {
            let below = asked.number("lastId").unwrap_or(i64::MAX);
            let rows = (1..=150_i64).rev().filter(|id| *id < below).take(100).map(|id| {
                json!({ "id": id.to_string(), "currency": "USDT", "amount": "1", "fee": "0", "accountType": "TRADE_HF",
                        "bizType": if id % 2 == 0 { "TRANSFER" } else { "TRADE_EXCHANGE" }, "direction": "in",
                        "createdAt": (NOW - 1000).to_string(), "context": "{\"symbol\":\"KCS-USDT\"}" })
            });
            ok(rows.collect())
        }
        "/api/v1/transaction-history" => {
            let (from, to) = (asked.number("startAt").unwrap(), asked.number("endAt").unwrap());
            let below = asked.number("offset").unwrap_or(i64::MAX);
            let all = (1..=70_i64).rev().map(|id| (id, NOW - 5 * DAY_MILLIS));
            let rows: Vec<Value> = all
                .filter(|(id, at)| *id < below && (from..=to).contains(at))
                .take(50)
                .map(|(id, at)| {
                    json!({ "time": at, "type": if id == 1 { "TransferIn" } else { "RealisedPNL" }, "amount": 5, "fee": null,
                            "status": "Completed", "remark": "XBTUSDTM", "offset": id, "currency": "USDT" })
                })
                .collect();
            ok(json!({ "hasMore": rows.len() == 50, "dataList": rows }))
        }
        _ => unreachable!(),
    })
    .await;
    let account = account(&mock);
    let (parsed, streams, spans) = read_all(account.as_ref(), "spot.ledger").await;
    let flows: BTreeSet<String> =
        parsed.into_iter().flat_map(|parsed| parsed.cash_flows).map(|flow| flow.native_id).collect();
    assert_eq!((flows.len(), streams.into_iter().collect::<Vec<_>>()), (75, vec!["spot.fills:KCS-USDT".to_owned()]));
    assert_gapless(&spans, 3 * DAY_MILLIS - streams::GRACE_MILLIS);
    let (parsed, streams, spans) = read_all(account.as_ref(), "futures.ledger").await;
    let flows: Vec<_> = parsed.into_iter().flat_map(|parsed| parsed.cash_flows).collect();
    assert_eq!((flows.len(), flows[0].native_id.as_str()), (1, "kucoin:futures:ledger:USDT:1"));
    assert_eq!(streams.into_iter().collect::<Vec<_>>(), ["futures.funding:XBTUSDTM"]);
    assert_gapless(&spans, 90 * DAY_MILLIS);
    assert_only_reads(&mock);
}

fn holding(asked: &Asked, may_see_futures: bool) -> Answer {
    match asked.path.as_str() {
        "/api/v1/accounts" => ok(json!([
            { "currency": "KCS", "type": "trade", "balance": "2" }, { "currency": "WHAT", "type": "main", "balance": "1" },
            { "currency": "USDT", "type": "main", "balance": "100" }])),
        "/api/v1/contracts/active" => contracts(),
        "/api/v1/market/allTickers" => ok(json!({ "ticker": [
            { "symbol": "KCS-BTC", "last": "0.0001" }, { "symbol": "BTC-USDT", "last": "90000" },
            { "symbol": "KCS-ETH", "last": "1" }, { "symbol": "ODD-USDT", "last": null }] })),
        _ if !may_see_futures => fault(403, "400007"),
        "/api/v1/account-overview" => {
            let coin = asked.param("currency").unwrap();
            let equity = if coin == "XBT" { "0.1" } else { "50.5" };
            ok(json!({ "accountEquity": equity, "currency": coin }))
        }
        "/api/v1/positions" => {
            ok(json!([{ "symbol": "XBTUSDTM", "currentQty": -3, "isOpen": true, "avgEntryPrice": 91000,
            "markPrice": 90000, "markValue": -270, "unrealisedPnl": 3, "settleCurrency": "USDT" }]))
        }
        _ => unreachable!(),
    }
}

#[tokio::test]
async fn a_snapshot_adds_all_accounts_and_names_what_has_no_price() {
    let mock = venue(|asked| holding(asked, true)).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    // 2 KCS at 0.0001 BTC of 90000, 100 and 50.5 USDT, 0.1 BTC.
    assert_eq!(snapshot.nav_usd.to_string(), "9168.5");
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    let position = &snapshot.positions[0];
    assert_eq!((position.qty.to_string(), position.notional_usd.to_string()), ("-0.003".into(), "270".into()));
    assert_eq!(streams, ["futures.funding:XBTUSDTM", "spot.fills:KCS-BTC"]);
    assert_eq!((snapshot.taken_at.millis(), snapshot.btc_price_usd.unwrap().to_string()), (NOW + 3000, "90000".into()));
    assert_only_reads(&mock);
}

#[tokio::test]
async fn a_key_that_may_not_see_futures_still_shows_spot_and_says_what_is_missing() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v1/user/api-key" => ok(key("General")),
        _ => holding(asked, false),
    })
    .await;
    let account = account(&mock);
    let Attestation::Accepted(standing) = account.attest().await.unwrap() else { panic!() };
    assert_eq!(standing.not_covered.last().unwrap(), NO_FUTURES);
    let (snapshot, _) = account.snapshot().await.unwrap();
    assert_eq!(snapshot.nav_usd.to_string(), "118");
    assert!(snapshot.unpriced_assets.iter().any(|asset| asset.as_str() == UNSEEN_FUTURES));
    let error = account.page("futures.funding:XBTUSDTM", &Value::Null).await.unwrap_err();
    assert!(matches!(error, VenueError::PermissionMissing { .. }));
}

#[tokio::test]
async fn streams_are_planned_and_strangers_have_no_plan() {
    let mock = venue(|_| unreachable!()).await;
    let account = account(&mock);
    assert_eq!(
        account.initial_streams(),
        ["spot.ledger", "main.ledger", "futures.ledger", "futures.fills", "futures.positions"]
    );
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(order("spot.ledger") < order("spot.fills:BTC-USDT") && order("futures.fills") < order("futures.funding:X"));
    let (oldest, why) = account.plan("spot.fills:BTC-USDT").unwrap().horizon.unwrap();
    assert!(oldest.millis() == NOW - 7 * DAY_MILLIS + streams::GRACE_MILLIS && why.contains("seven days"));
    assert!(account.plan("spot.fills:BTC-USDT&x=1").is_none() && account.plan("orders").is_none());
    assert!(account.page("orders", &Value::Null).await.is_err() && mock.seen().is_empty());
}

#[test]
fn credentials_of_another_kind_are_refused_and_never_shown() {
    let venues = crate::venues::Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: Arc::new(codash_domain::SystemClock),
    };
    let refused =
        |credentials| matches!(connect(&venues, Venue::Kucoin, credentials), Err(VenueError::KeyRefused { .. }));
    assert!(refused(Credentials::Wallet { address: "0x0".into() }));
    assert!(refused(Credentials::ApiKey { key: "k".into(), secret: "s".to_owned().into(), passphrase: None }));
    let passphrase = || Some("p".to_owned().into());
    assert!(refused(Credentials::ApiKey {
        key: "k\nx".into(),
        secret: "s".to_owned().into(),
        passphrase: passphrase()
    }));
    assert!(!refused(credentials()));
    assert!(!format!("{:?}", credentials()).contains("the-"));
}
