//! Our answers beside the truth.

use std::collections::{BTreeMap, BTreeSet};

use codash_domain::Timestamp;
use codash_domain::money::parse_decimal;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{DAY, Oracle};

const MINUTE: i64 = 60_000;
const SUMS: [&str; 4] = ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"];

/// What did not agree, and what was not presented as complete.
#[derive(Debug, Default)]
pub struct Differences {
    found: Vec<String>,
    /// Answers that said themselves that they are not the whole.
    pub incomplete: Vec<String>,
    compared: usize,
}

impl Differences {
    /// `ours` and `theirs` as numbers: equal as decimals, or both absent.
    fn figure(&mut self, place: &str, ours: &Value, theirs: &Value) {
        self.compared += 1;
        if decimal(ours) != decimal(theirs) {
            self.found.push(format!("{place}: ours {ours}, the truth {theirs}"));
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, ours: T, theirs: T) {
        self.compared += 1;
        if ours != theirs {
            self.found.push(format!("{place}: ours {ours:?}, the truth {theirs:?}"));
        }
    }

    pub fn assert_none(&self, what: &str) {
        let shown: Vec<&String> = self.found.iter().take(25).collect();
        assert!(self.found.is_empty(), "{what}: {} of {} differ: {shown:#?}", self.found.len(), self.compared);
        assert!(self.compared > 100 || !self.incomplete.is_empty(), "{what}: only {} compared", self.compared);
    }
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => Some(parse_decimal(number.as_str()).unwrap()),
        _ => None,
    }
}

/// True when an answer claims to be the whole truth of its window.
fn is_whole(answer: &Value, to: i64) -> bool {
    let coverage = &answer["provenance"]["coverage"];
    coverage["complete"] == true
        && coverage["accounts"].as_array().unwrap().iter().all(|account| {
            account["readUntil"].as_str().is_some_and(|at| at.parse::<Timestamp>().unwrap().millis() >= to)
        })
        && answer["provenance"]["unpricedEventCount"] == 0
}

fn text(millis: i64) -> String {
    Timestamp::from_millis(millis).unwrap().to_string()
}

/// Every question about every account, over several windows.
pub async fn everything(oracle: &Oracle) -> Differences {
    let mut found = Differences::default();
    // The minute of now is not priced yet.
    let to = oracle.now() / MINUTE * MINUTE - MINUTE - 1;
    let origin = oracle.truth("acct-01", 0, oracle.now()).await["from"].as_str().unwrap().parse::<Timestamp>();
    let origin = origin.unwrap().millis().max(oracle.now() - 89 * DAY);
    let windows = [(origin, to), (to - 9 * DAY - 12_345, to - 2 * DAY), (to - 5 * 3_600_000, to - 1_700_000)];
    for (name, id) in &oracle.accounts {
        states(oracle, &mut found, name, id).await;
        for (from, to) in windows {
            let truth = oracle.truth(name, from, to).await;
            assert_eq!(truth["provisional"], false, "{truth}");
            sums(oracle, &mut found, name, id, (from, to), &truth).await;
        }
        let truth = oracle.truth(name, origin, to).await;
        events(oracle, &mut found, name, id, (origin, to), &truth).await;
        flows(oracle, &mut found, name, id, (origin, to), &truth).await;
    }
    whole_workspace(oracle, &mut found, windows[0]).await;
    found
}

