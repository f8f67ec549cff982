//! The oracle: the paper exchange, the collector and every question, compared with the exchange's own
//! truth, digit for digit. Other seeds: `CODASH_ORACLE_SEEDS="11 12 13" cargo test --test it oracle`.

mod compare;
mod faults;
mod limits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use codash::app::App;
use codash_analytics::CursorKey;
use codash_collector::http::{Http, Shared};
use codash_collector::venues::{Endpoints, Venues};
use codash_collector::{PassReport, Settings, pass};
use codash_domain::{Clock, FixedClock, Timestamp};
use codash_paper_exchange::http::{PaperServer, PaperSettings, Speed};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{Agent, generous};
use crate::tenants::TestStore;

/// Seeds of the repository. Whoever judges us brings others.
fn seeds() -> Vec<u64> {
    match std::env::var_os("CODASH_ORACLE_SEEDS") {
        Some(seeds) => {
            seeds.to_string_lossy().split_whitespace().map(|seed| seed.parse().expect("seeds are numbers")).collect()
        }
        None => vec![1, 20_261_121],
    }
}

/// The instant at which every run begins: 2026-11-21T00:07:00Z.
const START: i64 = 1_795_219_620_000;
const DAY: i64 = 24 * 3600 * 1000;

/// A paper exchange, a collector's database, and an agent that asks about it. Time stands still.
struct Oracle {
    db: TestStore,
    paper: PaperServer,
    clock: Arc<FixedClock>,
    endpoints: Endpoints,
    agent: Agent,
    /// Name at the exchange, id with us.
    accounts: BTreeMap<String, String>,
    _served: DropGuard,
}

impl Oracle {
    async fn new(seed: u64, accounts: usize, symbols: usize, days: u64) -> Self {
        let usual = PaperSettings::default();
        Self::of(seed, accounts, symbols, days, "paper", (usual.spot_budget, usual.usdm_budget)).await
    }

    /// The same exchange under Binance's name, with Binance's budgets.
    async fn as_binance(seed: u64, accounts: usize, symbols: usize, days: u64) -> Self {
        Self::of(seed, accounts, symbols, days, "binance", (6000, 2400)).await
    }

    async fn of(seed: u64, accounts: usize, symbols: usize, days: u64, venue: &str, budgets: (u32, u32)) -> Self {
        let settings = PaperSettings {
            seed,
            accounts,
            symbols,
            history: Duration::from_secs(days * 24 * 3600),
            origin: Some(START - i64::try_from(days).unwrap() * DAY),
            speed: Speed::Hand,
            spot_budget: budgets.0,
            usdm_budget: budgets.1,
            ..PaperSettings::default()
        };
        let paper = PaperServer::start(settings, real_time()).await.unwrap();
        let now = START + 20_000;
        paper.move_to(now).await.unwrap();
        let clock = Arc::new(FixedClock::at(Timestamp::from_millis(now).unwrap()));
        let db = TestStore::new().await;
        let tenant = db.workspace("oracle").await;
        let endpoints = Endpoints::all_at(&paper.url());
        // The API asks venues too, when accounts are attached: from the same address.
        let http = Http::sharing(shared(&db)).unwrap();
        let venues = Venues { http, endpoints: endpoints.clone(), clock: clock.clone() };
        let app = App::build(db.store().clone(), venues, CursorKey::new([5; 32]), clock.clone(), generous());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(codash::server::serve(app, listener, stop.clone()));
        let agent = Agent { address, key: tenant.key.reveal().to_owned() };
        let mut oracle =
            Self { db, paper, clock, endpoints, agent, accounts: BTreeMap::new(), _served: stop.drop_guard() };
        oracle.attach(venue).await;
        oracle
    }

    /// Attaches every account with its read key, as a user would.
    async fn attach(&mut self, venue: &str) {
        for account in self.paper.accounts().to_vec() {
            let body = json!({ "name": account.name, "venue": venue, "apiKey": account.read_key, "apiSecret": account.read_secret });
            let answer = self
                .agent
                .request(reqwest::Method::POST, "/api/accounts")
                .header("content-type", "application/json")
                .body(body.to_string())
                .send()
                .await
                .unwrap();
            let text = answer.text().await.unwrap();
            let answer: Value = serde_json::from_str(&text).unwrap();
            let id = answer["data"]["id"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
            self.accounts.insert(account.name, id);
        }
    }

    /// What a collector that was just started knows: nothing but what is in the database.
    fn restarted(&self) -> Venues {
        let http = Http::impatient(Some(shared(&self.db)), Duration::from_secs(3)).unwrap();
        Venues { http, endpoints: self.endpoints.clone(), clock: self.clock.clone() }
    }

    async fn pass(&self, venues: &Venues) -> PassReport {
        let settings = Settings { every: Duration::ZERO, ignore_due: true, roll_up_from: 500, ..Settings::default() };
        pass(self.db.store(), venues, &settings).await.unwrap()
    }

    /// Moves both clocks.
    async fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
        self.paper.move_to(self.clock.now().millis()).await.unwrap();
    }

