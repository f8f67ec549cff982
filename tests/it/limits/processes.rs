//! Two real `codash serve`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use secrecy::ExposeSecret;

use super::*;
use crate::dev::Folder;
use crate::harness::master_keys;

/// A running `codash serve`, and where it writes its log.
struct Served {
    process: Child,
    log: PathBuf,
}

impl Served {
    fn spawn(world: &World, folder: &Folder, name: &str, settings: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(&folder.0).unwrap();
        let log = folder.0.join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
        command.arg("serve").env_remove("CODASH_LOG").env("CODASH_LISTEN", "127.0.0.1:0");
        command.env("CODASH_DATABASE_URL", world.db.url().expose_secret()).env("CODASH_DATABASE_POOL", "4");
        command.env("CODASH_MASTER_KEYS", master_keys().to_text().expose_secret()).envs(settings.iter().copied());
        let out = std::fs::File::create(&log).unwrap();
        let process = command.stdout(Stdio::null()).stderr(out).spawn().unwrap();
        Self { process, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn address(&mut self) -> SocketAddr {
        let start = Instant::now();
        loop {
            let said = self.said();
            let words = said.lines().filter(|line| line.contains("listening")).flat_map(str::split_whitespace);
            if let Some(address) = words.filter_map(|word| word.split('=').next_back()?.parse().ok()).next() {
                return address;
            }
            assert!(self.process.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE, "{said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn two_processes_let_through_exactly_what_one_would() {
    let (redis, world, folder) = (TestRedis::start(), World::new().await, Folder::new());
    let settings = [
        ("CODASH_REDIS_URL", redis.url.as_str()),
        ("CODASH_REDIS_TIMEOUT_MS", "30000"),
        ("CODASH_LIMIT_CREDENTIALS_PER_MINUTE", "10000"),
    ];
    let mut served = ["one", "two"].map(|name| Served::spawn(&world, &folder, name, &settings));
    let client = crate::http_client();
    let mut to = Vec::new();
    for served in &mut served {
        to.push(served.address().await);
        until(&client, to[to.len() - 1], "shared").await;
    }
    let key = world.agent().key;
    let replies = hammer(&client, [to[0], to[1]], &key, 260, 4).await;
    let passed = accepted(&replies);
    assert!(passed.iter().all(|reply| reply.status == 200));
    assert_eq!(passed.len(), 100);
}

#[tokio::test]
async fn an_unreachable_redis_is_an_alarm_at_the_start_and_an_unreadable_address_a_refusal() {
    let (world, folder) = (World::new().await, Folder::new());
    let mut away = Served::spawn(&world, &folder, "away", &[("CODASH_REDIS_URL", "redis://127.0.0.1:1/")]);
    let (to, client) = (away.address().await, crate::http_client());
    assert_eq!(health(&client, to).await, json!("alone"));
    assert_eq!(ping(&client, to, &world.agent().key).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(away.said().matches("each process counts").count(), 1, "once an outage: {}", away.said());

    let mut wrong = Served::spawn(&world, &folder, "wrong", &[("CODASH_REDIS_URL", "http://u:hunter2@127.0.0.1:1/")]);
    assert!(!wrong.process.wait().unwrap().success());
    let said = wrong.said();
    assert!(said.contains("CODASH_REDIS_URL: expected redis://") && !said.contains("hunter2"), "{said}");
}
