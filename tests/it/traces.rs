//! Spans leave the process under the caller's trace.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::agent::Agent;
use crate::dev::Folder;
use crate::harness::master_keys;
use crate::otlp::{Collector, Span};
use crate::processes::{Process, settings};
use crate::tenants::{TestStore, random};

#[tokio::test]
async fn the_exported_span_of_a_request_is_a_child_of_the_callers() {
    let (db, traces, folder) = (TestStore::new().await, Collector::start().await, Folder::new());
    let tenant = db.workspace("w").await;
    std::fs::create_dir_all(&folder.0).unwrap();
    let mut settings = settings(&db, &random(), "http://127.0.0.1:9");
    settings.insert("CODASH_OTLP_ENDPOINT", traces.url.clone());
    // The tenant's secrets are sealed with the store's own.
    settings.insert("CODASH_MASTER_KEYS", master_keys().to_text().expose_secret().to_owned());
    let mut serve = Process::start("serve", &settings, &folder.0.join("log"));
    let agent = Agent { address: serve.address().await, key: tenant.key.reveal().to_owned() };
    let (trace, parent) = (hex::encode(random::<16>()), hex::encode(random::<8>()));
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "list_accounts", "arguments": {} } });
    let ask = |traceparent: Option<String>| {
        let mut request = agent.request(Method::POST, "/mcp").header("content-type", "application/json");
        if let Some(value) = traceparent {
            request = request.header("traceparent", value);
        }
        request.body(call.to_string()).send()
    };
    for traceparent in [
        Some(format!("00-{trace}-{parent}-01")),
        None,
        Some("00-00000000000000000000000000000000-0000000000000000-01".into()),
        Some(format!("{trace}-{parent}")),
    ] {
        assert_eq!(ask(traceparent).await.unwrap().status(), 200);
    }
    assert!(serve.stop().await.success());

    let spans = traces.spans();
    let of_requests: Vec<&Span> = spans.iter().filter(|span| span.name == "POST /mcp").collect();
    assert_eq!(of_requests.len(), 4, "{spans:?}");
    let theirs: Vec<&&Span> = of_requests.iter().filter(|span| span.trace == trace).collect();
    assert_eq!((theirs.len(), &theirs[0].parent), (1, &parent), "the caller's span is the parent");
    for own in of_requests.iter().filter(|span| span.trace != trace) {
        assert_eq!(own.parent, "", "without a caller's, and with one that is none, a trace begins here");
        assert_ne!(own.trace, "0".repeat(32));
    }
    let below = spans.iter().filter(|span| span.parent == theirs[0].id).collect::<Vec<_>>();
    assert!(!below.is_empty(), "the tool's span is below it: {spans:?}");
    assert!(below.iter().all(|span| span.trace == trace));
}
