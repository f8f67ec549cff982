//! The workspace of `codash dev`, made through our own HTTP API as any newcomer would make it, and
//! the wait until its accounts have been collected.

use std::time::Duration;

use codash_collector::error::VenueError;
use codash_domain::{AccountStatus, ApiKey};
use codash_store::accounts::Connectivity;
use codash_store::{Grant, Store};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::folder::Workspace;
use super::postgres::Progress;
use super::replay::Keys;
use super::{Error, say};

/// Both say what they are.
pub const BINANCE: &str = "Binance (replayed recording)";
pub const HYPERLIQUID: &str = "Hyperliquid (replayed recording)";

const LONGEST_COLLECTION: Duration = Duration::from_secs(120);

/// Our own API, as a client sees it.
pub struct Api {
    client: reqwest::Client,
    url: String,
}

impl Api {
    pub fn at(url: &str) -> Result<Self, Error> {
        // Another part of the process may have installed one already; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build();
        let client = client.map_err(|error| Error::Other(format!("no HTTP client: {error}")))?;
        Ok(Self { client, url: url.to_owned() })
    }

    async fn call(&self, key: Option<&str>, path: &str, body: Option<Value>) -> Result<(u16, Value), Error> {
        let url = format!("{}{path}", self.url);
        let mut request = match body {
            Some(body) => self.client.post(url).header("content-type", "application/json").body(body.to_string()),
            None => self.client.get(url),
        };
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let fault = |error: reqwest::Error| Error::Other(format!("our own API did not answer {path}: {error}"));
        let response = request.send().await.map_err(fault)?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(fault)?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// As [`Api::call`], where anything but success is an error with the API's own words.
    async fn done(&self, key: Option<&str>, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let (status, answer) = self.call(key, path, body).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(Error::Other(format!(
            "our own API refused {path} ({status}): {}",
            answer["error"].as_str().unwrap_or("no reason")
        )))
    }

    pub async fn register(&self, name: &str) -> Result<Workspace, Error> {
        let answer =
            self.done(None, "/api/agents/register", Some(json!({ "name": name, "keyName": "codash dev" }))).await?;
        let text = |field: &str| answer["data"][field].as_str().map(str::to_owned);
        text("workspaceId")
            .zip(text("apiKey"))
            .map(|(workspace_id, api_key)| Workspace { workspace_id, api_key })
            .ok_or_else(|| Error::Other("our own API registered a workspace without a key".into()))
    }

    /// Attaches both demo accounts; one that is attached already stays.
    pub async fn attach(&self, key: &str, keys: &Keys) -> Result<(), Error> {
        let accounts = [
            json!({ "name": BINANCE, "venue": "binance", "apiKey": keys.api_key, "apiSecret": keys.secret.expose_secret(), "tags": ["demo"] }),
            json!({ "name": HYPERLIQUID, "venue": "hyperliquid", "walletAddress": keys.address, "tags": ["demo"] }),
        ];
        for account in accounts {
            let (status, answer) = self.call(Some(key), "/api/accounts", Some(account)).await?;
            if !(200..300).contains(&status) && status != 409 {
                let reason = answer["error"].as_str().unwrap_or("no reason");
                return Err(Error::Other(format!("a demo account was refused ({status}): {reason}")));
            }
        }
        Ok(())
    }

    /// Proves that the API answers this key.
    pub async fn answers(&self, key: &str) -> Result<(), Error> {
        self.done(None, "/health/ready", None).await?;
        self.done(Some(key), "/api/status", None).await.map(drop)
    }
}

/// What the key opens; `None` when this database does not know it any more.
pub async fn grant_of(store: &Store, key: &str) -> Result<Option<Grant>, Error> {
    let Some(key) = ApiKey::parse(key) else { return Ok(None) };
    Ok(store.find_grant(&key.hash()).await?)
}

/// Waits until everything of the demo accounts has been read once. Asked of the store: the key's
/// share of requests is its owner's.
pub async fn collected(store: &Store, grant: &Grant, progress: Progress<'_>) -> Result<(), Error> {
    let patience = Instant::now() + LONGEST_COLLECTION;
    let mut told = String::new();
    loop {
        let accounts = store.read(grant).connectivity().await?;
        let standing = accounts.iter().map(standing_of).collect::<Vec<_>>().join(", ");
        if standing != told {
            progress(&format!("collecting: {standing}"));
            told = standing;
        }
        if accounts.iter().all(is_settled) {
            return Ok(());
        }
        if Instant::now() >= patience {
            say("some history is still on its way; /api/status tells how far it is");
            return Ok(());
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Read once from end to end, or refused for good.
fn is_settled(account: &Connectivity) -> bool {
    let is_read = account.account.last_checked_at.is_some();
    match account.account.status {
        AccountStatus::Error => true,
        AccountStatus::Degraded => is_read,
        AccountStatus::Connected => is_read && account.streams.iter().all(|stream| stream.status == "ok"),
        AccountStatus::Pending => false,
    }
}

fn standing_of(account: &Connectivity) -> String {
    let venue = account.account.venue;
    if account.account.status == AccountStatus::Error {
        return format!("{venue} failed ({})", account.account.status_detail.as_deref().unwrap_or("no reason"));
    }
    let read = account.streams.iter().filter(|stream| stream.status == "ok").count();
    format!("{venue} {read} of {} streams", account.streams.len())
}

impl From<VenueError> for Error {
    fn from(error: VenueError) -> Self {
        Self::Other(error.to_string())
    }
}
