//! The REST surface: documented shapes, the digits of the tools, one scope a route, nothing for a stranger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use codash_domain::{
    AccountId, Event, EventType, Price, Qty, Scope, Scopes, Side, Snapshot, Symbol, Timestamp, Usd, snapshot::Position,
};
use codash_store::ingest::PageWrite;
use reqwest::Method;
use rust_decimal::Decimal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::agent::{Agent, World, venue_keys};
use crate::ingest::fill;
use crate::tenants::now;

pub async fn send(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub async fn get(agent: &Agent, path: &str) -> (u16, Value) {
    send(agent.request(Method::GET, path)).await
}

/// The data of an answer in the success envelope.
pub async fn data(agent: &Agent, path: &str) -> Value {
    let (status, mut reply) = get(agent, path).await;
    assert_eq!((status, &reply["success"]), (200, &json!(true)), "{path}: {reply}");
    reply["data"].take()
}

async fn query(agent: &Agent, body: &Value) -> (u16, Value) {
    let request = agent.request(Method::POST, "/api/pnl-analysis/query").header("content-type", "application/json");
    send(request.body(body.to_string())).await
}

pub async fn queried(agent: &Agent, body: &Value) -> Value {
    let (status, mut reply) = query(agent, body).await;
    assert_eq!((status, &reply["success"]), (200, &json!(true)), "{body}: {reply}");
    reply["data"].take()
}

/// Deterministic, so that a failing run can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % bound).unwrap()
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

pub fn some_event(n: i64, coins: &[&str], dice: &mut Dice) -> Event {
    let mut event = fill(n, -dice.roll(45 * 86_400), dice.roll(2_000) - 1_000);
    event.event_type = dice.pick(&EventType::ALL);
    event.symbol = Symbol::linear_perp(dice.pick(coins));
    event.side = dice.pick(&[None, Some(Side::Buy), Some(Side::Sell)]);
    event.funding_usd = Some(Usd::new(Decimal::new(dice.roll(1_000) - 500, 3)));
    if dice.roll(15) == 0 {
        event.fee_usd = None;
        event.unpriced = true;
    }
    event
}

/// Two accounts with six weeks of events, most of them sealed, positions and NAV. Only Main trades MAINCOIN.
pub async fn world() -> (World, AccountId, AccountId) {
    world_of(true).await
}

/// The same world, its events sealed in rollups or not.
pub async fn world_of(is_sealed: bool) -> (World, AccountId, AccountId) {
    let world = World::new().await;
    let main = world.account("Main").await;
    let other = world.account("Other").await;
    let mut dice = Dice(5);
    for (account, offset, coins) in [(main, 0, ["BTC", "ETH", "MAINCOIN"]), (other, 10_000, ["BTC", "ETH", "SOL"])] {
        let events = (0..400).map(|n| some_event(offset + n, &coins, &mut dice)).collect();
        world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
        hold(&world, account, &coins).await;
    }
    let until = now().minus(TimeDelta::days(2));
    while is_sealed && world.db.store().seal(world.tenant.workspace, until).await.unwrap() > 0 {}
    // A late record: its hour is read raw again.
    let late = vec![fill(20_000, -20 * 86_400, 7)];
    world.commit(other, PageWrite { events: late, ..PageWrite::default() }).await;
    let tags = format!("UPDATE accounts SET tags = '{{alpha,beta,alpha}}' WHERE account_id = '{main}' RETURNING 1");
    world.db.admin(&tags).await;
    (world, main, other)
}

/// A snapshot with a long and a short position, and NAV of the hours before.
async fn hold(world: &World, account: AccountId, coins: &[&str]) {
    let position = |coin: &str, qty: i64, notional: i64, upnl: i64| Position {
        symbol: Symbol::linear_perp(coin).unwrap(),
        native_symbol: format!("{coin}USDT"),
        leg: "both",
        qty: Qty::new(Decimal::from(qty)),
        entry_price: Some(Price::new(Decimal::from(100))),
        mark_price: Some(Price::new(Decimal::from(110))),
        notional_usd: Usd::new(Decimal::from(notional)),
        unrealized_pnl_usd: Usd::new(Decimal::from(upnl)),
    };
    let points = (0..100).map(|h| (now().minus(TimeDelta::hours(h + 1)), Usd::new(Decimal::from(1_000 - h)))).collect();
    world.commit(account, PageWrite { nav_points: points, ..PageWrite::default() }).await;
    let snapshot = Snapshot {
        taken_at: now(),
        balances: vec![],
        positions: vec![position(coins[0], 2, 1_500, 30), position(coins[2], -1, 500, -10)],
        nav_usd: "1000".parse().unwrap(),
        unpriced_assets: vec![],
        btc_price_usd: Some("50000".parse().unwrap()),
        eth_price_usd: None,
    };
    let wait = std::time::Duration::from_secs(60);
    let lease = world.db.store().take_lease(world.tenant.workspace, account, "test", wait).await.unwrap();
    world.db.store().commit_snapshot(&lease, &snapshot, &[]).await.unwrap();
}

fn assert_has(value: &Value, names: &[&str]) {
    let there = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let missing: Vec<_> = names.iter().filter(|name| !there.contains_key(**name)).collect();
    assert!(missing.is_empty(), "missing {missing:?} in {value}");
}

const SUMS: [&str; 7] =
    ["eventCount", "notionalUsd", "feesUsd", "realizedPnlUsd", "fundingUsd", "netPnlUsd", "forcedCloseCount"];

#[tokio::test]
async fn every_read_answers_in_its_documented_shape() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let portfolio = data(&agent, "/api/portfolio").await;
    assert_eq!((portfolio["navUsd"].to_string().as_str(), &portfolio["accountCount"]), ("2000", &json!(2)));
    let history = data(&agent, "/api/portfolio/history?days=7").await;
    assert_has(&history["points"][0], &["timestamp", "nav", "grossExposure", "netExposure"]);

    let exposure = data(&agent, "/api/portfolio/exposure-summary").await;
    for name in ["navUsd", "grossExposureUsd", "netExposureUsd", "longExposureUsd", "shortExposureUsd"] {
        assert_eq!(exposure[name].to_string(), portfolio[name].to_string(), "{name}");
    }
    assert_eq!(exposure["grossToNavPercent"].to_string(), "200");
    assert_eq!(exposure["largestSymbolPercent"].to_string(), "75");
    let btc = &exposure["bySymbol"][0];
    assert_eq!((&btc["symbol"], btc["grossUsd"].to_string().as_str()), (&json!("BTC-PERP"), "3000"));
    assert_eq!((&exposure["positionCount"], &exposure["truncated"]), (&json!(4), &json!(false)));
    let one = data(&agent, &format!("/api/portfolio/exposure-summary?accountId={main}&limit=1")).await;
    assert_eq!((one["positions"].as_array().unwrap().len(), &one["truncated"]), (1, &json!(true)));
    assert_eq!(one["positions"][0]["unrealizedPnlPercent"].to_string(), "2");

    let summary = data(&agent, "/api/pnl-analysis/summary").await;
    assert_has(&summary, &["window", "totals", "byEventType", "days", "bestSymbols", "worstSymbols", "provenance"]);
    assert_has(&summary["totals"], &SUMS);
    assert_eq!((&summary["window"]["days"], &summary["window"]["defaulted"]), (&json!(30), &json!(true)));

    let accounts = data(&agent, "/api/forensics/account-summary").await;
    assert_eq!(accounts["count"], json!(2));
    assert_has(&accounts["accounts"][0], &["accountId", "accountName", "venue", "byEventType", "days", "nav"]);
    assert_has(&accounts["accounts"][0], &SUMS);
    assert_eq!(accounts["accounts"][0]["nav"]["lowestUsd"].to_string(), "901");
    let worst = data(&agent, "/api/forensics/largest-loss-events?limit=1").await;
    assert_eq!(accounts["largestLoss"], worst["rows"][0]);

    for (bucket, count) in [("hour", 24), ("weekday", 7), ("venue", 1)] {
        let buckets = data(&agent, &format!("/api/forensics/pnl-buckets?bucket={bucket}")).await;
        assert_eq!((&buckets["bucket"], &buckets["count"]), (&json!(bucket), &json!(count)));
        assert_eq!(sum(&buckets["rows"], "netPnlUsd"), number(&buckets["totals"]["netPnlUsd"]), "{bucket}");
        assert_eq!(buckets["totals"].to_string(), accounts["totals"].to_string(), "{bucket}");
    }

    let risk = data(&agent, "/api/forensics/risk-timeline").await;
    let last = risk["points"].as_array().unwrap().last().unwrap();
    assert_eq!((last["grossToNavPercent"].to_string().as_str(), &risk["peak"]), ("200", last));
    assert_eq!(risk["points"][0]["grossExposureUsd"], Value::Null, "the venue stated equity alone");
    let forced = sum(&risk["forcedCloseHours"], "forcedCloseCount");
    assert_eq!(forced, number(&accounts["totals"]["forcedCloseCount"]));
}

