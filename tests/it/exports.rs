//! Exports: every row once, digit for digit, whole or not at all, and nobody else's.

use std::io::Read;
use std::time::Duration;

use codash_domain::cash_flow::CashFlow;
use codash_domain::{AccountId, Asset, EventType, FlowKind, Price, Qty, Scope, Scopes, Symbol, Usd};
use codash_store::ingest::PageWrite;
use reqwest::Method;
use reqwest::header::HeaderMap;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Connection, Row};

use crate::agent::{Agent, World};
use crate::ingest::{at, fill};

pub const TABLES: [&str; 10] = [
    "events",
    "trades",
    "funding",
    "balances",
    "positions",
    "nav",
    "cash_flows",
    "accounts",
    "coverage",
    "restatements",
];

/// Two accounts; amounts of every length, types of every kind, names that a spreadsheet would run.
async fn world() -> (World, AccountId, AccountId) {
    let world = World::new().await;
    let main = world.account("=cmd|' /C calc'!A0").await;
    let other = world.account("Other, \"quoted\"\nand broken").await;
    for (account, offset) in [(main, 0), (other, 1000)] {
        let events = (0..120_i64)
            .map(|n| {
                let mut event = fill(offset + n, -n * 1_800, (n * 7919) % 400 - 200);
                event.symbol = Symbol::linear_perp(["BTC", "ETH", "SOL"][usize::try_from(n % 3).unwrap()]);
                event.qty = Some(Qty::new(Decimal::new(n * n * 37 + 1, u32::try_from(n % 19).unwrap())));
                event.price = Some(Price::new(Decimal::new(-(n - 60).pow(5), 8)));
                event.fee_usd = Some(Usd::new(Decimal::new(n - 40, 18)));
                if n % 10 == 0 {
                    event.event_type = [EventType::Liquidation, EventType::Funding, EventType::ClosedPnl]
                        [usize::try_from(n / 10 % 3).unwrap()];
                    event.side = None;
                }
                if n % 41 == 0 {
                    event.fee_usd = None;
                    event.unpriced = true;
                }
                if n == 7 {
                    event.symbol = None;
                }
                event
            })
            .collect();
        let covered = Some((at(-300_000), at(0)));
        let cash_flows = vec![flow(account, offset)];
        world.commit(account, PageWrite { events, covered, cash_flows, ..PageWrite::default() }).await;
        world.snapshot(account, "1234.56").await;
    }
    (world, main, other)
}

fn flow(_: AccountId, n: i64) -> CashFlow {
    CashFlow {
        stream: "flows.deposits",
        native_id: format!("deposit:{n}"),
        kind: FlowKind::Deposit,
        occurred_at: at(-3_600),
        wallet: "spot",
        asset: Asset::new("USDC"),
        amount: Decimal::new(1_000_000_001, 6),
        value_usd: None,
        raw: "{}".into(),
    }
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn watermark(&self) -> i64 {
        self.headers["x-export-watermark"].to_str().unwrap().parse().unwrap()
    }

    /// The rows of JSON lines, and the line that ends them.
    fn lines(&self) -> (Vec<Value>, Value) {
        let text = self.text();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let end = lines.pop().unwrap();
        (lines, end["_end"].clone())
    }
}

async fn get(agent: &Agent, path: &str) -> Got {
    got(agent.request(Method::GET, path)).await
}

async fn got(request: reqwest::RequestBuilder) -> Got {
    // One export at a time in this little world; the place of the last is free a moment after its end.
    let mut response = request.try_clone().unwrap().send().await.unwrap();
    for _ in 0..50 {
        if response.status().as_u16() != 429 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        response = request.try_clone().unwrap().send().await.unwrap();
    }
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

pub async fn rows(agent: &Agent, path: &str) -> Vec<Value> {
    let got = get(agent, path).await;
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    got.lines().0
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// RFC 4180, strictly: cells are `None` when empty and unquoted.
fn csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row, mut rest) = (vec![], vec![], text);
    while !rest.is_empty() {
        let cell = if let Some(quoted) = rest.strip_prefix('"') {
            let (mut cell, mut tail) = (String::new(), quoted);
            loop {
                let end = tail.find('"').expect("a closing quote");
                cell.push_str(&tail[..end]);
                tail = &tail[end + 1..];
                match tail.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        tail = more;
                    }
                    None => break,
                }
            }
            rest = tail;
            Some(cell)
        } else {
            let end = rest.find([',', '\r']).expect("an end of the cell");
            let cell = &rest[..end];
            assert!(!cell.contains(['"', '\n']));
            rest = &rest[end..];
            (!cell.is_empty()).then(|| cell.to_owned())
        };
        row.push(cell);
        if let Some(more) = rest.strip_prefix(',') {
            rest = more;
        } else {
            rest = rest.strip_prefix("\r\n").expect("CRLF after a row");
            rows.push(std::mem::take(&mut row));
        }
    }
    rows
}

