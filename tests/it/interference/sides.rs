//! The two servers, and what is the same in their answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use codash::app::App;
use codash::automate;
use codash_analytics::CursorKey;
use codash_automations::Worker;
use codash_automations::guard::{Lookup, Reach};
use codash_automations::sender::Sender;
use codash_collector::http::Http;
use codash_collector::venues::{Endpoints, Venues};
use codash_domain::snapshot::Position;
use codash_domain::{
    AccountId, Asset, CashFlow, Clock, FixedClock, FlowKind, Price, Qty, Snapshot, Symbol, SystemClock, Usd,
};
use codash_store::ingest::{PageWrite, Quarantined};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::agent::generous;
use crate::automations::drain;
use crate::rest::{Dice, some_event};
use crate::tenants::{Tenant, TestStore, now};

/// A request as one server is sent it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub text: String,
}

impl Reply {
    pub fn tag(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// What of the headers must be the same.
const TOLD: [&str; 8] = [
    "content-type",
    "x-export-watermark",
    "x-export-schema",
    "x-ratelimit-limit",
    "allow",
    "www-authenticate",
    "accept-ranges",
    "cache-control",
];

pub struct Side {
    pub db: TestStore,
    address: SocketAddr,
    client: reqwest::Client,
    worker: Worker,
    _served: DropGuard,
}

/// Both tenants' accounts, in pairs of the same name.
pub fn accounts(tenant: u8) -> [AccountId; 3] {
    [1, 2, 3].map(|n| AccountId::from_random([tenant * 16 + n; 16]))
}

impl Side {
    pub async fn start() -> Self {
        let db = TestStore::new().await;
        let (clock, key) = (Arc::new(FixedClock::at(now())), CursorKey::new([5; 32]));
        let endpoints = Endpoints::all_at("http://127.0.0.1:9");
        let venues = Venues { http: Http::new().unwrap(), endpoints, clock: clock.clone() };
        let app = App::build(db.store().clone(), venues, key.clone(), clock.clone(), generous());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(codash::server::serve(app, listener, stop.clone()));
        let nowhere: Lookup = Arc::new(|_| Box::pin(async { Ok(vec![]) }));
        let sender = Sender::new(Reach::Public, nowhere).unwrap();
        let worker = Worker::new(db.store().clone(), key, automate::catalogue(), sender, clock, "test".into());
        Self { db, address, client: crate::http_client(), worker, _served: stop.drop_guard() }
    }

    pub async fn move_in(&self, tenant: &Tenant, name: &str, number: u8) {
        self.db.register(tenant, name).await;
        for (n, account) in accounts(number).into_iter().enumerate() {
            // The same names and the same keys at the venue: nothing but the tenant tells them apart.
            let streams = ["usdm.fills:BTCUSDT", "usdm.income", "usdm.forced"];
            self.db.account_with_id(tenant, account, &format!("Account {n}"), &streams).await;
        }
    }

    /// Some more history: a function of the tenant's number and the chapter, the same on both sides.
    pub async fn live(&self, tenant: &Tenant, number: u8, chapter: u64) {
        let mut dice = Dice(chapter * 977 + u64::from(number));
        let account = dice.pick(&accounts(number));
        let coin = if number == 1 { "OURCOIN" } else { "THEIRCOIN" };
        // Native ids come again: in later chapters as restatements, at the other tenant as its own.
        let first = dice.roll(40);
        let events = (first..first + 5 + dice.roll(20)).map(|n| some_event(n, &["BTC", "ETH", coin], &mut dice));
        let flow = |n: i64, dice: &mut Dice| CashFlow {
            stream: "spot.deposits",
            native_id: format!("deposit {n}"),
            kind: dice.pick(&FlowKind::ALL),
            occurred_at: now().minus(TimeDelta::minutes(dice.roll(60_000))),
            wallet: "spot",
            asset: Asset::new("USDT"),
            amount: Decimal::from(dice.roll(1_000) + 1),
            value_usd: Some(Usd::new(Decimal::from(dice.roll(1_000) + 1))),
            raw: "{}".into(),
        };
        let page = PageWrite {
            stream: "usdm.fills:BTCUSDT".into(),
            events: events.collect(),
            cash_flows: (0..dice.roll(4)).map(|n| flow(n, &mut dice)).collect(),
            quarantined: vec![Quarantined {
                reason: format!("unreadable in chapter {chapter}"),
                raw: format!("{chapter}"),
                between: (Some(now().minus(TimeDelta::days(dice.roll(40)))), Some(now())),
            }],
            nav_points: (0..20)
                .map(|h| (now().minus(TimeDelta::hours(h + dice.roll(400))), Usd::new(Decimal::from(dice.roll(5_000)))))
                .collect(),
            covered: Some((now().minus(TimeDelta::days(30 + dice.roll(30))), now().minus(TimeDelta::hours(1)))),
            read_at: Some(now()),
            ..PageWrite::default()
        };
        let store = self.db.store();
        let wait = Duration::from_secs(60);
        let lease = store.take_lease(tenant.workspace, account, "test", wait).await.unwrap();
        store.commit_page(&lease, &page).await.unwrap();
        store.commit_snapshot(&lease, &snapshot(coin, &mut dice), &[]).await.unwrap();
        if dice.roll(2) == 0 {
            let until = now().minus(TimeDelta::days(dice.roll(20)));
            while store.seal(tenant.workspace, until).await.unwrap() > 0 {}
        }
    }

    /// What automations have to do is done; no webhook gets anywhere.
    pub async fn work(&self) {
        drain(&self.worker).await;
    }

    pub async fn ask(&self, tenant: &Tenant, sent: &Sent) -> Reply {
        let url = format!("http://{}{}", self.address, sent.path);
        let mut request = self.client.request(sent.method.clone(), url).bearer_auth(tenant.key.reveal());
        for (name, value) in &sent.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &sent.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        // The same in both answers.
        let response = request.header("x-request-id", "interference").send().await.unwrap();
        let status = response.status().as_u16();
        let told = |name: &&'static str| Some((*name, response.headers().get(*name)?.to_str().unwrap().to_owned()));
        let mut headers: Vec<_> = TOLD.iter().filter_map(told).collect();
        headers.extend(told(&"etag"));
        let bytes = response.bytes().await.unwrap();
        // A compressed file is compared by its bytes.
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| hex::encode(&bytes));
        Reply { status, headers, text }
    }
}

fn snapshot(coin: &str, dice: &mut Dice) -> Snapshot {
    let position = |coin: &str, qty: i64| Position {
        symbol: Symbol::linear_perp(coin).unwrap(),
        native_symbol: format!("{coin}USDT"),
        leg: "both",
        qty: Qty::new(Decimal::from(qty)),
        entry_price: Some(Price::new(Decimal::from(100))),
        mark_price: Some(Price::new(Decimal::from(110))),
        notional_usd: Usd::new(Decimal::from(qty.abs() * 110)),
        unrealized_pnl_usd: Usd::new(Decimal::from(qty * 10)),
    };
    Snapshot {
        taken_at: now(),
        balances: vec![],
        positions: vec![position("BTC", dice.roll(9) + 1), position(coin, -dice.roll(9) - 1)],
        nav_usd: Usd::new(Decimal::from(1_000 + dice.roll(9_000))),
        unpriced_assets: vec![],
        btc_price_usd: Some("50000".parse().unwrap()),
        eth_price_usd: None,
    }
}

/// Ids that are made by chance: which of the one server is which of the other.
#[derive(Default)]
pub struct Twins(Vec<(String, String)>);

/// Shown once, and made by chance.
const SECRETS: [&str; 5] = ["apiKey", "secret", "signingSecret", "path", "hint"];
/// Measured, not known.
const MEASURED: [&str; 2] = ["durationMs", "lastUsedAt"];

impl Twins {
    /// Learns the ids of what both servers have just made.
    pub fn meet(&mut self, both: &Reply, alone: &Reply) {
        let ids = |reply: &Reply| {
            let mut ids = Vec::new();
            let mut each = |_: &str, text: &str| ids.extend(Uuid::parse_str(text).is_ok().then(|| text.to_owned()));
            super::texts(&reply.json(), &mut each, "");
            ids
        };
        let (here, there) = (ids(both), ids(alone));
        if both.status == alone.status && here.len() == there.len() {
            for (one, other) in here.into_iter().zip(there) {
                let is_known = self.0.iter().any(|(known, twin)| *known == one || *twin == other);
                // What is in both answers is no twin, whatever its place.
                if !is_known && !alone.text.contains(&one) && !both.text.contains(&other) {
                    self.0.push((one, other));
                }
            }
        }
    }

