//! The REST contract, printed from the types that are read and written: OpenAPI 3.1 in YAML.
//!
//! `openapi.yaml` in the repository is what [`yaml`] prints; a test compares them. To add a route:
//! an entry in [`paths`], of accounts and groups in `openapi/manage.rs`, of a dataset for dashboards in
//! `openapi/grafana.rs`.

mod grafana;
mod manage;

use std::fmt::Write as _;
use std::sync::LazyLock;

use codash_analytics::input::{input_schema, output_schema};
use codash_analytics::select::EchoedWindow;
use codash_analytics::{
    account_forensics, activity_summary, cash_flows, export, exposure_summary, forensics, largest_losses, metrics,
    nav_history, pnl_buckets, pnl_by_symbol, pnl_query, pnl_summary, portfolio_summary, report, risk_timeline,
    trade_events,
};
use codash_domain::Scope;
use codash_store::exports::Table;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::rest::{Success, agents, ai_keys, health, status, venues};

/// The document as text, made once.
pub fn yaml() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| print(&document()));
    &TEXT
}

/// The document as a value.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CO-DASH",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Read-only truth about a trading portfolio. Timestamps are RFC 3339 in UTC. Money is a \
                JSON number with its exact decimal digits, in USD unless the name says otherwise. Percent fields are \
                percentages. Every response has x-request-id.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "security": [{ "bearer": [] }, { "apiKey": [] }],
        "paths": all_paths(),
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "Authorization: Bearer kv_live_…" },
                "apiKey": { "type": "apiKey", "in": "header", "name": "x-api-key", "description": "Wins when both are sent." },
            },
            "headers": rate_headers(),
            "schemas": { "Error": error_schema() },
            "responses": errors(),
        },
    })
}

fn all_paths() -> Value {
    let families = [paths(), manage::paths(), grafana::paths()];
    let entries = families.into_iter().flat_map(|family| match family {
        Value::Object(entries) => entries,
        _ => Map::new(),
    });
    entries.collect::<Map<_, _>>().into()
}

