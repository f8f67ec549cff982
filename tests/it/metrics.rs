//! Returns, risk and the one-call report, of worth and flows that the store was given.

use codash_domain::{AccountId, Asset, CashFlow, FlowKind, Timestamp, Usd};
use codash_store::ingest::PageWrite;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, World};
use crate::ingest::fill;

/// The world's now is in the evening of 2026-05-28.
fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn flow(n: u32, kind: FlowKind, when: &str, value: Option<&str>, amount: &str) -> CashFlow {
    CashFlow {
        stream: "flows.deposits",
        native_id: format!("binance:{kind}:{n}"),
        kind,
        occurred_at: at(when),
        wallet: "spot",
        asset: Asset::new("USDT"),
        amount: usd(amount).0,
        value_usd: value.map(usd),
        raw: "{}".into(),
    }
}

async fn worth(world: &World, account: AccountId, points: &[(&str, &str)]) {
    let nav_points = points.iter().map(|(when, nav)| (at(when), usd(nav))).collect();
    world.commit(account, PageWrite { nav_points, ..PageWrite::default() }).await;
}

async fn flows(world: &World, account: AccountId, cash_flows: Vec<CashFlow>) {
    world.commit(account, PageWrite { cash_flows, ..PageWrite::default() }).await;
}

async fn get(agent: &Agent, path: &str) -> (u16, Value) {
    let response = agent.request(Method::GET, path).send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn data(agent: &Agent, path: &str) -> Value {
    let (status, mut reply) = get(agent, path).await;
    assert_eq!(status, 200, "{path}: {reply}");
    reply["data"].take()
}

fn window<'a>(metrics: &'a Value, label: &str) -> &'a Value {
    let windows = metrics["windows"].as_array().unwrap();
    windows.iter().find(|w| w["label"] == label).unwrap_or_else(|| panic!("no {label} in {metrics}"))
}

fn assert_is(value: &Value, expected: &Value) {
    for (name, wanted) in expected.as_object().unwrap() {
        assert_eq!(&value[name], wanted, "{name} of {value}");
    }
}

/// 1000, ten percent up, 500 put in, ten percent down; five percent up today.
async fn simple() -> (World, AccountId) {
    let world = World::new().await;
    let account = world.account("Main").await;
    let deposit = flow(1, FlowKind::Deposit, "2026-05-26T23:59:00Z", Some("500"), "500");
    flows(&world, account, vec![deposit]).await;
    let points = [
        ("2026-05-25T23:59:00Z", "1000"),
        ("2026-05-26T11:59:00Z", "1040"),
        ("2026-05-26T23:59:00Z", "1600"),
        ("2026-05-27T23:59:00Z", "1440"),
        ("2026-05-28T10:30:00Z", "1512"),
    ];
    worth(&world, account, &points).await;
    (world, account)
}

#[tokio::test]
async fn a_deposit_is_no_return_and_every_figure_is_as_reckoned_by_hand() {
    let (world, _) = simple().await;
    let metrics = data(&world.agent(), "/api/metrics").await;
    let labels: Vec<&Value> = metrics["windows"].as_array().unwrap().iter().map(|w| &w["label"]).collect();
    assert_eq!(json!(labels), json!(["7d", "30d", "90d", "365d", "sinceInception"]));
    let week = window(&metrics, "7d");
    assert_eq!(week["window"]["from"], "2026-05-21T00:00:00.000Z");
    assert_eq!(week["window"]["to"], "2026-05-27T23:59:59.999Z");
    let expected = json!({
        "historyFrom": "2026-05-25", "dayCount": 2, "unobservedDayCount": 0, "startNavUsd": 0, "endNavUsd": 1440,
        "enteredUsd": 1000, "leftUsd": 0, "netFlowsUsd": 500, "pnlUsd": -60, "totalReturnPct": -1,
        "annualizedReturnPct": -84.02565668, "volatilityPct": 270.18512172, "sharpe": 0, "sortino": 0,
        "calmar": -8.40256567, "maxDrawdownPct": -10, "currentDrawdownPct": -10, "hitRatePct": 50,
        "maxDrawdown": { "peakDay": "2026-05-26", "troughDay": "2026-05-27", "recoveryDay": null },
        "bestDay": { "day": "2026-05-26", "returnPct": 10 }, "worstDay": { "day": "2026-05-27", "returnPct": -10 },
        "gapCount": 0, "closedTradeCount": 0, "profitFactor": null, "averageLeverage": null,
    });
    assert_is(week, &expected);
    let missing = json!({
        "averageGrossExposureUsd": "no_exposure", "averageLeverage": "no_exposure", "averageNetExposureUsd": "no_exposure",
        "closedTradeHitRatePct": "no_data", "profitFactor": "no_data",
    });
    assert_eq!(week["missing"], missing);
    // x, where 1000 (1 + x) + 500 (1 + x)^(1441 / 2881) = 1440, by bisection in doubles.
    assert_eq!(week["mwrPct"], json!(-4.78792266));
    let today =
        json!({ "from": "2026-05-28T00:00:00.000Z", "navUsd": 1512, "pnlUsd": 72, "netFlowsUsd": 0, "returnPct": 5 });
    assert_is(&metrics["today"], &today);
    assert_eq!(metrics["series"], Value::Null);
    assert_eq!(window(&metrics, "sinceInception")["totalReturnPct"], -1);
}

