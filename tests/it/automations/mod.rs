//! Automations over real HTTP, with real workers and a real receiver.

mod names;
mod rebinding;
pub mod receiver;
mod rules;
mod work;

use std::sync::Arc;
use std::time::Duration;

use codash::app::AppConfig;
use codash::automate;
use codash_analytics::CursorKey;
use codash_automations::guard::{Lookup, Reach, system_lookup};
use codash_automations::sender::Sender;
use codash_automations::{Worker, deliver, runner, schedule};
use codash_domain::FixedClock;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use crate::agent::{Agent, World, generous};
use crate::tenants::now;
use receiver::Receiver;

/// A world whose webhooks may come to this machine.
async fn local() -> World {
    World::with(AppConfig { webhooks: Reach::Local, ..generous() }).await
}

fn worker(world: &World) -> Worker {
    worker_reaching(world, Reach::Local, system_lookup())
}

fn worker_reaching(world: &World, reach: Reach, lookup: Lookup) -> Worker {
    let sender = Sender::new(reach, lookup).unwrap();
    let clock = Arc::new(FixedClock::at(now()));
    let (store, key) = (world.db.store().clone(), CursorKey::new([5; 32]));
    let worker = Worker::new(store, key, automate::catalogue(), sender, clock, "test".into());
    Worker { lease: Duration::from_secs(2), ..worker }
}

/// Everything that is due now, in the order in which it comes about.
pub async fn drain(worker: &Worker) {
    while schedule::step(worker).await.unwrap()
        || runner::step(worker).await.unwrap()
        || deliver::step(worker).await.unwrap()
    {}
}

async fn call(agent: &Agent, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = agent.request(method, path);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    sent(request).await
}

async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

