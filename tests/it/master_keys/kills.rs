//! A rotation that ends anywhere, in order or not.

use std::process::Stdio;
use std::time::Duration;

use codash_store::rotation::After;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};

use super::desk::{self, Desk, NEW, OLD, opened, store};
use super::{RENEW, REWRAP, command, standing, turn, until};
use crate::tenants::{TestStore, random};

/// A number from 0 to 65,535, different in every run.
fn chance() -> u64 {
    u64::from(u16::from_be_bytes(random()))
}

#[tokio::test]
async fn a_run_that_is_dropped_anywhere_is_gone_on_with() {
    let db = TestStore::new().await;
    let desk = Desk::new(&db, "desk").await;
    desk::fill(&db, 150, 2).await;
    let before = opened(&db, &[OLD]).await;
    let both = store(&db, &[NEW, OLD]).await;
    let mut dropped = [0, 0];
    for (args, dropped) in [REWRAP, RENEW].iter().zip(&mut dropped) {
        for _ in 0..20 {
            let micros = Duration::from_micros(500 + chance() % 20_000);
            *dropped += u32::from(tokio::time::timeout(micros, turn(&both, args)).await.is_err());
            desk.read(&both).await;
        }
        let secrets = |of: &desk::Opened| of.keys().filter(|cell| !cell.starts_with("data_keys")).count();
        assert_eq!(secrets(&opened(&db, &[NEW, OLD]).await), secrets(&before), "nothing was lost");
        assert!(turn(&both, args).await.failed.is_empty());
    }
    assert!(dropped.iter().all(|dropped| *dropped > 0), "{dropped:?}");
    let stands = standing(&both).await;
    assert!(stands.is_turned() && stands.is_renewed(), "{stands}");
    assert_eq!(opened(&db, &[NEW]).await.len(), before.len());
    desk.read(&store(&db, &[NEW]).await).await;
}

#[tokio::test]
async fn a_pass_goes_on_where_it_was_left() {
    let db = TestStore::new().await;
    desk::fill(&db, 10, 0).await;
    let both = store(&db, &[NEW, OLD]).await;
    let first = both.rewrap_some(After::default(), 4).await.unwrap();
    let second = both.rewrap_some(first.next.unwrap(), 4).await.unwrap();
    let third = both.rewrap_some(second.next.unwrap(), 4).await.unwrap();
    assert_eq!([&first, &second, &third].map(|step| (step.seen, step.done)), [(4, 4), (4, 4), (2, 2)]);
    let end = both.rewrap_some(third.next.unwrap(), 4).await.unwrap();
    assert_eq!((end.seen, end.next), (0, None));
    assert_eq!(both.rewrap_some(After::default(), 4).await.unwrap().seen, 0);
}

/// The binary, killed while it is at work, at least twenty times; then once to its end.
#[tokio::test]
async fn a_killed_process_leaves_nothing_that_does_not_open_and_the_next_goes_on() {
    let db = TestStore::new().await;
    let desk = Desk::new(&db, "desk").await;
    desk::fill(&db, 3000, 1).await;
    let before = opened(&db, &[OLD]).await;
    let (both, mut watch) =
        (store(&db, &[NEW, OLD]).await, PgConnection::connect(db.url().expose_secret()).await.unwrap());
    let phases = [
        ("SELECT count(*) FROM data_keys WHERE master_key_id = 'test'", &["--batch", "3"][..]),
        ("SELECT count(*) FROM ai_keys WHERE data_key_version = 1", &["--data-keys"][..]),
    ];
    let mut killed = 0;
    for (left_sql, flags) in phases {
        for _ in 0..12 {
            let left = async |watch: &mut PgConnection| -> i64 {
                sqlx::query_scalar(left_sql).fetch_one(watch).await.unwrap()
            };
            let start = left(&mut watch).await;
            let mut rotation = command(&db, &[NEW, OLD]);
            rotation.args(["keys", "rotate-master"]).args(flags).stdout(Stdio::null()).stderr(Stdio::null());
            let mut rotation = rotation.spawn().unwrap();
            until(async || left(&mut watch).await < start || rotation.try_wait().unwrap().is_some()).await;
            tokio::time::sleep(Duration::from_millis(chance() % 20)).await;
            rotation.kill().unwrap();
            let ended = rotation.wait().unwrap();
            killed += u32::from(!ended.success() && left(&mut watch).await > 0);
            desk.read(&both).await;
        }
        assert_eq!(opened(&db, &[NEW, OLD]).await.keys().filter(|k| !k.starts_with("data_keys")).count(), 3006);
    }
    assert!(killed >= 20, "killed at work: {killed}");
    let last = command(&db, &[NEW, OLD]).args(["keys", "rotate-master", "--data-keys"]).output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let stands = standing(&both).await;
    assert!(stands.is_turned() && stands.is_renewed(), "{stands}");
    assert_eq!(opened(&db, &[NEW]).await.len(), before.len());
    desk.read(&store(&db, &[NEW]).await).await;
}
