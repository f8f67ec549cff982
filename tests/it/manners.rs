//! How the server behaves as one of HTTP: methods, parameters, tags, compression, other sites' pages.

use std::io::Read;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::agent::{Agent, World, generous};

async fn send(request: RequestBuilder) -> (u16, HeaderMap, Vec<u8>) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

async fn refused(request: RequestBuilder) -> (u16, Value) {
    let (status, headers, body) = send(request).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert_eq!(body["success"], json!(false), "{body}");
    assert_eq!(body["requestId"].as_str().unwrap(), headers["x-request-id"].to_str().unwrap());
    (status, body)
}

fn url(path: &str) -> String {
    path.replace("{provider}", "anthropic").replace("{table}", "events")
}

/// Every path of the document, and the methods that it answers.
fn paths() -> Vec<(String, Vec<String>)> {
    let paths = codash::openapi::document()["paths"].as_object().unwrap();
    let methods = |operations: &Value| operations.as_object().unwrap().keys().map(|m| m.to_uppercase()).collect();
    paths.iter().map(|(path, operations)| (path.clone(), methods(operations))).collect()
}

fn allowed(methods: &[String]) -> String {
    let with_head = |method: &String| if method == "GET" { "GET, HEAD".to_owned() } else { method.clone() };
    let all: Vec<String> = methods.iter().map(with_head).chain(["OPTIONS".to_owned()]).collect();
    all.join(", ")
}

#[tokio::test]
async fn every_path_says_what_it_allows_and_refuses_the_rest() {
    let world = World::new().await;
    let agent = world.agent();
    let pages = ["/", "/docs", "/llms.txt", "/openapi.json", "/openapi.yaml"]
        .map(|path| (path.to_owned(), vec!["GET".to_owned()]));
    for (path, methods) in paths().into_iter().chain(pages) {
        let allow = allowed(&methods);
        let (status, headers, body) = send(agent.request(Method::OPTIONS, &url(&path))).await;
        assert_eq!((status, headers["allow"].to_str().unwrap(), body.len()), (204, allow.as_str(), 0), "{path}");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE] {
            if methods.iter().any(|m| m == method.as_str()) {
                continue;
            }
            let (status, headers, body) = send(agent.request(method.clone(), &url(&path))).await;
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &body["code"]), (405, &json!("method_not_allowed")), "{method} {path}");
            assert_eq!(headers["allow"].to_str().unwrap(), allow, "{method} {path}");
            assert_eq!(body["details"]["allowed"].as_array().unwrap().len(), allow.split(", ").count());
        }
    }
}