#[tokio::test]
async fn an_export_gives_the_events_that_the_question_gives_digit_for_digit() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let exported = rows(&agent, "/api/export/events?format=jsonl").await;
    let mut asked = agent.call("get_trade_events", json!({ "limit": 1000 })).await["rows"].as_array().unwrap().clone();
    asked.reverse();
    assert_eq!((exported.len(), asked.len()), (240, 240));
    for (exported, asked) in exported.iter().zip(&asked) {
        let mut exported = exported.clone();
        assert!(exported.as_object_mut().unwrap().shift_remove("unpriced").unwrap().is_boolean());
        // As text: numbers are compared by their digits, and the order of the names too.
        assert_eq!(exported.to_string(), asked.to_string());
    }
    let whole = get(&agent, "/api/export/events?format=json").await.json();
    assert_eq!((&whole["success"], &whole["data"]["rowCount"]), (&json!(true), &json!(240)));
    assert_eq!(whole["data"]["rows"].as_array().unwrap(), &exported);
}

#[tokio::test]
async fn a_csv_reads_back_to_the_same_rows_and_no_cell_is_a_formula() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    for table in TABLES {
        let lines = rows(&agent, &format!("/api/export/{table}?format=jsonl")).await;
        let got = get(&agent, &format!("/api/export/{table}?formulaSafe=false")).await;
        let mut cells = csv(&got.text()).into_iter();
        let names: Vec<String> = cells.next().unwrap().into_iter().map(Option::unwrap).collect();
        let cells: Vec<_> = cells.collect();
        assert_eq!(cells.len(), lines.len(), "{table}");
        for (cells, line) in cells.iter().zip(&lines) {
            assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
            for (cell, name) in cells.iter().zip(&names) {
                let expected = match &line[name.as_str()] {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
                assert_eq!(cell, &expected, "{table}.{name}");
            }
        }
    }
    let safe = csv(&get(&agent, &format!("/api/export/events?accountId={main}")).await.text());
    assert_eq!(safe[1][2].as_deref(), Some("'=cmd|' /C calc'!A0"));
    let negative = safe.iter().skip(1).filter(|row| row[8].as_ref().is_some_and(|cell| cell.starts_with('-')));
    assert!(negative.count() > 10, "a number is never touched");
}