/// Balances, exposure and NAV as of now, by MCP and by REST.
async fn states(oracle: &Oracle, found: &mut Differences, name: &str, id: &str) {
    let truth = oracle.truth(name, oracle.now(), oracle.now()).await;
    let ours = oracle.agent.call("get_portfolio_summary", json!({ "accountId": id })).await;
    let taken = ours["timestamp"].as_str().unwrap_or_default().parse::<Timestamp>().map_or(0, |at| at.millis());
    if taken != oracle.now() {
        found.incomplete.push(format!("{name}: the newest snapshot is of {}", ours["timestamp"]));
        return;
    }
    found.figure(&format!("{name} navUsd"), &ours["navUsd"], &truth["navUsd"]);
    let exposure = &truth["exposure"];
    for (our, their) in [
        ("longExposureUsd", "longUsd"),
        ("shortExposureUsd", "shortUsd"),
        ("grossExposureUsd", "grossUsd"),
        ("netExposureUsd", "netUsd"),
        ("futuresUpnlUsd", "futuresUpnlUsd"),
    ] {
        found.figure(&format!("{name} {our}"), &ours[our], &exposure[their]);
    }
    let history = oracle.agent.call("get_nav_history", json!({ "accountId": id, "days": 1 })).await;
    let last = history["points"].as_array().and_then(|points| points.last()).cloned().unwrap_or_default();
    found.figure(&format!("{name} last NAV point"), &last["nav"], &truth["navUsd"]);
    found.figure(&format!("{name} gross of the last point"), &last["grossExposure"], &exposure["grossUsd"]);

    let listed = oracle.agent.call("list_accounts", json!({})).await;
    let rest = rest(oracle, "/api/accounts").await;
    let of = |answer: &Value| answer["accounts"].as_array().unwrap().iter().find(|a| a["id"] == id).cloned().unwrap();
    found.figure(&format!("{name} lastBalanceUsd"), &of(&listed)["lastBalanceUsd"], &truth["navUsd"]);
    found.same(&format!("{name} over REST and MCP"), of(&rest["data"]), of(&listed));
}

async fn rest(oracle: &Oracle, path: &str) -> Value {
    let answer = oracle.agent.request(reqwest::Method::GET, path).send().await.unwrap();
    let text = answer.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
}

