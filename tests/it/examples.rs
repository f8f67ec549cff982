//! The contract's examples: what the golden workspace answers, kept in `docs/golden/examples.json`.
//! Written anew by `cargo test --test it examples::write -- --ignored`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::agent::Agent;
use crate::dev::{Dev, Folder, agent};

/// An account of the golden workspace: docs/golden/README.md.
const ACCOUNT: &str = "901de900-0000-4000-8000-000000000001";
/// Stands for the id of the group that the examples make.
const MADE: &str = "33333333-3333-4333-8333-333333333333";
/// An answer longer than this has its lists cut to two items.
const LONGEST: usize = 3_000;
/// Drawn at random, and what stands for them.
const RANDOM: [(&str, &str); 3] = [
    ("workspaceId", "11111111-1111-4111-8111-111111111111"),
    ("keyId", "22222222-2222-4222-8222-222222222222"),
    ("apiKey", "kv_live_shown_here_once"),
];

/// A request for each operation, in an order in which all of them succeed.
fn requests() -> Vec<(&'static str, Value)> {
    let get = |path: &str, query: Value| json!({ "method": "GET", "path": path, "query": query });
    let post = |path: &str, body: Value| json!({ "method": "POST", "path": path, "body": body });
    let patch = |path: &str, body: Value| json!({ "method": "PATCH", "path": path, "body": body });
    let call = json!({ "name": "get_pnl_by_symbol", "arguments": { "days": 7, "limit": 2 } });
    vec![
        ("registerAgent", post("/api/agents/register", json!({ "name": "research-agent", "keyName": "prod" }))),
        ("listAccounts", get("/api/accounts", json!({}))),
        ("putAiKey", post("/api/settings/ai-keys", json!({ "provider": "anthropic", "key": "sk-ant-0123456789" }))),
        ("removeAiKey", json!({ "method": "DELETE", "path": "/api/settings/ai-keys/anthropic" })),
        ("listCashFlows", get("/api/cash-flows", json!({ "limit": 2 }))),
        ("getPortfolio", get("/api/portfolio", json!({}))),
        ("getPortfolioHistory", get("/api/portfolio/history", json!({ "days": 1 }))),
        ("getExposureSummary", get("/api/portfolio/exposure-summary", json!({ "accountId": ACCOUNT, "limit": 2 }))),
        ("listTrades", get("/api/trades", json!({ "symbols": "BTC-PERP,ETH-PERP", "limit": 2 }))),
        ("listTradeEvents", get("/api/trade-events", json!({ "eventTypes": "funding,liquidation", "limit": 2 }))),
        ("getActivitySummary", get("/api/trade-events/activity-summary", json!({ "hours": 24 }))),
        ("getPnlSummary", get("/api/pnl-analysis/summary", json!({ "from": "2026-11-01", "to": "2026-11-14" }))),
        ("queryPnl", post("/api/pnl-analysis/query", json!({ "days": 7, "groupBy": ["symbol"], "limit": 2 }))),
        ("getAccountForensics", get("/api/forensics/account-summary", json!({ "accountId": ACCOUNT }))),
        ("getForensicPnlBySymbol", get("/api/forensics/pnl-by-symbol", json!({ "days": 7, "limit": 2 }))),
        ("getPnlBuckets", get("/api/forensics/pnl-buckets", json!({ "bucket": "weekday" }))),
        ("listForcedEvents", get("/api/forensics/forced-events", json!({ "limit": 1 }))),
        ("listLargestLosses", get("/api/forensics/largest-loss-events", json!({ "limit": 2 }))),
        ("getRiskTimeline", get("/api/forensics/risk-timeline", json!({ "days": 1 }))),
        ("countExports", get("/api/export/counts", json!({}))),
        ("countExport", get("/api/export/events/count", json!({ "symbols": "BTC-PERP" }))),
        ("getExportManifest", get("/api/export/events/manifest", json!({ "format": "csv" }))),
        ("exportTable", get("/api/export/accounts", json!({ "format": "json", "columns": "id,name,status" }))),
        ("getStatus", get("/api/status", json!({}))),
        ("listVenues", get("/api/venues", json!({}))),
        ("mcp", post("/mcp", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call }))),
        ("isLive", get("/health/live", json!({}))),
        ("isReady", get("/health/ready", json!({}))),
        ("getMetrics", get("/api/metrics", json!({ "windows": "7" }))),
        ("getPortfolioReport", get("/api/portfolio/report", json!({ "days": 7 }))),
        ("grafanaNav", get("/api/grafana/nav", json!({ "maxDataPoints": 3 }))),
        ("grafanaDrawdown", get("/api/grafana/drawdown", json!({ "maxDataPoints": 3 }))),
        ("grafanaExposure", get("/api/grafana/exposure", json!({ "by": "account" }))),
        ("grafanaPnl", get("/api/grafana/pnl", json!({ "by": "symbol" }))),
        ("grafanaFunding", get("/api/grafana/funding", json!({ "by": "account" }))),
        ("grafanaFees", get("/api/grafana/fees", json!({ "by": "venue" }))),
        ("grafanaVolume", get("/api/grafana/volume", json!({ "by": "day" }))),
        ("grafanaEvents", get("/api/grafana/events", json!({ "limit": 2 }))),
        ("grafanaForcedCloses", get("/api/grafana/forced-closes", json!({ "limit": 1 }))),
        ("grafanaPositions", get("/api/grafana/positions", json!({}))),
        ("grafanaAccountStatus", get("/api/grafana/account-status", json!({}))),
        ("grafanaCollectorLag", get("/api/grafana/collector-lag", json!({ "accountIds": ACCOUNT }))),
        ("grafanaCoverage", get("/api/grafana/coverage", json!({ "accountIds": ACCOUNT }))),
        ("grafanaAnnotations", get("/api/grafana/annotations", json!({}))),
        ("grafanaAccountVariable", get("/api/grafana/variables/account", json!({}))),
        ("grafanaSymbolVariable", get("/api/grafana/variables/symbol", json!({}))),
        ("grafanaVenueVariable", get("/api/grafana/variables/venue", json!({}))),
        // From here on the world changes.
        ("createPortfolio", post("/api/portfolios", json!({ "name": "Desk" }))),
        ("changeAccount", patch(&format!("/api/accounts/{ACCOUNT}"), json!({ "portfolioId": MADE }))),
        ("getAccount", get(&format!("/api/accounts/{ACCOUNT}"), json!({}))),
        ("listPortfolios", get("/api/portfolios", json!({ "tree": true }))),
        ("getPortfolioGroup", get(&format!("/api/portfolios/{MADE}"), json!({}))),
        ("grafanaPortfolioVariable", get("/api/grafana/variables/portfolio", json!({}))),
        ("changePortfolio", patch(&format!("/api/portfolios/{MADE}"), json!({ "name": "Arbitrage" }))),
        ("removePortfolio", json!({ "method": "DELETE", "path": format!("/api/portfolios/{MADE}") })),
        ("removeAccount", json!({ "method": "DELETE", "path": format!("/api/accounts/{ACCOUNT}") })),
    ]
}

