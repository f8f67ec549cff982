//! A cursor is good for the key, the accounts, the question and the filters that it was made for, and for
//! nothing else. That no changed one is accepted is in `analytics/src/cursor.rs`.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::owners::second_instance;
use crate::rest::{data, get, world};

const PAGED: [&str; 4] = ["/api/trades", "/api/trade-events", "/api/forensics/forced-events", "/api/cash-flows"];

/// The status and the code of a question that goes on from a cursor: of a route, or of the tool.
async fn go_on(agent: &Agent, question: &str, cursor: &str) -> (u16, Value) {
    if question.starts_with('/') {
        let (status, reply) = get(agent, &format!("{question}?limit=2&cursor={cursor}")).await;
        return (status, reply["code"].clone());
    }
    let call = json!({ "name": question, "arguments": { "limit": 2, "cursor": cursor } });
    let reply = agent.mcp("tools/call", call).await;
    (200, reply["result"]["structuredContent"]["error"]["code"].clone())
}

#[tokio::test]
async fn a_cursor_of_one_question_is_refused_by_every_other() {
    let (world, main, other) = world().await;
    let agent = world.agent();
    let tool = "get_trade_events";
    let refused = json!("invalid_cursor");
    let mut made = 0;
    for question in PAGED {
        let page = data(&agent, &format!("{question}?limit=1")).await;
        let Some(cursor) = page["nextCursor"].as_str() else { continue };
        made += 1;
        assert_eq!(go_on(&agent, question, cursor).await, (200, Value::Null), "{question}");
        for elsewhere in PAGED.into_iter().chain([tool]) {
            // The tool and its route are one question at two faces.
            let is_same = elsewhere == question || (question == "/api/trade-events" && elsewhere == tool);
            let code = go_on(&agent, elsewhere, cursor).await.1;
            assert_eq!(code, if is_same { Value::Null } else { refused.clone() }, "{question} at {elsewhere}");
        }
        for filters in [
            format!("accountId={main}"),
            format!("accountIds={main}"),
            format!("accountIds={other}"),
            "symbols=BTC-PERP".to_owned(),
        ] {
            let (status, reply) = get(&agent, &format!("{question}?{filters}&cursor={cursor}")).await;
            assert!(status == 400, "{question} {filters}: {reply}");
        }
        for stranger in [world.stranger().await, world.key(|_| {}).await] {
            assert_eq!(go_on(&stranger, question, cursor).await, (400, refused.clone()), "{question}");
        }
    }
    assert_eq!(made, 3, "all but cash flows, of which there are none");
    let page = agent.call(tool, json!({ "limit": 1 })).await;
    for question in ["/api/trades", "/api/forensics/forced-events", "/api/cash-flows"] {
        assert_eq!(go_on(&agent, question, page["nextCursor"].as_str().unwrap()).await.1, refused, "{question}");
    }
}

#[tokio::test]
async fn a_cursor_ends_with_the_accounts_that_it_was_made_for_and_not_with_the_process() {
    let (world, main, other) = world().await;
    let (narrow, id) = world.key_with_id(|key| key.accounts = Some(vec![main, other])).await;
    let page = narrow.call("get_trade_events", json!({ "limit": 5 })).await;
    let cursor = page["nextCursor"].as_str().unwrap();
    let next = narrow.call("get_trade_events", json!({ "limit": 5, "cursor": cursor })).await;
    // Another process with the same secret, half a day later.
    let (address, _served) = second_instance(&world, TimeDelta::hours(12)).await;
    let there = Agent { address, ..narrow.clone() };
    let again = there.call("get_trade_events", json!({ "limit": 5, "cursor": cursor })).await;
    assert_eq!((&again["rows"], &again["window"]), (&next["rows"], &next["window"]));
    let fewer = format!("UPDATE api_keys SET account_ids = ARRAY['{main}']::uuid[] WHERE key_id = '{id}' RETURNING 1");
    world.db.admin(&fewer).await;
    assert_eq!(narrow.refused("get_trade_events", json!({ "cursor": cursor })).await, "invalid_cursor");
    let status = narrow.request(Method::GET, "/api/trade-events?limit=5").send().await.unwrap().status();
    assert_eq!(status, 200, "the key itself goes on");
}
