//! Who may do what, and how automations behave when late, busy or without rights.

use codash_domain::{Scope, Scopes};

use super::*;

async fn trigger(world: &World, path: &str, headers: &[(&str, String)], body: &str) -> (u16, Value) {
    let mut request = world.public(Method::POST, path).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    sent(request).await
}

#[tokio::test]
async fn an_inbound_trigger_opens_to_its_token_and_counts_a_callers_id_once() {
    let world = local().await;
    let agent = world.agent();
    let made = make(&agent, &triggered(json!({ "overlap": "queue" }))).await;
    let (id, path) = (id_of(&made), made["trigger"]["path"].as_str().unwrap().to_owned());
    let token = path.rsplit('/').next().unwrap();
    let named = [("idempotency-key", "order-7".to_owned())];
    let (status, first) = trigger(&world, &path, &named, "").await;
    assert_eq!((status, &first["success"]), (202, &json!(true)));
    let (_, second) = trigger(&world, &path, &named, "anything").await;
    assert_eq!(first["data"]["runId"], second["data"]["runId"]);
    drain(&worker(&world)).await;
    trigger(&world, &path, &named, "").await;
    assert_eq!(runs(&agent, &id).await.len(), 1, "also after it has ended");
    trigger(&world, &path, &[], "").await;
    assert_eq!(runs(&agent, &id).await.len(), 2, "without an id each request is its own");
    assert_eq!(trigger(&world, &path, &[("idempotency-key", "a b".into())], "").await.0, 400);

    let dump = "SELECT string_agg(to_jsonb(a)::text, '') FROM automations a";
    let stored: String = world.db.admin(dump).await[0].get(0);
    assert!(!stored.contains(&token[4..]), "only its hash is kept");
    let shown = done(&agent, Method::GET, &format!("/api/automations/{id}"), None).await;
    assert_eq!(shown["trigger"], Value::Null, "shown once");

    let rotate = json!({ "rotateToken": true });
    let rotated = done(&agent, Method::PATCH, &format!("/api/automations/{id}"), Some(&rotate)).await;
    assert_eq!(trigger(&world, &path, &[], "").await.0, 404, "the old token ended at once");
    let path = rotated["trigger"]["path"].as_str().unwrap();
    assert_eq!(trigger(&world, path, &[], "").await.0, 202);
    for wrong in ["kvt_", "kvt_zz", "x", &token[4..], &format!("kvt_{}", "0".repeat(64))] {
        assert_eq!(trigger(&world, &format!("/api/automations/trigger/{wrong}"), &[], "").await.0, 404, "{wrong}");
    }
    let pause = json!({ "paused": true });
    done(&agent, Method::PATCH, &format!("/api/automations/{id}"), Some(&pause)).await;
    let (status, reply) = trigger(&world, path, &[], "").await;
    assert_eq!((status, &reply["code"]), (409, &json!("automation_paused")));
}

#[tokio::test]
async fn a_signed_trigger_wants_its_signature() {
    let world = local().await;
    let agent = world.agent();
    let made = make(&agent, &triggered(json!({ "when": { "trigger": { "signed": true } } }))).await;
    let path = made["trigger"]["path"].as_str().unwrap();
    let secret = secrecy::SecretString::from(made["trigger"]["signingSecret"].as_str().unwrap().to_owned());
    let seconds = now().millis() / 1000;
    let signed = |id: &str, seconds: i64, body: &str| {
        let signature =
            codash_automations::sign::signatures(std::slice::from_ref(&secret), id, seconds, body.as_bytes());
        [("webhook-id", id.to_owned()), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)]
    };
    assert_eq!(trigger(&world, path, &[], "{}").await.0, 401);
    assert_eq!(trigger(&world, path, &signed("m1", seconds, "{}"), "{ }").await.0, 401, "another body");
    assert_eq!(trigger(&world, path, &signed("m1", seconds - 301, "{}"), "{}").await.0, 401, "an old one");
    let (status, first) = trigger(&world, path, &signed("m1", seconds, "{}"), "{}").await;
    assert_eq!(status, 202);
    let (_, again) = trigger(&world, path, &signed("m1", seconds + 5, "{}"), "{}").await;
    assert_eq!(first["data"]["runId"], again["data"]["runId"]);
}