#[tokio::test]
async fn every_table_is_counted_and_exported_alike_and_its_manifest_is_true() {
    let (world, ..) = world().await;
    let agent = world.agent();
    // A venue restates one record.
    world.commit_restated().await;
    let counts = get(&agent, "/api/export/counts").await.json();
    let tables = counts["data"]["tables"].as_array().unwrap();
    assert_eq!(tables.iter().map(|t| t["table"].as_str().unwrap()).collect::<Vec<_>>(), TABLES);
    for table in tables {
        let (name, count) = (table["table"].as_str().unwrap(), table["count"].as_i64().unwrap());
        let one = get(&agent, &format!("/api/export/{name}/count")).await.json();
        assert_eq!(&one["data"], table);
        for format in ["csv", "json", "jsonl"] {
            for gzip in [false, true] {
                let query = format!("format={format}&gzip={gzip}");
                let file = get(&agent, &format!("/api/export/{name}?{query}")).await;
                let manifest = get(&agent, &format!("/api/export/{name}/manifest?{query}")).await.json()["data"].take();
                assert_eq!(manifest["sha256"], json!(sha256(&file.body)), "{name} {query}");
                assert_eq!(manifest["bytes"], json!(file.body.len()));
                assert_eq!(manifest["rows"], json!(count));
                assert_eq!(manifest["watermark"], json!(file.watermark()));
                assert_eq!(manifest["schema"], file.headers["x-export-schema"].to_str().unwrap());
                let disposition = file.headers["content-disposition"].to_str().unwrap().to_owned();
                assert!(disposition.contains(manifest["fileName"].as_str().unwrap()));
                if gzip {
                    let mut text = String::new();
                    flate2::read::GzDecoder::new(&file.body[..]).read_to_string(&mut text).unwrap();
                    let plain = get(&agent, &format!("/api/export/{name}?format={format}")).await;
                    assert_eq!(text, plain.text());
                } else if format == "jsonl" {
                    let text = file.text();
                    let last = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
                    let (lines, end) = file.lines();
                    assert_eq!(
                        end,
                        json!({ "rows": lines.len(), "sha256": sha256(&text.as_bytes()[..last]), "watermark": file.watermark() })
                    );
                }
            }
        }
    }
    let count = |name: &str| tables.iter().find(|t| t["table"] == name).unwrap()["count"].as_i64().unwrap();
    assert_eq!((count("events"), count("funding"), count("accounts"), count("nav")), (240, 8, 2, 2));
    assert_eq!((count("cash_flows"), count("balances"), count("restatements")), (2, 2, 1));
    assert_eq!(count("trades"), 240 - 8 - 8, "neither funding nor closed PnL");
    let change = &rows(&agent, "/api/export/restatements?format=jsonl").await[0];
    assert_eq!((&change["reason"], &change["statesFigures"]), (&json!("restated"), &json!(true)));
    assert_eq!(change["afterRealizedPnlUsd"].to_string(), "77.5");
    assert!(change["beforeRealizedPnlUsd"].is_number() && change.get("raw").is_none());
    let spans = rows(&agent, "/api/export/coverage?format=jsonl").await;
    assert!(spans.iter().any(|span| span["from"].is_string()) && spans.iter().any(|span| span["from"].is_null()));
}

#[tokio::test]
async fn filters_and_columns_mean_what_they_say_or_are_refused() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let all = rows(&agent, "/api/export/events?format=jsonl").await;
    let expect = |keep: &dyn Fn(&Value) -> bool| all.iter().filter(|row| keep(row)).cloned().collect::<Vec<_>>();
    let path = format!("/api/export/events?format=jsonl&accountIds={main}");
    assert_eq!(rows(&agent, &path).await, expect(&|row| row["accountId"] == json!(main)));
    let path = "/api/export/events?format=jsonl&symbols=BTC-PERP,SOL-PERP&eventTypes=liquidation";
    let wanted = expect(&|row| {
        row["eventType"] == "liquidation" && (row["symbol"] == "BTC-PERP" || row["symbol"] == "SOL-PERP")
    });
    assert!(!wanted.is_empty());
    assert_eq!(rows(&agent, path).await, wanted);
    let hostile = "/api/export/events?format=jsonl&symbols=%27%29%20OR%20true--,%7B%22,%5C";
    assert_eq!(rows(&agent, hostile).await, Vec::<Value>::new());
    let (from, to) = (all[40]["occurredAt"].as_str().unwrap(), all[80]["occurredAt"].as_str().unwrap());
    let path = format!("/api/export/events?format=jsonl&from={from}&to={to}");
    let within = |row: &Value| (from..=to).contains(&row["occurredAt"].as_str().unwrap());
    assert_eq!(rows(&agent, &path).await, expect(&within));
    let count = get(&agent, &format!("/api/export/events/count?from={from}&to={to}")).await.json();
    assert_eq!(count["data"]["count"], json!(expect(&within).len()));
    let picked = get(&agent, "/api/export/events?columns=price,id").await;
    assert!(picked.text().starts_with("price,id\r\n"));
    for (path, status, code, says) in [
        ("events?columns=price,prise", 400, "unknown_column", "netPnlImpactUsd"),
        ("events?columns=price,price", 400, "repeated_column", "price"),
        ("balances?from=2026-01-01T00:00:00Z", 400, "invalid_filter", "from"),
        ("nav?symbols=BTC-PERP", 400, "invalid_filter", "symbols"),
        ("coverage?afterWatermark=1", 400, "invalid_filter", "afterWatermark"),
        ("trades?eventTypes=funding", 400, "invalid_filter", "funding"),
        ("events?afterWatermark=1000", 400, "invalid_watermark", "1000"),
        ("events?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "invalid_window", "swap"),
        ("events?format=xml", 400, "invalid_request", "csv"),
        ("events?colums=id", 400, "invalid_request", "colums"),
        ("secrets", 404, "unknown_table", "restatements"),
        ("secrets/count", 404, "unknown_table", "restatements"),
    ] {
        let got = get(&agent, &format!("/api/export/{path}")).await;
        let reply = got.json();
        assert_eq!((got.status, reply["code"].as_str().unwrap()), (status, code), "{path}: {reply}");
        assert!(reply["error"].as_str().unwrap().contains(says), "{reply}");
    }
}

