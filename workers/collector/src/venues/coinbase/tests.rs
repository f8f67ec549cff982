//! The account against a venue of one closure: tokens, retries, pages, snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::venues::connect;
use crate::venues::mock::{Asked, Mock};
use crate::venues::reads::Listed;

const NOW: i64 = 1_767_225_600_000;
const DAY: i64 = 24 * 3_600_000;
const NAME: &str = "organizations/o-1/apiKeys/k-1";
/// The first test vector of RFC 8032: published, and of no account.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const UUID: &str = "8bfc20d7-f7c6-4422-bf07-8243ca4169fe";

fn ok(body: impl std::fmt::Display) -> (u16, &'static str, String) {
    (200, "", body.to_string())
}

fn time() -> (u16, &'static str, String) {
    ok(json!({ "iso": "2026-01-01T00:00:03Z", "epochSeconds": "1767225603", "epochMillis": (NOW + 3000).to_string() }))
}

fn rights(can_trade: bool, kind: &str) -> (u16, &'static str, String) {
    ok(
        json!({ "can_view": true, "can_trade": can_trade, "can_transfer": false, "portfolio_uuid": UUID, "portfolio_type": kind }),
    )
}

fn credentials(name: &str, secret: &str) -> Credentials {
    Credentials::ApiKey { key: name.into(), secret: secret.to_owned().into(), passphrase: None }
}

fn account(mock: &Mock) -> Arc<dyn VenueAccount> {
    let venues = mock.venues(Timestamp::from_millis(NOW).unwrap());
    connect(&venues, Venue::Coinbase, credentials(NAME, SEED)).unwrap()
}

fn all_listed(mock: &Mock) {
    for asked in mock.asked() {
        assert!(Listed::new(READS, &asked.method, &asked.path).is_ok(), "{} {}", asked.method, asked.path);
    }
}

#[tokio::test]
async fn a_read_carries_a_token_for_itself_alone_by_the_servers_clock() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { rights(false, "DEFAULT") }).await;
    let standing = match account(&mock).attest().await.unwrap() {
        Attestation::Accepted(standing) => standing,
        other => panic!("{other:?}"),
    };
    assert_eq!((standing.assurance, standing.kind.as_str()), (Assurance::ReadOnly, "portfolio"));
    assert_eq!(mock.seen(), ["GET /api/v3/brokerage/time", "GET /api/v3/brokerage/key_permissions"]);
    let public = &mock.asked()[0];
    assert!(!public.headers.contains("authorization"), "the public read shows no token");
    // The mock lowers the case of headers, so the token itself is read where that does no harm.
    assert!(mock.asked()[1].headers.contains("authorization: bearer "));
    all_listed(&mock);
}

/// The mock hands on headers in lower case: the token is looked at where it is made.
#[test]
fn the_token_verifies_with_the_public_key() {
    let key = sign::Key::read(&SEED.to_owned().into()).unwrap();
    let listed = Listed::new(READS, "GET", "/v2/accounts").unwrap();
    let token = sign::token(listed, NAME, &key, Timestamp::from_millis(NOW).unwrap(), "n").unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let public = hex::decode(PUBLIC).unwrap();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
}

#[tokio::test]
async fn a_key_that_can_trade_is_refused_and_one_that_cannot_view_lacks_a_right() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { rights(true, "DEFAULT") }).await;
    let refused = Attestation::TooPowerful { rights: vec!["can_trade".into()] };
    assert_eq!(account(&mock).attest().await.unwrap(), refused);
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => ok(json!({ "can_view": false, "can_trade": false, "can_transfer": false })),
    })
    .await;
    assert!(matches!(account(&mock).attest().await.unwrap_err(), VenueError::PermissionMissing { .. }));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_by_the_servers_clock_and_then_final() {
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => (401, "", "Unauthorized\n".into()),
    })
    .await;
    let error = account(&mock).attest().await.unwrap_err();
    assert!(matches!(error, VenueError::KeyRefused { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("k-1"));
    let (time, read) = ("GET /api/v3/brokerage/time", "GET /api/v3/brokerage/key_permissions");
    assert_eq!(mock.seen(), [time, read, time, read]);

    let refusals = Arc::new(AtomicUsize::new(0));
    let mock = Mock::start(move |asked| match asked.path.ends_with("/time") {
        true => self::time(),
        false if refusals.fetch_add(1, Ordering::SeqCst) == 0 => (401, "", "Unauthorized".into()),
        false => rights(false, "CONSUMER"),
    })
    .await;
    assert!(matches!(account(&mock).attest().await.unwrap(), Attestation::Accepted(_)));
}

#[tokio::test]
async fn a_venue_that_asks_for_silence_is_left_alone() {
    let limited = json!({ "errors": [{ "id": "rate_limit_exceeded", "message": "slow down" }] }).to_string();
    let mock = Mock::start(move |asked| match asked.path.ends_with("/time") {
        true => time(),
        false => (429, "retry-after: 40", limited.clone()),
    })
    .await;
    let account = account(&mock);
    for _ in 0..2 {
        let error = account.page("advanced.fills", &Value::Null).await.unwrap_err();
        assert!(matches!(error, VenueError::Retry { after: Some(_), .. }), "{error:?}");
    }
    assert_eq!(mock.seen().len(), 2, "the clock, and one read");
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => (403, "", json!({ "error": "PERMISSION_DENIED", "message": "no" }).to_string()),
    })
    .await;
    let error = self::account(&mock).page("advanced.fills", &Value::Null).await.unwrap_err();
    assert!(matches!(error, VenueError::PermissionMissing { .. }));
}

