//! What stands before every question: keys, limits, deadlines, and the contract's errors.

use std::time::Duration;

use codash_domain::Scope;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use crate::agent::{Agent, World, generous};

async fn send(request: reqwest::RequestBuilder) -> (u16, reqwest::header::HeaderMap, Value) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    (status, headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn json_body(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

fn ping(agent: &Agent) -> reqwest::RequestBuilder {
    json_body(agent.request(Method::POST, "/mcp"), &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }))
}

#[tokio::test]
async fn a_registered_key_works_at_once_and_only_its_hash_is_kept() {
    let world = World::new().await;
    let body = json!({ "name": "research-agent", "keyName": "research-agent-prod" });
    let request = json_body(world.public(Method::POST, "/api/agents/register"), &body);
    let (status, _, reply) = send(request).await;
    assert_eq!((status, &reply["success"]), (201, &json!(true)));
    let key = reply["data"]["apiKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("kv_live_"));
    let agent = Agent { address: world.address, key: key.clone() };
    assert_eq!(agent.call("list_accounts", json!({})).await["count"], json!(0));
    let dump = "SELECT string_agg(to_jsonb(k)::text, '') FROM api_keys k";
    let stored: String = world.db.admin(dump).await[0].get(0);
    assert!(!stored.contains(&key) && !stored.contains(&key[20..]));
}

#[tokio::test]
async fn in_a_minute_a_key_reads_a_hundred_times_and_is_told_when_to_come_back() {
    let mut config = generous();
    config.limits.reads_per_minute = 100;
    let world = World::with(config).await;
    let agent = world.agent();
    for n in 1..=100 {
        let (status, headers, _) = send(ping(&agent)).await;
        assert_eq!((status, headers["x-ratelimit-limit"].to_str().unwrap()), (200, "100"));
        assert_eq!(headers["x-ratelimit-remaining"].to_str().unwrap(), (100 - n).to_string());
        assert!(headers.contains_key("x-ratelimit-reset"));
    }
    let (status, headers, reply) = send(ping(&agent)).await;
    assert_eq!((status, reply["code"].as_str().unwrap()), (429, "rate_limited"));
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    let (other, ..) = send(ping(&world.key(|_| {}).await)).await;
    assert_eq!(other, 200, "another key has a window of its own");
}

#[tokio::test]
async fn an_address_tries_three_hundred_credentials_a_minute_good_or_bad() {
    let mut config = generous();
    config.limits.credentials_per_minute = 300;
    let world = World::with(config).await;
    let bad = Agent { address: world.address, key: "kv_live_nonsense".into() };
    for _ in 0..300 {
        assert_eq!(send(ping(&bad)).await.0, 401);
    }
    assert_eq!(send(ping(&bad)).await.0, 429);
    assert_eq!(send(ping(&world.agent())).await.0, 429, "the address is limited, not the key");
    let (status, ..) = send(world.public(Method::GET, "/health/live")).await;
    assert_eq!(status, 200, "what needs no credential is not");
}

#[tokio::test]
async fn every_refusal_has_the_contracts_shape_and_a_request_id() {
    let world = World::new().await;
    let agent = world.agent();
    let narrow = world.key(|key| key.scopes = codash_domain::Scopes::new([Scope::ReadRaw])).await;
    let cases = [
        (world.public(Method::GET, "/api/accounts"), 401, "missing_credential"),
        (agent.request(Method::GET, "/api/nothing"), 404, "not_found"),
        (world.public(Method::GET, "/.well-known/oauth-protected-resource"), 404, "not_found"),
        (agent.request(Method::GET, "/mcp"), 405, "method_not_allowed"),
        (agent.request(Method::DELETE, "/api/accounts"), 405, "method_not_allowed"),
        (narrow.request(Method::GET, "/api/accounts"), 403, "insufficient_scope"),
        (
            agent.request(Method::GET, "/api/accounts").header("origin", "https://evil.example"),
            403,
            "origin_not_allowed",
        ),
        (agent.request(Method::POST, "/api/accounts").body("{}"), 415, "unsupported_media_type"),
        (json_body(agent.request(Method::POST, "/api/accounts"), &json!({ "name": "x" })), 400, "invalid_request"),
        (
            json_body(agent.request(Method::POST, "/api/accounts"), &json!("x".repeat(300_000))),
            413,
            "payload_too_large",
        ),
    ];
    for (request, expected, code) in cases {
        let (status, headers, reply) = send(request).await;
        assert_eq!((status, &reply["success"], &reply["code"]), (expected, &json!(false), &json!(code)), "{reply}");
        assert!(reply["error"].is_string());
        assert_eq!(reply["requestId"].as_str().unwrap(), headers["x-request-id"].to_str().unwrap());
    }
    let (_, headers, _) = send(agent.request(Method::GET, "/api/accounts").header("x-request-id", "mine-7")).await;
    assert_eq!(headers["x-request-id"], "mine-7");
}

#[tokio::test]
async fn past_the_deadline_comes_504_and_the_query_is_gone() {
    let mut config = generous();
    config.deadline = Duration::from_millis(400);
    let world = World::with(config).await;
    let mut blocker = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(world.db.url())).await.unwrap();
    let mut lock = blocker.begin().await.unwrap();
    sqlx::query("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let (status, _, reply) = send(world.agent().request(Method::GET, "/api/accounts")).await;
    assert_eq!((status, reply["code"].as_str().unwrap()), (504, "deadline_exceeded"));
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'codash'
                AND state <> 'idle'";
    let mut left = 1;
    for _ in 0..30 {
        left = world.db.admin(busy).await[0].get::<i64, _>(0);
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0, "PostgreSQL works for nobody");
    lock.rollback().await.unwrap();
    assert_eq!(send(world.agent().request(Method::GET, "/api/accounts")).await.0, 200);
}

#[tokio::test]
async fn one_workspaces_slow_questions_keep_no_other_waiting() {
    let world = World::with(generous()).await;
    let stranger = world.stranger().await;
    let mut blocker = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(world.db.url())).await.unwrap();
    let mut lock = blocker.begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    // Twice as many as there are connections for questions.
    let slow: Vec<_> =
        (0..8).map(|_| tokio::spawn(send(world.agent().request(Method::GET, "/api/trade-events")))).collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'codash' AND wait_event_type = 'Lock'";
    for _ in 0..100 {
        if world.db.admin(waiting).await[0].get::<i64, _>(0) == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let held: i64 = world.db.admin(waiting).await[0].get(0);
    assert_eq!(held, 2, "half of the connections, and no more");
    assert_eq!(send(ping(&world.agent())).await.0, 200);
    assert_eq!(send(stranger.request(Method::GET, "/api/accounts")).await.0, 200);
    lock.rollback().await.unwrap();
    for asked in slow {
        assert_eq!(asked.await.unwrap().0, 200, "each had its turn");
    }
}

#[tokio::test]
async fn an_ai_providers_key_is_sealed_and_replaced_and_removed() {
    let world = World::new().await;
    let agent = world.agent();
    let put = |key: &str| {
        let body = json!({ "provider": "anthropic", "key": key });
        json_body(agent.request(Method::POST, "/api/settings/ai-keys"), &body)
    };
    let (status, _, reply) = send(put("sk-ant-first-1234")).await;
    assert_eq!((status, &reply["data"]["hint"]), (201, &json!("1234")));
    assert!(!reply.to_string().contains("first"));
    let (status, _, reply) = send(put("sk-ant-second-9876")).await;
    assert_eq!((status, &reply["data"]["hint"]), (200, &json!("9876")));
    let row: String = world.db.admin("SELECT to_jsonb(k)::text FROM ai_keys k").await[0].get(0);
    assert!(!row.contains("second"));
    assert_eq!(send(put("short")).await.0, 400);
    let stranger = world.stranger().await;
    let remove = |agent: &Agent| agent.request(Method::DELETE, "/api/settings/ai-keys/anthropic");
    assert_eq!(send(remove(&stranger)).await.0, 404);
    assert_eq!(send(remove(&agent)).await.0, 200);
    assert_eq!(send(remove(&agent)).await.0, 404);
}

#[tokio::test]
async fn an_account_is_attached_once_and_its_secret_is_never_seen_again() {
    let world = World::new().await;
    let agent = world.agent();
    let attach = |body: Value| json_body(agent.request(Method::POST, "/api/accounts"), &body);
    let binance =
        json!({ "name": "Main Binance", "venue": "binance", "apiKey": "replayed-key", "apiSecret": "replayed-secret" });
    let (status, _, reply) = send(attach(binance.clone())).await;
    assert_eq!((status, &reply["data"]["status"]), (201, &json!("pending")), "{reply}");
    assert_eq!(send(attach(binance)).await.0, 409, "the same credential twice would count its money twice");
    let wallet = json!({ "name": "Wallet", "venue": "hyperliquid", "walletAddress": "0x00000000000000000000000000000000000000DE" });
    assert_eq!(send(attach(wallet)).await.0, 201);
    let (_, _, listed) = send(agent.request(Method::GET, "/api/accounts")).await;
    assert_eq!(listed["data"]["count"], json!(2));
    assert!(!listed.to_string().contains("replayed-secret"));
    let sealed: String = world.db.admin("SELECT encode(sealed, 'escape') FROM account_secrets").await[0].get(0);
    assert!(!sealed.contains("replayed"));
    let (_, _, theirs) = send(world.stranger().await.request(Method::GET, "/api/accounts")).await;
    assert_eq!(theirs["data"]["count"], json!(0));
}

#[tokio::test]
async fn a_key_that_can_do_more_than_read_is_refused_with_the_right_to_remove() {
    let world = World::new().await;
    let rights =
        r#"{"ipRestrict":true,"enableReading":true,"enableSpotAndMarginTrading":true,"enableWithdrawals":false}"#;
    world.replay.faults().fail("/sapi/v1/account/apiRestrictions", 1, 200, rights);
    let attach = |key: &str, secret: &str| {
        let body = json!({ "name": "x", "venue": "binance", "apiKey": key, "apiSecret": secret });
        json_body(world.agent().request(Method::POST, "/api/accounts"), &body)
    };
    let (status, _, reply) = send(attach("replayed-key", "replayed-secret")).await;
    assert_eq!((status, reply["code"].as_str().unwrap()), (400, "key_too_powerful"));
    assert_eq!(reply["details"]["rightsToRemove"], json!(["enableSpotAndMarginTrading"]));
    let (status, _, reply) = send(attach("replayed-key", "wrong-secret")).await;
    assert_eq!((status, reply["code"].as_str().unwrap()), (400, "venue_refused_key"));
    assert!(!reply.to_string().contains("wrong-secret"));
    let accounts: i64 = world.db.admin("SELECT count(*) FROM accounts").await[0].get(0);
    assert_eq!(accounts, 0);
}
