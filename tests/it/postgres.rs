//! The private cluster: it starts, stops, comes back with its data, and never outlives its owner.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use codash::dev::postgres::{Cluster, Options};
use codash_store::admin;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};

/// A folder of a test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let mut bits = [0_u8; 6];
        getrandom::fill(&mut bits).unwrap();
        Self(std::env::temp_dir().join(format!("codash-test-{name}-{}", hex::encode(bits))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

async fn start(options: &Options) -> Cluster {
    Cluster::start(options, &|_| {}).await.unwrap()
}

async fn answers(url: &SecretString) -> bool {
    match PgConnection::connect(url.expose_secret()).await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

/// True when `holds` becomes true within ten seconds.
async fn soon(holds: impl AsyncFn() -> bool) -> bool {
    for _ in 0..100 {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

fn kill_9(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_cluster_keeps_its_databases_over_a_restart_and_over_the_death_of_its_keeper() {
    let folder = Folder::new("cluster");
    let options = Options::durable(&folder.0);
    let first = start(&options).await;
    admin::create_database(&first.url("postgres"), "kept").await.unwrap();
    let url = first.url("kept");
    assert!(answers(&url).await);
    first.stop().await;
    assert!(!answers(&url).await, "a stopped cluster answers nobody");

    let second = start(&options).await;
    assert!(answers(&second.url("kept")).await);
    let url = second.url("kept");
    // The keeper is killed, then we go without a word: what `kill -9` of both looks like.
    kill_9(second.keeper_pid());
    drop(second);
    let third = start(&options).await;
    assert!(answers(&third.url("kept")).await, "nothing blocks the next start");
    assert!(!answers(&url).await, "the earlier server is gone");
    third.stop().await;
}

#[tokio::test]
async fn a_throwaway_cluster_leaves_no_server_and_no_folder() {
    let cluster = start(&Options::throwaway()).await;
    let (url, home) = (cluster.url("postgres"), cluster.home().to_owned());
    assert!(answers(&url).await && home.exists());
    drop(cluster);
    assert!(soon(async || !answers(&url).await && !home.exists()).await);

    let cluster = start(&Options::throwaway()).await;
    let home = cluster.home().to_owned();
    cluster.stop().await;
    assert!(!home.exists());
}

#[tokio::test]
async fn a_wrong_password_opens_nothing() {
    let folder = Folder::new("password");
    let cluster = start(&Options::durable(&folder.0)).await;
    let wrong = format!("postgres://postgres:guess@127.0.0.1:{}/postgres", cluster.port());
    assert!(!answers(&wrong.into()).await);
    assert!(answers(&cluster.url("postgres")).await);
    cluster.stop().await;
}

#[tokio::test]
async fn only_the_owner_may_look_into_the_cluster_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("modes");
    let cluster = start(&Options::durable(&folder.0)).await;
    for name in ["", "password", "data"] {
        let mode = std::fs::metadata(cluster.home().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let (one, other) = (crate::harness::TestDb::new().await, crate::harness::TestDb::new().await);
    let mut connection = one.connect().await;
    sqlx::query("CREATE TABLE mine ()").execute(&mut connection).await.unwrap();
    let seen: bool = sqlx::query_scalar("SELECT to_regclass('mine') IS NOT NULL")
        .fetch_one(&mut other.connect().await)
        .await
        .unwrap();
    assert!(!seen);
    one.store().await.ping().await.unwrap();
    connection.close().await.unwrap();
}