#[tokio::test]
async fn a_requested_window_is_the_whole_days_in_it_and_the_series_its_days() {
    let (world, _) = simple().await;
    let agent = world.agent();
    let metrics = data(&agent, "/api/metrics?from=2026-05-26&to=2026-05-27&series=true&rollingDays=2").await;
    assert_eq!(metrics["windows"].as_array().unwrap().len(), 1);
    assert_is(window(&metrics, "requested"), &json!({ "startNavUsd": 1000, "enteredUsd": 0, "totalReturnPct": -1 }));
    let series = metrics["series"].as_array().unwrap();
    let column = |name: &str| json!(series.iter().map(|row| &row[name]).collect::<Vec<_>>());
    assert_eq!(column("day"), json!(["2026-05-26", "2026-05-27"]));
    assert_eq!(column("returnPct"), json!([10, -10]));
    assert_eq!(column("cumulativePct"), json!([10, -1]));
    assert_eq!(column("drawdownPct"), json!([0, -10]));
    assert_eq!(column("netFlowsUsd"), json!([500, 0]));
    assert_eq!(column("rollingVolatilityPct"), json!([null, 270.18512172]));
    assert_eq!(column("rollingSharpe"), json!([null, 0]));
    // A window that begins in a day takes the next one.
    let later = data(&agent, "/api/metrics?from=2026-05-26T00:00:01Z").await;
    assert_is(window(&later, "requested"), &json!({ "startNavUsd": 1600, "totalReturnPct": -10, "mwrPct": -10 }));
    let named = data(&agent, "/api/metrics?windows=1,3,1").await;
    let labels: Vec<&Value> = named["windows"].as_array().unwrap().iter().map(|w| &w["label"]).collect();
    assert_eq!(json!(labels), json!(["1d", "3d", "sinceInception"]));
    assert_is(window(&named, "1d"), &json!({ "totalReturnPct": -10, "mwrPct": -10, "volatilityPct": null }));
    assert_eq!(window(&named, "1d")["missing"]["volatilityPct"], "too_few_days");
    for bad in ["windows=0", "windows=7,x", "windows=", "annualization=0", "riskFreePct=101", "rollingDays=1", "days=0"]
    {
        let (status, reply) = get(&agent, &format!("/api/metrics?{bad}")).await;
        assert_eq!((status, reply["success"].clone()), (400, json!(false)), "{bad}: {reply}");
    }
    let (status, reply) = get(&agent, "/api/metrics?from=2026-05-27&to=2026-05-26").await;
    assert_eq!((status, &reply["code"]), (400, &json!("invalid_window")));
}

#[tokio::test]
async fn the_risk_free_rate_and_the_year_are_the_callers() {
    let (world, _) = simple().await;
    let metrics = data(&world.agent(), "/api/metrics?windows=7&riskFreePct=5&annualization=252").await;
    let week = window(&metrics, "7d");
    // (0 - (1.05^(1/252) - 1)) / 0.1414… × √252
    assert_eq!(week["sharpe"], json!(-0.02173497));
    assert_eq!(week["volatilityPct"], json!(224.49944321));
}