#[tokio::test]
async fn a_stranger_gets_nothing_and_a_narrower_key_its_own_accounts() {
    let (world, main, other) = world().await;
    world.commit_restated().await;
    let stranger = world.stranger().await;
    let narrow = world.key(|key| key.accounts = Some(vec![main])).await;
    let blind = world.key(|key| key.accounts = Some(vec![])).await;
    let whole = world.agent();
    for table in TABLES {
        let path = format!("/api/export/{table}?format=jsonl");
        assert_eq!(rows(&stranger, &path).await, Vec::<Value>::new(), "{table}");
        assert_eq!(rows(&blind, &path).await, Vec::<Value>::new(), "{table}");
        let id = if table == "accounts" { "id" } else { "accountId" };
        let mut wanted = rows(&whole, &path).await;
        wanted.retain(|row| row[id] == json!(main));
        assert_eq!(rows(&narrow, &path).await, wanted, "{table}");
        let count = get(&narrow, &format!("/api/export/{table}/count")).await.json();
        assert_eq!(count["data"]["count"], json!(wanted.len()), "{table}");
        for agent in [&stranger, &narrow] {
            let refused = get(agent, &format!("{path}&accountId={other}")).await;
            assert_eq!(refused.json()["code"], json!("unknown_account"));
        }
    }
    let scopes: Vec<Scope> =
        Scope::ALL.into_iter().filter(|s| !matches!(s, Scope::Read | Scope::ReadExports)).collect();
    let without = world.key(|key| key.scopes = Scopes::new(scopes.clone())).await;
    for path in ["counts", "events", "events/count", "events/manifest"] {
        assert_eq!(get(&without, &format!("/api/export/{path}")).await.status, 403, "{path}");
        assert_eq!(got(world.public(Method::GET, &format!("/api/export/{path}"))).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn the_same_bytes_are_not_sent_twice_and_a_head_has_none() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let first = get(&agent, "/api/export/events").await;
    let tag = first.headers["etag"].clone();
    let again = || agent.request(Method::GET, "/api/export/events").header("if-none-match", tag.clone());
    let unchanged = got(again()).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    let head = got(agent.request(Method::HEAD, "/api/export/events")).await;
    assert_eq!((head.status, &head.headers["etag"], head.body.len()), (200, &tag, 0));
    for path in ["events?gzip=true", "events?format=json", "events?columns=id", "trades"] {
        assert_ne!(get(&agent, &format!("/api/export/{path}")).await.headers["etag"], tag, "{path}");
    }
    world.commit(main, PageWrite { events: vec![fill(5000, 1, 1)], ..PageWrite::default() }).await;
    assert_eq!(got(again()).await.status, 200);
    assert!(!get(&agent, "/api/export/balances").await.headers.contains_key("etag"));
}

/// Late, concurrent and restating commits beside a reader that pulls what is new again and again.
#[tokio::test]
async fn incremental_pulls_miss_no_late_row() {
    let world = World::new().await;
    let mut accounts = Vec::new();
    for n in 0..3 {
        accounts.push(world.account(&format!("A{n}")).await);
    }
    let agent = world.agent();
    let mut mine = std::collections::BTreeMap::new();
    let mut watermark = 0;
    let pull = async |watermark: &mut i64, mine: &mut std::collections::BTreeMap<String, Value>| {
        let got = get(&agent, &format!("/api/export/events?format=jsonl&afterWatermark={watermark}")).await;
        for row in got.lines().0 {
            mine.insert(row["id"].as_str().unwrap().to_owned(), row);
        }
        assert!(got.watermark() >= *watermark);
        *watermark = got.watermark();
    };
    let write = async |account: AccountId, lane: i64| {
        for n in 0..25_i64 {
            // Backwards in time: every row is late; each third one is restated by the next page.
            let mut events = vec![fill(lane * 1000 + n, -n * 60 - lane, n)];
            if n % 3 == 1 {
                events.push(fill(lane * 1000 + n - 1, -(n - 1) * 60 - lane, 1000 + n));
            }
            world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
        }
    };
    let read = async {
        for _ in 0..30 {
            pull(&mut watermark, &mut mine).await;
        }
    };
    futures::join!(write(accounts[0], 0), write(accounts[1], 1), write(accounts[2], 2), read);
    pull(&mut watermark, &mut mine).await;
    let all = rows(&agent, "/api/export/events?format=jsonl").await;
    assert_eq!(all.len(), 75);
    assert!(all.iter().any(|row| row["realizedPnlUsd"] == json!(1001)));
    let pulled: Vec<Value> = mine.into_values().collect();
    assert_eq!(pulled, all, "ids sort by time, so both are in one order");
    pull(&mut watermark, &mut std::collections::BTreeMap::new()).await;
    let nothing = rows(&agent, &format!("/api/export/events?format=jsonl&afterWatermark={watermark}")).await;
    assert_eq!(nothing, Vec::<Value>::new());
}

/// The rows of a table that are new since the last pull.
async fn newer(agent: &Agent, table: &str, watermark: &mut i64) -> Vec<Value> {
    let got = get(agent, &format!("/api/export/{table}?format=jsonl&afterWatermark={watermark}")).await;
    *watermark = got.watermark();
    got.lines().0
}

#[tokio::test]
async fn cash_flows_and_nav_that_arrive_late_or_change_are_in_the_next_pull() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let (mut flows, mut nav, mut events) = (0, 0, 0);
    assert_eq!(newer(&agent, "cash_flows", &mut flows).await.len(), 2);
    assert_eq!(newer(&agent, "nav", &mut nav).await.len(), 2);
    newer(&agent, "events", &mut events).await;

    let point = (at(-86_400), "77.5".parse().map(Usd::new).unwrap());
    let late = CashFlow { occurred_at: at(-500_000), ..flow(other, 5) };
    world.commit(other, PageWrite { cash_flows: vec![late], nav_points: vec![point], ..PageWrite::default() }).await;
    let found = newer(&agent, "nav", &mut nav).await;
    assert_eq!((found.len(), &found[0]["navUsd"], &found[0]["longUsd"]), (1, &json!(77.5), &Value::Null));
    assert_eq!(newer(&agent, "cash_flows", &mut flows).await.len(), 1);

    // Its price was found; the other is told once more and did not change.
    let priced = CashFlow { value_usd: Some(Usd::new(Decimal::from(1000))), ..flow(main, 0) };
    world.commit(main, PageWrite { cash_flows: vec![flow(main, 0), priced], ..PageWrite::default() }).await;
    world.commit(other, PageWrite { cash_flows: vec![flow(other, 1000)], ..PageWrite::default() }).await;
    let point = (at(-86_401), Usd::new(Decimal::from(1300)));
    world.commit(main, PageWrite { nav_points: vec![point], ..PageWrite::default() }).await;
    let found = newer(&agent, "cash_flows", &mut flows).await;
    assert_eq!((found.len(), &found[0]["valueUsd"]), (1, &json!(1000)));
    assert_eq!(newer(&agent, "nav", &mut nav).await.len(), 1);
    for (table, watermark) in [("cash_flows", &mut flows), ("nav", &mut nav), ("events", &mut events)] {
        assert_eq!(newer(&agent, table, watermark).await, Vec::<Value>::new(), "{table}");
    }
}

#[tokio::test]
async fn a_snapshot_does_not_change_the_tag_of_events_and_does_that_of_nav() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let tag = async |table: &str| get(&agent, &format!("/api/export/{table}")).await.headers["etag"].clone();
    let before = (tag("events").await, tag("nav").await);
    world.snapshot(main, "1300").await;
    assert_eq!(tag("nav").await, before.1, "of the same instant: there is nothing new");
    let point = (at(-86_401), Usd::new(Decimal::from(1300)));
    world.commit(main, PageWrite { nav_points: vec![point], ..PageWrite::default() }).await;
    assert_eq!(tag("events").await, before.0);
    assert_ne!(tag("nav").await, before.1);
}