pub fn number(value: &Value) -> Decimal {
    value.to_string().parse().unwrap_or_else(|_| panic!("no number: {value}"))
}

pub fn sum(rows: &Value, name: &str) -> Decimal {
    rows.as_array().unwrap().iter().map(|row| number(&row[name])).sum()
}

#[tokio::test]
async fn windows_are_echoed_and_pages_after_the_first_have_none() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    for path in ["account-summary", "pnl-by-symbol", "pnl-buckets", "largest-loss-events", "risk-timeline"] {
        let path = format!("/api/forensics/{path}");
        let window = data(&agent, &path).await["window"].take();
        assert_eq!((&window["days"], &window["defaulted"]), (&json!(90), &json!(true)), "{path}");
        let window = data(&agent, &format!("{path}?days=7")).await["window"].take();
        assert_eq!((&window["days"], &window["defaulted"]), (&json!(7), &json!(false)), "{path}");
        let from = now().minus(TimeDelta::days(2));
        let window = data(&agent, &format!("{path}?from={from}")).await["window"].take();
        assert_eq!((&window["from"], &window["defaulted"]), (&json!(from), &json!(false)), "{path}");
    }
    for (path, types) in [
        ("/api/trades", vec!["trade", "liquidation", "adl", "system_close"]),
        ("/api/trade-events", vec![]),
        ("/api/forensics/forced-events", vec!["liquidation", "adl", "system_close"]),
    ] {
        let path = format!("{path}?accountId={main}&limit=40");
        let first = data(&agent, &path).await;
        assert_eq!((&first["window"]["days"], &first["window"]["defaulted"]), (&json!(90), &json!(true)), "{path}");
        let mut page = first;
        let mut seen: Vec<String> = Vec::new();
        loop {
            for row in page["rows"].as_array().unwrap() {
                let event_type = row["eventType"].as_str().unwrap();
                assert!(types.is_empty() || types.contains(&event_type), "{path}: {event_type}");
                seen.push(row["id"].as_str().unwrap().to_owned());
            }
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            page = data(&agent, &format!("{path}&cursor={cursor}")).await;
            assert_eq!(page["window"], Value::Null);
        }
        assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
        let arguments = json!({ "accountId": main, "eventTypes": types, "hours": 2160 });
        let activity = agent.call("get_trading_activity_summary", arguments).await;
        assert_eq!(json!(seen.len()), activity["totals"]["eventCount"], "{path}");
        let cursor = data(&agent, &path).await["nextCursor"].as_str().unwrap().to_owned();
        let foreign = world.stranger().await;
        let (status, reply) = get(&foreign, &format!("/api/trade-events?cursor={cursor}")).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_cursor")));
    }
}

