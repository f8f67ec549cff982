//! Workers behind one address share the venues' budgets through PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use codash_collector::error::VenueError;
use codash_collector::http::{Http, Request, Shared, Target};
use codash_store::meters::Spend;

use crate::tenants::TestStore;

const PER: Duration = Duration::from_millis(2000);

#[tokio::test]
async fn workers_together_never_take_more_than_the_allowance_in_any_period() {
    let db = TestStore::new().await;
    let started = tokio::time::Instant::now();
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let refused = Arc::new(AtomicU32::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, taken, refused) = (db.store().clone(), Arc::clone(&taken), Arc::clone(&refused));
        workers.spawn(async move {
            while started.elapsed() < Duration::from_secs(6) {
                match store.take_weight("here https://venue m", 5, 100, PER).await.unwrap() {
                    Spend::Taken => taken.lock().unwrap().push(started.elapsed()),
                    Spend::Wait(wait) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(wait.min(Duration::from_millis(50))).await;
                    }
                    Spend::Silent { .. } => unreachable!("nobody asked for silence"),
                }
            }
        });
    }
    while workers.join_next().await.is_some() {}
    let mut taken = taken.lock().unwrap().clone();
    taken.sort();
    // Both instants lie after the database's: how far is not known, so a little less than the period is looked at.
    let window = PER - Duration::from_millis(100);
    for (i, at) in taken.iter().enumerate() {
        let within = taken[i..].iter().take_while(|other| **other - *at < window).count();
        assert!(within <= 20, "{within} times 5 of 100 within {window:?}");
    }
    assert!(taken.len() >= 40, "the budget is used again and again: {}", taken.len());
    assert!(refused.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_silence_that_one_worker_was_asked_for_holds_for_all_of_them() {
    let db = TestStore::new().await;
    let store = db.store();
    let take = || store.take_weight("m", 1, 100, PER);
    assert_eq!(take().await.unwrap(), Spend::Taken);
    store.silence("m", Duration::from_secs(40), true).await.unwrap();
    store.silence("m", Duration::from_secs(1), false).await.unwrap();
    match take().await.unwrap() {
        Spend::Silent { after, banned } => assert!(banned && after > Duration::from_secs(30), "{after:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.take_weight("another", 1, 100, PER).await.unwrap(), Spend::Taken);
    store.silence("another", Duration::from_millis(1), false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.take_weight("another", 1, 100, PER).await.unwrap(), Spend::Taken, "a silence ends");
}

#[tokio::test]
async fn what_the_venue_counts_beyond_ours_is_counted_and_what_can_never_fit_goes_alone() {
    let db = TestStore::new().await;
    let store = db.store();
    store.learn_weight("m", 95, PER).await.unwrap();
    store.learn_weight("m", 10, PER).await.unwrap();
    assert!(matches!(store.take_weight("m", 6, 100, PER).await.unwrap(), Spend::Wait(wait) if wait <= PER * 2));
    assert_eq!(store.take_weight("m", 5, 100, PER).await.unwrap(), Spend::Taken);
    assert_eq!(store.take_weight("huge", 500, 100, PER).await.unwrap(), Spend::Taken);
    assert!(matches!(store.take_weight("huge", 500, 100, PER).await.unwrap(), Spend::Wait(_)));
}

#[tokio::test]
async fn what_one_worker_hears_of_the_venues_count_slows_all_of_them() {
    let db = TestStore::new().await;
    let counted = axum::Router::new().fallback(async || ([("x-mbx-used-weight-1m", "790")], "{}"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, counted).await });
    let worker = || Http::sharing(Shared { store: db.store().clone(), egress: "here".into() }).unwrap();
    let (one, other) = (worker(), worker());
    let target = Target { base: &base, meter: "m", budget: 1000, per: Duration::from_secs(60), is_own: false };
    let ask = |weight| Request { target, path: "/".into(), headers: vec![], body: None, weight, own_meter: None };

    assert_eq!(one.send(ask(10)).await.unwrap().status, 200);
    let refused = other.send(ask(20)).await.unwrap_err();
    assert!(
        matches!(refused, VenueError::Retry { after: Some(wait), .. } if wait > Duration::from_secs(40)),
        "{refused}"
    );
    server.abort();
}