#[tokio::test]
async fn a_manifest_says_which_part_of_the_window_was_never_read() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let (from, to) = (at(-200_000), at(-1));
    let coverage = async |query: String| get(&agent, &query).await.json()["data"]["coverage"].take();
    for account in [main, other] {
        let filter = format!("from={from}&to={to}&accountId={account}");
        let told = coverage(format!("/api/export/events/manifest?{filter}")).await;
        let page = get(&agent, &format!("/api/trade-events?{filter}")).await.json();
        assert_eq!(told, page["data"]["provenance"]["coverage"]);
        assert_eq!(told["accounts"][0]["gaps"][0]["reason"], json!("not read yet"));
    }
    let flows = coverage(format!("/api/export/cash_flows/manifest?accountId={other}")).await;
    assert_eq!((&flows["complete"], flows["accounts"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(coverage("/api/export/balances/manifest".into()).await, Value::Null);
}

/// A page that began before a reader's snapshot and committed after it has a lower batch number and a
/// higher version than what the reader saw.
#[tokio::test]
async fn a_page_that_commits_after_a_younger_one_is_in_the_next_pull() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let mut slow = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(world.db.url())).await.unwrap();
    let mut page = slow.begin().await.unwrap();
    let batch: i64 = sqlx::query_scalar(
        "INSERT INTO batches (workspace_id, account_id, stream) SELECT workspace_id, account_id, 's' FROM accounts
         WHERE account_id = $1 RETURNING batch_id",
    )
    .bind(main.0)
    .fetch_one(&mut *page)
    .await
    .unwrap();
    world.commit(main, PageWrite { events: vec![fill(7000, 1, 1)], ..PageWrite::default() }).await;
    let watermark = get(&agent, "/api/export/events").await.watermark();
    let late =
        "UPDATE events SET batch_id = $1 WHERE event_id IN (SELECT event_id FROM events WHERE account_id = $2 LIMIT 2)";
    sqlx::query(late).bind(batch).bind(main.0).execute(&mut *page).await.unwrap();
    sqlx::query(
        "WITH v AS (UPDATE workspaces w SET data_version = data_version + 1 FROM accounts a
            WHERE a.workspace_id = w.workspace_id AND a.account_id = $2 RETURNING data_version)
         UPDATE batches SET seq = v.data_version FROM v WHERE batch_id = $1",
    )
    .bind(batch)
    .bind(main.0)
    .execute(&mut *page)
    .await
    .unwrap();
    page.commit().await.unwrap();
    let next = rows(&agent, &format!("/api/export/events?format=jsonl&afterWatermark={watermark}")).await;
    assert_eq!(next.len(), 2);
}

