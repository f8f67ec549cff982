//! The audit: every question and every change, appended for good, without a secret in it.

use std::time::Duration;

use chrono::TimeDelta;
use codash_domain::{Scope, Scopes};
use codash_store::audit::{Actor, By, Entry, Verb};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use crate::agent::{Agent, World};
use crate::owners::{PASSWORD, colleague, delete, get, instance, other_owner, owner, post, with_body};
use crate::tenants::now;

/// The entries of a filter, once there are this many: requests are written beside their answers.
async fn entries(owner: &Agent, query: &str, at_least: usize) -> Vec<Value> {
    for _ in 0..100 {
        let (status, mut reply) = get(owner, &format!("/api/audit?limit=1000&{query}")).await;
        assert_eq!(status, 200, "{reply}");
        let mut entries = reply["data"]["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
        // Looking is an entry too.
        entries.retain(|entry| entry["target"] != json!("GET /api/audit"));
        if entries.len() >= at_least {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {at_least} entries of {query}");
}

#[tokio::test]
async fn each_tool_call_and_each_question_leaves_who_what_how_much_and_how_long() {
    let world = World::new().await;
    world.account("One").await;
    let owner = owner(&world).await;
    let agent = world.agent();
    agent.call("list_accounts", json!({})).await;
    agent.call("get_pnl_by_symbol", json!({ "days": 7, "limit": 25 })).await;
    agent.call("get_pnl_by_symbol", json!({ "limit": 25, "days": 7 })).await;
    agent.call("get_pnl_by_symbol", json!({ "days": 8 })).await;
    agent.refused("get_trade_events", json!({ "cursor": "x" })).await;
    let narrow = world.key(|key| key.scopes = Scopes::new([Scope::ReadSummary])).await;
    narrow.mcp("tools/call", json!({ "name": "get_trade_events", "arguments": {} })).await;
    let calls = entries(&owner, "verbs=tool.call", 6).await;
    let of = |tool: &str| calls.iter().filter(|e| e["target"] == json!(tool)).collect::<Vec<_>>();
    let listed = of("list_accounts")[0];
    assert_eq!((&listed["actor"], &listed["rowCount"], &listed["outcome"]), (&json!("key"), &json!(1), &json!("done")));
    assert_eq!(listed["address"], json!("127.0.0.1"));
    assert!(listed["milliseconds"].is_number() && listed["requestId"].is_string());
    let hashes: Vec<&Value> = of("get_pnl_by_symbol").iter().rev().map(|e| &e["argumentsHash"]).collect();
    let same = hashes.iter().filter(|hash| hashes.iter().filter(|other| other == hash).count() == 2).count();
    assert_eq!((hashes.len(), same), (3, 2), "the order of arguments is no difference, their values are");
    let codes: Vec<&Value> = of("get_trade_events").iter().map(|e| &e["code"]).collect();
    assert!(codes.contains(&&json!("invalid_cursor")) && codes.contains(&&json!("insufficient_scope")), "{codes:?}");

    let sent = agent.request(Method::GET, "/api/accounts").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    assert_eq!(get(&narrow, "/api/trade-events").await.0, 403);
    let query = with_body(agent.request(Method::POST, "/api/pnl-analysis/query"), &json!({})).await;
    assert_eq!(query.0, 200);
    let asked = entries(&owner, "verbs=request.read", 3).await;
    let of = |target: &str| asked.iter().find(|e| e["target"] == json!(target)).unwrap_or_else(|| panic!("{asked:?}"));
    let accounts = of("GET /api/accounts");
    assert_eq!((&accounts["requestId"], &accounts["rowCount"]), (&json!("mine-1"), &json!(1)));
    assert_eq!(of("GET /api/trade-events")["code"], json!("insufficient_scope"));
    assert!(of("POST /api/pnl-analysis/query")["argumentsHash"].as_str().unwrap().len() == 64);
}

#[tokio::test]
async fn a_change_and_its_entry_are_there_together_or_not_at_all() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let ai_key = json!({ "provider": "anthropic", "key": "sk-ant-REDACTED" });
    assert_eq!(post(&world.agent(), "/api/settings/ai-keys", &ai_key).await.0, 201);
    let entry = entries(&owner, "verbs=ai_key.put", 1).await.remove(0);
    assert_eq!((&entry["target"], &entry["actor"]), (&json!("anthropic"), &json!("key")));
    world.db.admin("SELECT 1 FROM audit LIMIT 1").await;
    forbid(&world, "REVOKE").await;
    assert_eq!(delete(&world.agent(), "/api/settings/ai-keys/anthropic").await.0, 500);
    assert_eq!(post(&owner, "/api/keys", &json!({ "name": "x", "scopes": ["workspace:read"] })).await.0, 500);
    let left = "SELECT (SELECT count(*) FROM ai_keys) + (SELECT count(*) FROM api_keys WHERE name = 'x')";
    assert_eq!(world.db.admin(left).await[0].get::<i64, _>(0), 1);
    forbid(&world, "GRANT").await;
    assert_eq!(delete(&world.agent(), "/api/settings/ai-keys/anthropic").await.0, 200);
    assert_eq!(entries(&owner, "verbs=ai_key.remove", 1).await.len(), 1);
}

/// Takes the right to write the audit away from the service, or gives it back.
async fn forbid(world: &World, what: &str) {
    let to = if what == "GRANT" { "TO" } else { "FROM" };
    world.db.admin(&format!("{what} INSERT ON audit {to} codash_app")).await;
}

#[tokio::test]
async fn a_question_is_answered_when_the_audit_cannot_be_written_and_the_gap_is_told() {
    let world = World::new().await;
    let owner = owner(&world).await;
    entries(&owner, "verbs=owner.login", 1).await;
    forbid(&world, "REVOKE").await;
    for _ in 0..5 {
        world.agent().call("list_accounts", json!({})).await;
    }
    // Long enough for the writer to have tried.
    tokio::time::sleep(Duration::from_millis(500)).await;
    forbid(&world, "GRANT").await;
    let gaps = entries(&owner, "verbs=audit.gap", 1).await;
    let lost: i64 = gaps.iter().map(|gap| gap["rowCount"].as_i64().unwrap()).sum();
    assert!(lost >= 5, "{gaps:?}");
    assert_eq!(gaps[0]["actor"], json!("system"));
}

#[tokio::test]
async fn what_finds_no_place_in_the_queue_is_counted_and_a_stop_in_order_writes_the_rest() {
    let world = World::new().await;
    let app = instance(&world, TimeDelta::zero());
    // One thread: the writer has no turn before the queue is full.
    for _ in 0..10_000 {
        let by = By { actor: Actor::System, address: None, request_id: None, at: now() };
        app.audit.note(world.tenant.workspace, Entry::done(by, Verb::ToolCall, "x"));
    }
    assert_eq!(app.audit.lost(), 10_000 - 8192);
    app.audit.close().await;
    let sums =
        "SELECT verb, coalesce(sum(row_count), count(*))::bigint FROM audit WHERE verb IN ('tool.call', 'audit.gap')
                GROUP BY verb ORDER BY verb";
    let sums: Vec<(String, i64)> = world.db.admin(sums).await.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(sums, [("audit.gap".to_owned(), 1808), ("tool.call".to_owned(), 8192)]);
}

#[tokio::test]
async fn no_role_of_the_service_changes_or_removes_an_entry() {
    let world = World::new().await;
    owner(&world).await;
    for role in ["codash_app", "codash_read"] {
        for right in ["UPDATE", "DELETE", "TRUNCATE"] {
            let sql = format!("SELECT has_table_privilege('{role}', 'audit', '{right}')
                OR has_any_column_privilege('{role}', 'audit', CASE '{right}' WHEN 'UPDATE' THEN 'UPDATE' ELSE 'REFERENCES' END)");
            assert!(!world.db.admin(&sql).await[0].get::<bool, _>(0), "{role} {right}");
        }
    }
}

#[tokio::test]
async fn only_what_is_older_than_the_retention_and_than_thirty_days_is_pruned() {
    let world = World::new().await;
    let aged = |days: i64| {
        format!(
            "INSERT INTO audit (workspace_id, audit_id, at, actor, verb, outcome)
             SELECT '{}', gen_random_uuid(), now() - interval '{days} days', 'system', 'tool.call', 'done' RETURNING 1",
            world.tenant.workspace
        )
    };
    world.db.admin("DELETE FROM audit RETURNING 1").await;
    for days in [0, 29, 31, 90] {
        world.db.admin(&aged(days)).await;
    }
    assert_eq!(world.db.store().prune_audit(60, 100).await.unwrap(), 1);
    assert_eq!(world.db.store().prune_audit(0, 100).await.unwrap(), 1, "30 days are spared whatever is asked");
    assert_eq!(world.db.admin("SELECT count(*) FROM audit").await[0].get::<i64, _>(0), 2);
}

#[tokio::test]
async fn pages_are_whole_and_each_workspace_reads_its_own() {
    let world = World::new().await;
    let owner = owner(&world).await;
    for _ in 0..7 {
        world.agent().call("list_accounts", json!({})).await;
    }
    let all = entries(&owner, "verbs=tool.call", 7).await;
    let mut paged = Vec::new();
    let mut path = "/api/audit?verbs=tool.call&limit=3".to_owned();
    let mut cursors = Vec::new();
    loop {
        let (status, page) = get(&owner, &path).await;
        assert_eq!(status, 200, "{page}");
        paged.extend(page["data"]["entries"].as_array().unwrap().clone());
        let Some(cursor) = page["data"]["nextCursor"].as_str() else { break };
        cursors.push(cursor.to_owned());
        path = format!("/api/audit?verbs=tool.call&limit=3&cursor={cursor}");
    }
    assert_eq!((paged.len(), cursors.len()), (7, 2));
    assert_eq!(paged, all);
    let foreign = format!("/api/audit?verbs=key.create&cursor={}", cursors[0]);
    assert_eq!(get(&owner, &foreign).await.1["code"], json!("invalid_cursor"));
    let stranger = other_owner(&world, "other@desk.example").await;
    let (_, theirs) = get(&stranger, "/api/audit?limit=1000").await;
    assert!(!theirs.to_string().contains("list_accounts"), "{theirs}");
    let stolen = format!("/api/audit?verbs=tool.call&cursor={}", cursors[0]);
    assert_eq!(get(&stranger, &stolen).await.1["code"], json!("invalid_cursor"));
    let (viewer, _) = colleague(&world, &owner, "viewer@desk.example", "viewer").await;
    assert_eq!(get(&viewer, "/api/audit").await.0, 403);
    assert_eq!(get(&world.agent(), "/api/audit").await.1["code"], json!("api_key_not_accepted"));
    let actor = &all[0]["actorId"];
    assert_eq!(entries(&owner, &format!("verbs=tool.call&actorId={}", actor.as_str().unwrap()), 7).await.len(), 7);
    let (_, later) = get(&owner, &format!("/api/audit?from={}", now().plus(TimeDelta::milliseconds(1)))).await;
    assert_eq!(later["data"]["count"], json!(0));
    assert_eq!(get(&owner, "/api/audit?verb=tool.call").await.0, 400);
}

#[tokio::test]
async fn nothing_secret_is_in_the_audit_nor_beside_it() {
    let world = World::new().await;
    let owner = owner(&world).await;
    let mut secrets = vec![PASSWORD.to_owned(), world.tenant.key.reveal()[14..].to_owned(), owner.key.clone()];
    let (colleague, joined) = colleague(&world, &owner, "admin@desk.example", "admin").await;
    secrets.extend([colleague.key.clone(), joined["data"]["refreshToken"].as_str().unwrap()[30..].to_owned()]);
    let account =
        json!({ "name": "Main", "venue": "binance", "apiKey": "replayed-key", "apiSecret": "replayed-secret" });
    assert_eq!(post(&world.agent(), "/api/accounts", &account).await.0, 201);
    let ai_key = json!({ "provider": "anthropic", "key": "an-ai-providers-secret" });
    assert_eq!(post(&owner, "/api/settings/ai-keys", &ai_key).await.0, 201);
    secrets.extend(["replayed-secret", "replayed-key", "an-ai-providers"].map(str::to_owned));
    let (_, made) = post(&owner, "/api/keys", &json!({ "name": "x", "scopes": ["workspace:read"] })).await;
    let path = format!("/api/keys/{}/rotate", made["data"]["key"]["id"].as_str().unwrap());
    let (_, rotated) = post(&owner, &path, &json!({ "overlapSeconds": 9 })).await;
    let (_, child) = post(&world.agent(), "/api/keys/self/children", &json!({ "name": "y" })).await;
    let (_, invited) =
        post(&owner, "/api/owners/invitations", &json!({ "email": "b@desk.example", "role": "viewer" })).await;
    for shown in [&made, &rotated, &child] {
        secrets.push(shown["data"]["apiKey"].as_str().unwrap()[14..].to_owned());
    }
    secrets.push(invited["data"]["token"].as_str().unwrap()[4..].to_owned());
    let wrong = json!({ "email": "owner@desk.example", "password": "a wrong but long password" });
    with_body(world.public(Method::POST, "/api/auth/login"), &wrong).await;
    secrets.push("a wrong but long password".to_owned());
    let all = entries(&owner, "verbs=owner.login_refused", 1).await;
    assert_eq!(all.len(), 1);
    entries(&owner, "verbs=request.write", 6).await;
    for table in ["audit", "people", "logins", "owners", "invitations", "api_keys"] {
        let dump = format!("SELECT coalesce(string_agg(to_jsonb(t)::text, ''), '') FROM {table} t");
        let dump: String = world.db.admin(&dump).await[0].get(0);
        assert!(!dump.is_empty(), "{table} is empty: it proves nothing");
        for secret in &secrets {
            assert!(!dump.contains(secret.as_str()), "{table} holds {secret}");
        }
    }
}