fn instant(asked: &Asked, name: &str) -> i64 {
    let text = asked.param(name).unwrap().replace("%3A", ":");
    text.parse::<Timestamp>().unwrap().millis()
}

/// 520 fills, newest first, three to a millisecond, paged by a token.
fn fills(asked: &Asked) -> (u16, &'static str, String) {
    let (from, to) = (instant(asked, "start_sequence_timestamp"), instant(asked, "end_sequence_timestamp"));
    let skip: usize = asked.param("cursor").map_or(0, |token| token.parse().unwrap());
    let all = (0..520_i64).map(|i| (i, NOW - 200 * DAY + i / 3 * DAY)).filter(|(_, at)| (from..to).contains(at));
    let mut all: Vec<(i64, i64)> = all.collect();
    all.reverse();
    let rows: Vec<Value> = all
        .iter()
        .skip(skip)
        .take(100)
        .map(|(i, at)| {
            json!({ "entry_id": format!("e-{i}"), "trade_time": Timestamp::from_millis(*at).unwrap(), "trade_type": "FILL",
                    "price": "2", "size": "3", "commission": "0.5", "product_id": "BTC-EUR", "size_in_quote": false, "side": "BUY" })
        })
        .collect();
    // Like the venue, a token even where nothing follows.
    let token = if rows.is_empty() { String::new() } else { (skip + rows.len()).to_string() };
    ok(json!({ "fills": rows, "cursor": token }))
}

fn trading_venue(asked: &Asked) -> (u16, &'static str, String) {
    let money = |value: &str, currency: &str| json!({ "value": value, "currency": currency });
    match asked.path.strip_prefix("/api/v3/brokerage").unwrap_or(&asked.path) {
        "/time" => time(),
        "/key_permissions" => rights(false, "DEFAULT"),
        "/orders/historical/fills" => fills(asked),
        "/market/products" if asked.query.contains("SPOT") => ok(json!({ "products": [
            { "product_id": "BTC-USD", "price": "90000" }, { "product_id": "USDC-EUR", "price": "0.8" },
            { "product_id": "ODD-USD", "price": "" }] })),
        "/market/products" => ok(json!({ "products": [
            { "product_id": "SLP-20DEC30-CDE", "price": "150", "future_product_details":
                { "contract_size": "5", "contract_root_unit": "SOL", "funding_rate": "0.00001" } }] })),
        "/market/products/USDC-EUR/candles" => {
            let end = asked.number("end").unwrap();
            ok(json!({ "candles": [{ "start": (end - 120).to_string(), "close": "0.8" }] }))
        }
        "/accounts" if asked.param("cursor").is_none() => ok(json!({ "has_next": true, "cursor": "p2", "accounts": [
            { "currency": "BTC", "available_balance": money("0.5", "BTC"), "hold": money("0.5", "BTC") },
            { "currency": "EUR", "available_balance": money("0", "EUR"), "hold": null }] })),
        "/accounts" => ok(json!({ "has_next": false, "cursor": "", "accounts": [
            { "currency": "WHAT", "available_balance": money("3", "WHAT"), "type": "ACCOUNT_TYPE_VAULT" }] })),
        "/cfm/balance_summary" => ok(json!({ "balance_summary":
            { "cfm_usd_balance": money("100", "USD"), "unrealized_pnl": money("-7", "USD") } })),
        "/cfm/positions" => ok(json!({ "positions": [{ "product_id": "SLP-20DEC30-CDE", "side": "SHORT",
            "number_of_contracts": "2", "current_price": "150", "avg_entry_price": "149.3", "unrealized_pnl": "-7" }] })),
        "/v2/accounts" => ok(json!({ "pagination": { "next_uri": null }, "data": [
            { "id": "w-1", "created_at": "2020-01-01T00:00:00Z", "balance": { "amount": "1", "currency": "BTC" } },
            { "id": "SOL", "created_at": null, "balance": { "amount": "0", "currency": "SOL" } }] })),
        path if path.starts_with("/portfolios/") => ok(json!({ "breakdown": { "portfolio_balances": {
            "total_balance": money("90093.5", "USD"), "total_futures_balance": money("93", "USD") },
            "futures_positions": [{}], "perp_positions": [] } })),
        path => panic!("{path}"),
    }
}