#[tokio::test]
async fn strangers_trying_tokens_are_slowed() {
    let world = World::new().await;
    let path = format!("/api/automations/trigger/kvt_{}", "0".repeat(64));
    let mut statuses = Vec::new();
    for _ in 0..61 {
        statuses.push(trigger(&world, &path, &[], "").await.0);
    }
    assert_eq!((statuses[59], statuses[60]), (404, 429));
}

#[tokio::test]
async fn a_busy_automation_skips_or_queues_one() {
    let world = local().await;
    let agent = world.agent();
    for (overlap, expected) in [("skip", ["skipped", "skipped", "queued"]), ("queue", ["skipped", "queued", "running"])]
    {
        let id = id_of(&make(&agent, &triggered(json!({ "overlap": overlap }))).await);
        run_now(&agent, &id).await;
        if overlap == "queue" {
            // One is at work.
            world.db.store().claim_due_run("another", Duration::from_secs(60)).await.unwrap().unwrap();
        }
        run_now(&agent, &id).await;
        run_now(&agent, &id).await;
        let states: Vec<Value> = runs(&agent, &id).await.iter().map(|run| run["state"].clone()).collect();
        assert_eq!(states, expected, "{overlap}");
        if overlap == "queue" {
            assert!(world.db.store().claim_due_run("third", Duration::from_secs(60)).await.unwrap().is_none());
        }
        drain(&worker(&world)).await;
    }
}

#[tokio::test]
async fn times_that_passed_unseen_run_once_or_are_listed_as_skipped() {
    let world = local().await;
    let agent = world.agent();
    for (missed, state) in [("once", "succeeded"), ("skip", "skipped")] {
        let body = json!({ "name": missed, "when": { "interval": { "everySeconds": 600 } }, "missed": missed,
            "what": { "question": { "name": "list_accounts" } } });
        let id = id_of(&make(&agent, &body).await);
        world.db.admin("UPDATE automations SET due_at = now() - interval '3 hours' RETURNING 1").await;
        drain(&worker(&world)).await;
        let runs = runs(&agent, &id).await;
        assert_eq!((runs.len(), &runs[0]["state"]), (1, &json!(state)), "{missed}");
        let next = "SELECT count(*) FROM automations WHERE due_at > now() AND due_at <= now() + interval '10 minutes'";
        assert_eq!(count(&world, next).await, 1, "{missed}");
        done(&agent, Method::DELETE, &format!("/api/automations/{id}"), None).await;
    }
}

#[tokio::test]
async fn an_automation_stops_with_its_key_and_says_so() {
    let world = local().await;
    let agent = world.agent();
    for ends in ["revoked_at = now()", "expires_at = '2026-01-01'"] {
        let (owner, key) = world.key_with_id(|_| {}).await;
        let receiver = Receiver::start().await;
        let (hook, _) = webhook(&owner, &receiver.url).await;
        let id = id_of(&make(&owner, &triggered(json!({ "webhooks": [hook] }))).await);
        world.db.admin(&format!("UPDATE api_keys SET {ends} WHERE key_id = '{key}' RETURNING 1")).await;
        run_now(&agent, &id).await;
        drain(&worker(&world)).await;
        let run = &runs(&agent, &id).await[0];
        assert_eq!((&run["state"], &run["result"]), (&json!("failed"), &Value::Null), "{ends}");
        let event = receiver.received()[0].json();
        assert_eq!(event["type"], json!("automation.run.failed"));
        assert_documented(&event);
        let path = format!("/api/automations/{id}");
        let shown = done(&agent, Method::GET, &path, None).await;
        assert_eq!(shown["paused"], json!(true));
        assert!(shown["pauseReason"].as_str().unwrap().contains("API key"), "{shown}");
        let resumed = done(&agent, Method::PATCH, &path, Some(&json!({ "paused": false }))).await;
        assert_eq!((&resumed["paused"], &resumed["pauseReason"]), (&json!(false), &Value::Null));
        run_now(&agent, &id).await;
        drain(&worker(&world)).await;
        assert_eq!(runs(&agent, &id).await[0]["state"], json!("succeeded"), "with the key that saved it");
    }
}

