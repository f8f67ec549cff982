//! A collector of traces: takes what is exported over OTLP/HTTP and reads the few fields that tests ask about.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

/// An exported span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Collector {
    pub url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&bodies));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, bodies }
    }

    /// Everything that arrived, as it came.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }

    pub fn spans(&self) -> Vec<Span> {
        // ExportTraceServiceRequest › resource_spans › scope_spans › spans.
        let below = |messages: Vec<Vec<u8>>, field: u64| -> Vec<Vec<u8>> {
            messages.iter().flat_map(|message| fields(message, field)).collect()
        };
        below(below(below(self.bodies(), 1), 2), 2).iter().map(|message| span(message)).collect()
    }
}

fn span(message: &[u8]) -> Span {
    let one = |field: u64| fields(message, field).pop().unwrap_or_default();
    Span {
        trace: hex::encode(one(1)),
        id: hex::encode(one(2)),
        parent: hex::encode(one(4)),
        name: String::from_utf8(one(5)).unwrap(),
    }
}

async fn take(State(bodies): State<Arc<Mutex<Vec<Vec<u8>>>>>, uri: Uri, headers: HeaderMap, body: Bytes) {
    assert_eq!((uri.path(), headers["content-type"].to_str().unwrap()), ("/v1/traces", "application/x-protobuf"));
    assert!(!headers.contains_key("content-encoding"), "a secret could hide in it");
    bodies.lock().unwrap().push(body.to_vec());
}

/// The length-delimited values of one field of a Protocol Buffers message.
fn fields(message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    let (mut rest, mut found) = (message, Vec::new());
    while !rest.is_empty() {
        let tag = varint(&mut rest);
        let length = match tag & 7 {
            0 => {
                varint(&mut rest);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, after) = rest.split_at(length);
        if tag >> 3 == wanted && tag & 7 == 2 {
            found.push(value.to_vec());
        }
        rest = after;
    }
    found
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().unwrap();
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
