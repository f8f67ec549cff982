//! One question, four faces, the same digits: MCP, REST, exports and dashboards, of sealed and unsealed data.

use chrono::TimeDelta;
use codash_domain::{AccountId, EventType};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::exports;
use crate::rest::{Dice, data, get, number, queried, query_string, random_arguments, sum, world_of};
use crate::tenants::now;

/// Each seed is a world of questions, asked of sealed and of unsealed data.
fn seeds() -> Vec<u64> {
    match std::env::var_os("CODASH_PARITY_SEEDS") {
        Some(seeds) => {
            seeds.to_string_lossy().split_whitespace().map(|seed| seed.parse().expect("seeds are numbers")).collect()
        }
        None => vec![77],
    }
}

const ROUNDS: usize = 8;

/// The sums of an answer, and what the same amount is called on one event.
const SUMS: [(&str, &str); 4] = [
    ("notionalUsd", "notionalUsd"),
    ("feesUsd", "feeUsd"),
    ("realizedPnlUsd", "realizedPnlUsd"),
    ("fundingUsd", "fundingUsd"),
];

async fn flat(agent: &Agent, path: &str) -> Value {
    let (status, reply) = get(agent, path).await;
    assert!(status == 200 && reply.is_array(), "{path}: {reply}");
    reply
}

/// As a dashboard writes the same arguments: lists of accounts alone, times in milliseconds or not.
fn for_dashboards(arguments: &Value, in_millis: bool) -> String {
    let mut arguments = arguments.clone();
    let members = arguments.as_object_mut().unwrap();
    if let Some(one) = members.remove("accountId") {
        members.insert("accountIds".into(), json!([one]));
    }
    for name in ["from", "to"] {
        if let Some(at) = members.get_mut(name).filter(|_| in_millis) {
            let instant: codash_domain::Timestamp = at.as_str().unwrap().parse().unwrap();
            *at = json!(instant.millis());
        }
    }
    query_string(&arguments)
}

#[tokio::test]
async fn the_same_question_has_the_same_digits_at_every_face() {
    for seed in seeds() {
        for is_sealed in [true, false] {
            let (world, main, other) = world_of(is_sealed).await;
            let agent = world.agent();
            let cells = world.db.admin("SELECT 1 FROM rollup_accounts LIMIT 1").await;
            assert_eq!(!cells.is_empty(), is_sealed, "rollups answer, or do not");
            let mut dice = Dice(seed);
            states(&agent, &[main, other]).await;
            for _ in 0..ROUNDS {
                let arguments = random_arguments(&mut dice, &[main, other]);
                tools_and_routes(&agent, &arguments).await;
                let mut typed = arguments;
                if dice.roll(2) == 0 {
                    let count = usize::try_from(1 + dice.roll(3)).unwrap();
                    typed["eventTypes"] = json!((0..count).map(|_| dice.pick(&EventType::ALL)).collect::<Vec<_>>());
                }
                sums(&agent, &typed, dice.roll(2) == 0).await;
                events(&agent, &typed).await;
            }
        }
    }
}

/// NAV and exposure: now, and through time.
async fn states(agent: &Agent, accounts: &[AccountId; 2]) {
    let [main, _] = accounts;
    for arguments in [json!({}), json!({ "accountId": main }), json!({ "accountIds": accounts })] {
        let (rest, dashboards) = (query_string(&arguments), for_dashboards(&arguments, false));
        for (tool, path) in [("get_portfolio_summary", "/api/portfolio"), ("get_nav_history", "/api/portfolio/history")]
        {
            let mcp = agent.call(tool, arguments.clone()).await;
            assert_eq!(data(agent, &format!("{path}?{rest}")).await.to_string(), mcp.to_string(), "{tool}");
        }
        let summary = agent.call("get_portfolio_summary", arguments.clone()).await;
        let history = agent.call("get_nav_history", arguments.clone()).await;
        let from = now().minus(TimeDelta::days(30));
        let nav = flat(agent, &format!("/api/grafana/nav?from={from}&to={}&{dashboards}", now())).await;
        let exposure = flat(agent, &format!("/api/grafana/exposure?from={from}&to={}&{dashboards}", now())).await;
        let points = history["points"].as_array().unwrap();
        assert_eq!(nav.as_array().unwrap().len(), points.len());
        for ((nav, exposure), point) in nav.as_array().unwrap().iter().zip(exposure.as_array().unwrap()).zip(points) {
            assert_eq!(nav["time"], point["timestamp"]);
            for (found, name) in [
                (&nav["navUsd"], "nav"),
                (&exposure["grossExposureUsd"], "grossExposure"),
                (&exposure["netExposureUsd"], "netExposure"),
            ] {
                assert_eq!(found.to_string(), point[name].to_string(), "{name} at {}", nav["time"]);
            }
        }
        assert_eq!(points.last().unwrap()["nav"].to_string(), summary["navUsd"].to_string());
        let exported = exports::rows(agent, &format!("/api/export/nav?format=jsonl&{rest}")).await;
        let newest = exported.iter().map(|row| row["takenAt"].as_str().unwrap()).max().unwrap();
        let worth: Decimal =
            exported.iter().filter(|row| row["takenAt"] == newest).map(|row| number(&row["navUsd"])).sum();
        assert_eq!(worth, number(&summary["navUsd"]), "both accounts were read at the same instant");
        let held = exports::rows(agent, &format!("/api/export/positions?format=jsonl&{rest}")).await;
        let shown = flat(agent, &format!("/api/grafana/positions?{dashboards}")).await;
        for name in ["notionalUsd", "unrealizedPnlUsd", "qty"] {
            assert_eq!(sum(&json!(held), name), sum(&shown, name), "{name}");
        }
        assert_eq!(sum(&shown, "notionalUsd"), number(&summary["grossExposureUsd"]));
    }
}

