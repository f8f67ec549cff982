//! A venue of one closure, for tests of signing and paging.

use std::sync::{Arc, Mutex};

use codash_domain::{Clock, FixedClock, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Endpoints, Venues};
use crate::http::Http;

/// What the venue was asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: String,
    pub body: String,
}

impl Asked {
    /// One parameter of the query, as sent.
    pub fn param(&self, name: &str) -> Option<String> {
        let pair = self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.map(Into::into)
    }

    /// A parameter that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.param(name)?.parse().ok()
    }
}

type Answer = (u16, &'static str, String);

pub struct Mock {
    pub base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Mock {
    /// Answers with status, one header (or none) and body.
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request.clone());
                let (status, header, body) = answer(&request);
                let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{header}\r\n",
                    body.len()
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
            }
        });
        Self { base, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Methods and paths, in order.
    pub fn seen(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }

    /// All venues at this address, at this instant.
    pub fn venues(&self, now: Timestamp) -> Venues {
        Venues {
            http: Http::new().unwrap(),
            endpoints: Endpoints::all_at(&self.base),
            clock: Arc::new(FixedClock::at(now)) as Arc<dyn Clock>,
        }
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head_lower = head.to_ascii_lowercase();
            let length = head_lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let mut first = head.lines().next().unwrap_or_default().split(' ');
                let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                return Asked {
                    method: method.into(),
                    path: path.into(),
                    query: query.into(),
                    headers: head_lower,
                    body: body.into(),
                };
            }
        }
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
            _ => return Asked::default(),
        }
    }
}