#[tokio::test]
async fn pnl_analysis_takes_days_and_a_day_is_all_of_it() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let day = now().minus(TimeDelta::days(1)).to_string()[..10].to_owned();
    let by_days = data(&agent, &format!("/api/pnl-analysis/summary?from={day}&to={day}")).await;
    assert_eq!(by_days["window"]["from"], json!(format!("{day}T00:00:00.000Z")));
    assert_eq!(by_days["window"]["to"], json!(format!("{day}T23:59:59.999Z")));
    let instants = format!("from={day}T00:00:00Z&to={day}T23:59:59.999Z");
    let by_instants = data(&agent, &format!("/api/pnl-analysis/summary?{instants}")).await;
    assert_eq!(by_days, by_instants);
    let activity = data(&agent, &format!("/api/trade-events/activity-summary?{instants}")).await;
    assert_eq!(by_days["totals"].to_string(), activity["totals"].to_string());
    let grouped = queried(&agent, &json!({ "from": day, "to": day, "groupBy": ["day"] })).await;
    assert_eq!((&grouped["count"], &grouped["rows"][0]["day"]), (&json!(1), &json!(day)));
    let (status, reply) = get(&agent, "/api/pnl-analysis/summary?from=13.04.2026").await;
    assert_eq!((status, &reply["details"]["errors"][0]["path"]), (400, &json!("from")));
}

