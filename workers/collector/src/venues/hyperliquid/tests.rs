//! The account against a venue of one closure: requests, pages, snapshots.

use serde_json::json;

use super::client::request;
use super::*;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;
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
        "perpDexs" => ok(json!([null, { "name": "xyz" }, { "name": "flx" }])),
        "clearinghouseState" if field(asked, "dex").is_string() => {
            ok(json!({ "marginSummary": { "accountValue": "0.0" }, "assetPositions": [] }))
        }
        "clearinghouseState" => ok(json!({ "marginSummary": { "accountValue": "100" }, "assetPositions": [
            { "type": "oneWay", "position": { "coin": "BTC", "szi": "0.1", "entryPx": "80000", "positionValue": "9000", "unrealizedPnl": "7" } }] })),
        "spotClearinghouseState" => {
            ok(json!({ "balances": [{ "coin": "HYPE", "total": "2" }, { "coin": "DUST", "total": "1" }] }))
        }
        "userAbstraction" => ok(json!("disabled")),
        "delegatorSummary" => ok(
            json!({ "delegated": "0.0", "undelegated": "0.0", "totalPendingWithdrawal": "0.0", "nPendingWithdrawals": 0 }),
        ),
        "subAccounts" => ok("null"),
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

/// Only listed reads were sent.
fn assert_listed(mock: &Mock) {
    for asked in mock.asked() {
        let kind = field(&asked, "type");
        let path = format!("{}/{}", asked.path, kind.as_str().unwrap());
        Listed::new(READS, &asked.method, &path).unwrap();
    }
}

/// How often a type was asked for.
fn times_asked(mock: &Mock, kind: &str) -> usize {
    mock.asked().iter().filter(|asked| field(asked, "type") == kind).count()
}

/// The exchanges whose account was asked for.
fn dexes_asked(mock: &Mock) -> Vec<String> {
    let asked = mock.asked().into_iter().filter(|asked| field(asked, "type") == "clearinghouseState");
    asked.map(|asked| field(&asked, "dex").as_str().unwrap_or_default().to_owned()).collect()
}