fn paths() -> Value {
    json!({
        "/api/agents/register": { "post": {
            "operationId": "registerAgent",
            "summary": "Create a workspace and its first API key, which is shown once",
            "description": "Public. Limited per address.",
            "security": [],
            "requestBody": body::<agents::Register>(),
            "responses": with_errors(&[("201", answer::<Success<agents::Registered>>("The workspace and its key", &[]))],
                &["400", "408", "413", "415", "429", "500", "504"]),
        }},
        "/api/settings/ai-keys": { "post": {
            "operationId": "putAiKey",
            "summary": "Add or replace the key of an AI provider",
            "description": format!("{} The key is sealed; only its last characters are ever shown.",
                scope(Scope::WriteAiKeys)),
            "requestBody": body::<ai_keys::PutAiKey>(),
            "responses": guarded::<Success<ai_keys::AiKeyAnswer>>("201", "The key was added; 200 when it replaced one",
                &["400", "408", "413", "415"]),
        }},
        "/api/settings/ai-keys/{provider}": { "delete": {
            "operationId": "removeAiKey",
            "summary": "Remove the key of an AI provider",
            "description": scope(Scope::WriteAiKeys),
            "parameters": [{ "name": "provider", "in": "path", "required": true, "schema": { "type": "string" } }],
            "responses": guarded::<Success<ai_keys::RemovedAiKey>>("200", "It is gone", &["404"]),
        }},
        "/api/cash-flows": { "get": {
            "operationId": "listCashFlows",
            "summary": "Deposits, withdrawals, transfers, conversions and loans, newest first",
            "description": format!("{} Kept apart from events: no PnL holds them.", scope(Scope::ReadRaw)),
            "parameters": parameters::<cash_flows::Query>(),
            "responses": guarded::<Success<cash_flows::Answer>>("200", "A page of cash flows", &["400", "404"]),
        }},
        "/api/portfolio": question::<portfolio_summary::RestQuery, portfolio_summary::Answer>("getPortfolio", "What the portfolio is worth and how exposed it is, now", scope(Scope::ReadLive), "Sums over the accounts"),
        "/api/portfolio/history": question::<nav_history::RestQuery, nav_history::Answer>("getPortfolioHistory", "NAV and exposure through time, by the hour", scope(Scope::ReadLive), "At most 1500 points, oldest first"),
        "/api/portfolio/exposure-summary": question::<exposure_summary::Query, exposure_summary::Answer>("getExposureSummary", "Exposure and position risk, now", scope(Scope::ReadLive), "Sums by symbol and account, and the largest positions"),
        "/api/portfolio/report": question::<report::Query, report::Answer>("getPortfolioReport", "Everything that an agent needs to tell how the portfolio stands, in one call", more(Scope::ReadSummary, REPORT), "Parts of one snapshot, each with its window"),
        "/api/metrics": question::<metrics::Query, metrics::Answer>("getMetrics", "Returns, risk and what was earned, over rolling windows of whole days", more(Scope::ReadLive, METRICS), "Figures of every window"),
        "/api/trades": question::<forensics::PageQuery, forensics::Page>("listTrades", "Fills, newest first: trades and the fills by which a venue forced a close", more(Scope::ReadRaw, PAGED), "A page of fills"),
        "/api/trade-events": question::<trade_events::Query, forensics::Page>("listTradeEvents", "Canonical events, newest first", more(Scope::ReadRaw, PAGED), "A page of events"),
        "/api/trade-events/activity-summary": question::<activity_summary::Query, activity_summary::Answer>("getActivitySummary", "How much was traded, paid and earned, in all, by account and by symbol", scope(Scope::ReadRaw), "Sums over the window"),
        "/api/pnl-analysis/summary": question::<pnl_summary::Query, pnl_summary::Answer>("getPnlSummary", "PnL of a window: in all, by kind of event, best and worst days and symbols", more(Scope::ReadSummary, &echoed_days(30)), "Sums over the window"),
        "/api/pnl-analysis/query": { "post": {
            "operationId": "queryPnl",
            "summary": "PnL of a window, grouped and pivoted",
            "description": format!("{} More than 50000 groups are refused with code out_of_range.",
                more(Scope::ReadRaw, &echoed_days(30))),
            "requestBody": body::<pnl_query::Query>(),
            "responses": guarded::<Success<pnl_query::Answer>>("200", "Rows, and the totals of all of them",
                &["400", "408", "413", "415"]),
        }},
        "/api/forensics/account-summary": question::<account_forensics::Query, account_forensics::Answer>("getAccountForensics", "What happened to each account in a window", more(Scope::ReadSummary, &echoed(90)), "Every selected account"),
        "/api/forensics/pnl-by-symbol": question::<forensics::SymbolsQuery, pnl_by_symbol::Answer<EchoedWindow>>("getForensicPnlBySymbol", "What each symbol earned and cost", more(Scope::ReadSummary, &echoed(90)), "Largest absolute net PnL first"),
        "/api/forensics/pnl-buckets": question::<pnl_buckets::Query, pnl_buckets::Answer>("getPnlBuckets", "PnL by hour of the day, by weekday or by venue", more(Scope::ReadSummary, &echoed(90)), "Every bucket"),
        "/api/forensics/forced-events": question::<forensics::PageQuery, forensics::Page>("listForcedEvents", "Liquidations, ADL and system closes, newest first", more(Scope::ReadRaw, PAGED), "A page of forced closes"),
        "/api/forensics/largest-loss-events": question::<forensics::LossesQuery, largest_losses::Answer<EchoedWindow>>("listLargestLosses", "The events that lost most, worst first", more(Scope::ReadRaw, &echoed(90)), "At most limit events"),
        "/api/forensics/risk-timeline": question::<risk_timeline::Query, risk_timeline::Answer>("getRiskTimeline", "Position risk through a window, by the hour", more(Scope::ReadRaw, &echoed(90)), "At most 1500 points, oldest first"),
        "/api/export/counts": { "get": {
            "operationId": "countExports",
            "summary": "Row counts of every exportable table",
            "description": scope(Scope::ReadExports),
            "responses": guarded::<Success<export::Counts>>("200", "The counts, of one snapshot", &["400"]),
        }},
        "/api/export/{table}/count": { "get": {
            "operationId": "countExport",
            "summary": "Row count of one table",
            "description": format!("{} Takes the filters of the export.", scope(Scope::ReadExports)),
            "parameters": of_table(parameters::<export::CountQuery>()),
            "responses": guarded::<Success<export::Count>>("200", "The count", &["400", "404"]),
        }},
        "/api/export/{table}/manifest": { "get": {
            "operationId": "getExportManifest",
            "summary": "Rows, digest, watermark and schema of the file that the same parameters give",
            "description": format!("{} The file is made and digested, and not sent. A large table takes as long as its \
                file; from two seconds on the answer has begun and only its end says that all went well. A file has \
                the digest of a manifest when both have the same watermark.", scope(Scope::ReadExports)),
            "parameters": of_table(parameters::<export::Query>()),
            "responses": guarded::<Success<export::Described>>("200", "The manifest", &["400", "404"]),
        }},
        "/api/export/{table}": { "get": {
            "operationId": "exportTable",
            "summary": "A whole table as CSV, JSON or JSON lines",
            "description": EXPORT,
            "parameters": of_table(parameters::<export::Query>()),
            "responses": with_errors(&[("200", export_file()), ("304", not_modified())],
                &["400", "401", "403", "404", "429", "500", "504"]),
        }},
        "/api/status": { "get": {
            "operationId": "getStatus",
            "summary": "How the connection to each venue stands",
            "description": scope(Scope::ReadLive),
            "responses": guarded::<status::Status>("200", "Accounts and their streams, at the top level", &[]),
        }},
        "/api/venues": { "get": {
            "operationId": "listVenues",
            "summary": "Which venues there are, what each needs, and everything that is ever asked of it",
            "security": [],
            "responses": { "200": answer::<Success<venues::Venues>>("The venues", &[]) },
        }},
        "/mcp": { "post": mcp() },
        "/health/live": { "get": {
            "operationId": "isLive",
            "summary": "Is the process alive?",
            "security": [],
            "responses": { "200": answer::<health::Health>("It is", &[]) },
        }},
        "/health/ready": { "get": {
            "operationId": "isReady",
            "summary": "Should it be sent requests?",
            "security": [],
            "responses": {
                "200": answer::<health::Health>("It should", &[]),
                "503": answer::<health::Health>("It is stopping, or the database does not answer", &[]),
            },
        }},
    })
}