#[tokio::test]
async fn what_is_not_a_parameter_is_refused_with_the_nearest_that_is() {
    let (world, ..) = world().await;
    let agent = world.agent();
    for (path, meant) in [
        ("/api/portfolio?account_id=x", "accountId"),
        ("/api/trade-events?symbol=BTC-PERP", "symbols"),
        ("/api/forensics/pnl-by-symbol?form=2026-01-01T00:00:00Z", "from"),
        ("/api/pnl-analysis/summary?eventType=trade", "eventTypes"),
    ] {
        let (status, reply) = get(&agent, path).await;
        let told = format!("did you mean {meant}?");
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{path}");
        assert!(reply["error"].as_str().unwrap().contains(&told), "{path}: {reply}");
    }
    for (body, said) in [
        (json!({ "groupBy": ["portfolios"] }), "portfolio"),
        (json!({ "groupBy": ["day", "day"] }), "once"),
        (json!({ "groupBy": ["day", "week", "month", "hour"] }), "3"),
        (json!({ "groupBy": ["day"], "pivotBy": "day" }), "pivotBy"),
        (json!({ "groupby": ["day"] }), "groupby"),
    ] {
        let (status, reply) = query(&agent, &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(reply["error"].as_str().unwrap().contains(said), "{body}: {reply}");
    }
}

/// The same arguments as a query string.
pub fn query_string(arguments: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|i| i.as_str().unwrap()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let pairs: Vec<String> =
        arguments.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    pairs.join("&")
}

pub fn random_arguments(dice: &mut Dice, accounts: &[AccountId]) -> Value {
    let mut arguments = json!({});
    let (a, b) = (dice.roll(50 * 86_400_000), dice.roll(50 * 86_400_000));
    arguments["from"] = json!(now().minus(TimeDelta::milliseconds(a.max(b))));
    arguments["to"] = json!(now().minus(TimeDelta::milliseconds(a.min(b))));
    match dice.roll(4) {
        0 => arguments["accountId"] = json!(dice.pick(accounts)),
        1 => arguments["accountIds"] = json!(accounts),
        _ => {}
    }
    if dice.roll(2) == 0 {
        let symbols = ["BTC-PERP", "MAINCOIN-PERP", "NONE", "SOL-PERP"];
        arguments["symbols"] = json!(symbols[..usize::try_from(1 + dice.roll(4)).unwrap()]);
    }
    arguments
}

/// What an event counts under, found without the code under test.
fn labels(event: &Value, dimension: &str, main: &str) -> Vec<Option<String>> {
    let at: DateTime<Utc> = event["occurredAt"].as_str().unwrap().parse().unwrap();
    let date = at.date_naive();
    let text = match dimension {
        "symbol" | "side" | "eventType" => return vec![event[dimension].as_str().map(str::to_owned)],
        "account" => event["accountId"].as_str().unwrap().to_owned(),
        "venue" => "binance".into(),
        "tag" if event["accountId"] == main => return vec![Some("alpha".into()), Some("beta".into())],
        "tag" => return vec![None],
        "hour" => format!("{:02}", at.hour()),
        "day" => date.to_string(),
        "weekday" => {
            let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
            names[date.weekday().num_days_from_monday() as usize].into()
        }
        "week" => date.week(Weekday::Mon).first_day().to_string(),
        "month" => format!("{}-{:02}", date.year(), date.month()),
        other => panic!("{other}"),
    };
    vec![Some(text)]
}

const MEASURES: [(&str, &str); 4] = [
    ("notionalUsd", "notionalUsd"),
    ("feesUsd", "feeUsd"),
    ("realizedPnlUsd", "realizedPnlUsd"),
    ("fundingUsd", "fundingUsd"),
];

type Groups = BTreeMap<Vec<Option<String>>, Vec<Decimal>>;

/// The count and the four sums of every group, added up here.
fn expected(events: &[Value], dimensions: &[&str], main: &str) -> Groups {
    let mut groups = Groups::new();
    for event in events {
        let mut keys: Vec<Vec<Option<String>>> = vec![vec![]];
        for dimension in dimensions {
            let labels = labels(event, dimension, main);
            keys = keys
                .iter()
                .flat_map(|key| labels.iter().map(move |label| [key.as_slice(), std::slice::from_ref(label)].concat()))
                .collect();
        }
        for key in keys {
            let sums = groups.entry(key).or_insert_with(|| vec![Decimal::ZERO; 5]);
            sums[0] += Decimal::ONE;
            for (i, (_, name)) in MEASURES.into_iter().enumerate() {
                sums[i + 1] += event[name].to_string().parse::<Decimal>().unwrap_or_default();
            }
        }
    }
    groups
}

/// The same of an answer: of its cells when it is pivoted.
fn answered(answer: &Value, dimensions: &[&str], is_pivoted: bool) -> Groups {
    let mut groups = Groups::new();
    for row in answer["rows"].as_array().unwrap() {
        let of_row = if is_pivoted { &dimensions[..dimensions.len() - 1] } else { dimensions };
        let key: Vec<Option<String>> = of_row
            .iter()
            .map(|dimension| if *dimension == "account" { "accountId" } else { dimension })
            .map(|name| row[name].as_str().map(str::to_owned))
            .collect();
        let mut add = |key: Vec<Option<String>>, totals: &Value| {
            let sums = ["eventCount"].into_iter().chain(MEASURES.map(|(name, _)| name));
            assert!(groups.insert(key, sums.map(|name| number(&totals[name])).collect()).is_none(), "a row twice");
        };
        if is_pivoted {
            for cell in row["cells"].as_array().unwrap() {
                assert!(answer["columns"].as_array().unwrap().contains(&cell["column"]));
                let column = cell["column"].as_str().map(str::to_owned);
                add([key.as_slice(), &[column]].concat(), cell);
            }
            assert_eq!(sum(&row["cells"], "netPnlUsd"), number(&row["netPnlUsd"]));
        } else {
            add(key, row);
        }
    }
    groups
}

#[tokio::test]
async fn any_grouping_and_pivot_equals_the_single_events_added_up() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let all = ["symbol", "account", "venue", "tag", "eventType", "side", "hour", "day", "weekday", "week", "month"];
    let mut dice = Dice(9);
    for round in 0..40 {
        let mut arguments = random_arguments(&mut dice, &[main, other]);
        if dice.roll(3) == 0 {
            arguments["eventTypes"] = json!(["funding", "liquidation"]);
        }
        let mut page = arguments.clone();
        page["limit"] = json!(1000);
        let events = data(&agent, &format!("/api/trade-events?{}", query_string(&page))).await;
        assert_eq!(events["nextCursor"], Value::Null);
        let mut dimensions: Vec<&str> = Vec::new();
        // Every dimension has its turn; the others come by chance.
        for dimension in [all[round % all.len()], dice.pick(&all), dice.pick(&all)] {
            if !dimensions.contains(&dimension) {
                dimensions.push(dimension);
            }
        }
        let is_pivoted = dimensions.len() > 1 && dice.roll(2) == 0;
        let mut body = arguments;
        body["limit"] = json!(2000);
        body["groupBy"] = json!(dimensions[..dimensions.len() - usize::from(is_pivoted)]);
        if is_pivoted {
            body["pivotBy"] = json!(dimensions.last());
        }
        let answer = queried(&agent, &body).await;
        let expected = expected(events["rows"].as_array().unwrap(), &dimensions, &main.to_string());
        assert_eq!(answered(&answer, &dimensions, is_pivoted), expected, "{body}");
        assert_eq!(answer["totals"]["eventCount"], events["count"], "{body}");
    }
    let cells = world.db.admin("SELECT 1 FROM rollup_accounts WHERE grain = 'M'").await;
    assert!(!cells.is_empty(), "the comparison was of rollups, not of raw rows alone");
}

