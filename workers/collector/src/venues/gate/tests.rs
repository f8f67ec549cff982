//! The account against a venue of one closure: signing, retries, limits, pages, snapshots.

use std::collections::BTreeSet;

use codash_domain::Assurance;
use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::paging::DAY_MILLIS;
use crate::venues::reads::Listed;
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;

type Answer = (u16, &'static str, String);

fn ok(body: Value) -> Answer {
    (200, "", body.to_string())
}

fn fault(status: u16, label: &str) -> Answer {
    (status, "", json!({ "label": label, "message": "no" }).to_string())
}

fn credentials() -> Credentials {
    Credentials::ApiKey { key: "the-key-of-gate".into(), secret: "the-secret".into(), passphrase: None }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    connect(&mock.venues(Timestamp::from_millis(NOW).unwrap()), Venue::Gate, credentials()).unwrap()
}

async fn venue(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Mock {
    Mock::start(move |asked| match asked.path.as_str() {
        "/api/v4/spot/time" => ok(json!({ "server_time": NOW + 3000 })),
        _ => answer(asked),
    })
    .await
}

fn assert_only_reads(mock: &Mock) {
    for asked in mock.asked() {
        assert!(Listed::new(READS, &asked.method, &asked.path).is_ok(), "{} {}", asked.method, asked.path);
    }
}

/// The answer about keys, and no balances.
fn with_keys(keys: Answer) -> impl Fn(&Asked) -> Answer {
    move |asked| if asked.path.ends_with("/main_keys") { keys.clone() } else { ok(json!([])) }
}

fn keys(read_only: bool) -> Answer {
    ok(json!([
        { "key": "another*****", "perms": [{ "name": "spot", "read_only": false }] },
        { "key": "the-key*****", "perms": [{ "name": "spot", "read_only": true }, { "name": "wallet", "read_only": read_only }] }]))
}

#[tokio::test]
async fn a_signed_read_carries_the_servers_seconds_and_the_key() {
    let mock = venue(with_keys(keys(true))).await;
    let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
    assert_eq!((standing.assurance, standing.not_covered.len()), (Assurance::ReadOnly, NOT_COVERED.len()));
    let headers = &mock.asked()[1].headers;
    let listed = Listed::new(READS, "GET", "/api/v4/account/main_keys").unwrap();
    let at = Timestamp::from_millis(NOW + 3000).unwrap();
    for (name, value) in sign::headers(listed, "", at, "the-key-of-gate", &"the-secret".into()).unwrap() {
        assert!(headers.contains(&format!("{}: {value}", name.to_ascii_lowercase())), "{name} not in {headers}");
    }
    assert!(!headers.contains("the-secret") && !mock.asked()[0].headers.contains("sign: "));
}

#[tokio::test]
async fn a_key_that_can_do_more_is_refused_and_one_of_which_nothing_is_known_is_unproven() {
    let mock = venue(with_keys(keys(false))).await;
    let rights = vec!["wallet (read and write)".into()];
    assert_eq!(account(&mock).attest().await.unwrap(), Attestation::TooPowerful { rights });
    for answer in [fault(403, "FORBIDDEN"), fault(404, "NOT_FOUND"), ok(json!([]))] {
        let mock = venue(with_keys(answer)).await;
        let Attestation::Accepted(standing) = account(&mock).attest().await.unwrap() else { panic!() };
        assert_eq!(
            (standing.assurance, standing.not_covered.last().unwrap().as_str()),
            (Assurance::Unproven, UNPROVEN)
        );
    }
}

#[tokio::test]
async fn bad_keys_are_refused_for_good_and_clock_errors_are_retried_once() {
    for (label, retryable, asked) in
        [("INVALID_KEY", false, 2), ("INVALID_SIGNATURE", false, 4), ("REQUEST_EXPIRED", true, 4)]
    {
        let mock = venue(move |_| fault(401, label)).await;
        let error = account(&mock).attest().await.unwrap_err();
        assert_eq!((error.is_retryable(), mock.seen().len()), (retryable, asked), "{label}");
        assert!(!format!("{error} {error:?}").contains("the-"));
    }
}

#[tokio::test]
async fn an_account_that_is_over_its_limit_is_left_alone() {
    let mock = venue(|_| fault(400, "TOO_MANY_REQUESTS")).await;
    let account = account(&mock);
    for _ in 0..2 {
        assert!(matches!(account.attest().await, Err(VenueError::Retry { after: Some(_), .. })));
    }
    assert_eq!(mock.seen().len(), 2, "not asked again");
}

async fn read_all(account: &dyn VenueAccount, stream: &str) -> (Vec<Parsed>, Vec<(i64, i64)>) {
    let (mut at, mut parsed, mut spans) = (Value::Null, vec![], vec![]);
    for _ in 0..200 {
        let page = account.page(stream, &at).await.unwrap();
        parsed.push(page.parsed);
        spans.extend(page.covered.map(|(from, to)| (from.millis(), to.millis())));
        at = page.cursor;
        if !page.more {
            assert_eq!(spans.first().unwrap().0, NOW + 3000 - HORIZON_MILLIS);
            assert_eq!(spans.last().unwrap().1, NOW + 3000, "never past the server's now");
            assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "{spans:?}");
            return (parsed, spans);
        }
    }
    panic!("{stream} has no end");
}

/// 350 fills of one day, ten to a second.
fn fills(asked: &Asked) -> Answer {
    let (from, to) = (asked.number("from").unwrap(), asked.number("to").unwrap());
    assert!(to - from <= WINDOW_MILLIS / 1000);
    let skip = asked.number("offset").unwrap_or_else(|| (asked.number("page").unwrap() - 1) * 1000);
    let all = (0..350_i64).rev().map(|i| (i, (NOW - 9 * DAY_MILLIS) / 1000 + i / 10));
    let rows = all
        .filter(|(_, at)| (from..=to).contains(at))
        .skip(usize::try_from(skip).unwrap())
        .take(usize::try_from(asked.number("limit").unwrap()).unwrap());
    ok(rows
        .map(|(i, at)| {
            json!({ "id": i, "trade_id": i.to_string(), "create_time": at, "contract": "BTC_USDT", "currency_pair": "GT_USDT",
                    "order_id": "7", "size": -10, "side": "sell", "amount": "2", "price": "50000", "fee": "0.5", "fee_currency": "GT" })
        })
        .collect())
}

#[tokio::test]
async fn fills_are_read_once_each_and_priced_by_the_minute() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v4/futures/usdt/contracts" => {
            ok(json!([{ "name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001" }]))
        }
        "/api/v4/spot/candlesticks" => {
            let (from, to) = (asked.number("from").unwrap(), asked.number("to").unwrap());
            ok((from / 60..=to / 60)
                .map(|minute| json!([(minute * 60).to_string(), "1", "10", "11", "8", "9"]))
                .collect())
        }
        "/api/v4/futures/usdt/my_trades_timerange" => {
            let (status, header, body) = fills(asked);
            (status, header, body.replace("\"id\"", "\"no\""))
        }
        _ => {
            let (status, header, body) = fills(asked);
            (status, header, body.replace("\"trade_id\"", "\"no\""))
        }
    })
    .await;
    let account = account(&mock);
    for (stream, fee) in [("futures_usdt.fills", "0.5"), ("spot.fills", "5")] {
        let (parsed, _) = read_all(account.as_ref(), stream).await;
        assert!(parsed.iter().all(|parsed| parsed.unreadable.is_empty()), "{parsed:?}");
        let records: Vec<_> = parsed.into_iter().flat_map(|parsed| parsed.records).collect();
        let ids: BTreeSet<String> = records.iter().map(|record| record.event.native_id.clone()).collect();
        assert_eq!((ids.len(), records.len()), (350, 350), "{stream}");
        assert!(
            records
                .iter()
                .all(|record| record.event.fee_usd.unwrap().to_string() == fee && record.event.stream == stream)
        );
    }
    assert_only_reads(&mock);
}