/// Sums by symbol and in total.
async fn sums(oracle: &Oracle, found: &mut Differences, name: &str, id: &str, window: (i64, i64), truth: &Value) {
    let (from, to) = window;
    let asked = json!({ "accountId": id, "from": text(from), "to": text(to) });
    let place = format!("{name} {} .. {}", text(from), text(to));
    let mut pnl_asked = asked.clone();
    pnl_asked["limit"] = 2000.into();
    let pnl = oracle.agent.call("get_pnl_by_symbol", pnl_asked).await;
    if !is_whole(&pnl, to) {
        found.incomplete.push(format!("{place}: {}", pnl["provenance"]["coverage"]));
        return;
    }
    let by_symbol = |rows: &Value| -> BTreeMap<String, Value> {
        rows.as_array()
            .unwrap_or_else(|| panic!("no rows: {rows}"))
            .iter()
            .map(|row| (row["symbol"].as_str().unwrap_or("(none)").to_owned(), row.clone()))
            .collect()
    };
    let (ours, theirs) = (by_symbol(&pnl["rows"]), by_symbol(&truth["bySymbol"]));
    found.same(&format!("{place} symbols"), ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (symbol, their) in &theirs {
        for sum in SUMS {
            let our = ours.get(symbol).map_or(Value::Null, |our| our[sum].clone());
            found.figure(&format!("{place} {symbol} {sum}"), &our, &their[sum]);
        }
    }
    let activity = oracle.agent.call("get_trading_activity_summary", asked).await;
    if !is_whole(&activity, to) {
        found.incomplete.push(format!("{place}: activity"));
        return;
    }
    let totals = &activity["totals"];
    for sum in SUMS {
        found.figure(&format!("{place} total {sum}"), &totals[sum], &truth["totals"][sum]);
    }
    let count = |types: &[&str]| -> i64 {
        let events = truth["totals"]["events"].as_object().unwrap();
        events
            .iter()
            .filter(|(kind, _)| types.is_empty() || types.contains(&kind.as_str()))
            .map(|(_, n)| n.as_i64().unwrap())
            .sum()
    };
    found.same(&format!("{place} eventCount"), totals["eventCount"].as_i64(), Some(count(&[])));
    let forced = count(&["liquidation", "adl", "system_close"]);
    found.same(&format!("{place} forcedCloseCount"), totals["forcedCloseCount"].as_i64(), Some(forced));
}

/// Every event, page by page: each once, of the types and with the money that the truth tells.
async fn events(oracle: &Oracle, found: &mut Differences, name: &str, id: &str, window: (i64, i64), truth: &Value) {
    let mut asked = json!({ "accountId": id, "from": text(window.0), "to": text(window.1), "limit": 1000 });
    let (mut ids, mut types, mut net) = (BTreeSet::new(), BTreeMap::<String, i64>::new(), Decimal::ZERO);
    let mut losses = vec![];
    loop {
        let page = oracle.agent.call("get_trade_events", asked.clone()).await;
        if !is_whole(&page, window.1) {
            found.incomplete.push(format!("{name}: events"));
            return;
        }
        for row in page["rows"].as_array().unwrap() {
            assert!(ids.insert(row["id"].as_str().unwrap().to_owned()), "{name}: {} twice", row["id"]);
            *types.entry(row["eventType"].as_str().unwrap().to_owned()).or_default() += 1;
            let impact = decimal(&row["netPnlImpactUsd"]).unwrap();
            net += impact;
            losses.push(impact);
        }
        if page["nextCursor"].is_null() {
            break;
        }
        asked["cursor"] = page["nextCursor"].clone();
    }
    let told: BTreeMap<String, i64> = truth["totals"]["events"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(kind, n)| (kind.clone(), n.as_i64().unwrap()))
        .filter(|(_, n)| *n > 0)
        .collect();
    found.same(&format!("{name} events by type"), types, told);
    found.same(&format!("{name} sum of the events"), Some(net), decimal(&truth["totals"]["netPnlUsd"]));
    losses.retain(|loss| *loss < Decimal::ZERO);
    losses.sort();
    losses.truncate(10);
    let asked = json!({ "accountId": id, "from": text(window.0), "to": text(window.1), "limit": 10 });
    let worst = oracle.agent.call("get_largest_loss_events", asked).await;
    let worst: Vec<Decimal> =
        worst["rows"].as_array().unwrap().iter().map(|row| decimal(&row["netPnlImpactUsd"]).unwrap()).collect();
    found.same(&format!("{name} largest losses"), worst, losses);
}

/// Cash flows: each one, by kind, wallet, asset, amount and instant.
async fn flows(oracle: &Oracle, found: &mut Differences, name: &str, id: &str, window: (i64, i64), truth: &Value) {
    type Flow = (String, String, String, String, Decimal);
    let flow = |row: &Value, at: &str| -> Flow {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        (text(at), text("kind"), text("wallet"), text("asset"), decimal(&row["amount"]).unwrap().normalize())
    };
    let (mut ours, mut cursor) = (vec![], String::new());
    loop {
        let path =
            format!("/api/cash-flows?accountId={id}&from={}&to={}&limit=500{cursor}", text(window.0), text(window.1));
        let answer = rest(oracle, &path).await;
        let page = &answer["data"];
        if page["provenance"]["coverage"]["complete"] != true {
            found.incomplete.push(format!("{name}: cash flows: {}", page["provenance"]["coverage"]));
            return;
        }
        ours.extend(
            page["rows"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(|row| flow(row, "occurredAt")),
        );
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut theirs: Vec<Flow> = truth["cashFlows"].as_array().unwrap().iter().map(|row| flow(row, "at")).collect();
    ours.sort();
    theirs.sort();
    found.same(&format!("{name} cash flows"), ours, theirs);
}

/// The workspace is the sum of its accounts.
async fn whole_workspace(oracle: &Oracle, found: &mut Differences, (from, to): (i64, i64)) {
    let ours =
        oracle.agent.call("get_pnl_by_symbol", json!({ "from": text(from), "to": text(to), "limit": 2000 })).await;
    if !is_whole(&ours, to) {
        found.incomplete.push("the workspace".into());
        return;
    }
    let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
    for name in oracle.accounts.keys() {
        let truth = oracle.truth(name, from, to).await;
        for sum in SUMS {
            *sums.entry(sum).or_default() += decimal(&truth["totals"][sum]).unwrap();
        }
    }
    for sum in SUMS {
        let total: Decimal = ours["rows"].as_array().unwrap().iter().map(|row| decimal(&row[sum]).unwrap()).sum();
        found.same(&format!("the workspace's {sum}"), Some(total), sums.get(sum).copied());
    }
}
