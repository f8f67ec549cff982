//! The seven tools over MCP: documented shapes, exact numbers, the same digits everywhere, and nothing
//! for a stranger.

use codash_domain::{AccountId, EventType, Scope, Scopes, Timestamp};
use codash_store::ingest::PageWrite;
use serde_json::{Value, json};
use sqlx::Row;

use crate::agent::{Agent, World};
use crate::ingest::fill;
use crate::tenants::now;

const TOOLS: [(&str, Scope); 7] = [
    ("list_accounts", Scope::ReadSummary),
    ("get_portfolio_summary", Scope::ReadLive),
    ("get_nav_history", Scope::ReadLive),
    ("get_trading_activity_summary", Scope::ReadRaw),
    ("get_pnl_by_symbol", Scope::ReadSummary),
    ("get_trade_events", Scope::ReadRaw),
    ("get_largest_loss_events", Scope::ReadRaw),
];

/// A world with two accounts and a few days of events before [`now`].
async fn world() -> (World, AccountId, AccountId) {
    let world = World::new().await;
    let main = world.account("Main").await;
    let other = world.account("Other").await;
    for (account, offset) in [(main, 0), (other, 1000)] {
        let events = (0..250_i64)
            .map(|n| {
                let mut event = fill(offset + n, -n * 1_800, (n * 7919) % 400 - 200);
                event.symbol =
                    codash_domain::Symbol::linear_perp(["BTC", "ETH", "SOL"][usize::try_from(n % 3).unwrap()]);
                if n % 50 == 0 {
                    event.event_type = EventType::Liquidation;
                }
                if n % 41 == 0 {
                    event.fee_usd = None;
                    event.unpriced = true;
                }
                event
            })
            .collect();
        world.commit(account, PageWrite { events, ..PageWrite::default() }).await;
        world.snapshot(account, "1234.56").await;
    }
    (world, main, other)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Every documented name is there; what is beyond them is ours to add.
fn assert_has(value: &Value, documented: &[&str]) {
    let there = keys(value);
    let missing: Vec<_> = documented.iter().filter(|name| !there.contains(name)).collect();
    assert!(missing.is_empty(), "missing {missing:?} in {there:?}");
}

#[tokio::test]
async fn every_tool_answers_in_the_shape_that_the_contract_prints() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let accounts = agent.call("list_accounts", json!({})).await;
    assert_has(&accounts, &["count", "accounts"]);
    assert_has(
        &accounts["accounts"][0],
        &[
            "id",
            "name",
            "venue",
            "denomination",
            "portfolioId",
            "tags",
            "isActive",
            "status",
            "lastBalanceUsd",
            "lastCheckedAt",
            "createdAt",
            "updatedAt",
        ],
    );
    assert_eq!(accounts["accounts"][0]["lastBalanceUsd"].to_string(), "1234.56");
    let summary = agent.call("get_portfolio_summary", json!({})).await;
    assert_has(
        &summary,
        &[
            "timestamp",
            "accountCount",
            "navUsd",
            "grossExposureUsd",
            "netExposureUsd",
            "longExposureUsd",
            "shortExposureUsd",
            "futuresUpnlUsd",
            "navBtc",
            "navEth",
            "btcPrice",
            "ethPrice",
        ],
    );
    assert_eq!((summary["navUsd"].to_string().as_str(), &summary["btcPrice"]), ("2469.12", &Value::Null));
    let one = agent.call("get_portfolio_summary", json!({ "accountId": main })).await;
    assert!(one["btcPrice"].is_number(), "a price is shown for a single account");
    let history = agent.call("get_nav_history", json!({})).await;
    assert_has(&history, &["count", "days", "truncated", "accountIds", "points"]);
    assert_has(&history["points"][0], &["timestamp", "nav", "grossExposure", "netExposure"]);
    assert_eq!(history["days"], json!(30));
    let activity = agent.call("get_trading_activity_summary", json!({})).await;
    assert_has(&activity, &["window", "filters", "totals", "byAccount", "bySymbol"]);
    assert_has(&activity["window"], &["from", "to", "hours", "days"]);
    assert_has(&activity["filters"], &["accountIds", "symbols", "eventTypes"]);
    assert_has(
        &activity["totals"],
        &["eventCount", "notionalUsd", "feesUsd", "realizedPnlUsd", "fundingUsd", "forcedCloseCount"],
    );
    assert_eq!((&activity["window"]["hours"], &activity["window"]["days"]), (&json!(24), &json!(1)));
    let pnl = agent.call("get_pnl_by_symbol", json!({ "limit": 2 })).await;
    assert_has(&pnl, &["count", "totalSymbolCount", "window", "rows", "truncated"]);
    assert_eq!((&pnl["count"], &pnl["totalSymbolCount"], &pnl["truncated"]), (&json!(2), &json!(3), &json!(true)));
    assert_has(
        &pnl["rows"][0],
        &["symbol", "accountIds", "accountNames", "realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"],
    );
    let events = agent.call("get_trade_events", json!({})).await;
    assert_has(&events, &["count", "nextCursor", "window", "rows", "provenance"]);
    assert_eq!((&events["count"], &events["window"]["days"]), (&json!(100), &json!(90)));
    assert_has(
        &events["rows"][0],
        &[
            "id",
            "accountId",
            "accountName",
            "symbol",
            "eventType",
            "occurredAt",
            "side",
            "qty",
            "price",
            "notionalUsd",
            "realizedPnlUsd",
            "feeUsd",
        ],
    );
    let losses = agent.call("get_largest_loss_events", json!({})).await;
    assert_has(&losses, &["count", "window", "rows", "provenance"]);
    assert_eq!(losses["count"], json!(25));
    assert_has(
        &losses["rows"][0],
        &["id", "accountId", "accountName", "symbol", "eventType", "occurredAt", "netPnlImpactUsd", "notionalUsd"],
    );
}

