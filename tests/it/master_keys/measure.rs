//! How long it takes, when it is asked for: `cargo test --release --test it -- --ignored a_hundred_thousand`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use codash::master_keys::RotateArgs;

use super::desk::{self, Desk, NEW, OLD, store};
use super::{reader, standing, turn};
use crate::tenants::TestStore;

async fn measured(db: &TestStore, desks: Vec<Desk>, data_keys: bool) {
    let (new, old) = (store(db, &[NEW, OLD]).await, store(db, &[OLD, NEW]).await);
    let (desks, stop, reads) = (Arc::new(desks), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reading = reader(old, desks, Arc::clone(&stop), Arc::clone(&reads));
    let start = Instant::now();
    let turned = turn(&new, &RotateArgs { dry_run: false, data_keys, batch: 1000 }).await;
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    reading.await.expect("no read failed");
    assert!(turned.failed.is_empty());
    let stands = standing(&new).await;
    assert!(stands.is_turned() && (stands.is_renewed() || !data_keys), "{stands}");
    eprintln!(
        "rewrapped {}, renewed {}, sealed again {} in {} ms; rounds of reads meanwhile {}, none failed",
        turned.rewrapped,
        turned.renewed,
        turned.resealed,
        took.as_millis(),
        reads.load(Ordering::Relaxed)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_hundred_thousand_data_keys() {
    let db = TestStore::new().await;
    let desks = vec![Desk::new(&db, "desk").await];
    desk::fill(&db, 100_000, 0).await;
    measured(&db, desks, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_hundred_thousand_secrets_sealed_again() {
    let db = TestStore::new().await;
    let desks = vec![Desk::new(&db, "desk").await];
    desk::fill(&db, 1000, 100).await;
    measured(&db, desks, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_hundred_thousand_workspaces_with_a_secret_each() {
    let db = TestStore::new().await;
    let desks = vec![Desk::new(&db, "desk").await];
    desk::fill(&db, 100_000, 1).await;
    measured(&db, desks, true).await;
}