#[tokio::test]
async fn rows_come_in_the_order_asked_and_the_totals_are_of_all() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let by_day = queried(&agent, &json!({ "groupBy": ["day"] })).await;
    let days: Vec<&str> = by_day["rows"].as_array().unwrap().iter().map(|r| r["day"].as_str().unwrap()).collect();
    assert!(days.is_sorted(), "time runs forward");
    let body = json!({ "groupBy": ["symbol"], "orderBy": "notionalUsd", "order": "asc", "limit": 2 });
    let smallest = queried(&agent, &body).await;
    assert_eq!((&smallest["count"], &smallest["truncated"]), (&json!(2), &json!(true)));
    let rows = smallest["rows"].as_array().unwrap();
    assert!(number(&rows[0]["notionalUsd"]) <= number(&rows[1]["notionalUsd"]));
    assert_eq!(smallest["totals"].to_string(), by_day["totals"].to_string());
    let whole = queried(&agent, &json!({ "groupBy": [] })).await;
    assert_eq!(whole["rows"][0]["netPnlUsd"].to_string(), by_day["totals"]["netPnlUsd"].to_string());
    let best = queried(&agent, &json!({ "groupBy": ["symbol"] })).await;
    let nets: Vec<Decimal> = best["rows"].as_array().unwrap().iter().map(|r| number(&r["netPnlUsd"])).collect();
    assert!(nets.is_sorted_by(|a, b| a >= b));
}

/// What a route wants of a key.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    AnyKey,
    Key(Scope),
    /// A login: every key gets 405.
    Person,
}