#[tokio::test]
async fn a_condition_fires_once_for_each_crossing() {
    let world = local().await;
    let agent = world.agent();
    let account = world.account("Main").await;
    let condition = json!({ "question": { "name": "get_portfolio_summary" }, "field": "navUsd", "comparator": "<",
        "value": 100, "clearAt": 120 });
    let id = id_of(&make(&agent, &triggered(json!({ "when": { "condition": condition } }))).await);
    let worker = worker(&world);
    let mut fired = Vec::new();
    for nav in ["150", "99.5", "90", "110", "95", "120", "99"] {
        world.db.admin("DELETE FROM nav_snapshots RETURNING 1").await;
        world.snapshot(account, nav).await;
        world.db.admin("UPDATE automations SET due_at = now() RETURNING 1").await;
        drain(&worker).await;
        fired.push(runs(&agent, &id).await.len());
    }
    assert_eq!(fired, [0, 1, 1, 1, 1, 1, 2]);
    let shown = done(&agent, Method::GET, &format!("/api/automations/{id}"), None).await;
    assert_eq!(shown["condition"]["raised"], json!(true));
    assert_eq!(shown["condition"]["lastCheck"], json!("navUsd is 99"));
    assert_eq!(runs(&agent, &id).await[0]["result"]["navUsd"], json!(99));
}

#[tokio::test]
async fn nobody_else_sees_or_touches_an_automation() {
    let world = local().await;
    let owner = world.agent();
    let (main, other) = (world.account("Main").await, world.account("Other").await);
    let receiver = Receiver::start().await;
    let (hook, _) = webhook(&owner, &receiver.url).await;
    let id = id_of(&make(&owner, &triggered(json!({ "webhooks": [hook] }))).await);
    run_now(&owner, &id).await;
    drain(&worker(&world)).await;
    let delivery = receiver.received()[0].id.clone();
    let narrow = world.key(|key| key.accounts = Some(vec![other])).await;
    for agent in [world.stranger().await, narrow.clone()] {
        for (method, path) in [
            (Method::GET, format!("/api/automations/{id}")),
            (Method::PATCH, format!("/api/automations/{id}")),
            (Method::DELETE, format!("/api/automations/{id}")),
            (Method::POST, format!("/api/automations/{id}/run")),
            (Method::GET, format!("/api/automations/{id}/runs")),
            (Method::PATCH, format!("/api/automations/webhooks/{hook}")),
            (Method::DELETE, format!("/api/automations/webhooks/{hook}")),
            (Method::GET, format!("/api/automations/webhooks/{hook}/deliveries")),
            (Method::GET, format!("/api/automations/deliveries/{delivery}")),
            (Method::POST, format!("/api/automations/deliveries/{delivery}/redeliver")),
        ] {
            let body = (method == Method::PATCH).then(|| json!({}));
            let (status, reply) = call(&agent, method.clone(), &path, body.as_ref()).await;
            assert_eq!((status, &reply["code"]), (404, &json!("not_found")), "{method} {path}");
        }
        for list in ["/api/automations", "/api/automations/webhooks"] {
            assert_eq!(done(&agent, Method::GET, list, None).await["count"], json!(0), "{list}");
        }
        let (status, reply) =
            call(&agent, Method::POST, "/api/automations", Some(&triggered(json!({ "webhooks": [hook] })))).await;
        assert_eq!((status, &reply["details"]["errors"][0]["path"]), (400, &json!("webhooks")));
    }
    assert_eq!(runs(&owner, &id).await.len(), 1);

    // What a narrow key makes sees what the key sees, whoever starts it.
    let what = json!({ "what": { "question": { "name": "list_accounts" } } });
    let own = id_of(&make(&narrow, &triggered(what)).await);
    run_now(&owner, &own).await;
    drain(&worker(&world)).await;
    let result = runs(&owner, &own).await[0]["result"].to_string();
    assert!(result.contains(&other.to_string()) && !result.contains(&main.to_string()), "{result}");
}

