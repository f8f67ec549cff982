//! The sliding windows over several processes: one database, one Redis, several servers.

mod outages;
mod processes;
mod script;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codash::app::{App, AppConfig};
use codash_analytics::CursorKey;
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_domain::FixedClock;
use futures::future::join_all;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{World, generous};
use crate::harness::TestRedis;
use crate::tenants::now;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two servers on one database, which count together.
struct Pair {
    world: World,
    second: SocketAddr,
    client: reqwest::Client,
    _served: DropGuard,
}

/// An answer, and between which instants the request was counted.
struct Reply {
    status: u16,
    headers: HeaderMap,
    sent: Instant,
    received: Instant,
}

impl Reply {
    fn number(&self, header: &str) -> u64 {
        self.headers[header].to_str().unwrap().parse().unwrap()
    }
}

impl Pair {
    async fn start(config: AppConfig) -> Self {
        let world = World::with(config.clone()).await;
        let clock = Arc::new(FixedClock::at(now()));
        let venues = Venues { http: Http::new().unwrap(), endpoints: world.replay.endpoints(), clock: clock.clone() };
        let app = App::build(world.db.store().clone(), venues, CursorKey::new([5; 32]), clock, config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (second, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(codash::server::serve(app, listener, stop.clone()));
        Self { world, second, client: crate::http_client(), _served: stop.drop_guard() }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [self.world.address, self.second]
    }

    fn key(&self) -> String {
        self.world.agent().key
    }

    /// `total` requests, as many at once as `at_once`, by turns to both.
    async fn hammer(&self, key: &str, total: usize, at_once: usize) -> Vec<Reply> {
        hammer(&self.client, self.addresses(), key, total, at_once).await
    }
}

async fn hammer(client: &reqwest::Client, to: [SocketAddr; 2], key: &str, total: usize, at_once: usize) -> Vec<Reply> {
    let lane = async |lane: usize| {
        let mut replies = Vec::new();
        for n in (lane..total).step_by(at_once) {
            replies.push(ping(client, to[n % 2], key).await);
        }
        replies
    };
    join_all((0..at_once).map(lane)).await.into_iter().flatten().collect()
}

async fn ping(client: &reqwest::Client, to: SocketAddr, key: &str) -> Reply {
    send(client, to, key, &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).await
}

/// A hang is a failure.
async fn send(client: &reqwest::Client, to: SocketAddr, key: &str, body: &Value) -> Reply {
    let request = client.post(format!("http://{to}/mcp")).bearer_auth(key).header("content-type", "application/json");
    let sent = Instant::now();
    let reply = request.timeout(PATIENCE).body(body.to_string()).send().await.unwrap();
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    reply.bytes().await.unwrap();
    Reply { status, headers, sent, received: Instant::now() }
}

fn accepted(replies: &[Reply]) -> Vec<&Reply> {
    replies.iter().filter(|reply| reply.status != 429).collect()
}

/// What `/health/*` says of the limits.
async fn health(client: &reqwest::Client, to: SocketAddr) -> Value {
    let mut said = Value::Null;
    for path in ["live", "ready"] {
        let reply = client.get(format!("http://{to}/health/{path}")).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{path}");
        let body: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert_eq!(body["status"], json!("ok"), "{body}");
        said = body["limits"].clone();
    }
    said
}

async fn until(client: &reqwest::Client, to: SocketAddr, wanted: &str) {
    let start = Instant::now();
    while health(client, to).await != json!(wanted) {
        assert!(start.elapsed() < PATIENCE, "the limits are not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn config(redis: &TestRedis) -> AppConfig {
    AppConfig { shared_limits: redis.patient(), ..generous() }
}

#[tokio::test]
async fn of_a_key_exactly_as_many_reads_pass_as_its_limit_says_over_both_processes() {
    let redis = TestRedis::start();
    let mut config = config(&redis);
    config.limits.reads_per_minute = 100;
    let pair = Pair::start(config).await;
    let replies = pair.hammer(&pair.key(), 300, 12).await;
    let accepted = accepted(&replies);
    assert!(accepted.iter().all(|reply| reply.status == 200));
    let mut remaining: Vec<u64> = accepted.iter().map(|reply| reply.number("x-ratelimit-remaining")).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..100).collect::<Vec<u64>>(), "each place was given once, and each was told which");
    for refused in replies.iter().filter(|reply| reply.status == 429) {
        assert_eq!((refused.number("x-ratelimit-limit"), refused.number("x-ratelimit-remaining")), (100, 0));
        assert!((1..=60).contains(&refused.number("retry-after")));
    }
    let other = pair.world.key(|_| {}).await.key;
    assert_eq!(ping(&pair.client, pair.second, &other).await.status, 200, "another key has a window of its own");
}

#[tokio::test]
async fn of_an_address_exactly_as_many_credentials_pass_good_or_bad_over_both_processes() {
    let redis = TestRedis::start();
    let mut config = config(&redis);
    config.limits.credentials_per_minute = 120;
    let pair = Pair::start(config).await;
    let key = pair.key();
    let (good, bad) = tokio::join!(pair.hammer(&key, 120, 6), pair.hammer("kv_live_nonsense", 120, 6));
    let (good, bad) = (accepted(&good), accepted(&bad));
    assert!(good.iter().all(|reply| reply.status == 200) && bad.iter().all(|reply| reply.status == 401));
    assert_eq!(good.len() + bad.len(), 120);
    assert!(!good.is_empty() && !bad.is_empty());
}

/// With minutes of two seconds: bursts fall on every place of the boundary.
#[tokio::test]
async fn in_no_window_wherever_it_begins_more_pass_over_both_processes_than_the_limit() {
    const LIMIT: usize = 40;
    let minute = Duration::from_secs(2);
    let redis = TestRedis::start();
    let mut config = config(&redis);
    (config.limits.reads_per_minute, config.limits.minute) = (40, minute);
    let pair = Pair::start(config).await;
    let (key, start) = (pair.key(), Instant::now());
    let mut replies = Vec::new();
    while start.elapsed() < minute * 3 {
        replies.extend(pair.hammer(&key, 60, 6).await);
    }
    let mut accepted = accepted(&replies);
    assert!(accepted.len() > 2 * LIMIT, "the window opened again: {}", accepted.len());
    accepted.sort_by_key(|reply| reply.received);
    for first in &accepted {
        // Counted no earlier than sent and no later than received, so surely within one window.
        let inside = accepted.iter().filter(|reply| reply.sent >= first.sent && reply.received < first.sent + minute);
        assert!(inside.count() <= LIMIT);
    }
}

#[tokio::test]
async fn a_retry_when_told_succeeds_at_the_other_process() {
    let redis = TestRedis::start();
    let mut config = config(&redis);
    (config.limits.reads_per_minute, config.limits.minute) = (3, Duration::from_secs(3));
    let pair = Pair::start(config).await;
    let (key, client) = (pair.key(), &pair.client);
    let refused = loop {
        let reply = ping(client, pair.world.address, &key).await;
        if reply.status == 429 {
            break reply;
        }
    };
    tokio::time::sleep_until((refused.received + Duration::from_secs(refused.number("retry-after"))).into()).await;
    assert_eq!(ping(client, pair.second, &key).await.status, 200);
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all_over_both_processes() {
    let redis = TestRedis::start();
    let mut config = config(&redis);
    config.limits.reads_per_minute = 20;
    let pair = Pair::start(config).await;
    let key = pair.key();
    let batch = async |to: SocketAddr, size: usize| {
        let ping = |id| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
        let reply = send(&pair.client, to, &key, &(0..size).map(ping).collect()).await;
        (reply.status, reply.number("x-ratelimit-remaining"))
    };
    let [one, two] = pair.addresses();
    assert_eq!(batch(one, 8).await, (200, 12));
    assert_eq!(batch(two, 8).await, (200, 4));
    assert_eq!(batch(one, 8).await, (429, 3), "the request itself was counted, of its further messages none");
    assert_eq!(batch(two, 3).await, (200, 0));
    assert_eq!(batch(one, 1).await, (429, 0));
}

#[tokio::test]
async fn every_door_counts_over_both_processes_and_tells_redis_nobodys_name() {
    let redis = TestRedis::start();
    let mut config = config(&redis);
    (config.limits.registrations_per_hour, config.limits.logins_per_minute) = (3, 5);
    let pair = Pair::start(config).await;
    let post = async |n: usize, path: &str, body: Value| {
        let request = pair.client.post(format!("http://{}{path}", pair.addresses()[n % 2]));
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap().status().as_u16()
    };
    let mut statuses = Vec::new();
    for n in 0..4 {
        statuses.push(post(n, "/api/agents/register", json!({ "name": "desk" })).await);
    }
    assert_eq!(statuses, [201, 201, 201, 429]);
    let mut statuses = Vec::new();
    for n in 0..6 {
        let body = json!({ "email": "trader@desk.example", "password": "no such password" });
        statuses.push(post(n, "/api/auth/login", body).await);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
    let trigger = join_all((0..64).map(|n| post(n, "/api/automations/trigger/kvt_unknown", json!({})))).await;
    assert_eq!(trigger.iter().filter(|status| **status == 404).count(), 60, "{trigger:?}");
    assert_eq!(pair.hammer(&pair.key(), 2, 1).await.iter().filter(|reply| reply.status == 200).count(), 2);

    let (mut names, mut connection) = (redis.windows(), redis.connection());
    names.sort();
    let doors: Vec<&str> = names.iter().map(|name| name.split(':').nth(2).unwrap()).collect();
    assert_eq!(doors, ["credentials", "guesses", "logins", "reads", "registrations", "triggers"]);
    let hash = hex::encode(pair.world.tenant.key.hash());
    for (name, door) in names.iter().zip(doors) {
        assert!(!name.contains("127.0.0.1") && !name.contains("desk") && !name.contains(&hash[..16]), "{name}");
        let left: u64 = redis::cmd("PTTL").arg(name).query(&mut connection).unwrap();
        let longest = match door {
            "registrations" => 3_600_001,
            "guesses" => 900_001,
            _ => 60_001,
        };
        assert!((1..=longest).contains(&left), "{name} goes by itself, in {left} ms");
    }
}

#[tokio::test]
async fn without_a_redis_health_says_nothing_of_it() {
    let world = World::new().await;
    assert_eq!(health(&crate::http_client(), world.address).await, Value::Null);
}