#[tokio::test]
async fn every_fill_is_read_once_and_windows_follow_without_a_gap() {
    let mock = Mock::start(trading_venue).await;
    let account = account(&mock);
    let (mut at, mut ids, mut records, mut spans) = (Value::Null, BTreeSet::new(), 0, vec![]);
    loop {
        let page = account.page("advanced.fills", &at).await.unwrap();
        assert!(page.parsed.unreadable.is_empty());
        for record in page.parsed.records {
            // Half a euro, at 0.8 euros a dollar.
            assert_eq!(record.event.fee_usd.unwrap().to_string(), "0.625");
            ids.insert(record.event.native_id);
            records += 1;
        }
        spans.extend(page.covered);
        at = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(ids.len(), 520);
    assert!(records < 530, "only the borders of windows are read twice: {records}");
    assert_eq!(spans[0].0.millis(), 0);
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a gap: {spans:?}");
    assert_eq!(spans.last().unwrap().1.millis(), NOW + 3000, "never past the server's now");
    let again = account.page("advanced.fills", &at).await.unwrap();
    assert!(!again.more && again.covered.unwrap().0 <= spans.last().unwrap().1);
    all_listed(&mock);
}

#[tokio::test]
async fn a_snapshot_states_the_venues_equity_and_reveals_the_wallets_that_were_used() {
    let mock = Mock::start(trading_venue).await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    assert_eq!(snapshot.nav_usd.to_string(), "90093.5");
    let held: Vec<_> =
        snapshot.balances.iter().map(|b| (b.wallet, b.asset.to_string(), b.total.normalize().to_string())).collect();
    let balance = |wallet, asset: &str, total: &str| (wallet, asset.to_owned(), total.to_owned());
    assert_eq!(held, [balance("spot", "BTC", "1"), balance("vault", "WHAT", "3"), balance("cfm", "USD", "93")]);
    assert_eq!(snapshot.balances[0].value_usd.unwrap().to_string(), "90000");
    let exposure = codash_domain::Exposure::of(&snapshot.positions);
    // Two contracts of five.
    assert_eq!(exposure.short_usd.to_string(), "1500");
    assert_eq!(snapshot.positions[0].symbol.as_str(), "SOL-PERP");
    assert_eq!(streams, ["wallet.transactions:w-1"]);
    assert!(snapshot.unpriced_assets.is_empty(), "the equity is stated whole");
    all_listed(&mock);
}

#[tokio::test]
async fn a_perpetuals_portfolio_is_asked_for_its_own_balances() {
    let mock = Mock::start(|asked| match asked.path.strip_prefix("/api/v3/brokerage").unwrap_or(&asked.path) {
        "/key_permissions" => rights(false, "INTX"),
        "/accounts" => ok(json!({ "accounts": [{ "currency": "USDC", "type": "ACCOUNT_TYPE_PERP_FUTURES",
            "available_balance": { "value": "50", "currency": "USDC" } }] })),
        path if path.starts_with("/portfolios/") => ok(json!({ "breakdown": { "portfolio_balances": {
            "total_balance": { "value": "49", "currency": "USD" } } } })),
        path if path.starts_with("/intx/balances/") => ok(json!({ "portfolio_balances": [{ "balances": [
            { "asset": { "asset_name": "USDC" }, "quantity": "50" }] }] })),
        path if path.starts_with("/intx/positions/") => ok(json!({ "positions": [{ "product_id": "BTC-PERP-INTX",
            "position_side": "POSITION_SIDE_LONG", "net_size": "0.1", "mark_price": { "value": "90000", "currency": "USDC" },
            "unrealized_pnl": { "value": "-1", "currency": "USDC" }, "entry_vwap": { "value": "90010", "currency": "USDC" } }] })),
        _ => trading_venue(asked),
    })
    .await;
    let (snapshot, streams) = account(&mock).snapshot().await.unwrap();
    assert_eq!((snapshot.nav_usd.to_string().as_str(), snapshot.balances.len(), streams.len()), ("49", 1, 0));
    let position = &snapshot.positions[0];
    assert_eq!((position.symbol.as_str(), position.notional_usd.to_string().as_str()), ("BTC-PERP", "9000"));
    assert!(!mock.seen().iter().any(|seen| seen.contains("cfm") || seen.contains("v2")));
}

/// 230 transactions, oldest first, by id; the 200th is pending.
fn transactions(asked: &Asked) -> (u16, &'static str, String) {
    assert_eq!(asked.param("order").as_deref(), Some("asc"));
    let after: i64 = asked.param("starting_after").map_or(-1, |id| id.parse().unwrap());
    let rows: Vec<Value> = (after + 1..230)
        .take(100)
        .map(|i| {
            json!({ "id": i.to_string(), "type": "fiat_deposit", "status": if i == 200 { "pending" } else { "completed" },
                    "amount": { "amount": "1.5", "currency": "USD" },
                    "created_at": Timestamp::from_millis(NOW - 10 * DAY + i * 60_000).unwrap() })
        })
        .collect();
    let next = (rows.len() == 100).then_some("/v2/accounts/w-1/transactions?x");
    ok(json!({ "pagination": { "order": "asc", "next_uri": next }, "data": rows }))
}

#[tokio::test]
async fn transactions_become_cash_flows_and_a_pending_one_is_waited_for() {
    let mock = Mock::start(|asked| if asked.path.ends_with("/time") { time() } else { transactions(asked) }).await;
    let account = account(&mock);
    let (mut at, mut flows, mut spans) = (Value::Null, vec![], vec![]);
    loop {
        let page = account.page("wallet.transactions:w-1", &at).await.unwrap();
        flows.extend(page.parsed.cash_flows);
        spans.extend(page.covered);
        at = page.cursor;
        if !page.more {
            break;
        }
    }
    let ids: BTreeSet<&String> = flows.iter().map(|flow| &flow.native_id).collect();
    assert_eq!((flows.len(), ids.len()), (229, 229));
    assert_eq!(flows[0].value_usd.unwrap().to_string(), "1.5");
    let whole = Span { from: 0, to: NOW + 3000 }.covered();
    assert_eq!(spans, [whole.unwrap()]);
    let again = account.page("wallet.transactions:w-1", &at).await.unwrap();
    assert_eq!(again.parsed.cash_flows.len(), 29, "from the pending one on");
    all_listed(&mock);
}

#[tokio::test]
async fn a_venue_that_gives_the_newest_first_is_not_believed() {
    let mock = Mock::start(|asked| match asked.path.ends_with("/time") {
        true => time(),
        false => ok(json!({ "pagination": { "order": "desc", "next_uri": null }, "data": [] })),
    })
    .await;
    let error = account(&mock).page("wallet.transactions:w-1", &Value::Null).await.unwrap_err();
    assert!(matches!(error, VenueError::Unreadable { .. }));
}

#[tokio::test]
async fn streams_are_planned_and_strangers_have_no_plan() {
    let mock = Mock::start(|_| time()).await;
    let account = account(&mock);
    assert_eq!(account.initial_streams(), ["advanced.fills"]);
    let order = |stream: &str| account.plan(stream).map(|plan| plan.order);
    assert!(order("advanced.fills") < order("wallet.transactions:w-1"));
    assert_eq!([order("advanced.fills:x"), order("wallet.transactions:"), order("x")], [None, None, None]);
    assert!(account.page("orders", &Value::Null).await.is_err());
    // An id that would lead elsewhere is asked about nowhere.
    assert!(account.page("wallet.transactions:../x", &Value::Null).await.is_err());
    assert!(mock.seen().iter().all(|seen| seen.ends_with("/time")));
}

#[test]
fn credentials_of_another_kind_are_refused_and_never_shown() {
    let venues = crate::venues::Venues {
        http: crate::http::Http::new().unwrap(),
        endpoints: Default::default(),
        clock: Arc::new(codash_domain::SystemClock),
    };
    let refused = |given| match connect(&venues, Venue::Coinbase, given) {
        Err(error @ VenueError::KeyRefused { .. }) => format!("{error:?} {error}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("accepted"),
    };
    refused(Credentials::Wallet { address: "0x0".into() });
    refused(credentials("aB3dE5gH7jK9mN1p", SEED));
    for secret in ["hidden-secret", "-----BEGIN EC PRIVATE KEY-----\nhidden-secret\n-----END EC PRIVATE KEY-----"] {
        assert!(!refused(credentials(NAME, secret)).contains("hidden-secret"));
    }
    assert!(connect(&venues, Venue::Coinbase, credentials(NAME, SEED)).is_ok());
}
