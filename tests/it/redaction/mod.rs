//! Nothing secret is in a log or a trace, however much they say and whatever goes wrong.
//!
//! The API, the collector and the automations' worker run as they do in operation, at TRACE, in both
//! formats, with traces exported. Every secret that passes through them is a canary: looked for whole,
//! by halves and in the encodings that a dump of bytes would have. `scripts/trace-grep.sh` looks for
//! the shapes of secrets in what the whole test run logs.

mod canaries;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codash::dev::replay::{Keys, Replay};
use codash_domain::{ApiKey, Clock, SystemClock};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::automations::receiver::Receiver;
use crate::dev::Folder;
use crate::otlp::Collector;
use crate::processes::{Process, Settings, settings};
use crate::tenants::{TestStore, random};
use canaries::Canaries;

/// Speaks to two servers in turn, one for each format of the log.
struct Talk {
    client: reqwest::Client,
    servers: [SocketAddr; 2],
    turn: Cell<usize>,
}

impl Talk {
    async fn send(&self, method: Method, path: &str, key: &str, body: Option<Value>) -> (u16, Value) {
        self.with(method, path, &[("authorization", &format!("Bearer {key}"))], body).await
    }

    async fn with(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (u16, Value) {
        self.turn.set(self.turn.get() + 1);
        let url = format!("http://{}{path}", self.servers[self.turn.get() % 2]);
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        crate::rest::send(request).await
    }

    async fn post(&self, path: &str, key: &str, body: Value) -> Value {
        let (status, reply) = self.send(Method::POST, path, key, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {reply}");
        reply
    }

    async fn refused(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) {
        let (status, reply) = self.with(method, path, headers, body).await;
        assert!((400..500).contains(&status), "{path}: {status} {reply}");
    }
}

/// A workspace with everything in it that has a secret. Its key.
async fn keys_and_credentials(talk: &Talk, canaries: &mut Canaries, venue: &Keys) -> String {
    let agent = json!({ "name": "agent", "keyName": "first" });
    let registered = talk.post("/api/agents/register", "", agent).await;
    let key = canaries.shown(&registered, "/data/apiKey");
    for (name, secret) in [("bad", canaries.hatch("wrong venue secret")), ("Main", venue.secret.expose_secret().into())]
    {
        let body = json!({ "name": name, "venue": "binance", "apiKey": venue.api_key, "apiSecret": secret });
        let (status, reply) = talk.send(Method::POST, "/api/accounts", &key, Some(body)).await;
        assert_eq!(status, if name == "bad" { 400 } else { 201 }, "{reply}");
    }
    for _ in 0..2 {
        let ai_key = json!({ "provider": "anthropic", "key": canaries.hatch("ai key") });
        talk.post("/api/settings/ai-keys", &key, ai_key).await;
    }
    let child = talk.post("/api/keys/self/children", &key, json!({ "name": "child" })).await;
    let child = canaries.shown(&child, "/data/apiKey");
    for (name, arguments) in [("list_accounts", json!({})), ("get_trade_events", json!({ "cursor": child }))] {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": name, "arguments": arguments } });
        for headers in [[("authorization", format!("Bearer {key}"))], [("x-api-key", child.clone())]] {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            talk.with(Method::POST, "/mcp", &headers, Some(call.clone())).await;
        }
    }
    for path in ["/api/export/events?format=csv", "/api/export/accounts?format=jsonl&gzip=true", "/api/keys/self"] {
        talk.send(Method::GET, path, &key, None).await;
    }
    key
}

/// People: passwords, tokens, invitations, keys that are made and rotated.
async fn people(talk: &Talk, canaries: &mut Canaries, key: &str) {
    let (password, next) = (canaries.hatch("password"), canaries.hatch("next password"));
    let body = json!({ "email": "owner@desk.example", "password": password, "apiKey": key });
    let signed_up = talk.post("/api/auth/signup", "", body).await;
    let owner = canaries.shown(&signed_up, "/data/accessToken");
    canaries.watch("signature", owner.rsplit('.').next().unwrap());
    let refresh = canaries.shown(&signed_up, "/data/refreshToken");
    let refreshed = talk.post("/api/auth/refresh", "", json!({ "refreshToken": refresh })).await;
    let owner = canaries.shown(&refreshed, "/data/accessToken");
    let wrong = json!({ "email": "owner@desk.example", "password": canaries.hatch("wrong password") });
    talk.refused(Method::POST, "/api/auth/login", &[], Some(wrong)).await;
    let made = talk.post("/api/keys", &owner, json!({ "name": "made", "scopes": ["workspace:read"] })).await;
    canaries.shown(&made, "/data/apiKey");
    let rotate = format!("/api/keys/{}/rotate", made["data"]["key"]["id"].as_str().unwrap());
    let rotated = talk.post(&rotate, &owner, json!({ "overlapSeconds": 60 })).await;
    canaries.shown(&rotated, "/data/apiKey");
    let wish = json!({ "email": "new@desk.example", "role": "viewer" });
    let invited = talk.post("/api/owners/invitations", &owner, wish).await;
    let token = canaries.shown(&invited, "/data/token");
    let joined = json!({ "token": token, "email": "new@desk.example", "password": canaries.hatch("theirs") });
    let joined = talk.post("/api/auth/accept", "", joined).await;
    canaries.shown(&joined, "/data/refreshToken");
    talk.post("/api/auth/password", &owner, json!({ "currentPassword": password, "newPassword": next })).await;
    let login = json!({ "email": "owner@desk.example", "password": next });
    let login = talk.post("/api/auth/login", "", login).await;
    canaries.shown(&login, "/data/accessToken");
    let refresh = canaries.shown(&login, "/data/refreshToken");
    talk.post("/api/auth/logout", "", json!({ "refreshToken": refresh })).await;
    // A token that was good once: the answer must not say more to the log than to the caller.
    talk.refused(Method::POST, "/api/auth/refresh", &[], Some(json!({ "refreshToken": refresh }))).await;
}

/// Triggers with their tokens, and a webhook with its secret, told by the worker.
async fn automations(talk: &Talk, canaries: &mut Canaries, key: &str, receiver: &Receiver) {
    let url = format!("{}/{}?token={}", receiver.url, canaries.hatch("path"), canaries.hatch("query"));
    let hook = talk.post("/api/automations/webhooks", key, json!({ "url": url })).await;
    canaries.shown(&hook, "/data/secret");
    let path = format!("/api/automations/webhooks/{}", hook["data"]["id"].as_str().unwrap());
    let rotated = talk.send(Method::PATCH, &path, key, Some(json!({ "rotateSecret": true }))).await.1;
    canaries.shown(&rotated, "/data/secret");
    for signed in [false, true] {
        let body = json!({ "name": "On call", "when": { "trigger": { "signed": signed } },
            "what": { "question": { "name": "list_accounts" } }, "webhooks": [hook["data"]["id"]] });
        let made = talk.post("/api/automations", key, body).await;
        let path = made["data"]["trigger"]["path"].as_str().unwrap().to_owned();
        canaries.watch("trigger", path.rsplit('/').next().unwrap());
        if signed {
            canaries.shown(&made, "/data/trigger/signingSecret");
            let forged = canaries.hatch("signature of another");
            let headers = [("webhook-id", "m1"), ("webhook-timestamp", "1780000000"), ("webhook-signature", &*forged)];
            talk.refused(Method::POST, &path, &headers, Some(json!({}))).await;
        } else {
            talk.post(&path, "", json!({ "note": canaries.hatch("body of a trigger") })).await;
        }
    }
    let unknown = format!("kvt_{}", hex::encode(random::<32>()));
    canaries.watch("an unknown trigger", &unknown);
    talk.refused(Method::POST, &format!("/api/automations/trigger/{unknown}"), &[], None).await;
    for _ in 0..600 {
        if !receiver.received().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the message never came");
}

/// Credentials that open nothing, and good ones where they do not belong.
async fn misplaced(talk: &Talk, canaries: &mut Canaries, key: &str) {
    let unknown = ApiKey::from_random(random()).reveal().to_owned();
    canaries.watch("an unknown key", &unknown);
    let password = canaries.hatch("basic");
    let basic = STANDARD.encode(format!("user:{password}"));
    canaries.watch("basic", &basic);
    let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", canaries.hatch("claims"), canaries.hatch("mac"));
    for value in [format!("Bearer {unknown}"), format!("Bearer {}", &key[..40]), format!("Basic {basic}"), token] {
        talk.refused(Method::GET, "/api/accounts", &[("authorization", &value)], None).await;
    }
    talk.refused(Method::GET, "/api/accounts", &[("x-api-key", key), ("x-api-key", &unknown)], None).await;
    let bearer = format!("Bearer {key}");
    let ours = [("authorization", bearer.as_str())];
    for path in [
        format!("/api/accounts?api_key={key}"),
        format!("/api/{key}"),
        format!("/api/accounts/{key}"),
        format!("/api/trade-events?cursor={key}"),
        format!("/api/trade-events?symbols=BTC-PERP&from={key}"),
        format!("/api/export/{key}"),
        format!("/api/grafana/nav?accountIds={key}"),
        format!("/{key}/../mcp"),
    ] {
        talk.refused(Method::GET, &path, &ours, None).await;
    }
    let lost = canaries.hatch("misplaced secret");
    for (path, body) in [
        ("/api/accounts", json!({ "name": "x", "venue": "binance", "apiKey": "k", "apiSecrte": lost })),
        ("/api/accounts", json!({ "name": lost.repeat(9), "venue": "hyperliquid", "walletAddress": lost })),
        ("/api/settings/ai-keys", json!({ "provider": lost, "key": lost, "more": lost })),
        ("/api/auth/login", json!({ "email": lost, "password": [lost] })),
        ("/api/automations/webhooks", json!({ "url": format!("https://user:{lost}@example.com/") })),
        ("/mcp", json!({ "jsonrpc": "2.0", "id": { "x": lost }, "method": lost })),
        ("/mcp", json!(lost.repeat(9_000))),
    ] {
        talk.refused(Method::POST, path, &ours, Some(body)).await;
    }
}

/// The database fails while secrets are under way.
async fn failures(talk: &Talk, canaries: &mut Canaries, db: &TestStore, key: &str, venue: &Keys) {
    let (_, listed) = talk.send(Method::GET, "/api/accounts", key, None).await;
    let credentials = format!("/api/accounts/{}/credentials", listed["data"]["accounts"][0]["id"].as_str().unwrap());
    let again = json!({ "apiKey": venue.api_key, "apiSecret": venue.secret.expose_secret() });
    let tables = ["api_keys", "accounts", "account_secrets", "ai_keys", "webhook_endpoints", "people", "logins"];
    for table in tables {
        db.admin(&format!("ALTER TABLE {table} RENAME TO {table}_away")).await;
        let mut failed = 0;
        for (path, body) in [
            (credentials.as_str(), again.clone()),
            ("/api/settings/ai-keys", json!({ "provider": "openai", "key": canaries.hatch("ai key of a failure") })),
            ("/api/agents/register", json!({ "name": "x", "keyName": "y" })),
            ("/api/automations/webhooks", json!({ "url": format!("https://example.com/{}", canaries.hatch("url")) })),
            (
                "/api/auth/signup",
                json!({ "email": format!("{table}@desk.example"), "password": canaries.hatch("password of a failure"),
                    "workspaceName": "x" }),
            ),
        ] {
            let method = if path == credentials { Method::PUT } else { Method::POST };
            let (status, reply) = talk.send(method, path, key, Some(body)).await;
            failed += usize::from(status >= 500);
            let text = reply.to_string();
            assert!(!text.contains("relation") && !text.contains("does not exist"), "{path}: {text}");
            for pointer in ["/data/apiKey", "/data/secret", "/data/accessToken", "/data/refreshToken"] {
                if let Some(secret) = reply.pointer(pointer).and_then(Value::as_str) {
                    canaries.watch(pointer, secret);
                }
            }
        }
        assert!(failed > 0, "nothing failed without {table}");
        db.admin(&format!("ALTER TABLE {table}_away RENAME TO {table}")).await;
    }
    let ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'codash' AND datname = current_database()";
    db.admin(ours).await;
    for _ in 0..12 {
        talk.send(Method::GET, "/api/accounts", key, None).await;
    }
}

/// Settings that are wrong, with a secret in each.
async fn refused_settings(canaries: &mut Canaries, right: &Settings, folder: &Path) -> Vec<String> {
    let mut logs = Vec::new();
    let url = &right["CODASH_DATABASE_URL"];
    let (server, database) = url.rsplit_once('/').unwrap();
    let host = server.rsplit(['@', '/']).next().unwrap();
    let mut with = |name, text: &dyn Fn(&str) -> String| {
        let secret = canaries.hatch("setting");
        (name, text(&secret))
    };
    let wrong = [
        with("CODASH_DATABASE_URL", &|s| format!("postgres://nobody:{s}@{host}/{database}")),
        with("CODASH_DATABASE_URL", &|s| format!("postgres://postgres:{s}@127.0.0.1:1/{database}")),
        with("CODASH_DATABASE_URL", &|s| format!("postgres://postgres:{s}@127.0.0.1:port/{database}")),
        with("CODASH_DATABASE_URL", &|s| format!("postgres://postgres:{s}@{host}/nothing?sslmode=verify-full")),
        with("CODASH_DATABASE_URL", &|s| format!("mysql://postgres:{s}@{host}/{database}")),
        with("CODASH_MASTER_KEYS", &|s| format!("k1:{s}")),
        with("CODASH_OTLP_ENDPOINT", &|s| format!("http://user:{s}@127.0.0.1:1/")),
        with("CODASH_PUBLIC_URL", &|s| format!("https://user:{s}@example.com")),
    ];
    for (name, value) in wrong {
        let mut settings = right.clone();
        settings.insert(name, value);
        let mut process = Process::start("serve", &settings, &folder.join("refused"));
        assert!(!process.ended().await.success(), "{name} was wrong");
        logs.push(process.log());
        assert!(!logs.last().unwrap().is_empty());
    }
    logs
}

#[tokio::test]
async fn no_secret_is_in_a_log_or_a_trace_whatever_happens() {
    let (db, traces, folder) = (TestStore::new().await, Collector::start().await, Folder::new());
    std::fs::create_dir_all(&folder.0).unwrap();
    let (mut canaries, master_key, clock) = (Canaries::default(), random::<32>(), Arc::new(SystemClock));
    let keys = Keys {
        api_key: canaries.hatch("venue key"),
        secret: canaries.hatch("venue secret").into(),
        address: "0x00000000000000000000000000000000000000de".into(),
    };
    let replay = Replay::start(clock.now(), keys.clone(), clock).await.unwrap();
    let mut settings = settings(&db, &master_key, &replay.url);
    canaries.watch("master key", &STANDARD.encode(master_key));
    canaries.watch("master key", &hex::encode(master_key));
    if std::env::var_os("CODASH_TEST_DATABASE_URL").is_none() {
        // A throwaway server takes any password.
        let (_, host) = settings["CODASH_DATABASE_URL"].split_once('@').unwrap();
        let url = format!("postgres://postgres:{}@{host}", canaries.hatch("database password"));
        settings.insert("CODASH_DATABASE_URL", url);
    }
    settings.insert("CODASH_LOG", "trace".into());
    settings.insert("CODASH_OTLP_ENDPOINT", traces.url.clone());
    let mut start = |subcommand: &str, format: &str| {
        settings.insert("CODASH_LOG_FORMAT", format.into());
        Process::start(subcommand, &settings, &folder.0.join(format!("{subcommand}-{format}")))
    };
    let mut processes =
        [start("serve", "text"), start("serve", "json"), start("automate", "json"), start("collect", "text")];
    let servers = [processes[0].address().await, processes[1].address().await];
    let talk = Talk { client: crate::http_client(), servers, turn: Cell::new(0) };
    let receiver = Receiver::start().await;

    let key = keys_and_credentials(&talk, &mut canaries, &keys).await;
    people(&talk, &mut canaries, &key).await;
    automations(&talk, &mut canaries, &key, &receiver).await;
    misplaced(&talk, &mut canaries, &key).await;
    collected(&talk, &key).await;
    failures(&talk, &mut canaries, &db, &key, &keys).await;
    let refused = refused_settings(&mut canaries, &settings, &folder.0).await;

    for process in &mut processes {
        assert!(process.stop().await.success());
    }
    for process in &processes {
        let log = process.log();
        assert!(log.contains("TRACE") && log.lines().count() > 100, "it said something");
        canaries.assert_absent("a log", &log);
        for shape in ["kvt_", "whsec_", "Bearer kv_", "signature=", "$argon2", "://postgres:"] {
            assert!(!log.contains(shape), "{shape}");
        }
    }
    for log in refused {
        canaries.assert_absent("the log of a process that did not start", &log);
    }
    eprintln!("{} secrets, {} spans", canaries.count(), traces.spans().len());
    assert!(traces.spans().len() > 100);
    for body in traces.bodies() {
        canaries.assert_absent("a trace", &String::from_utf8_lossy(&body));
    }
}

/// The collector has signed requests with the account's secret and was answered.
async fn collected(talk: &Talk, key: &str) {
    for _ in 0..600 {
        let (_, reply) = talk.send(Method::GET, "/api/accounts", key, None).await;
        if reply["data"]["accounts"].as_array().is_some_and(|all| all.iter().any(|a| a["status"] == "connected")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was collected");
}
