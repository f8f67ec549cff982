//! One message over the wire: bounded in time and size, to guarded addresses, with no second step.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use crate::guard::{self, Guarded, Lookup, Reach};

/// For the whole exchange.
const DEADLINE: Duration = Duration::from_secs(15);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// What is read of an answer.
const LONGEST_HEAD: usize = 20 * 1024;

/// The outbound client. A connection is never used twice: each try judges the address anew.
#[derive(Clone)]
pub struct Sender {
    client: reqwest::Client,
    reach: Reach,
}

/// A message, signed.
#[derive(Debug)]
pub struct Message<'a> {
    pub url: &'a str,
    pub id: String,
    pub timestamp: i64,
    pub signatures: String,
    pub body: Vec<u8>,
}

/// What the receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    /// The beginning of the body.
    pub head: String,
}

impl Sender {
    pub fn new(reach: Reach, lookup: Lookup) -> Result<Self, String> {
        // Another part of the process may have installed one already; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .https_only(reach == Reach::Public)
            .dns_resolver(Arc::new(Guarded { reach, lookup }))
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(DEADLINE)
            .user_agent(concat!("codash-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no outbound client: {error}"))?;
        Ok(Self { client, reach })
    }

    /// Sends once. The error says what happened in words for the endpoint's owner.
    pub async fn send(&self, message: Message<'_>) -> Result<Reply, String> {
        let url = guard::check_url(message.url, self.reach).map_err(|refused| format!("the address {refused}"))?;
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signatures)
            .body(message.body);
        let response = request.send().await.map_err(|error| in_words(&error))?;
        let status = response.status().as_u16();
        let retry_after = text_of(response.headers());
        Ok(Reply { status, retry_after, head: head(response).await })
    }
}

fn text_of(headers: &HeaderMap) -> Option<String> {
    headers.get(RETRY_AFTER)?.to_str().ok().map(str::to_owned)
}

/// The first bytes of an answer, whatever becomes of the rest.
async fn head(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = LONGEST_HEAD.saturating_sub(bytes.len());
        bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if bytes.len() >= LONGEST_HEAD {
            break;
        }
    }
    // PostgreSQL's text holds no NUL.
    let text = String::from_utf8_lossy(&bytes).replace('\0', "\u{FFFD}");
    let end = text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= LONGEST_HEAD).last();
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// No address in it: what a name resolves to inside the operator's network is nobody's business.
fn in_words(error: &reqwest::Error) -> String {
    if let Some(refused) = guard::refusal(error) {
        return format!("the address {refused}");
    }
    let words = if error.is_timeout() {
        "the receiver did not answer in time"
    } else if error.is_connect() {
        "the receiver could not be reached"
    } else {
        "the exchange with the receiver broke off"
    };
    words.to_owned()
}