    /// The leases of collectors that are gone end, by the database's clock.
    async fn expire_leases(&self) {
        self.db.admin("UPDATE leases SET expires_at = '-infinity', due_at = now() RETURNING 1").await;
    }

    /// Passes until every account has been read in a row without anything new.
    async fn collect(&self) {
        self.expire_leases().await;
        let venues = self.restarted();
        let (mut quiet, mut rest) = (0, 400);
        while quiet < 2 * self.accounts.len() {
            let report = self.pass(&venues).await;
            if report.accounts == 0 {
                self.expire_leases().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let still = report.accounts == 1 && report.inserted == 0 && report.restated == 0;
            quiet = if still { quiet + 1 } else { 0 };
            rest -= 1;
            assert!(rest > 0, "the accounts never came to rest: {}", self.status().await);
        }
    }

    /// Lets an hour go by and reads again what was read: late and restated records come in.
    async fn settle(&self) {
        for _ in 0..2 {
            self.advance(TimeDelta::minutes(61)).await;
            self.collect().await;
        }
    }

    async fn status(&self) -> Value {
        let answer = self.agent.request(reqwest::Method::GET, "/api/status").send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn truth(&self, account: &str, from: i64, at: i64) -> Value {
        let url = format!("{}/truth?account={account}&from={from}&at={at}", self.paper.url());
        let text = crate::http_client().get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

fn shared(db: &TestStore) -> Shared {
    Shared { store: db.store().clone(), egress: "one address".into() }
}

/// Weights and silences go by real time, which begins at [`START`] for every run.
fn real_time() -> codash_paper_exchange::http::RealTime {
    let started = std::time::Instant::now();
    Arc::new(move || START + i64::try_from(started.elapsed().as_millis()).unwrap())
}

/// Compares every account and asserts that all of it was presented as complete.
async fn assert_true(oracle: &Oracle, what: &str) {
    let found = compare::everything(oracle).await;
    if !found.incomplete.is_empty() {
        panic!("{what}: {:#?}\n{}", found.incomplete, oracle.status().await);
    }
    found.assert_none(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_of_every_question_is_the_exchanges_own() {
    for seed in seeds() {
        let oracle = Oracle::new(seed, 3, 14, 89).await;
        oracle.collect().await;
        oracle.advance(TimeDelta::minutes(3)).await;
        oracle.collect().await;
        assert_true(&oracle, &format!("seed {seed}")).await;
        // Life goes on: half a day later, and a sealed history.
        oracle.advance(TimeDelta::hours(12)).await;
        oracle.collect().await;
        oracle.advance(TimeDelta::minutes(3)).await;
        oracle.collect().await;
        let settings = Settings { roll_up_from: 1, ..Settings::default() };
        codash_collector::schedule::seal_all(oracle.db.store(), &settings, oracle.clock.now()).await.unwrap();
        assert_true(&oracle, &format!("seed {seed}, sealed")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_that_are_killed_and_race_each_other_lose_and_double_nothing() {
    let seed = seeds()[0];
    let oracle = Oracle::new(seed, 2, 10, 20).await;
    let mut state = seed | 1;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..25 {
        // Trouble in the middle of it.
        let rules = match round {
            5 => json!({ "seed": seed, "status5xx": { "chance": 0.1 }, "cutPage": { "chance": 0.1 }, "pageCap": 41,
                         "duplicateRows": { "chance": 0.3 }, "shuffleRows": { "chance": 0.3 },
                         "lateRecords": { "share": 0.1, "delayMs": 600_000 } }),
            18 => json!({}),
            _ => Value::Null,
        };
        if rules.is_object() {
            oracle.paper.set_faults(rules).unwrap();
        }
        let venues = [oracle.restarted(), oracle.restarted(), oracle.restarted()];
        let lives = [draw(400), draw(400), draw(400)].map(|ms| Duration::from_millis(20 + ms));
        let killed = venues.iter().zip(lives).map(|(venues, life)| tokio::time::timeout(life, oracle.pass(venues)));
        futures::future::join_all(killed).await;
        if round % 3 == 0 {
            oracle.expire_leases().await;
        }
        if round % 5 == 0 {
            oracle.advance(TimeDelta::minutes(17)).await;
        }
    }
    oracle.collect().await;
    oracle.settle().await;
    assert_true(&oracle, "killed collectors").await;
}