/// Operations without an example: what they need is not in the golden workspace.
const WITHOUT: [&str; 3] = ["attachAccount", "replaceCredentials", "syncAccount"];

/// What people, keys and automations do has ids and secrets that are drawn anew each time.
const RANDOM_FAMILIES: [&str; 5] = ["/api/auth/", "/api/owners", "/api/keys", "/api/audit", "/api/automations"];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/golden/examples.json")
}

async fn ask(agent: &Agent, request: &Value) -> (u16, Value) {
    let mut pairs: Vec<String> = Vec::new();
    for (name, value) in request["query"].as_object().into_iter().flatten() {
        pairs.push(format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    let url = format!("{}?{}", request["path"].as_str().unwrap(), pairs.join("&"));
    let mut asked = agent.request(request["method"].as_str().unwrap().parse().unwrap(), url.trim_end_matches('?'));
    if let Some(body) = request.get("body") {
        asked = asked.header("content-type", "application/json").body(body.to_string());
    }
    let response = asked.send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{url}: {e}: {text}")))
}

/// The same with one text for another, wherever it stands.
fn replaced(value: &Value, from: &str, to: &str) -> Value {
    serde_json::from_str(&value.to_string().replace(from, to)).unwrap()
}

fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.truncate(2);
            items.iter_mut().for_each(shorten);
        }
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Asks everything of a fresh golden workspace.
async fn all() -> Value {
    let folder = Folder::new();
    let (_dev, ready) = Dev::started(&folder.0, &["--golden"]).await;
    let agent = agent(&ready);
    let mut examples = Map::new();
    let mut made = MADE.to_owned();
    for (id, request) in requests() {
        let (status, mut answer) = ask(&agent, &replaced(&request, MADE, &made)).await;
        if id == "createPortfolio" {
            made = answer["data"]["id"].as_str().unwrap().to_owned();
        }
        answer = replaced(&answer, &made, MADE);
        for (name, shown) in RANDOM.into_iter().filter(|_| id == "registerAgent") {
            assert!(answer["data"][name].is_string());
            answer["data"][name] = shown.into();
        }
        let is_long = answer.to_string().len() > LONGEST;
        if is_long {
            shorten(&mut answer);
        }
        let mut example = json!({ "request": request, "status": status, "answer": answer });
        if is_long {
            example["shortened"] = true.into();
        }
        examples.insert(id.into(), example);
    }
    examples.into()
}

#[test]
fn every_operation_has_an_example_that_fits_its_schema() {
    let document = codash::openapi::document();
    let examples: Value = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
    let mut missing = BTreeSet::new();
    let paths = document["paths"].as_object().unwrap();
    let shown = paths.iter().filter(|(path, _)| !RANDOM_FAMILIES.iter().any(|start| path.starts_with(start)));
    for operation in shown.flat_map(|(_, o)| o.as_object().unwrap().values()) {
        let id = operation["operationId"].as_str().unwrap();
        let Some(example) = examples.get(id) else {
            missing.insert(id);
            continue;
        };
        let status = example["status"].to_string();
        assert!(status.starts_with('2'), "{id}: {}", example["answer"]);
        let schema = &operation["responses"][&status]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{id} does not document {status}");
        fits(schema, &example["answer"], id);
        if let Some(body) = example["request"].get("body") {
            fits(&operation["requestBody"]["content"]["application/json"]["schema"], body, id);
        }
    }
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), WITHOUT);
}

