//! The doorway: what every request passes, in order, before a handler sees it.
//!
//! [`compress`] › `observe` (request id, span, one log line, the error envelope) › panics caught ›
//! `admit` (size of the head, `Origin`, who is asking and how often, the body, the deadline) ›
//! [`contract`] (methods and parameters that the document has) › `If-None-Match` › route. Everything is
//! behind a key except [`is_public`]. The sockets are in [`listen`].

mod compress;
mod contract;
mod listen;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, body::BodyDataStream};
use futures::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::app::{App, AppConfig, random};
use crate::auth::{self, Caller};
use crate::limits::Usage;
use crate::rest::error::ApiError;
use crate::{mcp, rest, telemetry};

pub use compress::Uncompressed;
pub use listen::serve;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Room for a hundred ids and a hundred symbols, percent-encoded.
const LONGEST_URI: usize = 32 * 1024;
const LARGEST_HEAD: usize = 64 * 1024;
/// What a refused sender may still push so that it lives to read the answer.
const DRAIN: (usize, Duration) = (4 * 1024 * 1024, Duration::from_secs(2));

/// Both ends of the connection that a request came in on.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub remote: SocketAddr,
    pub local: SocketAddr,
}

/// The address that limits and allowlists go by: the peer's, or what a trusted proxy says.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// Every route with every layer. The caller adds [`Peer`] to each request.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(rest::routes(&app))
        .route("/mcp", post(mcp::handler))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed(""))
        // The body was measured by `admit`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(rest::conditional::answer))
        .layer(from_fn(contract::hold))
        .layer(from_fn_with_state(app.clone(), admit))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn(observe))
        .layer(from_fn_with_state(app.config.hsts(), promise_tls))
        .layer(compress::layer())
        .layer(from_fn(compress::plain_at_worst))
        .with_state(app)
}

/// The routes that need no key. Nothing is served below `/.well-known`, but the answer must be a
/// plain 404: a client that is sent a 401 there looks for an authorization server.
fn is_public(method: &Method, path: &str) -> bool {
    let asks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    match path {
        "/" | "/health/live" | "/health/ready" | "/api/venues" => asks,
        "/openapi.yaml" | "/openapi.json" | "/docs" | "/llms.txt" => asks,
        "/api/agents/register"
        | "/api/auth/signup"
        | "/api/auth/login"
        | "/api/auth/refresh"
        | "/api/auth/logout"
        | "/api/auth/accept" => *method == Method::POST || *method == Method::OPTIONS,
        // The token in the path is the key.
        _ if path.starts_with("/api/automations/trigger/") => *method == Method::POST || *method == Method::OPTIONS,
        _ => path.starts_with("/.well-known/"),
    }
}

async fn observe(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let text = id.to_str().unwrap_or_default().to_owned();
    let span = telemetry::request_span(&request, &text);
    let started = Instant::now();
    async move {
        let mut response = in_shape(next.run(request).await, &text);
        response.headers_mut().insert(REQUEST_ID, id);
        harden(response.headers_mut());
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(http.response.status_code = response.status().as_u16(), duration_us = micros, "answered");
        response
    }
    .instrument(span)
    .await
}

/// The caller's id when it is sane, else one of ours.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane =
        |id: &[u8]| (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| is_sane(id.as_bytes())) {
        return id.clone();
    }
    let minted = random::<16>().map(hex::encode).unwrap_or_default();
    HeaderValue::from_str(&minted).unwrap_or(HeaderValue::from_static("none"))
}

/// Gives every error the contract's envelope, also those that a library answered, and logs ours once.
fn in_shape(response: Response, request_id: &str) -> Response {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let error = match parts.extensions.remove::<ApiError>() {
        Some(error) => error,
        // JSON-RPC has an envelope of its own.
        None if is_json(&parts.headers) => return Response::from_parts(parts, body),
        None => ApiError::of_status(parts.status),
    };
    error.log();
    parts.status = error.status();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(error.envelope(Some(request_id)).to_string()))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// Answers are one tenant's data: no cache keeps them, no browser guesses what they are, runs anything
/// in them or shows them inside another site's page.
fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
}

/// Said by a server that its clients reach over TLS alone, see `CODASH_HSTS_SECONDS`.
async fn promise_tls(State(promise): State<Option<HeaderValue>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(promise) = promise {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, promise);
    }
    response
}

/// The panic's text may hold data: it goes to the log and nowhere else.
fn after_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a handler panicked");
    ApiError::internal().into_response()
}

async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let checked = check_head(&app.config, &mut parts);
    let origin = checked.as_ref().ok().and_then(Option::clone);
    let mut response = match checked {
        Err(error) => refuse(error, &parts, body).await,
        Ok(Some(_)) if is_preflight(&parts) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => pass(&app, parts, body, started, next).await,
    };
    if let Some(origin) = origin {
        allow_page(response.headers_mut(), origin);
    }
    response
}

