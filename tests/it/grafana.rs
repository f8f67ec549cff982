//! Dashboards: what every panel, variable and annotation asks is answered with the columns that it uses,
//! and charts have the digits of the other answers.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::TimeDelta;
use codash_domain::{Timestamp, Usd};
use codash_store::ingest::PageWrite;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::agent::{Agent, World};
use crate::ingest::fill;
use crate::manage::{group, put_in};
use crate::rest::{data, get, number, send, sum, world};
use crate::tenants::now;

/// What dashboards ask for, in a world that has something of everything.
async fn seeded() -> World {
    let (world, main, other) = world().await;
    let desk = group(&world.agent(), "Desk", None).await;
    put_in(&world.agent(), main, &desk).await;
    put_in(&world.agent(), other, &desk).await;
    // The venue states one of its records anew.
    for pnl in [5, 6] {
        let events = vec![fill(30_000, -3 * 86_400, pnl)];
        let covered = Some((now().minus(TimeDelta::days(20)), now().minus(TimeDelta::hours(1))));
        world.commit(main, PageWrite { events, covered, ..PageWrite::default() }).await;
    }
    for sql in [
        "UPDATE accounts SET last_checked_at = now(), status_detail = 'x', kind = 'unified', key_expires_at = now()",
        "UPDATE streams SET detail = 'x'",
    ] {
        world.db.admin(&format!("{sql} RETURNING 1")).await;
    }
    world
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/dashboards");
    let mut all: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 2, "dashboards are shipped");
    all
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// As a client escapes a value of a query string.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// The path that Infinity asks for a query, its macros and variables filled in.
fn path(query: &Value, values: &BTreeMap<&str, String>) -> String {
    assert_eq!(
        (&query["type"], &query["source"], &query["parser"]),
        (&json!("json"), &json!("url"), &json!("backend"))
    );
    assert_eq!(query["url_options"]["method"], json!("GET"));
    let parameters: Vec<String> = array(&query["url_options"]["params"])
        .iter()
        .map(|parameter| {
            let mut filled = text(&parameter["value"]).to_owned();
            for (name, value) in values {
                filled = filled.replace(&format!("${{{name}}}"), value);
            }
            assert!(!filled.replace("$__all", "").contains('$'), "{filled} is not filled in");
            format!("{}={}", text(&parameter["key"]), escaped(&filled))
        })
        .collect();
    format!("{}?{}", text(&query["url"]), parameters.join("&"))
}

async fn rows(agent: &Agent, path: &str) -> Vec<Value> {
    let (status, reply) = get(agent, path).await;
    assert_eq!(status, 200, "{path}: {reply}");
    reply.as_array().unwrap_or_else(|| panic!("{path}: no array at the top: {reply}")).clone()
}

/// Every row has every column that the query declares, of its type, and some row has a value there.
fn assert_columns(query: &Value, rows: &[Value], place: &str) {
    assert!(!rows.is_empty(), "{place} shows nothing");
    let columns = array(&query["columns"]);
    assert!(!columns.is_empty(), "{place} declares no columns");
    for column in columns {
        let (name, kind) = (text(&column["selector"]), text(&column["type"]));
        let mut known = 0;
        for row in rows {
            let value = row.get(name).unwrap_or_else(|| panic!("{place}: {name} is missing in {row}"));
            let fits = match (kind, value) {
                (_, Value::Null) => true,
                ("number", value) => value.is_number(),
                ("string", value) => value.is_string(),
                ("boolean", value) => value.is_boolean(),
                ("timestamp", value) => text(value).parse::<Timestamp>().is_ok(),
                (other, _) => panic!("{place}: what is {other}?"),
            };
            assert!(fits, "{place}: {name} is no {kind}: {value}");
            known += usize::from(!value.is_null());
        }
        // A forced close has no end.
        let is_optional = name == "timeEnd" && place.contains("annotation \"Forced closes\"");
        assert!(known > 0 || is_optional, "{place}: {name} is null in every row");
    }
    let names: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), names, "{place}: columns in one order");
    }
}