fn mcp() -> Value {
    let message =
        json!({ "description": "A JSON-RPC 2.0 message; in the revisions that know them, an array of up to 50." });
    let replied = json!({
        "description": "A JSON-RPC response: also for errors of a method, such as -32601, -32602 and -32001.",
        "headers": rate_header_refs(),
        "content": { "application/json": { "schema": { "type": ["object", "array"] } } },
    });
    let accepted = json!({ "description": "A notification was received: no body.", "headers": rate_header_refs() });
    json!({
        "operationId": "mcp",
        "summary": "The Model Context Protocol: the question catalogue as tools",
        "description": "Streamable HTTP without sessions. Revisions 2024-11-05 to 2025-11-25 by handshake, 2026-07-28 \
            by request. Each further member of a batch counts as a request of its own. The scope is checked per tool.",
        "requestBody": { "required": true, "content": { "application/json": { "schema": message } } },
        "responses": with_errors(&[("200", replied), ("202", accepted)],
            &["400", "401", "403", "408", "413", "415", "429", "500", "504"]),
    })
}

/// A question behind a key, asked with query parameters and answered in the success envelope.
fn question<Q: JsonSchema, A: JsonSchema>(id: &str, summary: &str, description: String, answer: &str) -> Value {
    json!({ "get": {
        "operationId": id,
        "summary": summary,
        "description": description,
        "parameters": parameters::<Q>(),
        "responses": guarded::<Success<A>>("200", answer, &["400"]),
    }})
}

const PAGED: &str = "Pass nextCursor back as cursor for the next page, with the same filters. Without from the last 90 \
    days are taken (window.defaulted says so); with a cursor the first page's window is kept, and window is null.";

/// What a question with a default window says of it.
fn echoed(days: u32) -> String {
    format!("window is the one taken: the last {days} days when neither from nor days is given (window.defaulted).")
}

fn echoed_days(days: u32) -> String {
    format!("A bound may be a day in UTC, such as 2026-04-13. In the answer {}", echoed(days))
}

fn more(needed: Scope, more: &str) -> String {
    format!("{} {more}", scope(needed))
}

const METRICS: &str = "Returns are time-weighted: deposits, withdrawals and new accounts move none. Windows are whole days in \
    UTC and end with yesterday; what today has brought so far is apart. A figure that cannot be said is null, and missing \
    says why. How each is made: docs/metrics.md.";