/// The data of a request that succeeds.
async fn done(agent: &Agent, method: Method, path: &str, body: Option<&Value>) -> Value {
    let (status, mut reply) = call(agent, method.clone(), path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {reply}");
    reply["data"].take()
}

/// Id and secret of a new webhook.
async fn webhook(agent: &Agent, url: &str) -> (String, String) {
    let made = done(agent, Method::POST, "/api/automations/webhooks", Some(&json!({ "url": url }))).await;
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// An automation that only others start, with more said about it.
fn triggered(more: Value) -> Value {
    let mut body = json!({ "name": "On call", "when": { "trigger": {} },
        "what": { "question": { "name": "get_portfolio_summary" } } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn make(agent: &Agent, body: &Value) -> Value {
    done(agent, Method::POST, "/api/automations", Some(body)).await
}

async fn run_now(agent: &Agent, id: &str) -> String {
    let queued = done(agent, Method::POST, &format!("/api/automations/{id}/run"), None).await;
    queued["runId"].as_str().unwrap().to_owned()
}

async fn runs(agent: &Agent, id: &str) -> Vec<Value> {
    let page = done(agent, Method::GET, &format!("/api/automations/{id}/runs?limit=100"), None).await;
    page["runs"].as_array().unwrap().clone()
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// A message is what the contract says that webhooks are sent.
fn assert_documented(event: &Value) {
    let message = &codash::openapi::document()["webhooks"][event["type"].as_str().unwrap()]["post"];
    let schema = &message["requestBody"]["content"]["application/json"]["schema"];
    crate::examples::fits(schema, event, "the message");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(event), names(&schema["properties"]));
    assert_eq!(names(&event["data"]), names(&schema["properties"]["data"]["properties"]));
}

/// A number from behind the walls.
async fn count(world: &World, sql: &str) -> i64 {
    world.db.admin(sql).await[0].get(0)
}

#[tokio::test]
async fn a_schedule_asks_keeps_and_tells_with_every_digit_and_a_signature() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let account = world.account("Main").await;
    world.snapshot(account, "12345678901234.5678901").await;
    let (hook, secret) = webhook(&agent, &receiver.url).await;
    let made = make(
        &agent,
        &json!({ "name": "Hourly", "when": { "cron": { "expression": "0 * * * *", "timeZone": "Europe/Berlin" } },
            "what": { "question": { "name": "get_portfolio_summary" } }, "webhooks": [hook] }),
    )
    .await;
    let id = id_of(&made);
    assert!(made["nextAt"].as_str().unwrap().ends_with(":00:00.000Z"), "{made}");
    world.db.admin("UPDATE automations SET due_at = date_trunc('minute', now()) RETURNING 1").await;
    drain(&worker(&world)).await;

    let runs = runs(&agent, &id).await;
    let answer = agent.call("get_portfolio_summary", json!({})).await;
    assert_eq!((runs.len(), &runs[0]["state"], &runs[0]["cause"]), (1, &json!("succeeded"), &json!("schedule")));
    assert_eq!(runs[0]["result"].to_string(), answer.to_string());
    assert_eq!(runs[0]["deliveries"][0]["state"], json!("delivered"));

    let received = receiver.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].is_signed_with(&secret));
    assert!(received[0].body.contains("12345678901234.5678901"));
    let event = received[0].json();
    assert_documented(&event);
    assert_eq!((&event["type"], &event["data"]["runId"]), (&json!("automation.run.succeeded"), &runs[0]["id"]));
    assert_eq!(event["data"]["result"].to_string(), answer.to_string());
    assert_eq!(json!(received[0].id), runs[0]["deliveries"][0]["id"]);
}

#[tokio::test]
async fn an_export_is_told_by_its_manifest_and_where_it_is() {
    let world = local().await;
    let agent = world.agent();
    let what = json!({ "what": { "export": { "table": "trades", "arguments": { "format": "jsonl" } } } });
    let id = id_of(&make(&agent, &triggered(what)).await);
    run_now(&agent, &id).await;
    drain(&worker(&world)).await;
    let result = runs(&agent, &id).await[0]["result"].clone();
    let manifest = done(&agent, Method::GET, "/api/export/trades/manifest?format=jsonl", None).await;
    for field in ["rows", "sha256", "watermark", "schema", "bytes", "columns"] {
        assert_eq!(result[field], manifest[field], "{field}");
    }
    assert_eq!(result["path"], json!("/api/export/trades?format=jsonl"));
    let (status, _) = call(&agent, Method::GET, result["path"].as_str().unwrap(), None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn while_a_secret_rotates_both_sign() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let (hook, old) = webhook(&agent, &receiver.url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    let path = format!("/api/automations/webhooks/{hook}");
    let changed = done(&agent, Method::PATCH, &path, Some(&json!({ "rotateSecret": true }))).await;
    let new = changed["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    world.db.admin("UPDATE webhook_endpoints SET previous_until = now() + interval '1 hour' RETURNING 1").await;
    run_now(&agent, &id).await;
    drain(&worker(&world)).await;
    world.db.admin("UPDATE webhook_endpoints SET previous_until = now() RETURNING 1").await;
    run_now(&agent, &id).await;
    drain(&worker(&world)).await;
    let received = receiver.received();
    assert!(received[0].is_signed_with(&old) && received[0].is_signed_with(&new));
    assert!(!received[1].is_signed_with(&old) && received[1].is_signed_with(&new));
    let dump = "SELECT string_agg(to_jsonb(e)::text, '') FROM webhook_endpoints e";
    let stored: String = world.db.admin(dump).await[0].get(0);
    assert!(!stored.contains(&new[6..]) && !stored.contains("whsec_"));
}

#[tokio::test]
async fn a_failed_message_is_tried_again_as_it_was_and_by_hand() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let (hook, secret) = webhook(&agent, &receiver.url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    let elsewhere = Receiver::start().await;
    receiver.will_answer([
        (503, vec![("retry-after", "4000".into())], "x".repeat(50_000)),
        (302, vec![("location", elsewhere.url.clone())], String::new()),
    ]);
    run_now(&agent, &id).await;
    let worker = worker(&world);
    drain(&worker).await;
    assert_eq!(receiver.received().len(), 1, "it is not tried before its time");
    let waits = "SELECT (extract(epoch FROM due_at - clock_timestamp()))::bigint FROM webhook_deliveries";
    assert!((3_900..=4_000).contains(&count(&world, waits).await), "the receiver's own pause");
    for _ in 0..2 {
        world.db.admin("UPDATE webhook_deliveries SET due_at = now() RETURNING 1").await;
        drain(&worker).await;
    }
    let received = receiver.received();
    assert_eq!((received.len(), elsewhere.received().len()), (3, 0), "a redirect is not followed");
    for one in &received {
        assert_eq!((&one.id, &one.body), (&received[0].id, &received[0].body));
        assert!(one.is_signed_with(&secret));
    }
    let delivery = format!("/api/automations/deliveries/{}", received[0].id);
    let kept = done(&agent, Method::GET, &delivery, None).await;
    assert_eq!(kept["delivery"]["state"], json!("delivered"));
    let codes: Vec<&Value> = kept["log"].as_array().unwrap().iter().map(|one| &one["statusCode"]).collect();
    assert_eq!(codes, [&json!(503), &json!(302), &json!(204)]);
    assert_eq!(kept["log"][0]["responseHead"].as_str().unwrap().len(), 20 * 1024);

    let again = done(&agent, Method::POST, &format!("{delivery}/redeliver"), None).await;
    assert_eq!(again["delivery"]["state"], json!("pending"));
    drain(&worker).await;
    assert_eq!((receiver.received().len(), &receiver.received()[3].id), (4, &received[0].id));
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_its_owner_says_so() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let (hook, _) = webhook(&agent, &receiver.url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    receiver.will_answer([receiver::status(410)]);
    let worker = worker(&world);
    for _ in 0..2 {
        run_now(&agent, &id).await;
        drain(&worker).await;
    }
    assert_eq!(receiver.received().len(), 1);
    let listed = done(&agent, Method::GET, "/api/automations/webhooks", None).await;
    assert_eq!(listed["webhooks"][0]["disabled"], json!(true));
    assert!(listed["webhooks"][0]["disabledReason"].as_str().unwrap().contains("410"));
    let shown = done(&agent, Method::GET, &format!("/api/automations/{id}"), None).await;
    assert!(shown["notices"][0].as_str().unwrap().contains(&hook), "its owner is told: {shown}");
    let failed = format!("/api/automations/deliveries/{}/redeliver", receiver.received()[0].id);
    let (status, reply) = call(&agent, Method::POST, &failed, None).await;
    assert_eq!((status, &reply["code"]), (409, &json!("webhook_disabled")));
    let path = format!("/api/automations/webhooks/{hook}");
    done(&agent, Method::PATCH, &path, Some(&json!({ "disabled": false }))).await;
    run_now(&agent, &id).await;
    drain(&worker).await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn days_of_failure_disable_a_webhook() {
    let world = local().await;
    let (agent, receiver) = (world.agent(), Receiver::start().await);
    let (hook, _) = webhook(&agent, &receiver.url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    receiver.will_answer([receiver::status(500), receiver::status(500)]);
    let worker = worker(&world);
    run_now(&agent, &id).await;
    drain(&worker).await;
    world.db.admin("UPDATE webhook_endpoints SET failing_since = now() - interval '6 days' RETURNING 1").await;
    world.db.admin("UPDATE webhook_deliveries SET due_at = now() RETURNING 1").await;
    drain(&worker).await;
    let listed = done(&agent, Method::GET, "/api/automations/webhooks", None).await;
    assert!(listed["webhooks"][0]["disabledReason"].as_str().unwrap().contains("5 days"), "{listed}");
}

/// A name that was public when it was judged and is not when it is connected to.
#[tokio::test]
async fn a_name_that_turns_to_this_machine_is_not_followed() {
    let world = World::new().await;
    let agent = world.agent();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("https://rebound.example.com:{}/", address.port());
    let (hook, _) = webhook(&agent, &url).await;
    let id = id_of(&make(&agent, &triggered(json!({ "webhooks": [hook] }))).await);
    run_now(&agent, &id).await;
    let lookup: Lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![address]) }));
    drain(&worker_reaching(&world, Reach::Public, lookup)).await;
    let delivery = runs(&agent, &id).await[0]["deliveries"][0].clone();
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("pending"), &json!(1)));
    assert!(delivery["detail"].as_str().unwrap().contains("not of the public internet"), "{delivery}");
    assert!(listener.accept().is_err(), "somebody connected");
}