/// Every route of the contract: what it needs, and a body that it takes.
fn routes() -> Vec<(Method, &'static str, Needs, Option<Value>)> {
    use Needs::{AnyKey, Key, Nothing, Person};
    let get = |path, needs| (Method::GET, path, needs, None);
    let keys = venue_keys();
    let secret = keys.secret.expose_secret();
    let account = json!({ "name": "New", "venue": "binance", "apiKey": keys.api_key, "apiSecret": secret });
    let ai_key = json!({ "provider": "anthropic", "key": "sk-ant-REDACTED" });
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let webhook = json!({ "url": "https://hooks.example.com/" });
    vec![
        get("/health/live", Nothing),
        get("/health/ready", Nothing),
        get("/api/venues", Nothing),
        (Method::POST, "/api/agents/register", Nothing, Some(json!({ "name": "x", "keyName": "y" }))),
        (Method::POST, "/mcp", AnyKey, Some(ping)),
        // What is public is walked with a body that is refused: a wrong password is a 401 too.
        (Method::POST, "/api/auth/signup", Nothing, Some(json!({}))),
        (Method::POST, "/api/auth/login", Nothing, Some(json!({}))),
        (Method::POST, "/api/auth/refresh", Nothing, Some(json!({}))),
        (Method::POST, "/api/auth/logout", Nothing, Some(json!({ "refreshToken": "none" }))),
        (Method::POST, "/api/auth/accept", Nothing, Some(json!({}))),
        (Method::POST, "/api/auth/password", Person, Some(json!({ "currentPassword": "x", "newPassword": "y" }))),
        get("/api/owners", Person),
        (Method::POST, "/api/owners/claim", Person, Some(json!({ "apiKey": "kv_live_x" }))),
        (Method::POST, "/api/owners/invitations", Person, Some(json!({ "email": "a@b.example", "role": "viewer" }))),
        (Method::DELETE, "/api/owners/invitations/{id}", Person, None),
        (Method::PATCH, "/api/owners/{id}", Person, Some(json!({ "role": "viewer" }))),
        (Method::DELETE, "/api/owners/{id}", Person, None),
        get("/api/keys", Person),
        (Method::POST, "/api/keys", Person, Some(json!({ "name": "x", "scopes": ["workspace:read"] }))),
        (Method::DELETE, "/api/keys/{id}", Person, None),
        (Method::POST, "/api/keys/{id}/rotate", Person, Some(json!({ "overlapSeconds": 0 }))),
        get("/api/audit", Person),
        get("/api/keys/self", AnyKey),
        get("/api/keys/self/children", AnyKey),
        (Method::POST, "/api/keys/self/children", AnyKey, Some(json!({ "name": "child" }))),
        (Method::DELETE, "/api/keys/self/children/{id}", AnyKey, None),
        get("/api/accounts", Key(Scope::ReadSummary)),
        (Method::POST, "/api/accounts", Key(Scope::WriteAccounts), Some(account)),
        get("/api/accounts/{id}", Key(Scope::ReadSummary)),
        (Method::PATCH, "/api/accounts/{id}", Key(Scope::WriteAccounts), Some(json!({ "name": "Renamed" }))),
        (Method::DELETE, "/api/accounts/{id}", Key(Scope::WriteAccounts), None),
        (Method::POST, "/api/accounts/{id}/sync", Key(Scope::WriteAccounts), Some(json!({}))),
        (
            Method::PUT,
            "/api/accounts/{id}/credentials",
            Key(Scope::WriteAccounts),
            Some(json!({ "apiKey": keys.api_key, "apiSecret": secret })),
        ),
        get("/api/portfolios", Key(Scope::ReadSummary)),
        (Method::POST, "/api/portfolios", Key(Scope::WriteAccounts), Some(json!({ "name": "Group" }))),
        get("/api/portfolios/{id}", Key(Scope::ReadSummary)),
        (Method::PATCH, "/api/portfolios/{id}", Key(Scope::WriteAccounts), Some(json!({ "name": "Renamed" }))),
        (Method::DELETE, "/api/portfolios/{id}", Key(Scope::WriteAccounts), None),
        (Method::POST, "/api/settings/ai-keys", Key(Scope::WriteAiKeys), Some(ai_key)),
        (Method::DELETE, "/api/settings/ai-keys/{provider}", Key(Scope::WriteAiKeys), None),
        get("/api/automations", Key(Scope::WriteAutomations)),
        (Method::POST, "/api/automations", Key(Scope::WriteAutomations), Some(automation())),
        get("/api/automations/{id}", Key(Scope::WriteAutomations)),
        (Method::PATCH, "/api/automations/{id}", Key(Scope::WriteAutomations), Some(json!({ "paused": true }))),
        (Method::DELETE, "/api/automations/{id}", Key(Scope::WriteAutomations), None),
        (Method::POST, "/api/automations/{id}/run", Key(Scope::WriteAutomations), None),
        get("/api/automations/{id}/runs", Key(Scope::WriteAutomations)),
        (Method::POST, "/api/automations/trigger/{token}", Nothing, None),
        get("/api/automations/webhooks", Key(Scope::WriteAutomations)),
        (Method::POST, "/api/automations/webhooks", Key(Scope::WriteAutomations), Some(webhook)),
        (Method::PATCH, "/api/automations/webhooks/{id}", Key(Scope::WriteAutomations), Some(json!({}))),
        (Method::DELETE, "/api/automations/webhooks/{id}", Key(Scope::WriteAutomations), None),
        get("/api/automations/webhooks/{id}/deliveries", Key(Scope::WriteAutomations)),
        get("/api/automations/deliveries/{id}", Key(Scope::WriteAutomations)),
        (Method::POST, "/api/automations/deliveries/{id}/redeliver", Key(Scope::WriteAutomations), None),
        get("/api/cash-flows", Key(Scope::ReadRaw)),
        get("/api/status", Key(Scope::ReadLive)),
        get("/api/grafana/nav", Key(Scope::ReadLive)),
        get("/api/grafana/drawdown", Key(Scope::ReadLive)),
        get("/api/grafana/exposure", Key(Scope::ReadLive)),
        get("/api/grafana/pnl", Key(Scope::ReadSummary)),
        get("/api/grafana/funding", Key(Scope::ReadSummary)),
        get("/api/grafana/fees", Key(Scope::ReadSummary)),
        get("/api/grafana/volume", Key(Scope::ReadSummary)),
        get("/api/grafana/events", Key(Scope::ReadRaw)),
        get("/api/grafana/forced-closes", Key(Scope::ReadRaw)),
        get("/api/grafana/positions", Key(Scope::ReadLive)),
        get("/api/grafana/account-status", Key(Scope::ReadLive)),
        get("/api/grafana/collector-lag", Key(Scope::ReadLive)),
        get("/api/grafana/coverage", Key(Scope::ReadLive)),
        get("/api/grafana/annotations", Key(Scope::ReadRaw)),
        get("/api/grafana/variables/account", Key(Scope::ReadSummary)),
        get("/api/grafana/variables/portfolio", Key(Scope::ReadSummary)),
        get("/api/grafana/variables/symbol", Key(Scope::ReadSummary)),
        get("/api/grafana/variables/venue", Key(Scope::ReadSummary)),
        get("/api/export/counts", Key(Scope::ReadExports)),
        get("/api/export/{table}/count", Key(Scope::ReadExports)),
        get("/api/export/{table}/manifest", Key(Scope::ReadExports)),
        get("/api/export/{table}", Key(Scope::ReadExports)),
        get("/api/portfolio", Key(Scope::ReadLive)),
        get("/api/portfolio/history", Key(Scope::ReadLive)),
        get("/api/portfolio/exposure-summary", Key(Scope::ReadLive)),
        get("/api/portfolio/report", Key(Scope::ReadSummary)),
        get("/api/metrics", Key(Scope::ReadLive)),
        get("/api/trades", Key(Scope::ReadRaw)),
        get("/api/trade-events", Key(Scope::ReadRaw)),
        get("/api/trade-events/activity-summary", Key(Scope::ReadRaw)),
        get("/api/pnl-analysis/summary", Key(Scope::ReadSummary)),
        (
            Method::POST,
            "/api/pnl-analysis/query",
            Key(Scope::ReadRaw),
            Some(json!({ "groupBy": ["symbol", "account"] })),
        ),
        get("/api/forensics/account-summary", Key(Scope::ReadSummary)),
        get("/api/forensics/pnl-by-symbol", Key(Scope::ReadSummary)),
        get("/api/forensics/pnl-buckets", Key(Scope::ReadSummary)),
        get("/api/forensics/forced-events", Key(Scope::ReadRaw)),
        get("/api/forensics/largest-loss-events", Key(Scope::ReadRaw)),
        get("/api/forensics/risk-timeline", Key(Scope::ReadRaw)),
        // Last: with this the walk ends for the key.
        (Method::DELETE, "/api/keys/self", AnyKey, None),
    ]
}