#[tokio::test]
async fn the_text_block_is_the_same_bytes_as_structured_content() {
    let (world, ..) = world().await;
    for (tool, _) in TOOLS {
        let raw = world.agent().raw("tools/call", json!({ "name": tool, "arguments": {} })).await;
        let reply: Value = serde_json::from_str(&raw).unwrap();
        let text = reply["result"]["content"][0]["text"].as_str().unwrap();
        assert!(raw.contains(&format!("\"structuredContent\":{text}")), "{tool}");
        assert_eq!(reply["result"]["isError"], json!(false));
    }
}

/// Exact decimals as text, to be compared digit for digit.
fn digits(value: &Value, name: &str) -> String {
    value[name].to_string()
}

#[tokio::test]
async fn tools_agree_with_each_other_and_with_plain_sql_to_the_last_digit() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let window = json!({ "from": now().minus(chrono::TimeDelta::days(4)), "to": now() });
    let activity = agent.call("get_trading_activity_summary", window.clone()).await;
    let sql = "SELECT count(*)::text, trim_scale(sum(notional_usd))::text, trim_scale(coalesce(sum(fee_usd), 0))::text,
                      trim_scale(sum(realized_pnl_usd))::text, trim_scale(sum(funding_usd))::text,
                      count(*) FILTER (WHERE event_type IN ('liquidation', 'adl', 'system_close'))::text
               FROM events WHERE occurred_at BETWEEN to_timestamp(1780000000) - interval '4 days' AND to_timestamp(1780000000)";
    let row = &world.db.admin(sql).await[0];
    let names = ["eventCount", "notionalUsd", "feesUsd", "realizedPnlUsd", "fundingUsd", "forcedCloseCount"];
    for (i, name) in names.into_iter().enumerate() {
        assert_eq!(digits(&activity["totals"], name), row.get::<String, _>(i), "{name}");
    }
    let pnl = agent.call("get_pnl_by_symbol", window.clone()).await;
    for row in pnl["rows"].as_array().unwrap() {
        let same = activity["bySymbol"].as_array().unwrap().iter().find(|r| r["symbol"] == row["symbol"]).unwrap();
        for name in ["realizedPnlUsd", "fundingUsd", "feesUsd", "netPnlUsd"] {
            assert_eq!(digits(row, name), digits(same, name), "{name} of {}", row["symbol"]);
        }
    }
    let mut listed = 0;
    let mut arguments = window;
    arguments["limit"] = json!(60);
    loop {
        let page = agent.call("get_trade_events", arguments.clone()).await;
        listed += page["count"].as_i64().unwrap();
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        arguments["cursor"] = json!(cursor);
    }
    assert_eq!(digits(&activity["totals"], "eventCount"), listed.to_string());
}

