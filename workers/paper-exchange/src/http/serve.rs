//! From a request to its answer: who asks, what it weighs, what spoils it, what it says.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::control;
use super::meter::{Family, Halt};
use super::refused::{Answer, Refused};
use super::routes::{family, find};
use super::world::{World, lock};
use crate::faults::{End, bomb};

const LARGEST_BODY: usize = 64 * 1024;

/// What every handler needs.
#[derive(Clone)]
pub struct Door {
    pub world: Arc<World>,
    pub hosts: Arc<Vec<String>>,
    pub bind: IpAddr,
}

/// Answers anything.
pub async fn handle(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    if !is_for_us(&parts.headers, &door) {
        return Ok(plain(403, json!({ "code": -1, "msg": "This address is not served." })));
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return Ok(plain(413, json!({ "code": -1, "msg": "The body is too large." })));
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let (body, key) = (String::from_utf8_lossy(&body).into_owned(), text("x-mbx-apikey"));
    let call = Call::new(parts.method.as_str().to_owned(), path, query, body, key, peer.ip());
    let world = door.world;
    if control::is_control(&call.path) {
        let said = blocking(&world, move |world| control::answer(world, &call)).await;
        return Ok(spoken(said).0);
    }
    Ok(venue(world, call).await)
}

/// A page in a browser cannot reach us under a name that points here, nor from another page.
fn is_for_us(headers: &HeaderMap, door: &Door) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let served = |authority: &str| {
        let host = host_of(authority);
        let is_address = |ip: IpAddr| ip.is_loopback() || ip == door.bind || !door.bind.is_loopback();
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(is_address)
            || door.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    };
    let from_here = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| served(authority));
    text(header::HOST).is_some_and(served) && text(header::ORIGIN).is_none_or(from_here)
}

/// The host of `host`, `host:port` or `[address]:port`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or("");
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Runs what may take a while, and locks the exchange, off the async threads.
async fn blocking(world: &Arc<World>, work: impl FnOnce(&World) -> Answer + Send + 'static) -> Answer {
    let world = Arc::clone(world);
    let done = tokio::task::spawn_blocking(move || work(&world)).await;
    done.unwrap_or_else(|error| {
        tracing::error!(error = %error, "a request to the paper exchange failed");
        Err(Refused::with_status(500, -1000, "An unknown error occurred while processing the request."))
    })
}

/// A request of the exchange's own API.
async fn venue(world: Arc<World>, call: Call) -> Response {
    let real = (world.real)();
    let (method, path, ip) = (call.method.clone(), call.path.clone(), call.ip);
    let (family, route) = (family(&path), find(&method, &path));
    let weight = route.map_or(1, |route| route.weight.of(&call));
    let (used, halt) = lock(&world.meter).charge(ip, family, weight, real);
    if let Some(halt) = halt {
        return weighed(limited(halt), family, used);
    }
    let Some(route) = route else {
        let message = format!("Path {path}, Method {method} is invalid");
        return weighed(plain(404, json!({ "code": -5000, "msg": message })), family, used);
    };
    let account = call.api_key.as_deref().and_then(|key| world.key(key)).map(|key| key.account_name.clone());
    let identity = call.identity(account.as_deref());
    let drawn = world.faults.draw(&method, &path, &identity, route.is_history, real);
    pause(&world, drawn.latency).await;
    let response = match drawn.end {
        Some(End::Timeout(millis)) => {
            pause(&world, millis).await;
            let message =
                "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
            plain(504, json!({ "code": -1007, "msg": message }))
        }
        Some(End::Limit { status, retry_after }) => {
            let halt = Halt { status, retry_after };
            lock(&world.meter).limit(ip, family, halt, (world.real)());
            limited(halt)
        }
        Some(End::ServerError(status)) => server_error(status),
        Some(End::Bomb) => {
            let mut response = bytes(200, Bytes::from_static(bomb()));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        Some(End::Cut(_)) | None => {
            let mut said = blocking(&world, move |world| world.answer(route, &call)).await;
            if let Ok(answer) = &mut said {
                drawn.spoil_rows(answer);
            }
            let (response, body) = spoken(said);
            match drawn.end {
                Some(End::Cut(keep)) => cut(response, &body, keep),
                _ => response,
            }
        }
    };
    weighed(response, family, used)
}

/// Waits so many real milliseconds, or until the server stops.
async fn pause(world: &World, millis: u64) {
    if millis > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis)) => {}
            () = world.stop.cancelled() => {}
        }
    }
}

fn bytes(status: u16, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn plain(status: u16, body: Value) -> Response {
    bytes(status, body.to_string().into())
}

/// An answer as a response, and its body once more.
fn spoken(said: Answer) -> (Response, Bytes) {
    let (status, body) = match said {
        Ok(body) => (200, body),
        Err(refused) => (refused.status, refused.body()),
    };
    let body = Bytes::from(body.to_string());
    (bytes(status, body.clone()), body)
}

fn limited(halt: Halt) -> Response {
    let message = match halt.status {
        418 => {
            "Way too much request weight used; IP banned. Please use WebSocket Streams for live updates to avoid bans."
        }
        _ => "Too much request weight used; please use WebSocket Streams for live updates to avoid polling the API.",
    };
    let mut response = plain(halt.status, json!({ "code": -1003, "msg": message }));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(halt.retry_after));
    response
}

fn server_error(status: u16) -> Response {
    match status {
        502 => {
            let mut response = bytes(502, "<html><head><title>502 Bad Gateway</title></head></html>".into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        }
        503 => plain(
            503,
            json!({ "code": -1008, "msg": "Server is currently overloaded with other requests. Please try again in a few minutes." }),
        ),
        504 => plain(504, json!({ "code": -1007, "msg": "Timeout waiting for response from backend server." })),
        other => {
            plain(other, json!({ "code": -1000, "msg": "An unknown error occurred while processing the request." }))
        }
    }
}

/// The response says how long its body is, and then breaks off.
fn cut(response: Response, body: &Bytes, keep_permille: u64) -> Response {
    let length = body.len();
    let keep = usize::try_from(keep_permille).unwrap_or(0).min(999) * length / 1000;
    let first = body.slice(..keep.min(length.saturating_sub(1)));
    let pieces = futures::stream::unfold(Some(first), async |piece| match piece {
        Some(piece) if !piece.is_empty() => Some((Ok(piece), Some(Bytes::new()))),
        Some(_) => {
            // Time for what was sent to leave, so that the reader sees a beginning.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)), None))
        }
        None => None,
    });
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Response::from_parts(parts, Body::from_stream(pieces))
}

fn weighed(mut response: Response, family: Family, used: u64) -> Response {
    response.headers_mut().insert("x-mbx-used-weight-1m", HeaderValue::from(used));
    if family == Family::Spot {
        response.headers_mut().insert("x-mbx-used-weight", HeaderValue::from(used));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_its_port() {
        let hosts = ["127.0.0.1:9001", "localhost", "[::1]:80", "evil.example:9001"].map(host_of);
        assert_eq!(hosts, ["127.0.0.1", "localhost", "::1", "evil.example"]);
    }
}
