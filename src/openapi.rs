//! The REST contract, printed from the types that are read and written: OpenAPI 3.1.
//!
//! `openapi.yaml` in the repository is what [`yaml`] prints; a test compares them. To add a route:
//! an entry in [`paths`], of accounts and groups in `openapi/manage.rs`, of people and keys in
//! `openapi/people.rs`, of automations in `openapi/automations.rs`, of a dataset for dashboards in
//! `openapi/grafana.rs`, made of [`parts`]. What all entries have in common (tags, scopes and codes for
//! programs, errors that any route may answer, headers) is added by [`finish`]; examples come from
//! `docs/golden/examples.json`.

mod automations;
mod examples;
mod finish;
mod grafana;
mod manage;
mod parts;
mod people;
mod yaml;

use std::sync::LazyLock;

use codash_analytics::select::EchoedWindow;
use codash_analytics::{
    account_forensics, activity_summary, cash_flows, export, exposure_summary, forensics, largest_losses, metrics,
    nav_history, pnl_buckets, pnl_by_symbol, pnl_query, pnl_summary, portfolio_summary, report, risk_timeline,
    trade_events,
};
use codash_domain::Scope;
use serde_json::{Map, Value, json};

pub use self::examples::of as example;
use self::parts::{
    answer, attach_body, body, echoed, echoed_days, export_file, guarded, keyed_answer, more, not_modified, of_table,
    parameters, question, rate_header_refs, scope, with_errors,
};
use crate::rest::{Success, agents, ai_keys, health, status, venues};

/// The document in YAML, made once.
pub fn yaml() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| yaml::print(document()));
    &TEXT
}

/// The document in JSON, made once.
pub fn json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    &TEXT
}

/// The document as a value, made once.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut document = written();
        finish::finish(&mut document);
        examples::add(&mut document);
        document
    });
    &DOCUMENT
}

fn written() -> Value {
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
        "webhooks": automations::messages(),
        "x-limits": [
            { "what": "reads per key", "requests": 100, "seconds": 60, "setting": "CODASH_LIMIT_READS_PER_MINUTE" },
            { "what": "credentials per address", "requests": 300, "seconds": 60,
              "setting": "CODASH_LIMIT_CREDENTIALS_PER_MINUTE" },
            { "what": "registrations per address", "requests": 20, "seconds": 3600,
              "setting": "CODASH_LIMIT_REGISTRATIONS_PER_HOUR" },
        ],
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "Authorization: Bearer kv_live_…, or the access token of a login" },
                "apiKey": { "type": "apiKey", "in": "header", "name": "x-api-key", "description": "Wins when both are sent." },
            },
            "headers": parts::headers(),
            "schemas": { "Error": finish::error_schema() },
            "responses": finish::errors(),
        },
    })
}

fn all_paths() -> Value {
    let families = [paths(), manage::paths(), people::paths(), automations::paths(), grafana::paths()];
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
            "responses": with_errors(&[
                ("200", keyed_answer::<Success<ai_keys::AiKeyAnswer>>("The key replaced another")),
                ("201", keyed_answer::<Success<ai_keys::AiKeyAnswer>>("The key was added")),
            ], &[]),
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
        "/api/portfolio": of_now(question::<portfolio_summary::RestQuery, portfolio_summary::Answer>("getPortfolio", "What the portfolio is worth and how exposed it is, now", scope(Scope::ReadLive), "Sums over the accounts")),
        "/api/portfolio/history": question::<nav_history::RestQuery, nav_history::Answer>("getPortfolioHistory", "NAV and exposure through time, by the hour", scope(Scope::ReadLive), "At most 1500 points, oldest first"),
        "/api/portfolio/exposure-summary": of_now(question::<exposure_summary::Query, exposure_summary::Answer>("getExposureSummary", "Exposure and position risk, now", scope(Scope::ReadLive), "Sums by symbol and account, and the largest positions")),
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

/// A question about now: a removed account has none.
fn of_now(mut question: Value) -> Value {
    question["get"]["responses"]["409"] = json!({ "$ref": "#/components/responses/409" });
    question
}

fn mcp() -> Value {
    let message = json!({
        "type": "object",
        "required": ["jsonrpc", "method"],
        "properties": {
            "jsonrpc": { "const": "2.0" },
            "id": { "type": ["string", "integer"], "description": "Absent: a notification, which is not answered." },
            "method": { "type": "string" },
            "params": { "type": "object" },
        },
    });
    let batch = json!({
        "description": "In the revisions that know batches.",
        "type": "array", "minItems": 1, "maxItems": 50,
        "items": { "description": "A message; what is none gets an error in its place." },
    });
    let reply = json!({
        "type": "object",
        "required": ["jsonrpc"],
        "properties": {
            "jsonrpc": { "const": "2.0" },
            "id": { "type": ["string", "integer"] },
            "result": { "type": "object" },
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": { "type": "integer" }, "message": { "type": "string" }, "data": {} },
            },
        },
    });
    let replies = json!({ "anyOf": [reply, { "type": "array", "items": reply }] });
    let replied = json!({
        "description": "A JSON-RPC response: also for errors of a method, such as -32601, -32602 and -32001.",
        "headers": rate_header_refs(),
        "content": { "application/json": { "schema": replies } },
    });
    let refused = json!({
        "description": "A JSON-RPC error (-32600, -32700) for a body that is no message, or the error of every route",
        "headers": rate_header_refs(),
        "content": { "application/json": {
            "schema": { "anyOf": [reply, { "$ref": "#/components/schemas/Error" }] },
        } },
    });
    let accepted = json!({ "description": "A notification was received: no body.", "headers": rate_header_refs() });
    json!({
        "operationId": "mcp",
        "summary": "The Model Context Protocol: the question catalogue as tools",
        "description": "Streamable HTTP without sessions. Revisions 2024-11-05 to 2025-11-25 by handshake, 2026-07-28 \
            by request. Each further member of a batch counts as a request of its own. The scope is checked per tool.",
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": { "anyOf": [message, batch] },
        } } },
        "responses": with_errors(&[("200", replied), ("202", accepted), ("400", refused)], &[]),
    })
}

const PAGED: &str = "Pass nextCursor back as cursor for the next page, with the same filters. Without from the last 90 \
    days are taken (window.defaulted says so); with a cursor the first page's window is kept, and window is null.";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_repository_is_what_the_server_prints() {
        let is_same = include_str!("../openapi.yaml") == yaml();
        assert!(is_same, "run `cargo run -- openapi > openapi.yaml`");
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