fn automation() -> Value {
    json!({ "name": "Hourly", "when": { "interval": { "everySeconds": 3600 } },
        "what": { "question": { "name": "list_accounts" } } })
}

/// A path with its places filled in.
fn url(path: &str) -> String {
    let filled = path.replace("{provider}", "anthropic").replace("{table}", "events");
    let filled = filled.replace("{id}", "00000000-0000-4000-8000-000000000000");
    let (path, query) = filled.split_once('?').unwrap_or((&filled, ""));
    match path {
        // A file that can be read like the other answers.
        "/api/export/events" => format!("{path}?format=json&{query}"),
        _ => filled.clone(),
    }
}

fn request(agent: &Agent, method: &Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
    let request = agent.request(method.clone(), &url(path));
    match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    }
}

#[test]
fn every_route_of_the_router_is_in_the_contract_and_in_the_walk() {
    let document = codash::openapi::document();
    let mut contract = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        contract.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let walked: BTreeSet<String> = routes().iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
    assert_eq!(walked, contract, "a route is missing from the walk below, or from src/openapi.rs");
    for (method, path, needs, _) in routes() {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        let scope = match needs {
            Needs::Key(scope) => json!(scope),
            Needs::Nothing | Needs::AnyKey | Needs::Person => Value::Null,
        };
        assert_eq!(operation["x-required-scope"], scope, "{method} {path}");
        assert_eq!(operation["security"] == json!([]), needs == Needs::Nothing, "{method} {path}");
    }
    let plain = ["/", "/docs", "/llms.txt", "/openapi.json", "/openapi.yaml"];
    for path in include_str!("../../src/rest/mod.rs").split(".route(\"").skip(1).filter_map(|s| s.split('"').next()) {
        assert!(plain.contains(&path) || document["paths"].get(path).is_some(), "{path} is not in src/openapi.rs");
    }
}

#[tokio::test]
async fn each_route_opens_to_its_scope_and_to_no_other() {
    let (world, ..) = world().await;
    for (method, path, needs, body) in routes() {
        let mut bare = world.public(method.clone(), &url(path));
        if let Some(body) = &body {
            bare = bare.header("content-type", "application/json").body(body.to_string());
        }
        let (status, _) = send(bare).await;
        assert_eq!(status == 401, needs != Needs::Nothing, "{method} {path} without a key: {status}");
    }
    for held in Scope::ALL {
        let agent = world.key(|key| key.scopes = Scopes::new([held])).await;
        for (method, path, needs, body) in routes() {
            let (status, reply) = send(request(&agent, &method, path, body.as_ref())).await;
            let opens = match needs {
                Needs::Key(scope) => Scopes::new([held]).allows(scope),
                Needs::Nothing | Needs::AnyKey | Needs::Person => true,
            };
            if needs == Needs::Person {
                assert_eq!((status, &reply["code"]), (405, &json!("api_key_not_accepted")), "{method} {path}");
            }
            assert!(status < 500 && status != 401, "{method} {path} with {held}: {status}");
            assert_eq!(status != 403, opens, "{method} {path} with {held}: {status}");
            if !opens {
                assert_eq!(reply["code"], json!("insufficient_scope"));
            }
        }
    }
}