async fn standing(mock: &Mock, address: &str) -> Standing {
    match account(mock, address).attest().await.unwrap() {
        Attestation::Accepted(standing) => standing,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_agents_user_is_read_and_a_stranger_is_no_account() {
    let mock = Mock::start(venue).await;
    let account_ = account(&mock, AGENT);
    let told = standing(&mock, AGENT).await;
    assert_eq!((told.assurance, told.kind.as_str()), (Assurance::Keyless, "wallet"));
    assert!(told.not_covered[0].contains(USER), "{:?}", told.not_covered);
    let page = account_.page("funding", &Value::Null).await.unwrap();
    assert_eq!(field(mock.asked().last().unwrap(), "user"), USER);
    assert_eq!(page.parsed.records[0].event.funding_usd.unwrap().to_string(), "-1.5");
    assert_eq!(page.covered.map(|(from, to)| (from.millis(), to.millis())), Some((0, NOW)));
    assert_listed(&mock);

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

#[tokio::test]
async fn what_belongs_to_an_account_but_is_not_read_with_it_is_named() {
    let mock = Mock::start(|asked| match field(asked, "type").as_str().unwrap() {
        "subAccounts" => ok(json!([{ "name": "grid", "subAccountUser": "0xcc", "master": USER }])),
        _ => venue(asked),
    })
    .await;
    let master = standing(&mock, USER).await;
    assert_eq!(master.kind, "wallet");
    assert_eq!(master.not_covered[0], "sub-account \"grid\" (0xcc): attach it by its address");
    assert_listed(&mock);

    let mock = Mock::start(|_| ok(json!({ "role": "subAccount", "data": { "master": AGENT } }))).await;
    let sub = standing(&mock, USER).await;
    assert_eq!(sub.kind, "sub_account");
    assert!(sub.not_covered[0].contains(AGENT), "{:?}", sub.not_covered);

    let mock = Mock::start(|asked| match field(asked, "type").as_str().unwrap() {
        "vaultDetails" => ok(json!({ "name": "HLP", "leader": AGENT,
                                     "relationship": { "type": "parent", "data": { "childAddresses": ["0xdd"] } } })),
        _ => ok(json!({ "role": "vault" })),
    })
    .await;
    let vault = standing(&mock, USER).await;
    assert_eq!(vault.kind, "vault");
    assert!(vault.not_covered[0].contains("0xdd"), "{:?}", vault.not_covered);
    assert_listed(&mock);
}

/// Holds a position on `flx`, which counts in a token that has a price, and nothing on `xyz`.
fn builder_venue(asked: &Asked) -> (u16, &'static str, String) {
    match field(asked, "type").as_str().unwrap() {
        "clearinghouseState" if field(asked, "dex") == "flx" => {
            ok(json!({ "marginSummary": { "accountValue": "10" }, "assetPositions": [
                { "position": { "coin": "flx:CRCL", "szi": "-2", "entryPx": "70", "positionValue": "150", "unrealizedPnl": "-10" } }] }))
        }
        "meta" => ok(json!({ "universe": [{ "name": "flx:CRCL" }], "collateralToken": 150 })),
        "userFillsByTime" => {
            let mut fill = fill(1, NOW - 50);
            fill["coin"] = "xyz:GOLD".into();
            ok(Value::from(vec![fill]))
        }
        _ => venue(asked),
    }
}

#[tokio::test]
async fn builder_exchanges_are_all_asked_once_an_hour_and_those_in_use_every_time() {
    let mock = Mock::start(builder_venue).await;
    let account = account(&mock, USER);
    let (snapshot, _) = account.snapshot().await.unwrap();
    // 232.25 as without it, and ten HYPE at 41.
    assert_eq!(snapshot.nav_usd.to_string(), "642.25");
    let position = snapshot.positions.iter().find(|position| position.native_symbol == "flx:CRCL").unwrap();
    assert_eq!((position.symbol.as_str(), position.qty.to_string().as_str()), ("flx:CRCL-PERP", "-2"));
    assert_eq!(position.mark_price.unwrap().to_string(), "75");
    assert_eq!(dexes_asked(&mock), ["", "flx", "xyz"]);
    account.snapshot().await.unwrap();
    assert_eq!(dexes_asked(&mock)[3..], ["", "flx"]);
    account.page("fills", &Value::Null).await.unwrap();
    account.snapshot().await.unwrap();
    assert_eq!(dexes_asked(&mock)[5..], ["", "flx", "xyz"]);
    assert_eq!((times_asked(&mock, "perpDexs"), times_asked(&mock, "meta")), (1, 1));
    assert_listed(&mock);
}

#[tokio::test]
async fn an_exchange_whose_collateral_is_not_told_is_named_and_not_counted() {
    let mock = Mock::start(|asked| match field(asked, "type").as_str().unwrap() {
        "meta" => ok(json!({ "universe": [] })),
        _ => builder_venue(asked),
    })
    .await;
    let (snapshot, _) = account(&mock, USER).snapshot().await.unwrap();
    assert_eq!(snapshot.nav_usd.to_string(), "232.25");
    assert!(snapshot.unpriced_assets.iter().any(|asset| asset.as_str() == "collateral of flx"));
    assert_eq!(snapshot.positions.len(), 2);
}

#[tokio::test]
async fn staked_hype_counts_and_is_asked_for_again_when_the_spot_balance_changes() {
    let spot = std::sync::atomic::AtomicU32::new(2);
    let mock = Mock::start(move |asked| match field(asked, "type").as_str().unwrap() {
        "delegatorSummary" => ok(
            json!({ "delegated": "3.0", "undelegated": "1.0", "totalPendingWithdrawal": "1", "nPendingWithdrawals": 1 }),
        ),
        "spotClearinghouseState" => {
            let total = spot.fetch_add(1, std::sync::atomic::Ordering::SeqCst) / 2;
            ok(json!({ "balances": [{ "coin": "HYPE", "total": total.to_string() }] }))
        }
        _ => venue(asked),
    })
    .await;
    let account = account(&mock, USER);
    let (snapshot, _) = account.snapshot().await.unwrap();
    let staked = snapshot.balances.iter().find(|balance| balance.wallet == "staking").unwrap();
    assert_eq!((staked.total.to_string().as_str(), staked.value_usd.unwrap().to_string().as_str()), ("5", "205"));
    // 100 perpetual, 41 spot, 205 staked, 50.25 in vaults.
    assert_eq!(snapshot.nav_usd.to_string(), "396.25");
    account.snapshot().await.unwrap();
    assert_eq!(times_asked(&mock, "delegatorSummary"), 1);
    account.snapshot().await.unwrap();
    assert_eq!(times_asked(&mock, "delegatorSummary"), 2);
    assert_listed(&mock);
}

#[tokio::test]
async fn joined_wallets_are_counted_once_and_an_unknown_way_of_joining_is_no_snapshot() {
    let with_mode = |mode: &'static str| {
        Mock::start(move |asked| match field(asked, "type").as_str().unwrap() {
            "userAbstraction" => ok(json!(mode)),
            _ => venue(asked),
        })
    };
    let unified = with_mode("unifiedAccount").await;
    let (snapshot, _) = account(&unified, USER).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), snapshot.positions.len()), ("132.25", 1));
    assert!(snapshot.balances.iter().all(|balance| balance.wallet != "perp"));
    let strange = with_mode("hyperAccount").await;
    assert!(matches!(account(&strange, USER).snapshot().await, Err(VenueError::Unreadable { .. })));
}