#[tokio::test]
async fn windows_are_inclusive_at_both_ends() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let at = now().minus(chrono::TimeDelta::seconds(3_600));
    for (from, to, expected) in [(0, 0, 2), (1, 0, 0), (0, -1, 0), (-1, 1, 2)] {
        let moved = |millis| at.plus(chrono::TimeDelta::milliseconds(millis));
        if from > to {
            continue;
        }
        let window = json!({ "from": moved(from), "to": moved(to) });
        let answer = agent.call("get_trade_events", window).await;
        assert_eq!(answer["count"], json!(expected), "{from} {to}");
    }
    let reversed = json!({ "from": now(), "to": at });
    assert_eq!(agent.refused("get_trade_events", reversed).await, "invalid_window");
}

#[tokio::test]
async fn an_unpriced_event_is_null_and_counted_and_never_zero() {
    let (world, ..) = world().await;
    let answer = world.agent().call("get_trade_events", json!({ "limit": 1000 })).await;
    let unpriced: Vec<&Value> = answer["rows"].as_array().unwrap().iter().filter(|r| r["feeUsd"].is_null()).collect();
    assert_eq!(answer["provenance"]["unpricedEventCount"], json!(unpriced.len()));
    assert!(!unpriced.is_empty() && unpriced.iter().all(|r| r["netPnlImpactUsd"].is_null()));
    let totals = world.agent().call("get_pnl_by_symbol", json!({})).await;
    assert_eq!(totals["provenance"]["unpricedEventCount"], json!(unpriced.len()));
}

#[tokio::test]
async fn a_stranger_sees_nothing_and_learns_nothing_of_an_account() {
    let (world, main, _) = world().await;
    let stranger = world.stranger().await;
    let nobody = AccountId::from_random([9; 16]);
    for (tool, _) in TOOLS.into_iter().skip(1) {
        let theirs = stranger.raw("tools/call", json!({ "name": tool, "arguments": { "accountId": main } })).await;
        let unknown = stranger.raw("tools/call", json!({ "name": tool, "arguments": { "accountId": nobody } })).await;
        assert_eq!(theirs.replace(&main.to_string(), "ID"), unknown.replace(&nobody.to_string(), "ID"), "{tool}");
        assert!(theirs.contains("unknown_account"), "{theirs}");
        let all = stranger.raw("tools/call", json!({ "name": tool, "arguments": {} })).await;
        assert!(!all.contains(&main.to_string()) && !all.contains("Main"), "{tool}");
    }
    assert_eq!(stranger.call("list_accounts", json!({})).await["count"], json!(0));
    assert_eq!(stranger.call("get_trade_events", json!({})).await["count"], json!(0));
}

#[tokio::test]
async fn a_key_for_one_account_sees_that_account_in_every_tool() {
    let (world, main, other) = world().await;
    let narrow = world.key(|key| key.accounts = Some(vec![main])).await;
    for (tool, _) in TOOLS {
        let raw = narrow.raw("tools/call", json!({ "name": tool, "arguments": {} })).await;
        assert!(!raw.contains(&other.to_string()), "{tool}");
        if tool != "list_accounts" {
            assert_eq!(narrow.refused(tool, json!({ "accountIds": [main, other] })).await, "unknown_account");
        }
    }
    let whole = world.agent().call("get_pnl_by_symbol", json!({ "accountId": main })).await;
    assert_eq!(narrow.call("get_pnl_by_symbol", json!({})).await["rows"], whole["rows"]);
}

