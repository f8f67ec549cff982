//! A venue that replays recordings: real HTTP, real signatures, the venues' own windows, pages,
//! limits and errors, and nothing that could be written.
//!
//! `codash dev` points its collector here, and so do tests. What is answered is in [`recording`];
//! how, in [`binance`] and [`hyperliquid`]; how it can be made to fail, in [`faults`]. Only records
//! that lie before the clock's now are told, so a test can let history happen by moving its clock.

mod binance;
mod faults;
mod hyperliquid;
mod recording;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use codash_domain::{Clock, Timestamp};
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use faults::{Faults, Trouble};
use recording::Recording;

/// What the demo accounts are opened with.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key at the replayed Binance.
    pub api_key: String,
    pub secret: SecretString,
    /// The wallet at the replayed Hyperliquid: `0x` and 40 hex digits.
    pub address: String,
}

/// Why there is no replaying venue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the recordings cannot be read: {0}")]
    Recording(#[from] serde_json::Error),
    #[error("no port for the replaying venue: {0}")]
    Listen(#[from] std::io::Error),
}

/// A running replaying venue.
#[derive(Debug)]
pub struct Replay {
    /// The base URL of every venue it plays.
    pub url: String,
    pub keys: Keys,
    faults: Faults,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Replay {
    /// Starts on a free port of loopback. The same anchor and keys give the same records.
    pub async fn start(anchor: Timestamp, keys: Keys, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let recording = Recording::ending_at(anchor, &keys.address)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (faults, stop) = (Faults::default(), CancellationToken::new());
        let stage = Stage { recording, keys: keys.clone(), clock, faults: faults.clone(), meters: Mutex::default() };
        let router = Router::new().fallback(handle).with_state(Arc::new(stage));
        let stopped = stop.clone().cancelled_owned();
        let served = tokio::spawn(async move {
            tokio::select! {
                outcome = axum::serve(listener, router) => drop(outcome),
                () = stopped => {}
            }
        });
        Ok(Self { url, keys, faults, stop, served })
    }

    /// Where collectors find it, whatever the venue.
    pub fn endpoints(&self) -> codash_collector::venues::Endpoints {
        let url = || self.url.clone();
        codash_collector::venues::Endpoints::all_at(&url())
    }

    /// Troubles on demand.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Stops at once: a read that is cut off here costs nobody anything.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.served).await {
            tracing::debug!(%error, "the replaying venue had ended already");
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What every request meets.
struct Stage {
    recording: Recording,
    keys: Keys,
    clock: Arc<dyn Clock>,
    faults: Faults,
    meters: Mutex<HashMap<&'static str, Meter>>,
}

/// A host's budget, by whole minutes of its clock as the venues count.
#[derive(Debug, Default)]
struct Meter {
    minute: i64,
    used: u32,
}

/// A reply before it is written.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: Value,
    headers: Vec<(HeaderName, String)>,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body, headers: vec![] }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], self.body.to_string()).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

async fn handle(
    State(stage): State<Arc<Stage>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let info: Option<Value> = (uri.path() == "/info").then(|| serde_json::from_slice(&body).unwrap_or_default());
    let endpoint = match info.as_ref().and_then(hyperliquid::kind) {
        Some(kind) => format!("/info {kind}"),
        None => uri.path().to_owned(),
    };
    let trouble = stage.faults.meet(&endpoint);
    match &trouble {
        Some(Trouble::Answer { status, body, retry_after }) => return scripted(*status, body, *retry_after),
        Some(Trouble::Delay(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let mut answer = match info {
        Some(asked) if method == Method::POST => stage.info(&asked),
        Some(_) => Answer { status: StatusCode::METHOD_NOT_ALLOWED, body: Value::Null, headers: vec![] },
        None => stage.binance(&method, &uri, &headers),
    };
    match trouble {
        Some(Trouble::SpoilRow(row)) => faults::spoil(&mut answer.body, row),
        Some(Trouble::BreakOff) => return broken_off(&answer.body.to_string()),
        _ => {}
    }
    answer.into_response()
}

impl Stage {
    fn binance(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
        // Orders, transfers, withdrawals: there is no such thing here.
        let Some(weight) = binance::weight(method, uri) else {
            return Answer { status: StatusCode::NOT_FOUND, body: Value::Null, headers: vec![] };
        };
        let (host, budget) = if uri.path().starts_with("/fapi/") { ("fapi", 2400) } else { ("spot", 6000) };
        let now = self.clock.now().millis();
        let used = (HeaderName::from_static("x-mbx-used-weight-1m"), self.used_with(host, weight, now).to_string());
        let mut answer = if self.used_with(host, 0, now) > budget {
            let body = serde_json::json!({ "code": -1003, "msg": "Too many requests." });
            let wait = (60_000 - now.rem_euclid(60_000)) / 1000 + 1;
            let headers = vec![(header::RETRY_AFTER, wait.to_string())];
            Answer { status: StatusCode::TOO_MANY_REQUESTS, body, headers }
        } else {
            binance::answer(&self.recording, &self.keys, now, uri, headers)
        };
        answer.headers.push(used);
        answer
    }

    /// No header tells of the budget here, and the refusal has no body.
    fn info(&self, asked: &Value) -> Answer {
        let now = self.clock.now().millis();
        let weight = hyperliquid::kind(asked).map_or(1, hyperliquid::weight);
        if self.used_with("info", weight, now) > 1200 {
            return Answer { status: StatusCode::TOO_MANY_REQUESTS, body: Value::Null, headers: vec![] };
        }
        let answer = hyperliquid::answer(&self.recording, &self.keys.address, now, asked);
        let rows = answer.body.as_array().map_or(0, Vec::len);
        self.used_with("info", u32::try_from(rows / 20).unwrap_or(u32::MAX), now);
        answer
    }

    /// Charges the host and says what its minute has cost so far.
    fn used_with(&self, host: &'static str, weight: u32, now: i64) -> u32 {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry(host).or_default();
        let minute = now / 60_000;
        if meter.minute != minute {
            *meter = Meter { minute, used: 0 };
        }
        meter.used = meter.used.saturating_add(weight);
        meter.used
    }
}

fn scripted(status: u16, body: &str, retry_after: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body.to_owned()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Half of the reply, then an error: the connection ends in the middle.
fn broken_off(body: &str) -> Response {
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let parts = [Ok(half), Err(std::io::Error::other("broken off on purpose"))];
    let stream = futures::stream::iter(parts);
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response()
}