/// What the head alone decides. The allowed `Origin` comes back, when there is one.
fn check_head(config: &AppConfig, parts: &mut Parts) -> Result<Option<HeaderValue>, ApiError> {
    let peer = *parts.extensions.get::<Peer>().ok_or_else(ApiError::internal)?;
    let address = auth::client_address(peer.remote.ip(), &parts.headers, &config.trusted_proxies);
    parts.extensions.insert(ClientAddress(address));
    if parts.uri.path_and_query().is_some_and(|line| line.as_str().len() > LONGEST_URI) {
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "uri_too_long", "the address is longer than 32 KiB"));
    }
    if parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() > LARGEST_HEAD {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(ApiError::new(status, "headers_too_large", "the headers are larger than 64 KiB"));
    }
    check_framing(parts)?;
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(None) };
    // No browser sends two; which of them would be meant?
    let is_one = origins.next().is_none();
    let is_allowed = is_one && origin.to_str().is_ok_and(|text| config.allows_origin(text, peer.local));
    if is_allowed { Ok(Some(origin.clone())) } else { Err(ApiError::origin_not_allowed()) }
}

/// One host, and a body as it is: whoever stands in front of us must see the same request.
fn check_framing(parts: &Parts) -> Result<(), ApiError> {
    let all_are = |name: HeaderName, word: &[u8]| {
        parts.headers.get_all(name).iter().all(|line| line.as_bytes().eq_ignore_ascii_case(word))
    };
    let is_chunked_once = parts.headers.get_all(header::TRANSFER_ENCODING).iter().count() < 2;
    if !all_are(header::CONTENT_ENCODING, b"identity")
        || !all_are(header::TRANSFER_ENCODING, b"chunked")
        || !is_chunked_once
    {
        return Err(ApiError::unsupported_media_type("the body must not be compressed"));
    }
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) {
        return Err(ApiError::invalid_request("the header Host must be there, once"));
    }
    Ok(())
}

/// A browser asks before it sends a key from an allowed page.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn allow_page(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, x-api-key, content-type, idempotency-key, if-match, if-none-match, range, x-request-id, \
             traceparent, tracestate, mcp-protocol-version, mcp-method, mcp-name",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "x-request-id, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, etag, location, \
             allow, content-disposition, content-range, accept-ranges, www-authenticate, idempotency-replayed, \
             x-export-watermark, x-export-schema, x-export-rows, x-export-sha256",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
}

/// Who is asking, then the body, then the handler, all inside the deadline but the body's arrival.
async fn pass(app: &App, mut parts: Parts, body: Body, started: Instant, next: Next) -> Response {
    let deadline = started + app.config.deadline;
    let usage = match identify(app, &mut parts, deadline).await {
        Ok(usage) => usage,
        Err(error) => return refuse(error, &parts, body).await,
    };
    let arrival = Instant::now();
    let mut response = match read_body(&app.config, body).await {
        Ok(bytes) => {
            let request = Request::from_parts(parts, Body::from(bytes));
            let answered = timeout_at(deadline + arrival.elapsed(), next.run(request)).await;
            // Dropping the handler closes its database connection, which ends the query.
            answered.unwrap_or_else(|_| ApiError::deadline_exceeded().into_response())
        }
        Err(error) => closing(error.into_response()),
    };
    if let Some(standing) = usage.and_then(|usage| usage.get()) {
        standing.write(response.headers_mut());
    }
    response
}

/// `None` on a public route, where a credential is not even looked at.
async fn identify(app: &App, parts: &mut Parts, deadline: Instant) -> Result<Option<Usage>, ApiError> {
    if is_public(&parts.method, parts.uri.path()) {
        return Ok(None);
    }
    let ClientAddress(address) = *parts.extensions.get::<ClientAddress>().ok_or_else(ApiError::internal)?;
    let caller: Caller = timeout_at(deadline, auth::authenticate(app, &parts.headers, address))
        .await
        .map_err(|_| ApiError::deadline_exceeded())??;
    let usage = caller.usage.clone();
    parts.extensions.insert(caller);
    Ok(Some(usage))
}

async fn read_body(config: &AppConfig, body: Body) -> Result<Bytes, ApiError> {
    let max = config.max_body;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut stream = body.into_data_stream();
    if announced > max {
        drain(&mut stream).await;
        return Err(ApiError::payload_too_large(max));
    }
    let deadline = Instant::now() + config.body_deadline;
    let mut bytes = Vec::with_capacity(announced);
    while let Some(chunk) = timeout_at(deadline, stream.next()).await.map_err(|_| body_too_slow())? {
        let chunk = chunk.map_err(|_| ApiError::invalid_request("the body broke off"))?;
        if bytes.len() + chunk.len() > max {
            // Nothing of it is held while the sender is heard out.
            drop((bytes, chunk));
            drain(&mut stream).await;
            return Err(ApiError::payload_too_large(max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn body_too_slow() -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body took too long to arrive")
}

/// Answers without a handler. What the sender is already pushing is read and thrown away: closing
/// the socket on it would take the answer along.
async fn refuse(error: ApiError, parts: &Parts, body: Body) -> Response {
    if body.is_end_stream() {
        return error.into_response();
    }
    if !parts.headers.contains_key(header::EXPECT) {
        drain(&mut body.into_data_stream()).await;
    }
    closing(error.into_response())
}

/// The rest of the request is not waited for.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn drain(stream: &mut BodyDataStream) {
    let (mut left, patience) = DRAIN;
    let read = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Out of patience is as good as done.
    drop(timeout(patience, read).await);
}

#[cfg(test)]
mod tests;