#[tokio::test]
async fn when_the_client_goes_the_connection_is_free_and_the_query_ended() {
    let (world, main, _) = world().await;
    for n in 0..40 {
        let events = (0..1000).map(|i| fill(10_000 + n * 1000 + i, -i - n * 1000, i)).collect();
        world.commit(main, PageWrite { events, ..PageWrite::default() }).await;
    }
    let agent = world.agent();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'
                AND state <> 'idle'";
    for _ in 0..4 {
        let mut response = agent.request(Method::GET, "/api/export/events?format=jsonl").send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.chunk().await.unwrap().is_some());
        drop(response);
        let mut left = 1;
        for _ in 0..40 {
            left = world.db.admin(busy).await[0].get::<i64, _>(0);
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(left, 0, "PostgreSQL writes for nobody");
    }
    let whole = get(&agent, "/api/export/events?format=jsonl").await;
    assert_eq!(whole.lines().1["rows"], json!(40_240));
}

#[tokio::test]
async fn the_trailers_tell_rows_and_digest_of_a_csv() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (world, ..) = world().await;
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let key = world.agent().key;
    let request = format!(
        "GET /api/export/events HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nte: trailers\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let trailers = reply.rsplit("\r\n0\r\n").next().unwrap();
    let manifest = get(&world.agent(), "/api/export/events/manifest").await.json();
    assert!(trailers.contains("x-export-rows: 240"), "{trailers:?}");
    assert!(trailers.contains(manifest["data"]["sha256"].as_str().unwrap()));
}

impl World {
    /// The venue now states another PnL for one fill of the first account.
    async fn commit_restated(&self) {
        let id: uuid::Uuid = self.db.admin("SELECT account_id FROM accounts WHERE name LIKE '=%'").await[0].get(0);
        let mut event = fill(1, -1_800, 0);
        event.symbol = Symbol::linear_perp("ETH");
        event.realized_pnl_usd = Some(Usd::new(Decimal::new(775, 1)));
        self.commit(AccountId(id), PageWrite { events: vec![event], ..PageWrite::default() }).await;
    }
}