#[tokio::test]
async fn the_examples_are_what_the_golden_workspace_answers() {
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
    let now = all().await;
    for (id, example) in now.as_object().unwrap() {
        let is_same = kept[id] == *example;
        assert!(is_same, "{id}: run `cargo test --test it examples::write -- --ignored`: {example}");
    }
    assert_eq!(kept.as_object().unwrap().len(), now.as_object().unwrap().len());
}

#[tokio::test]
#[ignore = "writes docs/golden/examples.json"]
async fn write() {
    let text = serde_json::to_string_pretty(&all().await).unwrap() + "\n";
    std::fs::write(path(), text).unwrap();
}

/// Words of a schema that restrict nothing, or that are tried by the requests of other tests.
const UNCHECKED: [&str; 13] = [
    "description",
    "format",
    "pattern",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "title",
    "$ref",
];

/// JSON Schema, as far as the contract uses it; a word that is not known here fails.
pub fn fits(schema: &Value, value: &Value, place: &str) {
    if let Some(why) = misfit(schema, value, place) {
        panic!("{why}: {value}");
    }
}

fn misfit(schema: &Value, value: &Value, place: &str) -> Option<String> {
    let rules = schema.as_object().cloned().unwrap_or_default();
    rules.iter().find_map(|(word, rule)| match word.as_str() {
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            (!types.iter().any(|one| is_a(one.as_str().unwrap(), value))).then(|| format!("{place} is no {rule}"))
        }
        "const" => (value != rule).then(|| format!("{place} is not {rule}")),
        "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("{place} is none of {rule}")),
        "anyOf" | "oneOf" => {
            let fitting = rule.as_array().unwrap().iter().any(|one| misfit(one, value, place).is_none());
            (!fitting).then(|| format!("{place} fits none of {rule}"))
        }
        "required" => {
            let is_missing = |name: &&Value| value.is_object() && value.get(name.as_str().unwrap()).is_none();
            rule.as_array().unwrap().iter().find(is_missing).map(|name| format!("{place} lacks {name}"))
        }
        "properties" => {
            rule.as_object().unwrap().iter().find_map(|(name, rule)| {
                value.get(name).and_then(|value| misfit(rule, value, &format!("{place}.{name}")))
            })
        }
        "minProperties" => {
            let count = value.as_object().map_or(0, Map::len);
            (value.is_object() && rule.as_u64() > Some(count as u64)).then(|| format!("{place} is emptier than {rule}"))
        }
        "items" => value.as_array().into_iter().flatten().find_map(|item| misfit(rule, item, &format!("{place}[]"))),
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            let others = value.as_object().into_iter().flatten().filter(|(name, _)| !known.contains_key(*name));
            others.into_iter().find_map(|(name, value)| match rule {
                Value::Bool(false) => Some(format!("{place} knows no {name}")),
                rule => misfit(rule, value, &format!("{place}.{name}")),
            })
        }
        word if UNCHECKED.contains(&word) => None,
        word => panic!("{place}: teach this test the word {word}"),
    })
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other}"),
    }
}