#[tokio::test]
async fn a_flow_without_a_price_makes_its_day_a_gap_and_no_figure_hides_it() {
    let (world, account) = simple().await;
    flows(&world, account, vec![flow(2, FlowKind::Deposit, "2026-05-27T12:00:00Z", None, "7")]).await;
    let metrics = data(&world.agent(), "/api/metrics?windows=7&series=true").await;
    let week = window(&metrics, "7d");
    assert_eq!(week["gaps"], json!([{ "day": "2026-05-27", "reason": "unpriced_flow" }]));
    for name in ["totalReturnPct", "mwrPct", "annualizedReturnPct", "maxDrawdownPct", "calmar", "pnlUsd", "netFlowsUsd"]
    {
        assert_eq!((&week[name], &week["missing"][name]), (&Value::Null, &json!("incomplete_days")), "{name}");
    }
    assert_is(week, &json!({ "dayCount": 1, "gapCount": 1, "endNavUsd": 1440 }));
    let last = metrics["series"].as_array().unwrap().last().unwrap();
    let expected = json!({ "day": "2026-05-27", "gap": "unpriced_flow", "returnPct": null, "cumulativePct": null, "pnlUsd": null });
    assert_is(last, &expected);
    let report = data(&world.agent(), "/api/portfolio/report").await;
    assert_eq!(report["dataQuality"]["unpricedFlowCount"], 1);
    assert_is(
        &report["worth"]["changes"][1],
        &json!({ "days": 7, "gap": "unpriced_flow", "pnlUsd": null, "returnPct": null }),
    );
}

#[tokio::test]
async fn transfers_between_selected_accounts_are_no_flows_and_of_one_of_them_they_are() {
    let world = World::new().await;
    let (main, other) = (world.account("Main").await, world.account("Other").await);
    let leg = |n, amount: &str, value: Option<&str>| flow(n, FlowKind::Transfer, "2026-05-26T12:00:00Z", value, amount);
    flows(&world, main, vec![leg(1, "-400", Some("-400")), leg(2, "-3", None)]).await;
    flows(&world, other, vec![leg(3, "400", Some("400")), leg(4, "3", None)]).await;
    let conversion = flow(5, FlowKind::Conversion, "2026-05-26T12:30:00Z", None, "9");
    let loan = flow(6, FlowKind::Loan, "2026-05-26T12:30:00Z", Some("90"), "90");
    flows(&world, other, vec![conversion, loan]).await;
    worth(&world, main, &[("2026-05-25T23:59:00Z", "1000"), ("2026-05-26T23:59:00Z", "600")]).await;
    worth(&world, other, &[("2026-05-25T23:59:00Z", "1000"), ("2026-05-26T23:59:00Z", "1600")]).await;
    let agent = world.agent();
    let both = data(&agent, "/api/metrics?windows=7").await;
    let expected = json!({ "netFlowsUsd": 0, "pnlUsd": 200, "totalReturnPct": 10, "gapCount": 0 });
    assert_is(window(&both, "7d"), &expected);
    assert_is(&both["data"], &json!({ "loanCount": 1, "pendingFlowCount": 0, "flowsComplete": false }));
    let narrow = world.key(|key| key.accounts = Some(vec![main])).await;
    let one = data(&narrow, "/api/metrics?windows=7").await;
    // The unpriced leg that the other account balanced has no balance here.
    assert_eq!(window(&one, "7d")["gaps"][0]["reason"], "unpriced_flow");
    let report = data(&agent, "/api/portfolio/report").await;
    assert_is(&report["cashFlows"], &json!({ "count": 4, "unpricedCount": 2, "transfersUsd": 0, "netUsd": 0 }));
}