#[tokio::test]
async fn a_key_without_the_scope_neither_lists_nor_calls_the_tool() {
    let (world, ..) = world().await;
    for held in [Scope::ReadSummary, Scope::ReadLive, Scope::ReadRaw, Scope::WriteAccounts] {
        let narrow = world.key(|key| key.scopes = Scopes::new([held])).await;
        let listed = narrow.mcp("tools/list", json!({})).await;
        let listed: Vec<&str> =
            listed["result"]["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        let expected: Vec<&str> = TOOLS.into_iter().filter(|(_, s)| *s == held).map(|(name, _)| name).collect();
        assert_eq!(listed, expected, "{held}");
        for (tool, scope) in TOOLS {
            let reply = narrow.mcp("tools/call", json!({ "name": tool, "arguments": {} })).await;
            if scope == held {
                assert_eq!(reply["result"]["isError"], json!(false), "{tool}");
            } else {
                assert_eq!(reply["error"]["code"], json!(-32001), "{tool}");
                assert_eq!(reply["error"]["data"]["requiredScope"], json!(scope.as_str()));
            }
        }
    }
}

#[tokio::test]
async fn an_expired_a_revoked_and_a_foreign_key_are_turned_away() {
    let (world, ..) = world().await;
    let expired = world.key(|key| key.expires_at = Some(now())).await;
    let elsewhere = world.key(|key| key.addresses = vec!["203.0.113.0/24".parse().unwrap()]).await;
    let here = world.key(|key| key.addresses = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let (revoked, id) = world.key_with_id(|_| {}).await;
    let call = json!({ "name": "list_accounts", "arguments": {} });
    assert_eq!(revoked.status("tools/call", call.clone()).await, 200);
    assert!(world.db.store().revoke_key(world.tenant.workspace, id).await.unwrap());
    for (tool, _) in TOOLS {
        let call = json!({ "name": tool, "arguments": {} });
        for (agent, status) in [(&expired, 401), (&elsewhere, 403), (&here, 200), (&revoked, 401)] {
            assert_eq!(agent.status("tools/call", call.clone()).await, status, "{tool}");
        }
    }
    let mistyped = Agent { key: format!("{}x", world.agent().key), ..world.agent() };
    assert_eq!(mistyped.status("tools/call", call).await, 401);
}

#[tokio::test]
async fn a_cursor_works_for_its_key_and_filters_alone() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let first = agent.call("get_trade_events", json!({ "limit": 10 })).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = agent.call("get_trade_events", json!({ "limit": 20, "cursor": cursor })).await;
    assert_eq!((&second["count"], &second["window"]), (&json!(20), &first["window"]));
    // from and to are ignored with a cursor, as the contract says.
    let moved = agent.call("get_trade_events", json!({ "limit": 20, "cursor": cursor, "from": now() })).await;
    assert_eq!(moved["rows"], second["rows"]);
    for other in [
        json!({ "cursor": cursor, "symbols": ["BTC-PERP"] }),
        json!({ "cursor": cursor, "eventTypes": ["trade"] }),
        json!({ "cursor": cursor, "accountId": main }),
        json!({ "cursor": format!("{cursor}A") }),
        json!({ "cursor": cursor.to_uppercase() }),
    ] {
        assert_eq!(agent.refused("get_trade_events", other).await, "invalid_cursor");
    }
    let sibling = world.key(|_| {}).await;
    assert_eq!(sibling.refused("get_trade_events", json!({ "cursor": cursor })).await, "invalid_cursor");
    assert_eq!(world.stranger().await.refused("get_trade_events", json!({ "cursor": cursor })).await, "invalid_cursor");
}

#[tokio::test]
async fn pages_hold_every_event_once_even_while_late_ones_arrive() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    let mut seen = Vec::new();
    let mut arguments = json!({ "limit": 90 });
    for late in 0.. {
        let page = agent.call("get_trade_events", arguments.clone()).await;
        seen.extend(page["rows"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()));
        let event = fill(90_000 + late, -60, 1);
        world.commit(main, PageWrite { events: vec![event], ..PageWrite::default() }).await;
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        arguments["cursor"] = json!(cursor);
    }
    assert_eq!(seen.len(), 500);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
}