#[tokio::test]
async fn a_key_tells_no_more_than_it_may_ask() {
    let world = local().await;
    let owner = world.agent();
    let id = id_of(&make(&owner, &triggered(json!({}))).await);
    run_now(&owner, &id).await;
    drain(&worker(&world)).await;
    let clerk = world.key(|key| key.scopes = Scopes::new([Scope::WriteAutomations, Scope::ReadSummary])).await;
    let run = &runs(&clerk, &id).await[0];
    assert_eq!((&run["result"], &run["resultHidden"]), (&Value::Null, &json!(true)));
    let (status, reply) = call(&clerk, Method::POST, "/api/automations", Some(&triggered(json!({})))).await;
    assert_eq!(status, 400);
    assert!(reply["error"].as_str().unwrap().contains("workspace:read:live"), "{reply}");
    // Nor may it send elsewhere what another key asks.
    let (status, _) =
        call(&clerk, Method::PATCH, &format!("/api/automations/{id}"), Some(&json!({ "name": "x" }))).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_its_place() {
    let world = World::new().await;
    let agent = world.agent();
    for (more, place) in [
        (json!({ "when": { "cron": { "expression": "61 * * * *" } } }), "when.cron.expression"),
        (json!({ "when": { "cron": { "expression": "* * * * *", "timeZone": "Mars" } } }), "when.cron.timeZone"),
        (json!({ "when": { "interval": { "everySeconds": 1 } } }), "when.interval.everySeconds"),
        (json!({ "when": { "interval": { "everySeconds": "60" } } }), "when"),
        (json!({ "when": {} }), "when"),
        (json!({ "what": { "question": { "name": "drop_tables" } } }), "what.question.name"),
        (
            json!({ "what": { "question": { "name": "get_nav_history", "arguments": { "days": 999 } } } }),
            "what.question.arguments.days",
        ),
        (json!({ "what": { "export": { "table": "api_keys" } } }), "what.export.table"),
        (json!({ "name": " " }), "name"),
        (json!({ "overlap": "both" }), "overlap"),
        (json!({ "webhooks": ["00000000-0000-4000-8000-000000000001"] }), "webhooks"),
    ] {
        let (status, reply) = call(&agent, Method::POST, "/api/automations", Some(&triggered(more.clone()))).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{more}: {reply}");
        let path = reply["details"]["errors"][0]["path"].as_str().unwrap();
        assert!(path.starts_with(place), "{more}: {path}");
    }
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://u:p@example.com/",
        "https://2130706433/",
        "https://localhost/",
        "https://169.254.169.254/latest/",
    ] {
        let (status, reply) =
            call(&agent, Method::POST, "/api/automations/webhooks", Some(&json!({ "url": url }))).await;
        assert_eq!((status, &reply["details"]["errors"][0]["path"]), (400, &json!("url")), "{url}");
    }
    let mut last = (0, Value::Null);
    for _ in 0..51 {
        last = call(&agent, Method::POST, "/api/automations", Some(&triggered(json!({})))).await;
    }
    assert_eq!((last.0, &last.1["code"]), (409, &json!("quota_reached")));
}
