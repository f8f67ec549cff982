//! The venue's budget and its requests for silence, kept by several workers behind one address.

use std::time::Duration;

use chrono::TimeDelta;
use codash_collector::http::Http;
use codash_collector::venues::Venues;
use codash_collector::{Settings, pass};
use serde_json::{Value, json};

use super::{Oracle, seeds, shared};

/// Two workers, each a process as far as the other knows: all they share is the database.
async fn work(oracle: &Oracle, workers: &[Venues], patience: Duration) {
    let settings = Settings { every: Duration::ZERO, ignore_due: true, ..Settings::default() };
    let works = workers.iter().map(|venues| {
        let settings = settings.clone();
        async move {
            let endless = async {
                loop {
                    drop(pass(oracle.db.store(), venues, &settings).await);
                    oracle.expire_leases().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let _: Result<(), _> = tokio::time::timeout(patience, endless).await;
        }
    });
    futures::future::join_all(works).await;
}

fn workers(oracle: &Oracle) -> Vec<Venues> {
    let worker = || {
        let http = Http::impatient(Some(shared(&oracle.db)), Duration::from_secs(3)).unwrap();
        Venues { http, endpoints: oracle.endpoints.clone(), clock: oracle.clock.clone() }
    };
    vec![worker(), worker()]
}

fn figure(meter: &Value, family: &str, name: &str) -> i64 {
    meter[family][name].as_i64().unwrap_or_else(|| panic!("no {family} {name} in {meter}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_behind_one_address_keep_to_four_fifths_of_the_venues_budget() {
    // As Binance, with Binance's budgets: half a minute's worth of work is asked for at once.
    let oracle = Oracle::as_binance(seeds()[0], 4, 14, 60).await;
    let workers = workers(&oracle);
    work(&oracle, &workers, Duration::from_secs(8)).await;
    let meter = oracle.paper.meter();
    for (family, budget) in [("spot", 6000), ("usdm", 2400)] {
        assert_eq!(figure(&meter, family, "budget"), budget);
        let highest = figure(&meter, family, "highest60s");
        assert!(highest * 5 <= budget * 4, "{family}: {highest} of {budget} in some sixty seconds");
        assert_eq!(figure(&meter, family, "during429") + figure(&meter, family, "during418"), 0, "{meter}");
    }
    let used = figure(&meter, "usdm", "highest60s");
    assert!(used > 1500, "the budget is used, not avoided: {used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_worker_was_told_holds_for_both_until_its_time() {
    for (rule, silence) in [("status429", 4), ("status418", 4)] {
        let oracle = Oracle::new(seeds()[0], 2, 8, 10).await;
        let workers = workers(&oracle);
        oracle
            .paper
            .set_faults(json!({ rule: { "chance": 1, "retryAfterSeconds": silence }, "only": ["/fapi"] }))
            .unwrap();
        work(&oracle, &workers, Duration::from_millis(1200)).await;
        let asked = |meter: &Value| figure(meter, "usdm", "requests");
        let before = asked(&oracle.paper.meter());
        assert!((1..=2).contains(&before), "{rule}: one request, or one of each worker at the same time: {before}");
        work(&oracle, &workers, Duration::from_millis(1200)).await;
        assert_eq!(asked(&oracle.paper.meter()), before, "{rule}: nothing is sent inside the silence");
        oracle.paper.set_faults(json!({})).unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        oracle.advance(TimeDelta::minutes(1)).await;
        work(&oracle, &workers, Duration::from_millis(1500)).await;
        assert!(asked(&oracle.paper.meter()) > before, "{rule}: the silence ends");
    }
}