#[tokio::test]
async fn an_account_without_futures_has_none() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v4/spot/accounts" => ok(json!([{ "currency": "USDT", "available": "5", "locked": "1" }])),
        "/api/v4/spot/tickers" => ok(json!([{ "currency_pair": "BTC_USDT", "last": "50000" }])),
        _ => fault(400, "USER_NOT_FOUND"),
    })
    .await;
    let account = account(&mock);
    assert_eq!(account.snapshot().await.unwrap().0.nav_usd.to_string(), "6");
    let (parsed, spans) = read_all(account.as_ref(), "futures_btc.book").await;
    assert!(parsed.iter().all(|page| *page == Parsed::default()) && spans.len() == 26);
}

#[tokio::test]
async fn a_snapshot_adds_spot_and_both_kinds_of_futures() {
    let mock = venue(|asked| match asked.path.as_str() {
        "/api/v4/spot/accounts" => ok(json!([{ "currency": "GT", "available": "2", "locked": "0" },
            { "currency": "WHAT", "available": "1", "locked": "0" }])),
        "/api/v4/spot/tickers" => ok(json!([{ "currency_pair": "BTC_USDT", "last": "50000" },
            { "currency_pair": "GT_USDT", "last": "10" }, { "currency_pair": "ODD_USDT", "last": "" }])),
        "/api/v4/futures/usdt/accounts" => ok(json!({ "total": "100", "unrealised_pnl": "-1", "currency": "USDT" })),
        "/api/v4/futures/btc/accounts" => ok(json!({ "total": "0.1", "unrealised_pnl": "0", "currency": "BTC" })),
        "/api/v4/futures/usdt/contracts" => {
            ok(json!([{ "name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001" }]))
        }
        "/api/v4/futures/btc/contracts" => {
            ok(json!([{ "name": "BTC_USD", "type": "inverse", "quanto_multiplier": "0" }]))
        }
        "/api/v4/futures/usdt/positions" => {
            ok(json!([{ "contract": "BTC_USDT", "size": "-100", "entry_price": "50000",
            "mark_price": "50100", "value": "501", "unrealised_pnl": "-1", "mode": "dual_short" }]))
        }
        "/api/v4/futures/btc/positions" => ok(json!([{ "contract": "BTC_USD", "size": 200, "mark_price": "50000",
            "value": "0.004", "unrealised_pnl": "0.001", "mode": "single" }])),
        _ => unreachable!(),
    })
    .await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string(), streams.len()), ("5119".into(), 0));
    assert_eq!(snapshot.unpriced_assets.iter().map(|asset| asset.as_str()).collect::<Vec<_>>(), ["WHAT"]);
    let told: Vec<(String, String, &str, String)> = snapshot
        .positions
        .iter()
        .map(|p| (p.symbol.to_string(), p.qty.to_string(), p.leg, p.notional_usd.to_string()))
        .collect();
    assert_eq!(told[0], ("BTC-PERP".into(), "-0.01".into(), "short", "501".into()));
    assert_eq!(told[1], ("BTC-PERP-USD".into(), "0.004".into(), "both", "200".into()));
    assert_only_reads(&mock);
}

#[tokio::test]
async fn streams_are_planned_classifiers_first_and_strangers_have_no_plan() {
    let mock = venue(|_| unreachable!()).await;
    let account = account(&mock);
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(
        order("futures_usdt.adl") < order("futures_usdt.book")
            && order("futures_btc.book") < order("futures_btc.fills")
    );
    assert!(account.initial_streams().iter().all(|stream| account.plan(stream).is_some()));
    assert!(account.plan("spot.fills:X").is_none() && account.page("orders", &Value::Null).await.is_err());
    assert!(mock.seen().is_empty());
}

#[test]
fn credentials_of_another_kind_are_refused_and_never_shown() {
    let venues = crate::venues::Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: Arc::new(codash_domain::SystemClock),
    };
    let refused =
        |credentials| matches!(connect(&venues, Venue::Gate, credentials), Err(VenueError::KeyRefused { .. }));
    assert!(refused(Credentials::Wallet { address: "0x0".into() }));
    assert!(refused(Credentials::ApiKey { key: "k\nx".into(), secret: "s".to_owned().into(), passphrase: None }));
    assert!(!refused(credentials()) && !format!("{:?}", credentials()).contains("the-"));
}