/// What macros and variables become: nothing chosen, all, several, one.
fn choices(all: &BTreeMap<String, Vec<String>>, how: usize) -> BTreeMap<&str, String> {
    let mut values = BTreeMap::new();
    values.insert("__timeFrom", now().minus(TimeDelta::days(30)).millis().to_string());
    values.insert("__timeTo", now().millis().to_string());
    values.insert("__interval_ms", ["60000", "3600000", "43200000"][how % 3].to_owned());
    for (name, choices) in all {
        let chosen = match how {
            0 => "$__all".to_owned(),
            1 => String::new(),
            2 => format!("{{{}}}", choices.join(",")),
            _ => choices[0].clone(),
        };
        values.insert(name, chosen);
    }
    values
}

#[tokio::test]
async fn every_panel_variable_and_annotation_of_every_dashboard_is_answered_with_its_columns() {
    let world = seeded().await;
    let agent = world.agent();
    let mut asked = 0;
    for (file, dashboard) in dashboards() {
        let source = json!({ "type": "yesoreyeram-infinity-datasource", "uid": "${datasource}" });
        let variables = array(&dashboard["templating"]["list"]);
        assert!(variables.iter().any(|v| v["type"] == "datasource" && v["name"] == "datasource"), "{file}");
        let mut chosen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for variable in variables.iter().filter(|v| v["type"] == "query") {
            let query = &variable["query"]["infinityQuery"];
            let place = format!("{file}: variable {}", variable["name"]);
            assert_eq!((&variable["datasource"], &query["datasource"]), (&source, &source), "{place}");
            let rows = rows(&agent, &path(query, &choices(&chosen, 0))).await;
            assert_columns(query, &rows, &place);
            let values = rows.iter().map(|row| text(&row["value"]).to_owned()).collect();
            chosen.insert(text(&variable["name"]).to_owned(), values);
        }
        let mut queries: Vec<(String, &Value)> = Vec::new();
        for annotation in array(&dashboard["annotations"]["list"]) {
            queries.push((format!("{file}: annotation {}", annotation["name"]), &annotation["target"]));
        }
        for panel in array(&dashboard["panels"]) {
            assert_eq!(panel["datasource"], source, "{file}");
            assert!(!array(&panel["targets"]).is_empty(), "{file}: {}", panel["title"]);
            queries.extend(array(&panel["targets"]).iter().map(|q| (format!("{file}: {}", panel["title"]), q)));
        }
        for (place, query) in queries {
            assert_eq!(query["datasource"], source, "{place}");
            for how in 0..4 {
                let path = path(query, &choices(&chosen, how));
                let rows = rows(&agent, &path).await;
                // One account and one symbol may have had no forced close.
                if how < 3 {
                    assert_columns(query, &rows, &format!("{place} ({path})"));
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked}");
}

#[tokio::test]
async fn a_step_is_no_finer_than_asked_or_kept_and_its_rows_add_up_to_the_window() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let from = now().minus(TimeDelta::days(33)).minus(TimeDelta::minutes(17));
    let window = format!("from={from}&to={}", now().millis());
    for filter in ["", &format!("&accountIds={main}"), "&symbols=BTC-PERP,ETH-PERP", "&eventTypes=funding"] {
        let total = data(&agent, &format!("/api/trade-events/activity-summary?from={from}&to={}{filter}", now())).await;
        for (most, interval) in [(1500, 1), (1500, 7_200_000), (100, 1), (34, 1), (5, 1), (1, 1)] {
            let path = format!("/api/grafana/pnl?{window}&maxDataPoints={most}&intervalMs={interval}{filter}");
            let rows = rows(&agent, &path).await;
            assert!(!rows.is_empty() && rows.len() <= most, "{path}: {}", rows.len());
            let times: Vec<i64> =
                rows.iter().map(|row| text(&row["time"]).parse::<Timestamp>().unwrap().millis()).collect();
            assert!(times.is_sorted_by(|a, b| a + interval.max(3_600_000) <= *b), "{path}");
            let rows = json!(rows);
            for name in ["eventCount", "notionalUsd", "feesUsd", "realizedPnlUsd", "fundingUsd", "netPnlUsd"] {
                assert_eq!(sum(&rows, name), number(&total["totals"][name]), "{path} {name}");
            }
            let last = rows.as_array().unwrap().last().unwrap();
            assert_eq!(number(&last["cumulativeNetPnlUsd"]), number(&total["totals"]["netPnlUsd"]), "{path}");
        }
    }
}

#[tokio::test]
async fn nav_by_the_hour_is_the_history_and_longer_steps_show_its_last_hour_and_deepest_drawdown() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    // One account is worth more for a while, and has hours that the other has not.
    let peak = (20..60_i64)
        .filter(|h| h % 3 != 0)
        .map(|h| (now().minus(TimeDelta::hours(h)), Usd::new(Decimal::from(5_000 - 7 * h))))
        .collect();
    world.commit(other, PageWrite { nav_points: peak, ..PageWrite::default() }).await;
    let from = now().minus(TimeDelta::days(7));
    for accounts in [String::new(), format!("&accountIds={main}"), format!("&accountIds={other}")] {
        let history = data(&agent, &format!("/api/portfolio/history?days=7{accounts}")).await;
        let history = history["points"].as_array().unwrap().clone();
        let hourly = rows(&agent, &format!("/api/grafana/nav?from={from}&to={}{accounts}", now())).await;
        assert_eq!(hourly.len(), history.len());
        for (row, point) in hourly.iter().zip(&history) {
            assert_eq!(row["time"], point["timestamp"]);
            assert_eq!(row["navUsd"].to_string(), point["nav"].to_string());
        }
        for hours in [1_i64, 6, 24, 48] {
            let step = |row: &Value, name: &str| {
                let at: Timestamp = text(&row[name]).parse().unwrap();
                at.floor_to(hours * 3_600_000).to_string()
            };
            let (mut lasts, mut lows) = (BTreeMap::new(), BTreeMap::new());
            let mut peak = Decimal::MIN;
            for point in &history {
                let nav = number(&point["nav"]);
                peak = peak.max(nav);
                lasts.insert(step(point, "timestamp"), nav);
                let low = lows.entry(step(point, "timestamp")).or_insert(Decimal::MAX);
                *low = (*low).min(nav - peak);
            }
            let window = format!("from={from}&to={}&intervalMs={}{accounts}", now(), hours * 3_600_000);
            let found: BTreeMap<String, Decimal> = rows(&agent, &format!("/api/grafana/nav?{window}"))
                .await
                .iter()
                .map(|row| (text(&row["time"]).to_owned(), number(&row["navUsd"])))
                .collect();
            assert_eq!(found, lasts, "{hours} hours{accounts}");
            let found: BTreeMap<String, Decimal> = rows(&agent, &format!("/api/grafana/drawdown?{window}"))
                .await
                .iter()
                .map(|row| {
                    assert_eq!(number(&row["navUsd"]) - number(&row["peakUsd"]), number(&row["drawdownUsd"]));
                    (text(&row["time"]).to_owned(), number(&row["drawdownUsd"]))
                })
                .collect();
            assert_eq!(found, lows, "{hours} hours{accounts}");
        }
    }
}

#[tokio::test]
async fn rows_come_long_or_wide_as_json_or_csv_with_times_as_asked() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let window = format!("from={}&to={}", now().minus(TimeDelta::days(20)).millis(), now().millis());
    let long = rows(&agent, &format!("/api/grafana/pnl?{window}&by=day&splitBy=account")).await;
    let names: Vec<&String> = long[0].as_object().unwrap().keys().take(4).collect();
    assert_eq!(names, ["time", "accountId", "accountName", "eventCount"]);
    let wide = rows(&agent, &format!("/api/grafana/pnl?{window}&by=day&splitBy=account&layout=wide")).await;
    assert_eq!(wide[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["time", "Main", "Other"]);
    for row in &long {
        let day = wide.iter().find(|w| w["time"] == row["time"]).unwrap();
        assert_eq!(day[text(&row["accountName"])].to_string(), row["netPnlUsd"].to_string());
    }
    let cells: usize = wide.iter().map(|w| ["Main", "Other"].iter().filter(|n| !w[**n].is_null()).count()).sum();
    assert_eq!(cells, long.len());
    let ms = rows(&agent, &format!("/api/grafana/pnl?{window}&by=day&splitBy=account&timeFormat=ms")).await;
    for (ms, iso) in ms.iter().zip(&long) {
        let at: Timestamp = text(&iso["time"]).parse().unwrap();
        assert_eq!(ms["time"], json!(at.millis()));
    }
    let request = agent.request(Method::GET, &format!("/api/grafana/pnl?{window}&by=day&splitBy=account&format=csv"));
    let csv = request.send().await.unwrap().text().await.unwrap();
    let mut lines = csv.split("\r\n");
    assert_eq!(lines.next().unwrap(), long[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(","));
    for row in &long {
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let cells: Vec<String> = row.as_object().unwrap().values().map(shown).collect();
        assert_eq!(lines.next().unwrap(), cells.join(","));
    }
    // The columns of nothing are those of something.
    let empty = agent.request(Method::GET, "/api/grafana/pnl?from=0&to=1000000000000&splitBy=account&format=csv");
    let empty = empty.send().await.unwrap().text().await.unwrap();
    assert!(empty.starts_with("time,accountId,accountName,eventCount,"), "{empty}");
    // Commas, repeats and braces are the same list.
    let both = rows(&agent, &format!("/api/grafana/volume?{window}&by=symbol&accountIds={main},{other}")).await;
    for list in [format!("accountIds={main}&accountIds={other}"), format!("accountIds=%7B{main},{other}%7D")] {
        assert_eq!(rows(&agent, &format!("/api/grafana/volume?{window}&by=symbol&{list}")).await, both);
    }
}

#[tokio::test]
async fn venues_filter_to_their_accounts_and_never_to_all() {
    let (world, ..) = world().await;
    let agent = world.agent();
    for path in ["pnl?by=symbol", "nav?", "exposure?by=symbol", "positions?", "events?limit=5", "variables/symbol?"] {
        let all = rows(&agent, &format!("/api/grafana/{path}")).await;
        assert!(!all.is_empty(), "{path}");
        assert_eq!(rows(&agent, &format!("/api/grafana/{path}&venues=binance")).await, all, "{path}");
        assert!(rows(&agent, &format!("/api/grafana/{path}&venues=okx")).await.is_empty(), "{path}");
    }
    let (status, reply) = get(&agent, "/api/grafana/pnl?venues=mtgox").await;
    assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn portfolios_filter_to_the_accounts_in_and_below_them_and_never_to_all() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let desk = group(&agent, "Desk", None).await;
    let arb = group(&agent, "Arb", Some(&desk)).await;
    let empty = group(&agent, "Empty", None).await;
    put_in(&agent, main, &arb).await;
    for path in ["pnl?by=symbol", "nav?", "drawdown?", "positions?", "events?limit=5", "variables/account?"] {
        let own = rows(&agent, &format!("/api/grafana/{path}&accountIds={main}")).await;
        assert!(!own.is_empty(), "{path}");
        for filter in [format!("portfolioIds={desk}"), format!("portfolioIds={arb},{empty}&accountIds={main},{other}")]
        {
            assert_eq!(rows(&agent, &format!("/api/grafana/{path}&{filter}")).await, own, "{path} {filter}");
        }
        for filter in [format!("portfolioIds={empty}"), format!("portfolioIds={desk}&accountIds={other}")] {
            assert!(rows(&agent, &format!("/api/grafana/{path}&{filter}")).await.is_empty(), "{path} {filter}");
        }
    }
    let choices = rows(&agent, "/api/grafana/variables/portfolio").await;
    assert_eq!(choices.iter().map(|row| text(&row["text"])).collect::<Vec<_>>(), ["Arb", "Desk", "Empty"]);
    let (status, reply) = get(&agent, &format!("/api/grafana/pnl?portfolioIds={main}")).await;
    assert_eq!((status, &reply["code"]), (403, &json!("unknown_portfolio")));
}

#[tokio::test]
async fn a_removed_account_is_in_the_past_of_charts_and_in_no_present() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let past = ["pnl?by=account", "events?limit=1000"];
    let present = ["positions?", "exposure?by=account", "account-status?", "collector-lag?", "variables/account?"];
    let mut before = Vec::new();
    for path in past {
        before.push(rows(&agent, &format!("/api/grafana/{path}")).await);
    }
    for path in present {
        assert!(json!(rows(&agent, &format!("/api/grafana/{path}")).await).to_string().contains(&main.to_string()));
    }
    let (status, _) = send(agent.request(Method::DELETE, &format!("/api/accounts/{main}"))).await;
    assert_eq!(status, 200);
    for (path, before) in past.into_iter().zip(before) {
        assert_eq!(rows(&agent, &format!("/api/grafana/{path}")).await, before, "{path}");
    }
    for path in present {
        let shown = json!(rows(&agent, &format!("/api/grafana/{path}")).await).to_string();
        assert!(!shown.contains(&main.to_string()) && shown.contains(&other.to_string()), "{path}: {shown}");
    }
    let days = rows(&agent, "/api/grafana/nav?intervalMs=86400000").await;
    let deepest = rows(&agent, "/api/grafana/drawdown?intervalMs=86400000").await;
    let alone = rows(&agent, &format!("/api/grafana/nav?intervalMs=86400000&accountIds={other}")).await;
    assert_eq!(days.last().unwrap()["navUsd"], alone.last().unwrap()["navUsd"]);
    assert_eq!(deepest.last().unwrap()["navUsd"], alone.last().unwrap()["navUsd"]);
    let report = data(&agent, "/api/portfolio/report").await;
    assert_eq!(report["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(report["worth"]["navUsd"].to_string(), data(&agent, "/api/portfolio").await["navUsd"].to_string());
}

#[tokio::test]
async fn what_cannot_be_answered_as_asked_is_refused_and_told() {
    let (world, ..) = world().await;
    let agent = world.agent();
    for (path, code, said) in [
        ("pnl?symbols=%24symbol", "invalid_request", "not filled in"),
        ("pnl?from=%24%7B__timeFrom%7D", "invalid_request", "not filled in"),
        ("pnl?from=1763734709", "invalid_request", "not seconds"),
        ("pnl?account=x", "invalid_request", "accountIds"),
        ("pnl?by=symbol&splitBy=venue", "out_of_range", "splitBy"),
        ("pnl?by=symbol&layout=wide", "invalid_request", "layout"),
        ("exposure?by=symbol&splitBy=venue", "invalid_request", "splitBy"),
        ("events?layout=wide", "invalid_request", "layout"),
        ("nav?maxDataPoints=0", "invalid_request", "maxDataPoints"),
        ("nav?format=xml", "invalid_request", "format"),
        ("nav?from=2026-05-02&to=2026-05-01", "invalid_window", "after"),
    ] {
        let (status, reply) = get(&agent, &format!("/api/grafana/{path}")).await;
        assert_eq!((status, &reply["code"], &reply["success"]), (400, &json!(code), &json!(false)), "{path}: {reply}");
        assert!(reply["error"].as_str().unwrap().contains(said), "{path}: {reply}");
    }
}

#[tokio::test]
async fn annotations_tell_forced_closes_gaps_and_restatements_apart() {
    let world = seeded().await;
    let agent = world.agent();
    let forced = rows(&agent, "/api/grafana/forced-closes").await;
    let mut total = 0;
    for kind in ["forcedClose", "coverageGap", "restatement"] {
        let rows = rows(&agent, &format!("/api/grafana/annotations?kinds={kind}")).await;
        assert!(!rows.is_empty(), "{kind}");
        assert!(rows.iter().all(|row| row["tags"][0] == kind), "{kind}");
        assert_eq!(rows.iter().any(|row| row["timeEnd"].is_null()), kind == "forcedClose");
        total += rows.len();
        if kind == "forcedClose" {
            assert_eq!(rows.len(), forced.len());
        }
        if kind == "restatement" {
            assert!(text(&rows[0]["text"]).starts_with("1 events of Main"), "{}", rows[0]);
        }
    }
    let all = rows(&agent, "/api/grafana/annotations?kinds=").await;
    assert_eq!(all.len(), total);
    let text_tags = rows(&agent, "/api/grafana/annotations?tagsFormat=text&timeFormat=ms").await;
    assert!(text_tags.iter().all(|row| row["tags"].is_string() && row["time"].is_number()));
}