#[tokio::test]
async fn cash_flows_come_with_both_sides_and_cover_the_whole_history() {
    let mock = Mock::start(|asked| match field(asked, "type").as_str().unwrap() {
        "userNonFundingLedgerUpdates" => ok(json!([
            { "time": NOW - 90, "hash": "0xa", "delta": { "type": "deposit", "usdc": "100" } },
            { "time": NOW - 80, "hash": "0xb", "delta": { "type": "accountClassTransfer", "usdc": "40", "toPerp": false } },
            { "time": NOW - 70, "hash": "0xc", "delta": { "type": "internalTransfer", "usdc": "5", "user": USER.to_uppercase().replace("0X", "0x"),
                                                          "destination": AGENT, "fee": "1" } },
            { "time": NOW - 60, "hash": "0xd", "delta": { "type": "cStakingTransfer", "token": "HYPE", "amount": "2", "isDeposit": true } },
            { "time": NOW - 50, "hash": "0xe", "delta": { "type": "vaultDistribution", "vault": AGENT, "usdc": "3" } } ])),
        _ => venue(asked),
    })
    .await;
    let account = account(&mock, USER);
    assert!(account.initial_streams().contains(&LEDGER.to_owned()) && account.plan(LEDGER).is_some());
    let page = account.page(LEDGER, &Value::Null).await.unwrap();
    let shown: Vec<String> =
        page.parsed.cash_flows.iter().map(|flow| format!("{} {} {}", flow.wallet, flow.amount, flow.asset)).collect();
    assert_eq!(
        shown,
        ["perp 100 USDC", "perp -40 USDC", "spot 40 USDC", "perp -6 USDC", "spot -2 HYPE", "staking 2 HYPE"]
    );
    assert_eq!(page.parsed.cash_flows[5].value_usd.unwrap().to_string(), "82", "two at the close of the minute");
    assert_eq!(page.parsed.records.len(), 1);
    assert_eq!((page.covered.unwrap().0.millis(), page.more), (0, false));
    assert!(page.parsed.cash_flows.iter().all(|flow| flow.stream == LEDGER));
    let again = account
        .page(LEDGER, &account.again(LEDGER, Timestamp::from_millis(NOW - 100).unwrap()).unwrap())
        .await
        .unwrap();
    assert_eq!((again.not_before.unwrap().millis(), again.parsed), (NOW - 100, page.parsed));
    assert_listed(&mock);
}

#[tokio::test]
async fn fills_and_funding_are_read_again_from_an_instant_on() {
    let mock = Mock::start(venue).await;
    let account = account(&mock, USER);
    let from = Timestamp::from_millis(NOW - 60_000).unwrap();
    for stream in ["fills", "funding"] {
        let page = account.page(stream, &account.again(stream, from).unwrap()).await.unwrap();
        assert_eq!(page.not_before, Some(from));
        assert_eq!(
            number(mock.asked().iter().rfind(|asked| field(asked, "startTime").is_i64()).unwrap(), "startTime"),
            from.millis()
        );
    }
    assert_eq!(account.again("nav", from), None);
}