#[tokio::test]
async fn arguments_that_break_the_schema_are_named_with_their_path() {
    let (world, ..) = world().await;
    let agent = world.agent();
    let cases = [
        ("get_pnl_by_symbol", json!({ "days": 0 }), "days"),
        ("get_pnl_by_symbol", json!({ "days": 366 }), "days"),
        ("get_pnl_by_symbol", json!({ "days": 1.5 }), "days"),
        ("get_pnl_by_symbol", json!({ "days": null }), "days"),
        ("get_pnl_by_symbol", json!({ "days": "7" }), "days"),
        ("get_pnl_by_symbol", json!({ "limit": 2001 }), "limit"),
        ("get_pnl_by_symbol", json!({ "from": "2026-05-15" }), "from"),
        ("get_pnl_by_symbol", json!({ "from": "infinity" }), "from"),
        ("get_nav_history", json!({ "from": "2026-05-15T00:00:00Z" }), "from"),
        ("get_trading_activity_summary", json!({ "hours": 0.5 }), "hours"),
        ("get_trading_activity_summary", json!({ "hours": 2161 }), "hours"),
        ("get_trading_activity_summary", json!({ "eventTypes": ["trade", "deposit"] }), "eventTypes[1]"),
        ("get_trade_events", json!({ "limit": 1001 }), "limit"),
        ("get_trade_events", json!({ "accountIds": vec!["x"; 101] }), "accountIds"),
        ("get_trade_events", json!({ "symbols": ["a", 7] }), "symbols[1]"),
        ("get_largest_loss_events", json!({ "limit": 501 }), "limit"),
        ("list_accounts", json!({ "accountId": "x" }), "accountId"),
    ];
    for (tool, arguments, path) in cases {
        let reply = agent.mcp("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert_eq!(reply["error"]["code"], json!(-32602), "{tool} {arguments} {reply}");
        let text = reply["error"].to_string();
        assert!(text.contains(path), "{tool} {arguments}: {text}");
    }
    let whole = agent.call("get_pnl_by_symbol", json!({ "days": 7.0, "limit": 25 })).await;
    assert_eq!(whole["window"]["days"], json!(7));
    let half = agent.call("get_trading_activity_summary", json!({ "hours": 1.5 })).await;
    assert_eq!(half["window"]["hours"].to_string(), "1.5");
}

#[tokio::test]
async fn more_than_1500_hours_of_nav_are_cut_to_the_most_recent() {
    let (world, main, _) = world().await;
    let points: Vec<(Timestamp, codash_domain::Usd)> =
        (0..1_600).map(|hour| (now().minus(chrono::TimeDelta::hours(hour)), "10".parse().unwrap())).collect();
    world.commit(main, PageWrite { nav_points: points, ..PageWrite::default() }).await;
    let answer = world.agent().call("get_nav_history", json!({ "days": 365 })).await;
    assert_eq!((&answer["count"], &answer["truncated"]), (&json!(1500), &json!(true)));
    let newest = answer["points"][1499]["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(newest, now().floor_to(3_600_000));
    let month = world.agent().call("get_nav_history", json!({ "days": 30 })).await;
    assert_eq!((&month["count"], &month["truncated"]), (&json!(720), &json!(false)));
}

#[tokio::test]
async fn what_was_not_read_is_said_in_provenance() {
    let (world, main, _) = world().await;
    let from = now().minus(chrono::TimeDelta::days(10));
    let ask = || world.agent();
    let before = ask().call("get_pnl_by_symbol", json!({ "accountId": main, "from": from })).await;
    assert_eq!(before["provenance"]["coverage"]["complete"], json!(false));
    for stream in ["usdm.fills:BTCUSDT", "usdm.income", "usdm.forced"] {
        let covered = Some((from.minus(chrono::TimeDelta::days(1)), now()));
        world.commit(main, PageWrite { stream: stream.into(), covered, ..PageWrite::default() }).await;
    }
    let after = ask().call("get_pnl_by_symbol", json!({ "accountId": main, "from": from })).await;
    assert_eq!(after["provenance"]["coverage"]["complete"], json!(true), "{}", after["provenance"]);
    assert_eq!(after["rows"], before["rows"]);
}

#[tokio::test]
async fn the_largest_losses_are_the_worst_of_all_events_in_short_and_long_windows() {
    let (world, main, _) = world().await;
    let agent = world.agent();
    for window in [json!({ "days": 1 }), json!({ "days": 30 }), json!({ "days": 30, "accountId": main })] {
        let mut everything = window.clone();
        everything.as_object_mut().unwrap().remove("days");
        everything["from"] = json!(now().minus(chrono::TimeDelta::days(window["days"].as_i64().unwrap())));
        everything["limit"] = json!(1000);
        let events = agent.call("get_trade_events", everything).await;
        let net = |row: &Value| row["netPnlImpactUsd"].to_string().parse::<rust_decimal::Decimal>().ok();
        let mut worst: Vec<(rust_decimal::Decimal, &str)> = events["rows"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| Some((net(row)?, row["id"].as_str()?)))
            .filter(|(net, _)| net.is_sign_negative())
            .collect();
        worst.sort();
        worst.truncate(25);
        let answer = agent.call("get_largest_loss_events", window.clone()).await;
        let listed: Vec<&str> = answer["rows"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
        assert_eq!(listed, worst.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), "{window}");
    }
}
