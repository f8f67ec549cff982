//! The account against a venue of one closure: requests, pages, snapshots.

use serde_json::json;

use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::{Credentials, connect};

const NOW: i64 = 1_767_225_600_000;
const AGENT: &str = "0xAa00000000000000000000000000000000000001";
const USER: &str = "0xbb00000000000000000000000000000000000002";

fn account(mock: &Mock, address: &str) -> Arc<dyn VenueAccount> {
    let venues = mock.venues(Timestamp::from_millis(NOW).unwrap());
    let credentials = Credentials::Wallet { address: address.into() };
    connect(&venues, codash_domain::Venue::Hyperliquid, credentials).unwrap()
}

fn ok(body: impl std::fmt::Display) -> (u16, &'static str, String) {
    (200, "", body.to_string())
}

fn field(asked: &Asked, name: &str) -> Value {
    serde_json::from_str::<Value>(&asked.body).unwrap()[name].clone()
}

fn number(asked: &Asked, name: &str) -> i64 {
    field(asked, name).as_i64().unwrap()
}

fn fill(id: i64, at: i64) -> Value {
    json!({ "coin": "@107", "px": "40", "sz": "1", "side": "B", "time": at, "startPosition": "0", "dir": "Buy", "closedPnl": "0",
            "hash": "0x1", "oid": 1, "crossed": true, "fee": "0.5", "tid": id, "feeToken": "HYPE" })
}

/// 2500 fills, ten to a millisecond; the newest has a candle.
fn venue(asked: &Asked) -> (u16, &'static str, String) {
    match field(asked, "type").as_str().unwrap() {
        "userRole" if field(asked, "user") == AGENT.to_ascii_lowercase() => {
            ok(json!({ "role": "agent", "data": { "user": USER } }))
        }
        "userRole" => ok(json!({ "role": "user" })),
        "spotMeta" => ok(json!({ "tokens": [{ "name": "USDC", "index": 0 }, { "name": "HYPE", "index": 150 }],
                                 "universe": [{ "name": "@107", "tokens": [150, 0], "index": 107 }] })),
        "userFillsByTime" => {
            let span = number(asked, "startTime")..=number(asked, "endTime");
            let all = (1..=2500).map(|id| (id, NOW - 1000 + id / 10)).filter(|(_, at)| span.contains(at));
            ok(Value::from(all.take(2000).map(|(id, at)| fill(id, at)).collect::<Vec<_>>()))
        }
        "candleSnapshot" => ok(json!([{ "t": field(asked, "req")["startTime"], "c": "41" }])),
        "userFunding" => ok(
            json!([{ "time": NOW - 5, "hash": "0x0", "delta": { "type": "funding", "coin": "BTC", "usdc": "-1.5", "szi": "-2" } }]),
        ),
        "portfolio" => ok(
            json!([["day", { "accountValueHistory": [[NOW - 9, "10.5"]] }], ["perpDay", { "accountValueHistory": [[NOW - 9, "1"]] }]]),
        ),
        "clearinghouseState" => ok(json!({ "marginSummary": { "accountValue": "100" }, "assetPositions": [
            { "type": "oneWay", "position": { "coin": "BTC", "szi": "0.1", "entryPx": "80000", "positionValue": "9000", "unrealizedPnl": "7" } }] })),
        "spotClearinghouseState" => {
            ok(json!({ "balances": [{ "coin": "HYPE", "total": "2" }, { "coin": "DUST", "total": "1" }] }))
        }
        "userVaultEquities" => ok(json!([{ "vaultAddress": "0x1", "equity": "50.25" }])),
        "allMids" => ok(json!({ "BTC": "90000", "ETH": "3000", "@107": "41", "HYPE": "40.9" })),
        _ => (422, "", "Failed to deserialize the JSON body into the target type".into()),
    }
}