#[tokio::test]
async fn a_late_account_and_a_paused_one_come_and_go_without_a_return() {
    let (world, account) = simple().await;
    let late = world.account("Late").await;
    worth(&world, late, &[("2026-05-27T23:58:00Z", "5000"), ("2026-05-28T09:00:00Z", "5000")]).await;
    let agent = world.agent();
    let metrics = data(&agent, "/api/metrics?windows=7").await;
    let expected = json!({ "enteredUsd": 6000, "endNavUsd": 6440, "totalReturnPct": -1, "pnlUsd": -60 });
    assert_is(window(&metrics, "7d"), &expected);
    world.db.store().set_active(world.tenant.workspace, late, false).await.unwrap();
    let metrics = data(&agent, "/api/metrics?windows=7").await;
    assert_is(&metrics["today"], &json!({ "navUsd": 1512, "pnlUsd": 72 }));
    world.db.store().set_active(world.tenant.workspace, account, false).await.unwrap();
    let metrics = data(&agent, "/api/metrics?windows=7").await;
    assert_eq!((&metrics["today"]["navUsd"], &metrics["data"]["valuedUntil"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn wins_and_losses_are_those_of_closing_fills_and_of_days() {
    let (world, account) = simple().await;
    // The fee of each fill is 1: a fill that closed 1 neither won nor lost, one that closed 0 is no close.
    let day = -2 * 86_400;
    let events = vec![
        fill(1, day, 31),
        fill(2, day + 1, -9),
        fill(3, day + 2, 1),
        fill(4, day + 3, 0),
        fill(5, day + 86_400, -6),
    ];
    world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
    let metrics = data(&world.agent(), "/api/metrics?windows=7").await;
    let week = window(&metrics, "7d");
    assert_is(week, &json!({ "closedTradeCount": 4, "closedTradeHitRatePct": 25 }));
    // (31 - 9 + 1 - 4) / (6 + 1)
    assert_eq!(week["profitFactor"], json!(2.71428571));
}

#[tokio::test]
async fn nothing_yet_is_null_with_a_reason_and_never_zero() {
    let world = World::new().await;
    let account = world.account("Empty").await;
    let agent = world.agent();
    let metrics = data(&agent, "/api/metrics?series=true").await;
    for window in metrics["windows"].as_array().unwrap() {
        for name in ["totalReturnPct", "mwrPct", "sharpe", "pnlUsd", "endNavUsd", "hitRatePct", "bestDay"] {
            assert_eq!(window[name], Value::Null, "{name}");
            assert!(window["missing"][name].is_string(), "{name} of {window}");
        }
    }
    assert_eq!(metrics["data"]["neverValuedAccountIds"], json!([account]));
    assert_eq!((&metrics["today"]["navUsd"], &metrics["series"]), (&Value::Null, &json!([])));
    let report = data(&agent, "/api/portfolio/report").await;
    assert_is(&report["worth"]["changes"][0], &json!({ "navNowUsd": null, "changeUsd": null, "returnPct": null }));
    assert_is(&report["dataQuality"], &json!({ "complete": false, "staleAccountIds": [account] }));
    for query in
        ["from=1970-01-01&to=9999-12-31", "from=9999-12-31", "to=1970-01-01&days=3650", "to=1970-01-02T00:00:00Z"]
    {
        let (status, reply) = get(&agent, &format!("/api/metrics?{query}")).await;
        assert!(status == 200 || reply["code"] == "invalid_window", "{query}: {status} {reply}");
    }
}

#[tokio::test]
async fn the_report_says_to_the_digit_what_each_question_says_alone() {
    let (world, account) = simple().await;
    let events = (0..40).map(|n| fill(n, -n * 86_400 - 60, 20 - n)).collect();
    world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
    world.snapshot(account, "1512").await;
    let agent = world.agent();
    let report = data(&agent, "/api/portfolio/report").await;
    let portfolio = data(&agent, "/api/portfolio").await;
    assert_eq!(report["worth"]["navUsd"], portfolio["navUsd"]);
    assert_eq!(report["exposure"]["grossExposureUsd"], portfolio["grossExposureUsd"]);
    for (place, days) in [1, 7, 30, 90].into_iter().enumerate() {
        let alone = data(&agent, &format!("/api/pnl-analysis/summary?days={days}")).await;
        let pnl = &report["pnl"][place];
        assert_eq!((&pnl["netPnlUsd"], &pnl["days"]), (&alone["totals"]["netPnlUsd"], &json!(days)));
        assert_eq!((&pnl["bestSymbols"], &pnl["worstSymbols"]), (&alone["bestSymbols"], &alone["worstSymbols"]));
        assert_eq!(pnl["window"]["from"], alone["window"]["from"]);
    }
    let losses = data(&agent, "/api/forensics/largest-loss-events?days=30&limit=5").await;
    assert_eq!(report["largestLosses"], losses["rows"]);
    let metrics = data(&agent, "/api/metrics?windows=7,30,90").await;
    for (place, label) in ["7d", "30d", "90d"].into_iter().enumerate() {
        let (headline, full) = (&report["performance"][place], window(&metrics, label));
        for name in
            ["label", "window", "totalReturnPct", "mwrPct", "volatilityPct", "sharpe", "maxDrawdownPct", "pnlUsd"]
        {
            assert_eq!(headline[name], full[name], "{name} of {label}");
        }
    }
    assert_eq!(report["worth"]["today"], metrics["today"]);
    // A day ago to the hour: of 1440 at midnight.
    let day =
        json!({ "days": 1, "navThenUsd": 1600, "navNowUsd": 1512, "changeUsd": -88, "pnlUsd": -88, "returnPct": -5.5 });
    assert_is(&report["worth"]["changes"][0], &day);
    assert_eq!(report["accounts"][0]["isStale"], false);
    assert_is(&report["cashFlows"], &json!({ "count": 1, "depositsUsd": 500, "withdrawalsUsd": 0, "netUsd": 500 }));
    let (status, _) = get(&agent, "/api/portfolio/report?days=366").await;
    assert_eq!(status, 400);
}