const REPORT: &str = "Accounts and their state, NAV and its changes, exposure and largest positions, PnL of 1, 7, 30 and 90 \
    days, largest losses, cash flows, returns and risk, and what is not known. Null is unknown, never zero.";

const EXPORT: &str = "Needs the scope workspace:read:exports. Rows of one snapshot, oldest first, as large as they are; no \
    filter means every row that the key can see. Numbers have every digit. \
    CSV: RFC 4180, CRLF, a header row; null is an empty cell, an empty text is quoted, a list is its JSON. A text that \
    a spreadsheet would take for a formula (it begins with = + - @, tab or CR) gets an apostrophe in front, unless \
    formulaSafe=false; numbers never do. \
    JSON: {success, data: {table, schema, watermark, rows, rowCount}}. \
    JSON lines: one row a line; the last line is {\"_end\": {rows, sha256, watermark}}, where sha256 is of every byte \
    before it: without that line the file is not whole. \
    With TE: trailers every format ends with the trailers x-export-rows and x-export-sha256 (of the file). What breaks \
    off breaks the connection. \
    Incremental pulls: keep x-export-watermark and pass it as afterWatermark. Versions are drawn in commit order, so \
    no row is missed however late it came; NAV counts versions of its own, so keep one for each table; a restated event comes again with its new figures, and one that was taken \
    back appears in restatements with reason superseded. trades are fills, forced closes included. In restatements, \
    statesFigures false means that only the event type changed.";

/// The table's name before the other parameters.
fn of_table(parameters: Value) -> Value {
    let names = Table::ALL.map(Table::as_str);
    let table =
        json!({ "name": "table", "in": "path", "required": true, "schema": { "type": "string", "enum": names } });
    let others = parameters.as_array().cloned().unwrap_or_default();
    std::iter::once(table).chain(others).collect()
}

fn export_file() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let mut headers = export_headers();
    headers["Content-Disposition"] = json!({ "description": "The file's name.", "schema": { "type": "string" } });
    json!({
        "description": "The file",
        "headers": headers,
        "content": {
            "text/csv": text,
            "application/jsonl": text,
            "application/json": { "schema": { "type": "object" } },
            "application/gzip": { "schema": { "type": "string", "format": "binary" } },
        },
    })
}

fn not_modified() -> Value {
    json!({ "description": "The file with the tag of If-None-Match is still the same", "headers": export_headers() })
}

fn export_headers() -> Value {
    let mut headers = rate_header_refs();
    headers["X-Export-Watermark"] =
        json!({ "description": "Pass it as afterWatermark next time.", "schema": { "type": "integer" } });
    headers["X-Export-Schema"] = json!({ "description": "Changes with the columns.", "schema": { "type": "string" } });
    headers["ETag"] = json!({
        "description": "Of the bytes, for the tables that take afterWatermark.", "schema": { "type": "string" },
    });
    headers
}

fn scope(scope: Scope) -> String {
    format!("Needs the scope {scope}.")
}

fn body<Q: JsonSchema>() -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": input_schema::<Q>() } } })
}