/// A key is told that it is of the wrong kind before anything else.
fn is_for_people(path: &str) -> bool {
    let people = ["/api/audit", "/api/owners", "/api/keys", "/api/auth/password"];
    people.iter().any(|start| path.starts_with(start)) && !path.starts_with("/api/keys/self")
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let world = World::new().await;
    let agent = world.agent();
    for (path, methods) in paths() {
        // What an id names is not there: `manage` asks for it.
        if !methods.contains(&"GET".to_owned()) || path.contains("{id}") || is_for_people(&path) {
            continue;
        }
        let (status, got, _) = send(agent.request(Method::GET, &url(&path))).await;
        let (same, headed, body) = send(agent.request(Method::HEAD, &url(&path))).await;
        assert_eq!((status, same, body.len()), (200, 200, 0), "{path}");
        // How a body is sent is said where one is sent.
        let changing =
            ["x-request-id", "date", "x-ratelimit-remaining", "x-ratelimit-reset", "transfer-encoding", "trailer"];
        for name in got.keys().filter(|name| !changing.contains(&name.as_str())) {
            assert_eq!(headed.get(name), got.get(name), "{path} {name}");
        }
    }
    let (status, headers, body) = send(agent.request(Method::HEAD, "/api/nothing")).await;
    assert_eq!((status, body.len()), (404, 0));
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn no_route_ignores_a_parameter_that_it_does_not_know() {
    let world = World::new().await;
    let agent = world.agent();
    for (path, methods) in paths().into_iter().filter(|(path, _)| !is_for_people(path)) {
        for method in methods {
            let asked = format!("{}?accountIdz=1", url(&path));
            let request = agent.request(method.parse().unwrap(), &asked).header("content-type", "application/json");
            let (status, body) = refused(request.body("{}")).await;
            assert_eq!((status, &body["details"]["errors"][0]["path"]), (400, &json!("accountIdz")), "{method} {path}");
        }
    }
    let (status, ..) = send(agent.request(Method::GET, "/openapi.yaml?utm_source=mail")).await;
    assert_eq!(status, 200, "a page is not a question");
    for bare in ["/api/accounts?", "/api/status?&", "/api/portfolio?&&"] {
        assert_eq!(send(agent.request(Method::GET, bare)).await.0, 200, "{bare}");
    }
}

/// A request with a target that no library would send.
async fn raw(agent: &Agent, target: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(agent.address).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\n\r\n", agent.key);
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn addresses_are_read_to_the_letter() {
    let world = World::new().await;
    let agent = world.agent();
    for (target, path) in [
        ("/api/portfolio?accountId=%ff", "accountId"),
        ("/api/portfolio?accountId=%zz", "accountId"),
        ("/api/portfolio?accountId=%", "accountId"),
        ("/api/portfolio?accountId=a%00", "accountId"),
        ("/api/trades?limit=1&limit=2", "limit"),
        ("/api/trades?limit=", "limit"),
        ("/api/trades?symbols=BTC-PERP,,ETH-PERP", "symbols"),
        ("/api/trades?accountIds=,", "accountIds"),
        ("/api/trades?limit=1e99", "limit"),
        ("/api/status?%00=1", "%00"),
    ] {
        let answer = raw(&agent, target).await;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        assert_eq!(body["details"]["errors"][0]["path"], json!(path), "{target}");
    }
    for target in [
        "/api/accounts/",
        "//api/accounts",
        "/api//accounts",
        "/API/accounts",
        "/api/export/events%2Fcount",
        "/api/export/%ff",
        "/api/export//count",
        "/docs/",
    ] {
        let answer = raw(&agent, target).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        assert!(answer.contains("\"success\":false"), "{target}: {answer}");
    }
    let answer = raw(&agent, &format!("/api/trades?symbols={}", "a".repeat(32 * 1024))).await;
    assert!(answer.starts_with("HTTP/1.1 414") && answer.contains("uri_too_long"), "{answer}");
}

#[tokio::test]
async fn lists_are_read_by_commas_and_by_repetition_alike() {
    let world = World::new().await;
    let (one, other) = (world.account("One").await, world.account("Other").await);
    let agent = world.agent();
    let mut answers = Vec::new();
    for query in [
        format!("accountIds={one},{other}"),
        format!("accountIds={one}%2C{other}"),
        format!("accountIds={one}&accountIds={other}"),
        format!("accountIds=&accountIds={one}&accountIds={other}"),
    ] {
        let (status, _, body) = send(agent.request(Method::GET, &format!("/api/portfolio?{query}"))).await;
        assert_eq!(status, 200, "{query}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["data"]["accountCount"], json!(2), "{query}");
        answers.push(body);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn a_body_that_two_readers_could_read_differently_is_refused() {
    let world = World::new().await;
    let agent = world.agent();
    let post = |body: &'static str| {
        let request = agent.request(Method::POST, "/api/pnl-analysis/query");
        request.header("content-type", "application/json; charset=utf-8").body(body)
    };
    for (body, said) in [
        ("", "empty"),
        ("\u{FEFF}{}", "byte order mark"),
        (r#"{"days":7,"days":90}"#, "twice"),
        (r#"{"days":7}{"days":90}"#, "trailing"),
        ("[]", "object"),
        ("{", "JSON"),
    ] {
        let (status, reply) = refused(post(body)).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{body}");
        assert!(reply["error"].as_str().unwrap().contains(said), "{body}: {reply}");
    }
    assert_eq!(send(post("{}")).await.0, 200);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = agent.request(Method::POST, "/api/pnl-analysis/query").header("content-type", "application/json");
    assert_eq!(refused(nested.body(deep)).await.0, 400);
}

#[tokio::test]
async fn who_has_the_answer_already_is_told_so_and_no_stranger_shares_a_tag() {
    let world = World::new().await;
    world.account("Main").await;
    let agent = world.agent();
    for (path, keeps) in [
        ("/api/accounts", "private, no-cache"),
        ("/api/venues", "private, no-cache"),
        ("/openapi.json", "public, max-age=300"),
        ("/openapi.yaml", "public, max-age=300"),
        ("/docs", "public, max-age=300"),
        ("/llms.txt", "public, max-age=300"),
    ] {
        let (_, headers, _) = send(agent.request(Method::GET, path)).await;
        assert_eq!(headers["cache-control"], keeps, "{path}");
        let tag = headers["etag"].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"x\", {}", tag.trim_start_matches("W/")), "*".into()] {
            for method in [Method::GET, Method::HEAD] {
                let request = agent.request(method, path).header("if-none-match", known.as_str());
                let (status, headers, body) = send(request).await;
                assert_eq!((status, body.len(), headers["etag"].to_str().unwrap()), (304, 0, tag.as_str()), "{path}");
                assert_eq!(headers["cache-control"], keeps, "{path}");
            }
        }
    }
    let tag_of = async |agent: &Agent| send(agent.request(Method::GET, "/api/accounts")).await.1["etag"].clone();
    let before = tag_of(&agent).await;
    assert_ne!(before, tag_of(&world.stranger().await).await);
    world.account("Second").await;
    assert_ne!(before, tag_of(&agent).await, "another answer has another tag");
    let request = world.public(Method::GET, "/api/accounts").header("if-none-match", "*");
    assert_eq!(refused(request).await.0, 401, "a tag opens nothing");
    let (_, headers, _) = send(agent.request(Method::GET, "/api/status")).await;
    assert_eq!((headers.get("etag"), &headers["cache-control"]), (None, &"private, no-store".parse().unwrap()));
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_asks_and_say_the_same() {
    let world = World::new().await;
    let agent = world.agent();
    let asked = |path: &str, encodings: &str| agent.request(Method::GET, path).header("accept-encoding", encodings);
    let (_, headers, plain) = send(asked("/openapi.json", "identity")).await;
    assert_eq!((headers.get("content-encoding"), &headers["vary"]), (None, &"accept-encoding".parse().unwrap()));
    let (_, headers, packed) = send(asked("/openapi.json", "gzip")).await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain && packed.len() * 4 < plain.len());
    let (_, headers, _) = send(asked("/openapi.json", "br")).await;
    assert_eq!(headers["content-encoding"], "br");
    let (_, headers, _) = send(asked("/api/status", "gzip, br")).await;
    assert_eq!(headers.get("content-encoding"), None, "a short answer is not worth it");
    for format in ["csv", "json", "jsonl"] {
        let (_, headers, _) = send(asked(&format!("/api/export/accounts?format={format}"), "gzip, br")).await;
        assert_eq!(headers.get("content-encoding"), None, "a file is as its digest says");
    }
    let (status, headers, body) = send(asked("/api/trades?limit=x&symbols=", "gzip")).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (400, "application/json"));
    assert!(serde_json::from_slice::<Value>(&body).is_ok(), "no error is mistaken for a compressed one");
    // Long enough to be compressed, were it not for the key in it.
    let body = json!({ "name": "🦀".repeat(100), "keyName": "🦀".repeat(100) }).to_string();
    let register = world.public(Method::POST, "/api/agents/register").header("content-type", "application/json");
    let (status, headers, body) = send(register.header("accept-encoding", "gzip").body(body)).await;
    assert_eq!((status, headers.get("content-encoding")), (201, None));
    assert!(body.len() > 1024, "{}", body.len());
}

#[tokio::test]
async fn an_allowed_page_may_ask_and_read_what_it_needs() {
    let mut config = generous();
    config.origins = vec!["https://app.example.com".into()];
    let world = World::with(config).await;
    let preflight = world
        .public(Method::OPTIONS, "/api/accounts")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "GET");
    let (status, headers, _) = send(preflight).await;
    assert_eq!((status, &headers["access-control-allow-origin"]), (204, &"https://app.example.com".parse().unwrap()));
    let lists = |name: &str| headers[name].to_str().unwrap().split(", ").map(str::to_owned).collect::<Vec<_>>();
    for name in ["authorization", "idempotency-key", "if-match", "if-none-match", "range", "traceparent"] {
        assert!(lists("access-control-allow-headers").contains(&name.to_owned()), "{name}");
    }
    for name in ["etag", "location", "content-disposition", "retry-after", "x-request-id", "x-export-watermark"] {
        assert!(lists("access-control-expose-headers").contains(&name.to_owned()), "{name}");
    }
    let (status, headers, _) = send(world.public(Method::OPTIONS, "/api/accounts")).await;
    assert_eq!((status, headers.get("access-control-allow-origin")), (401, None), "without an origin it is a request");
}

#[tokio::test]
async fn a_browser_is_told_to_run_nothing_and_to_come_back_over_tls() {
    let world = World::new().await;
    let (_, headers, _) = send(world.public(Method::GET, "/health/live")).await;
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert_eq!(headers.get("strict-transport-security"), None);
    let mut config = generous();
    config.hsts_seconds = 86_400;
    let world = World::with(config).await;
    for path in ["/health/live", "/api/accounts"] {
        let (_, headers, _) = send(world.public(Method::GET, path)).await;
        assert_eq!(headers["strict-transport-security"], "max-age=86400", "{path}");
    }
}

#[tokio::test]
async fn the_page_is_whole_and_may_load_nothing() {
    use base64::Engine as _;
    use sha2::Digest as _;
    let world = World::new().await;
    let (status, headers, page) = send(world.public(Method::GET, "/docs")).await;
    let page = String::from_utf8(page).unwrap();
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{digest}';")), "{policy}");
    assert!(page.ends_with("</main></body></html>\n"));
    let (status, headers, text) = send(world.public(Method::GET, "/llms.txt")).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/plain; charset=utf-8"));
    assert!(String::from_utf8(text).unwrap().starts_with("# CO-DASH\n"));
}

#[tokio::test]
async fn the_contract_is_served_in_both_writings_to_anyone() {
    let world = World::new().await;
    let (status, headers, json) = send(world.public(Method::GET, "/openapi.json")).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/json"));
    assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), *codash::openapi::document());
    let (status, headers, yaml) = send(world.public(Method::GET, "/openapi.yaml")).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/yaml"));
    assert_eq!(String::from_utf8(yaml).unwrap(), codash::openapi::yaml());
}