#[test]
fn nothing_but_a_listed_read_is_sent() {
    for kind in ["order", "cancel", "withdraw3", "usdSend", "approveAgent", ""] {
        assert!(matches!(request(kind, json!({})), Err(VenueError::NotListed { .. })), "{kind}");
    }
    assert_eq!(request("allMids", json!({})).unwrap(), (r#"{"type":"allMids"}"#.into(), 2));
}

#[tokio::test]
async fn an_agents_user_is_read_and_a_stranger_is_no_account() {
    let mock = Mock::start(venue).await;
    let account_ = account(&mock, AGENT);
    assert!(matches!(account_.attest().await.unwrap(), Attestation::Accepted(s) if s.assurance == Assurance::Keyless));
    let page = account_.page("funding", &Value::Null).await.unwrap();
    assert_eq!(field(mock.asked().last().unwrap(), "user"), USER);
    assert_eq!(page.parsed.records[0].event.funding_usd.unwrap().to_string(), "-1.5");
    assert_eq!(page.covered.map(|(from, to)| (from.millis(), to.millis())), Some((0, NOW)));
    assert!(mock.asked().iter().all(|asked| asked.method == "POST" && asked.path == "/info"));

    let stranger = Mock::start(|_| ok(json!({ "role": "missing" }))).await;
    assert!(matches!(account(&stranger, USER).attest().await.unwrap(), Attestation::NotAnAccount { .. }));
}

#[tokio::test]
async fn fills_are_read_once_each_and_the_fee_is_priced_by_the_minute() {
    let mock = Mock::start(venue).await;
    let account = account(&mock, USER);
    let (mut at, mut ids, mut covered) = (Value::Null, BTreeSet::new(), None);
    for _ in 0..5 {
        let page = account.page("fills", &at).await.unwrap();
        for record in &page.parsed.records {
            assert_eq!(record.event.symbol.as_ref().unwrap().as_str(), "HYPE-USDC");
            // Half a HYPE at the close of the minute, not at the fill's own price.
            assert_eq!(record.event.fee_usd.unwrap().to_string(), "20.5");
            ids.insert(record.event.native_id.clone());
        }
        (at, covered) = (page.cursor, page.covered);
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 2500);
    assert_eq!(covered.map(|(from, to)| (from.millis(), to.millis())), Some((0, NOW)));
}

#[tokio::test]
async fn a_token_without_a_candle_is_priced_by_its_own_fill() {
    let mock = Mock::start(|asked| match field(asked, "type").as_str() {
        Some("candleSnapshot") => ok("[]"),
        _ => venue(asked),
    })
    .await;
    let page = account(&mock, USER).page("fills", &Value::Null).await.unwrap();
    assert_eq!(page.parsed.records[0].event.fee_usd.unwrap().to_string(), "20");
}

#[tokio::test]
async fn a_snapshot_adds_perpetuals_spot_and_vaults() {
    let mock = Mock::start(venue).await;
    let (snapshot, streams) = account(&mock, USER).snapshot().await.unwrap();
    assert_eq!(snapshot.nav_usd.to_string(), "232.25");
    assert_eq!(snapshot.unpriced_assets.len(), 1);
    assert_eq!(codash_domain::Exposure::of(&snapshot.positions).long_usd.to_string(), "9000");
    assert_eq!((snapshot.btc_price_usd.unwrap().to_string().as_str(), streams.len()), ("90000", 0));
}

#[tokio::test]
async fn past_equity_is_read_without_the_series_that_leave_spot_out() {
    let mock = Mock::start(venue).await;
    let page = account(&mock, USER).page("nav", &Value::Null).await.unwrap();
    assert_eq!(page.nav_points.len(), 1);
    assert_eq!((page.nav_points[0].0.millis(), page.nav_points[0].1.to_string().as_str()), (NOW - 9, "10.5"));
}

#[tokio::test]
async fn an_answer_of_nothing_means_later() {
    let mock = Mock::start(|_| ok("null")).await;
    assert!(account(&mock, USER).attest().await.unwrap_err().is_retryable());
    let mock = Mock::start(|_| (422, "", String::new())).await;
    assert!(!account(&mock, USER).attest().await.unwrap_err().is_retryable());
}
