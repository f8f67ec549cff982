//! A server whose real time stands in the test's hand, and a client that sees every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use codash_paper_exchange::{PaperServer, PaperSettings, Speed};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole hour.
pub const ORIGIN: i64 = 1_790_000_000_000 / 3_600_000 * 3_600_000;
pub const DAY: i64 = 24 * 3600 * 1000;

/// A small exchange with ten days of history, its clock in hand.
pub fn settings() -> PaperSettings {
    PaperSettings {
        accounts: 2,
        symbols: 4,
        history: Duration::from_secs(10 * 24 * 3600),
        origin: Some(ORIGIN),
        speed: Speed::Hand,
        // Binance's own.
        spot_budget: 6000,
        usdm_budget: 2400,
        ..PaperSettings::default()
    }
}

/// A reply, as far as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim())
    }

    /// Whether the body is as long as the head says.
    pub fn is_whole(&self) -> bool {
        self.header("content-length") == Some(self.body.len().to_string().as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn rows(&self) -> Vec<Value> {
        self.json().as_array().cloned().unwrap_or_else(|| panic!("no rows: {self:?}"))
    }

    pub fn code(&self) -> (u16, Option<i64>) {
        (self.status, self.json()["code"].as_i64())
    }
}

/// A key and its secret.
#[derive(Debug, Clone)]
pub struct Key(pub String, pub String);

pub struct Paper {
    pub server: PaperServer,
    pub real: Arc<AtomicI64>,
}

impl Paper {
    pub async fn start(settings: PaperSettings) -> Self {
        let real = Arc::new(AtomicI64::new(ORIGIN + 10 * DAY));
        let of_server = Arc::clone(&real);
        let server = PaperServer::start(settings, Arc::new(move || of_server.load(Ordering::SeqCst))).await.unwrap();
        Self { server, real }
    }

    pub fn pass_real_time(&self, millis: i64) {
        self.real.fetch_add(millis, Ordering::SeqCst);
    }

    fn account(&self, at: usize) -> &codash_paper_exchange::model::Account {
        &self.server.accounts()[at]
    }

    pub fn read_key(&self, at: usize) -> Key {
        Key(self.account(at).read_key.clone(), self.account(at).read_secret.clone())
    }

    /// The trade key of `acct-paper`.
    pub fn trade_key(&self) -> Key {
        let at = self.server.accounts().len() - 1;
        Key(self.account(at).trade_key.clone(), self.account(at).trade_secret.clone())
    }

    pub async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        let address = self.server.address();
        let host = if headers.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
        let request = format!(
            "{method} {target} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A reply that breaks off may end in an error, after what came.
        drop(stream.read_to_end(&mut bytes).await);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Reply { status, head, body: bytes.get(end + 4..).unwrap_or(&[]).to_vec() }
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, "", "").await
    }

    pub async fn control(&self, method: &str, path: &str, body: Value) -> Reply {
        self.send(method, path, "content-type: application/json\r\n", &body.to_string()).await
    }

    /// A signed request, stamped with the exchange's time; the parameters of a GET or DELETE go into the query.
    pub async fn signed(&self, key: &Key, method: &str, path: &str, params: &str) -> Reply {
        let stamp = self.server.now();
        let payload = format!("{params}{}timestamp={stamp}", if params.is_empty() { "" } else { "&" });
        let payload = format!("{payload}&signature={}", signature(&key.1, &payload));
        let headers = format!("X-MBX-APIKEY: {}\r\n", key.0);
        match method {
            "POST" => self.send(method, path, &headers, &payload).await,
            _ => self.send(method, &format!("{path}?{payload}"), &headers, "").await,
        }
    }

    pub async fn read(&self, key: &Key, path: &str, params: &str) -> Reply {
        self.signed(key, "GET", path, params).await
    }

    /// Puts money under the feet of `acct-paper`.
    pub async fn fund(&self) {
        for (asset, amount) in [("USDT", "200000"), ("BNB", "5")] {
            let body = serde_json::json!({ "account": "acct-paper", "asset": asset, "amount": amount });
            assert_eq!(self.control("POST", "/paper/deposit", body).await.status, 200);
        }
        let transfer = "type=MAIN_UMFUTURE&asset=USDT&amount=100000";
        let moved = self.signed(&self.trade_key(), "POST", "/sapi/v1/asset/transfer", transfer).await;
        assert_eq!(moved.status, 200, "{moved:?}");
    }
}

pub fn signature(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
