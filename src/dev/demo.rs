//! The workspace of `codash dev`, made through our own HTTP API as any newcomer would make it, and
//! the wait until its accounts have been collected.

use std::time::Duration;

use codash_domain::{AccountStatus, ApiKey, Venue};
use codash_paper_exchange::model::Account;
use codash_store::accounts::Connectivity;
use codash_store::{Grant, Store};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Error;
use super::folder::Workspace;
use super::postgres::Progress;

/// The accounts of the demo: their names at the paper exchange, and here. Each says what it is.
pub const ACCOUNTS: [(&str, &str); BOTS + 1] = [
    ("acct-01", "Paper acct-01: a bit of everything (simulated)"),
    ("acct-02", "Paper acct-02: a gambler (simulated)"),
    ("acct-03", "Paper acct-03: lives on funding (simulated)"),
    ("acct-paper", "Paper acct-paper: yours to trade (simulated)"),
];
/// Those of them that trade by themselves.
pub const BOTS: usize = 3;
pub const TAG: &str = "demo";

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

    /// Something to look at below /api/automations; its owner may remove it.
    pub async fn example_automation(&self, key: &str) -> Result<(), Error> {
        let body = json!({
            "name": "What it is worth, every hour",
            "when": { "interval": { "everySeconds": 3600 } },
            "what": { "question": { "name": "get_portfolio_summary" } },
        });
        self.done(Some(key), "/api/automations", Some(body)).await.map(drop)
    }

    /// Attaches the demo's accounts with their read keys; one that is attached already stays.
    pub async fn attach(&self, key: &str, there: &[Account]) -> Result<(), Error> {
        for (account, name) in accounts(there) {
            let body = json!({
                "name": name, "venue": Venue::Paper.as_str(), "apiKey": account.read_key,
                "apiSecret": account.read_secret, "tags": [TAG],
            });
            let (status, answer) = self.call(Some(key), "/api/accounts", Some(body)).await?;
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

/// The demo's accounts among those of the exchange, each with its name here.
pub fn accounts(there: &[Account]) -> impl Iterator<Item = (&Account, &'static str)> {
    ACCOUNTS.iter().filter_map(|(theirs, ours)| Some((there.iter().find(|account| account.name == *theirs)?, *ours)))
}

/// What the key opens; `None` when this database does not know it any more.
pub async fn grant_of(store: &Store, key: &str) -> Result<Option<Grant>, Error> {
    let Some(key) = ApiKey::parse(key) else { return Ok(None) };
    Ok(store.find_grant(&key.hash()).await?)
}

/// The accounts of a demo that was replayed are read no more: their venues are the real ones now, which
/// do not know their keys. What was read of them stays.
pub async fn retire_replayed(store: &Store, grant: &Grant) -> Result<(), Error> {
    for account in store.read(grant).accounts().await? {
        if account.is_active && account.name.ends_with("(replayed recording)") {
            store.set_active(grant.workspace, account.id, false).await?;
        }
    }
    Ok(())
}

/// Waits until everything of the demo accounts has been read once, and says whether it was. Asked of
/// the store: the key's share of requests is its owner's.
pub async fn collected(store: &Store, grant: &Grant, progress: Progress<'_>) -> Result<bool, Error> {
    let patience = Instant::now() + LONGEST_COLLECTION;
    let mut told = String::new();
    loop {
        let mut accounts = store.read(grant).connectivity().await?;
        accounts.retain(|account| account.account.tags.iter().any(|tag| tag == TAG));
        let standing = standing(&accounts);
        if standing != told {
            progress(&format!("collecting: {standing}"));
            told = standing;
        }
        if accounts.iter().all(is_settled) {
            return Ok(true);
        }
        if Instant::now() >= patience {
            return Ok(false);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Read once from end to end, or refused for good, or read no more.
fn is_settled(account: &Connectivity) -> bool {
    let is_read = account.account.last_checked_at.is_some();
    match account.account.status {
        _ if !account.account.is_active => true,
        AccountStatus::Error => true,
        AccountStatus::Degraded => is_read,
        AccountStatus::Connected => is_read && account.streams.iter().all(|stream| stream.status == "ok"),
        AccountStatus::Pending => false,
    }
}

/// How far all of them are, in a line.
fn standing(accounts: &[Connectivity]) -> String {
    let streams = accounts.iter().flat_map(|account| &account.streams);
    let read = streams.clone().filter(|stream| stream.status == "ok").count();
    let settled = accounts.iter().filter(|account| is_settled(account)).count();
    let mut text = format!("{settled} of {} accounts ({read} of {} streams)", accounts.len(), streams.count());
    for account in accounts.iter().filter(|account| account.account.status == AccountStatus::Error) {
        let reason = account.account.status_detail.as_deref().unwrap_or("no reason");
        text.push_str(&format!("; {} failed ({reason})", account.account.name));
    }
    text
}