/// Whole answers, byte for byte.
async fn tools_and_routes(agent: &Agent, arguments: &Value) {
    let string = query_string(arguments);
    let activity = agent.call("get_trading_activity_summary", arguments.clone()).await;
    let rest = data(agent, &format!("/api/trade-events/activity-summary?{string}")).await;
    assert_eq!(rest.to_string(), activity.to_string(), "{arguments}");
    for (tool, path) in [
        ("get_pnl_by_symbol", "/api/forensics/pnl-by-symbol"),
        ("get_largest_loss_events", "/api/forensics/largest-loss-events"),
        ("get_trade_events", "/api/trade-events"),
    ] {
        let mcp = agent.call(tool, arguments.clone()).await;
        let mut rest = data(agent, &format!("{path}?{string}")).await;
        assert_eq!(rest["window"].as_object_mut().unwrap().remove("defaulted"), Some(json!(false)));
        assert_eq!(rest.to_string(), mcp.to_string(), "{tool} {arguments}");
    }
    let by_symbol = agent.call("get_pnl_by_symbol", arguments.clone()).await;
    let shown = flat(agent, &format!("/api/grafana/pnl?by=symbol&{}", for_dashboards(arguments, true))).await;
    assert_eq!(by_symbol["totalSymbolCount"], json!(shown.as_array().unwrap().len()), "{arguments}");
    for row in by_symbol["rows"].as_array().unwrap() {
        let of = shown.as_array().unwrap().iter().find(|shown| shown["symbol"] == row["symbol"]).unwrap();
        for name in ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"] {
            assert_eq!(of[name].to_string(), row[name].to_string(), "{name} of {} {arguments}", row["symbol"]);
        }
    }
    let accounts = data(agent, &format!("/api/forensics/account-summary?{string}")).await;
    assert_eq!(accounts["totals"].to_string(), activity["totals"].to_string(), "{arguments}");
}

/// Totals, by whatever they are grouped.
async fn sums(agent: &Agent, arguments: &Value, in_millis: bool) {
    let (string, dashboards) = (query_string(arguments), for_dashboards(arguments, in_millis));
    let activity = agent.call("get_trading_activity_summary", arguments.clone()).await;
    let totals = &activity["totals"];
    let summary = data(agent, &format!("/api/pnl-analysis/summary?{string}")).await;
    assert_eq!(summary["totals"].to_string(), totals.to_string(), "{arguments}");
    for dimension in ["symbol", "hour", "tag", "side"] {
        let mut body = arguments.clone();
        body["groupBy"] = json!([dimension]);
        assert_eq!(queried(agent, &body).await["totals"].to_string(), totals.to_string(), "{body}");
    }
    for rows in ["by=time", "by=day", "by=symbol", "by=account", "by=venue", "by=day&splitBy=symbol", "splitBy=account"]
    {
        let shown = flat(agent, &format!("/api/grafana/pnl?{rows}&{dashboards}")).await;
        for name in SUMS.map(|(name, _)| name).into_iter().chain(["eventCount", "netPnlUsd", "forcedCloseCount"]) {
            assert_eq!(sum(&shown, name), number(&totals[name]), "{name} {rows} {arguments}");
        }
        for (path, name) in [("funding", "fundingUsd"), ("fees", "feesUsd"), ("volume", "notionalUsd")] {
            let shown = flat(agent, &format!("/api/grafana/{path}?{rows}&{dashboards}")).await;
            assert_eq!(sum(&shown, name), number(&totals[name]), "{path} {rows} {arguments}");
        }
    }
}

/// Single events, and what they add up to.
async fn events(agent: &Agent, arguments: &Value) {
    let mut page = arguments.clone();
    page["limit"] = json!(1000);
    let mcp = agent.call("get_trade_events", page).await;
    assert_eq!(mcp["nextCursor"], Value::Null);
    let mcp = mcp["rows"].as_array().unwrap();
    let exported = exports::rows(agent, &format!("/api/export/events?format=jsonl&{}", query_string(arguments))).await;
    let shown = flat(agent, &format!("/api/grafana/events?{}", for_dashboards(arguments, false))).await;
    let shown = shown.as_array().unwrap();
    assert_eq!((exported.len(), shown.len()), (mcp.len(), mcp.len()), "{arguments}");
    for ((mcp, shown), exported) in mcp.iter().zip(shown).zip(exported.iter().rev()) {
        let mut exported = exported.clone();
        exported.as_object_mut().unwrap().shift_remove("unpriced");
        assert_eq!(exported.to_string(), mcp.to_string());
        for (name, value) in mcp.as_object().unwrap() {
            let column = if name == "occurredAt" { "time" } else { name };
            assert_eq!(shown[column].to_string(), value.to_string(), "{name}");
        }
    }
    let activity = agent.call("get_trading_activity_summary", arguments.clone()).await;
    assert_eq!(activity["totals"]["eventCount"], json!(exported.len()), "{arguments}");
    for (name, of_event) in SUMS {
        // What is unknown for want of a price is in no total.
        let known = exported.iter().map(|row| &row[of_event]).filter(|value| !value.is_null());
        let added: Decimal = known.map(number).sum();
        assert_eq!(added, number(&activity["totals"][name]), "{name} {arguments}");
    }
}