#[tokio::test]
async fn no_read_shows_a_stranger_or_a_narrower_key_another_account() {
    let (world, main, other) = world().await;
    let owner = world.agent();
    let stranger = world.stranger().await;
    let narrow = world.key(|key| key.accounts = Some(vec![other])).await;
    let document = codash::openapi::document();
    let hidden = [main.to_string(), "Main".to_owned(), "MAINCOIN".to_owned()];
    let theirs = [other.to_string(), "Other".to_owned()];
    // Lists without arguments of accounts.
    let plain = ["/api/accounts", "/api/portfolios", "/api/status"];
    let desk = crate::manage::group(&owner, "Desk", None).await;
    crate::manage::put_in(&owner, main, &desk).await;
    for (method, path, needs, body) in routes() {
        let reads = matches!(needs, Needs::Key(scope) if scope.as_str().starts_with("workspace:read"));
        // What one id names is asked in `manage`, with ids that exist.
        if !reads || path.contains("{id}") {
            continue;
        }
        let (status, of_all) = send(request(&owner, &method, path, body.as_ref())).await;
        assert_eq!(status, 200, "{path}: {of_all}");
        for (agent, hidden) in [(&stranger, [hidden.as_slice(), &theirs].concat()), (&narrow, hidden.to_vec())] {
            let (status, reply) = send(request(agent, &method, path, body.as_ref())).await;
            let shown = reply.to_string();
            assert_eq!(status, 200, "{path}: {reply}");
            for word in &hidden {
                assert!(!shown.contains(word.as_str()), "{path} shows {word}");
            }
            // Both accounts have one venue.
            if !path.ends_with("variables/venue") {
                assert_ne!(reply, of_all, "{path} shows its owner more, else an absence proves nothing");
            }
        }
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        if !operation.to_string().contains("accountId") || plain.contains(&path) {
            continue;
        }
        let naming = |account: AccountId| match &body {
            Some(body) => {
                let mut body = body.clone();
                body["accountIds"] = json!([account]);
                (path.to_owned(), Some(body))
            }
            None => (format!("{path}?accountIds={account}"), None),
        };
        let (named, body_of_main) = naming(main);
        for agent in [&stranger, &narrow] {
            let (status, reply) = send(request(agent, &method, &named, body_of_main.as_ref())).await;
            assert_eq!((status, &reply["code"]), (403, &json!("unknown_account")), "{path}: {reply}");
        }
        // To the digit what its account alone gives: no sum holds the others.
        let (named, body_of_other) = naming(other);
        let (_, mut of_other) = send(request(&owner, &method, &named, body_of_other.as_ref())).await;
        let (_, mut of_narrow) = send(request(&narrow, &method, path, body.as_ref())).await;
        for reply in [&mut of_other, &mut of_narrow] {
            // A cursor is its key's own. Rows for dashboards come without an envelope.
            if let Some(data) = reply.get_mut("data").and_then(Value::as_object_mut) {
                data.remove("nextCursor");
            }
        }
        assert_eq!(of_narrow.to_string(), of_other.to_string(), "{path}");
    }
}

#[tokio::test]
async fn nothing_yet_is_zero_events_and_unknown_worth() {
    let world = World::new().await;
    let agent = world.agent();
    world.account("Empty").await;
    let exposure = data(&agent, "/api/portfolio/exposure-summary").await;
    assert_eq!((&exposure["navUsd"], &exposure["grossToNavPercent"]), (&Value::Null, &Value::Null));
    let accounts = data(&agent, "/api/forensics/account-summary").await;
    assert_eq!((&accounts["accounts"][0]["eventCount"], &accounts["largestLoss"]), (&json!(0), &Value::Null));
    assert_eq!(accounts["provenance"]["coverage"]["complete"], json!(false));
    let risk = data(&agent, "/api/forensics/risk-timeline").await;
    assert_eq!((&risk["points"], &risk["peak"]), (&json!([]), &Value::Null));
    assert_eq!(queried(&agent, &json!({})).await["rows"], json!([]));
    let all_time = "from=1970-01-01T00:00:00.000Z&to=9999-12-31T23:59:59.999Z";
    for path in ["risk-timeline", "account-summary", "pnl-buckets", "forced-events", "largest-loss-events"] {
        data(&agent, &format!("/api/forensics/{path}?{all_time}")).await;
    }
    let now: Timestamp = now();
    data(&agent, &format!("/api/pnl-analysis/summary?from={now}&to=9999-12-31")).await;
}