/// A question's arguments as query parameters.
fn parameters<Q: JsonSchema>() -> Value {
    let schema = input_schema::<Q>();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|members| members.shift_remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "description": description, "schema": schema });
        if schema["type"] == "array" {
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

fn answer<A: JsonSchema>(description: &str, headers: &[&str]) -> Value {
    let mut answer = json!({ "description": description });
    if !headers.is_empty() {
        answer["headers"] = rate_header_refs();
    }
    answer["content"] = json!({ "application/json": { "schema": output_schema::<A>() } });
    answer
}

/// The responses of a route behind a key.
fn guarded<A: JsonSchema>(status: &str, description: &str, more: &[&'static str]) -> Value {
    let mut errors = vec!["401", "403", "429", "500", "504"];
    errors.extend(more);
    errors.sort_unstable();
    with_errors(&[(status, answer::<A>(description, &RATE_HEADERS.map(|(name, _)| name)))], &errors)
}

fn with_errors(answers: &[(&str, Value)], errors: &[&str]) -> Value {
    let mut responses = Map::new();
    for (status, answer) in answers {
        responses.insert((*status).into(), answer.clone());
    }
    for status in errors {
        responses.insert((*status).into(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    responses.into()
}

const ERRORS: [(&str, &str); 12] = [
    ("400", "Invalid query string or request body"),
    ("401", "Missing, invalid, revoked, or expired API key"),
    ("403", "Blocked by scope, IP allowlist, account visibility, or Origin"),
    ("404", "Resource not found"),
    ("408", "The request body took too long to arrive"),
    ("409", "It exists already, or is not in a state for this"),
    ("412", "It was changed meanwhile: read it again"),
    ("413", "The request body is too large"),
    ("415", "The request body is not JSON, or compressed"),
    ("429", "Rate limit exceeded: wait as long as Retry-After says"),
    ("500", "Internal server error: retry once"),
    ("504", "The request, or the venue it needed, exceeded the deadline"),
];

fn errors() -> Value {
    let error = |(status, description): (&str, &str)| {
        let mut response = json!({ "description": description });
        let header = match status {
            "401" => Some(("WWW-Authenticate", json!({ "schema": { "type": "string" } }))),
            "429" => Some(("Retry-After", json!({ "description": "Whole seconds.", "schema": { "type": "integer" } }))),
            _ => None,
        };
        if let Some((name, value)) = header {
            response["headers"] = json!({ name: value });
        }
        response["content"] = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        (status.to_owned(), response)
    };
    ERRORS.into_iter().map(error).collect::<Map<_, _>>().into()
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["success", "error", "code", "requestId"],
        "properties": {
            "success": { "const": false },
            "error": { "type": "string", "description": "For people." },
            "code": { "type": "string", "description": "Stable, for programs." },
            "details": { "type": "object", "description": "Which field, what is allowed." },
            "requestId": { "type": "string", "description": "As in the header x-request-id." },
        },
    })
}

const RATE_HEADERS: [(&str, &str); 3] = [
    ("X-RateLimit-Limit", "Requests that are accepted in any 60 seconds with this key."),
    ("X-RateLimit-Remaining", "Requests that would be accepted now."),
    ("X-RateLimit-Reset", "Seconds from now until the next used place becomes free."),
];

fn rate_headers() -> Value {
    let header = |(name, description): (&str, &str)| {
        (name.to_owned(), json!({ "description": description, "schema": { "type": "integer" } }))
    };
    RATE_HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}

fn rate_header_refs() -> Value {
    let header = |(name, _): (&str, &str)| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    RATE_HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}

/// A JSON value as block YAML. Strings that YAML could read as anything else are quoted.
fn print(value: &Value) -> String {
    let mut text = String::from("# Printed by `codash openapi`. Do not edit.\n");
    print_block(value, 0, &mut text);
    text
}

fn print_block(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                indent(depth, text);
                text.push_str(&scalar(name));
                text.push(':');
                print_after(member, depth + 1, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                // Two spaces of the item's first line make room for the dash.
                let mut below = String::from("\n");
                print_after(item, depth + 1, &mut below);
                indent(depth, text);
                text.push_str("- ");
                text.push_str(below.trim_start());
            }
        }
        _ => {}
    }
}

/// What follows a colon or a dash: on the same line when it is short by nature, else below.
fn print_after(value: &Value, depth: usize, text: &mut String) {
    let is_nested = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    if is_nested {
        text.push('\n');
        return print_block(value, depth, text);
    }
    let inline = match value {
        Value::String(string) => scalar(string),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), scalar)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    };
    let _ = writeln!(text, " {inline}");
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| is_word(c) || c == ' ')
        && !text.ends_with(' ')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_repository_is_what_the_server_prints() {
        let is_same = include_str!("../openapi.yaml") == yaml();
        assert!(is_same, "run `cargo run -- openapi > openapi.yaml`");
    }

    #[test]
    fn yaml_keeps_every_value_apart() {
        let value =
            json!({ "a": { "b": [1, "x", "no", "a: b"] }, "200": [{ "c": null, "d": {} }], "e": "1", "f": true });
        let lines: Vec<String> = print(&value).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(
            lines,
            ["a:", "  b: [1, x, \"no\", \"a: b\"]", "\"200\":", "  - c: null", "    d: {}", "e: \"1\"", "f: true"]
        );
    }

    #[test]
    fn every_error_that_a_route_names_is_described() {
        let document = document();
        let described = &document["components"]["responses"];
        for path in document["paths"].as_object().unwrap().values() {
            for operation in path.as_object().unwrap().values() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    if response.get("$ref").is_some() {
                        assert!(described.get(status).is_some(), "{status}");
                    }
                }
            }
        }
    }
}
