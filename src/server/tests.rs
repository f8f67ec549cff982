//! The layers that need no database. Keys, limits and deadlines are tested over HTTP in `tests/it`.

use axum::body::to_bytes;
use axum::http::Uri;
use axum::routing::get;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

/// The outer layers around routes that misbehave.
fn layered() -> Router {
    Router::new()
        .route("/panic", get(async || -> Response { panic!("boom: secret") }))
        .route("/plain", get(async || (StatusCode::UNPROCESSABLE_ENTITY, "library text")))
        .route("/rpc", get(async || (StatusCode::BAD_REQUEST, axum::Json(serde_json::json!({ "jsonrpc": "2.0" })))))
        .route("/fine", get(async |headers: HeaderMap| headers[REQUEST_ID].to_str().unwrap().to_owned()))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed(""))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn(observe))
}

fn request(method: Method, path: &str) -> Request {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

async fn send(request: Request) -> (Response<()>, String) {
    let (parts, body) = layered().oneshot(request).await.unwrap().into_parts();
    let text = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(parts, ()), String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn every_error_has_the_contracts_shape_and_the_requests_id() {
    for (method, path, status, code) in [
        (Method::GET, "/nowhere", 404, "not_found"),
        (Method::GET, "/.well-known/oauth-protected-resource", 404, "not_found"),
        (Method::POST, "/fine", 405, "method_not_allowed"),
        (Method::GET, "/panic", 500, "internal"),
        (Method::GET, "/plain", 400, "invalid_request"),
    ] {
        let (response, text) = send(request(method, path)).await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!((&body["success"], &body["code"]), (&Value::Bool(false), &Value::from(code)), "{path}");
        assert_eq!(body["requestId"], response.headers()[REQUEST_ID].to_str().unwrap(), "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
        assert!(!text.contains("secret"), "{path}");
    }
}

#[tokio::test]
async fn a_405_says_what_is_allowed() {
    let (response, _) = send(request(Method::DELETE, "/rpc")).await;
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn a_json_rpc_error_keeps_its_own_envelope() {
    let (response, text) = send(request(Method::GET, "/rpc")).await;
    assert_eq!((response.status().as_u16(), text.as_str()), (400, r#"{"jsonrpc":"2.0"}"#));
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    for (sent, is_kept) in [("abc-1._Z", true), ("", false), ("has space", false), ("<script>", false)] {
        let mut request = request(Method::GET, "/fine");
        request.headers_mut().insert(REQUEST_ID, sent.parse().unwrap());
        let (response, seen) = send(request).await;
        assert_eq!(response.headers()[REQUEST_ID], seen.as_str(), "handlers see what callers are told");
        assert_eq!(seen == sent, is_kept, "{sent:?}");
        assert!(is_kept || seen.len() == 32, "{seen}");
    }
    let mut long = request(Method::GET, "/fine");
    long.headers_mut().insert(REQUEST_ID, "x".repeat(65).parse().unwrap());
    assert_eq!(send(long).await.1.len(), 32);
}

#[tokio::test]
async fn no_cache_keeps_an_answer_and_no_browser_guesses_its_type() {
    let (response, _) = send(request(Method::GET, "/fine")).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[test]
fn everything_is_behind_a_key_but_a_short_list() {
    for path in ["/", "/health/live", "/health/ready", "/openapi.yaml", "/.well-known/oauth-protected-resource/mcp"] {
        assert!(is_public(&Method::GET, path), "{path}");
    }
    assert!(is_public(&Method::POST, "/api/agents/register"));
    for (method, path) in [
        (Method::POST, "/mcp"),
        (Method::GET, "/mcp"),
        (Method::GET, "/api/accounts"),
        (Method::GET, "/api/agents/register"),
        (Method::GET, "//health/live"),
        (Method::GET, "/health/live/"),
        (Method::POST, "/health/live"),
        (Method::GET, "/.well-known"),
        (Method::GET, "/nowhere"),
    ] {
        assert!(!is_public(&method, path), "{method} {path}");
    }
}

fn head(uri: &str, headers: &[(HeaderName, &str)]) -> Parts {
    let mut request = Request::new(());
    *request.uri_mut() = uri.parse::<Uri>().unwrap();
    request.headers_mut().insert(header::HOST, "x".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let at = |text: &str| text.parse().unwrap();
    request.extensions_mut().insert(Peer { remote: at("198.51.100.1:4000"), local: at("127.0.0.1:8080") });
    request.into_parts().0
}

fn refused(uri: &str, headers: &[(HeaderName, &str)]) -> (u16, &'static str) {
    let error = check_head(&AppConfig::default(), &mut head(uri, headers)).unwrap_err();
    (error.status().as_u16(), error.code())
}

#[test]
fn a_head_that_is_too_large_or_compressed_or_foreign_is_refused() {
    let long = "x".repeat(40_000);
    assert_eq!(refused(&format!("/{}", "a".repeat(32 * 1024)), &[]), (414, "uri_too_long"));
    assert_eq!(refused("/", &[(header::COOKIE, &long), (header::COOKIE, &long)]), (431, "headers_too_large"));
    for (name, lines) in [
        (header::CONTENT_ENCODING, &["gzip"][..]),
        (header::CONTENT_ENCODING, &["identity", "gzip"][..]),
        (header::TRANSFER_ENCODING, &["gzip, chunked"][..]),
        (header::TRANSFER_ENCODING, &["chunked", "chunked"][..]),
    ] {
        let lines: Vec<(HeaderName, &str)> = lines.iter().map(|line| (name.clone(), *line)).collect();
        assert_eq!(refused("/", &lines), (415, "unsupported_media_type"), "{lines:?}");
    }
    let own = (header::ORIGIN, "http://localhost:8080");
    assert_eq!(refused("/", &[own, (header::ORIGIN, "http://evil.test")]), (403, "origin_not_allowed"));
    assert_eq!(refused("/", &[(header::HOST, "y")]), (400, "invalid_request"), "two hosts");
    for origin in ["http://evil.test", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8080"] {
        assert_eq!(refused("/", &[(header::ORIGIN, origin)]), (403, "origin_not_allowed"));
    }
}

#[test]
fn an_ordinary_head_passes_and_its_address_is_noted() {
    let mut parts = head("/mcp", &[(header::CONTENT_ENCODING, "identity"), (header::ORIGIN, "http://localhost:8080")]);
    let origin = check_head(&AppConfig::default(), &mut parts).unwrap();
    assert_eq!(origin.unwrap(), "http://localhost:8080");
    assert_eq!(parts.extensions.get::<ClientAddress>().unwrap().0.to_string(), "198.51.100.1");
    assert!(check_head(&AppConfig::default(), &mut head("/", &[])).unwrap().is_none());
    let chunked = &mut head("/", &[(header::TRANSFER_ENCODING, "Chunked")]);
    assert!(check_head(&AppConfig::default(), chunked).is_ok());
}

#[test]
fn only_before_http_1_1_may_a_host_be_left_out() {
    let mut parts = head("/", &[]);
    parts.headers.remove(header::HOST);
    assert_eq!(check_head(&AppConfig::default(), &mut parts).unwrap_err().code(), "invalid_request");
    parts.version = Version::HTTP_10;
    assert!(check_head(&AppConfig::default(), &mut parts).is_ok());
}

#[test]
fn without_a_peer_nothing_is_answered() {
    let mut parts = Request::new(()).into_parts().0;
    assert_eq!(check_head(&AppConfig::default(), &mut parts).unwrap_err().code(), "internal");
}

fn small() -> AppConfig {
    AppConfig { max_body: 8, body_deadline: Duration::from_millis(50), ..AppConfig::default() }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_it_is_sent() {
    assert_eq!(read_body(&small(), Body::from("12345678")).await.unwrap(), "12345678");
    assert_eq!(read_body(&small(), Body::from("123456789")).await.unwrap_err().code(), "payload_too_large");
    let chunks = futures::stream::iter(["12345", "6789"].map(Ok::<_, std::io::Error>));
    assert_eq!(read_body(&small(), Body::from_stream(chunks)).await.unwrap_err().code(), "payload_too_large");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let silent = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(read_body(&small(), silent).await.unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
    let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    assert_eq!(read_body(&small(), Body::from_stream(broken)).await.unwrap_err().code(), "invalid_request");
}