    pub fn to_alone(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (one, other)| text.replace(one, other))
    }

    pub fn seen(&self, reply: &Reply) -> (u16, Vec<(&'static str, String)>, String) {
        self.comparable(reply, &reply.text)
    }

    pub fn seen_alone(&self, reply: &Reply) -> (u16, Vec<(&'static str, String)>, String) {
        let text = self.0.iter().fold(reply.text.clone(), |text, (one, other)| text.replace(other, one));
        self.comparable(reply, &text)
    }

    /// Without what chance and the clock on the wall make of it.
    fn comparable(&self, reply: &Reply, text: &str) -> (u16, Vec<(&'static str, String)>, String) {
        let text = match serde_json::from_str(text) {
            Ok(value) => without_now(&self.plain(value, "").to_string()),
            Err(_) => without_now(text),
        };
        // Of tags those of versions. Others are of the bytes: see `Reply::tag`.
        let is_version = |tag: &str| tag.trim_matches('"').parse::<u32>().is_ok();
        let headers = reply.headers.iter().filter(|(name, tag)| *name != "etag" || is_version(tag)).cloned().collect();
        (reply.status, headers, text)
    }

    fn plain(&self, value: Value, name: &str) -> Value {
        match value {
            Value::String(_) if SECRETS.contains(&name) => json!("<by chance>"),
            Value::String(_) | Value::Number(_) | Value::Null if MEASURED.contains(&name) => json!("<measured>"),
            Value::Array(items) => {
                let mut items: Vec<Value> = items.into_iter().map(|item| self.plain(item, name)).collect();
                // What has an id by chance and is otherwise alike is in the order of its ids.
                let texts: String = items.iter().map(ToString::to_string).collect();
                if self.0.iter().any(|(one, _)| texts.contains(one)) {
                    items.sort_by_cached_key(ToString::to_string);
                }
                Value::Array(items)
            }
            Value::Object(members) => {
                let members = members.into_iter();
                Value::Object(members.map(|(name, member)| (name.clone(), self.plain(member, &name))).collect())
            }
            other => other,
        }
    }
}

/// Instants of the database's clock, which does not stand still.
fn without_now(text: &str) -> String {
    const LENGTH: usize = "2026-01-01T00:00:00.000Z".len();
    let wall: DateTime<Utc> = SystemClock.now().to_string().parse().unwrap();
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("T") {
        let start = at.saturating_sub(10);
        let instant = rest.get(start..start + LENGTH).and_then(|text| text.parse::<DateTime<Utc>>().ok());
        match instant.filter(|instant| (*instant - wall).abs() < TimeDelta::days(60)) {
            Some(_) => {
                kept.push_str(&rest[..start]);
                kept.push_str("<now>");
                rest = &rest[start + LENGTH..];
            }
            None => {
                kept.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    kept + rest
}
