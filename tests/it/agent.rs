//! A served workspace and agents that ask it over real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codash::app::{App, AppConfig};
use codash::dev::replay::{Keys, Replay};
use codash_analytics::CursorKey;
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_domain::{AccountId, ApiKey, Asset, Balance, FixedClock, KeyId, Scopes, Snapshot, Usd};
use codash_store::ingest::PageWrite;
use codash_store::{Lease, NewKey};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::tenants::{Tenant, TestStore, now, random};

/// The real app on a port of its own, a workspace, and time that stands at [`now`].
pub struct World {
    pub db: TestStore,
    pub tenant: Tenant,
    pub address: SocketAddr,
    /// What it finds where the exchanges are.
    pub replay: Replay,
    _served: DropGuard,
}

/// What the replayed exchanges know.
pub fn venue_keys() -> Keys {
    Keys {
        api_key: "replayed-key".into(),
        secret: "replayed-secret".into(),
        address: "0x00000000000000000000000000000000000000de".into(),
    }
}

/// Limits that no test reaches unless it means to.
pub fn generous() -> AppConfig {
    let mut config = AppConfig::default();
    config.limits.reads_per_minute = 100_000;
    config.limits.credentials_per_minute = 100_000;
    config.limits.registrations_per_hour = 100_000;
    config.limits.logins_per_minute = 100_000;
    config
}

impl World {
    pub async fn new() -> Self {
        Self::with(generous()).await
    }

    pub async fn with(config: AppConfig) -> Self {
        let db = TestStore::new().await;
        let tenant = db.workspace("ours").await;
        let clock = Arc::new(FixedClock::at(now()));
        let replay = Replay::start(now(), venue_keys(), clock.clone()).await.unwrap();
        let venues = Venues { http: Http::new().unwrap(), endpoints: replay.endpoints(), clock: clock.clone() };
        let app = App::build(db.store().clone(), venues, CursorKey::new([5; 32]), clock, config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(codash::server::serve(app, listener, stop.clone()));
        Self { db, tenant, address, replay, _served: stop.drop_guard() }
    }

    /// The workspace's first key.
    pub fn agent(&self) -> Agent {
        Agent { address: self.address, key: self.tenant.key.reveal().to_owned() }
    }

    /// A request without a key.
    pub fn public(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        crate::http_client().request(method, format!("http://{}{path}", self.address))
    }

    /// Another workspace's key.
    pub async fn stranger(&self) -> Agent {
        let theirs = self.db.workspace("theirs").await;
        Agent { address: self.address, key: theirs.key.reveal().to_owned() }
    }

    /// A further key of the workspace, narrowed.
    pub async fn key(&self, narrow: impl FnOnce(&mut NewKey)) -> Agent {
        self.key_with_id(narrow).await.0
    }

    pub async fn key_with_id(&self, narrow: impl FnOnce(&mut NewKey)) -> (Agent, KeyId) {
        let secret = ApiKey::from_random(random());
        let mut key = NewKey {
            id: KeyId::from_random(random()),
            name: "narrow".into(),
            hash: secret.hash(),
            hint: secret.hint().into(),
            scopes: Scopes::full(),
            accounts: None,
            addresses: vec![],
            expires_at: None,
            created_at: now(),
        };
        narrow(&mut key);
        self.db.store().create_key(self.tenant.workspace, &key).await.unwrap();
        (Agent { address: self.address, key: secret.reveal().to_owned() }, key.id)
    }

    pub async fn account(&self, name: &str) -> AccountId {
        self.db.account(&self.tenant, name, &["usdm.fills:BTCUSDT", "usdm.income", "usdm.forced"]).await
    }

    async fn lease(&self, account: AccountId) -> Lease {
        self.db.store().take_lease(self.tenant.workspace, account, "test", Duration::from_secs(60)).await.unwrap()
    }

    /// Commits a page as the collector does.
    pub async fn commit(&self, account: AccountId, page: PageWrite) {
        let stream = if page.stream.is_empty() { "usdm.fills:BTCUSDT".into() } else { page.stream };
        let page = PageWrite { stream, read_at: Some(now()), ..page };
        self.db.store().commit_page(&self.lease(account).await, &page).await.unwrap();
    }

    /// A snapshot of one balance worth `nav` dollars.
    pub async fn snapshot(&self, account: AccountId, nav: &str) {
        let nav: Usd = nav.parse().unwrap();
        let snapshot = Snapshot {
            taken_at: now(),
            balances: vec![Balance { wallet: "usdm", asset: Asset::new("USDT"), total: nav.0, value_usd: Some(nav) }],
            positions: vec![],
            nav_usd: nav,
            unpriced_assets: vec![],
            btc_price_usd: Some("65000".parse().unwrap()),
            eth_price_usd: Some("3500".parse().unwrap()),
        };
        self.db.store().commit_snapshot(&self.lease(account).await, &snapshot, &[]).await.unwrap();
    }
}

/// A client with a key.
#[derive(Clone)]
pub struct Agent {
    pub address: SocketAddr,
    pub key: String,
}

impl Agent {
    /// Any request with this key.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        crate::http_client().request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.key)
    }

    async fn post(&self, method: &str, params: Value) -> reqwest::Response {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.request(reqwest::Method::POST, "/mcp")
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    pub async fn status(&self, method: &str, params: Value) -> u16 {
        self.post(method, params).await.status().as_u16()
    }

    /// The reply's bytes.
    pub async fn raw(&self, method: &str, params: Value) -> String {
        self.post(method, params).await.text().await.unwrap()
    }

    pub async fn mcp(&self, method: &str, params: Value) -> Value {
        serde_json::from_str(&self.raw(method, params).await).unwrap()
    }

    /// The structured content of a call that succeeds.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let mut reply = self.mcp("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert_eq!(reply["result"]["isError"], json!(false), "{tool}: {reply}");
        reply["result"]["structuredContent"].take()
    }

    /// The code of a call that a rule refuses.
    pub async fn refused(&self, tool: &str, arguments: Value) -> String {
        let reply = self.mcp("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert_eq!(reply["result"]["isError"], json!(true), "{tool}: {reply}");
        reply["result"]["structuredContent"]["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}
