//! The binary as operators run it: one process a subcommand, its settings in the environment, its log in a file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codash_collector::venues::registry::REGISTRY;
use secrecy::ExposeSecret;

use crate::tenants::TestStore;

const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of a process.
pub type Settings = BTreeMap<&'static str, String>;

/// What a process needs to serve a database of a test, without limits that a test would meet.
pub fn settings(db: &TestStore, master_key: &[u8; 32], venues: &str) -> Settings {
    let unlimited = [
        "CODASH_LIMIT_READS_PER_MINUTE",
        "CODASH_LIMIT_CREDENTIALS_PER_MINUTE",
        "CODASH_LIMIT_REGISTRATIONS_PER_HOUR",
        "CODASH_LIMIT_LOGINS_PER_MINUTE",
    ];
    let mut settings: Settings = unlimited.map(|name| (name, "100000".to_owned())).into();
    settings.insert("CODASH_DATABASE_URL", db.url().expose_secret().to_owned());
    settings.insert("CODASH_DATABASE_POOL", "4".into());
    settings.insert("CODASH_MASTER_KEYS", format!("k1:{}", STANDARD.encode(master_key)));
    settings.insert("CODASH_LISTEN", "127.0.0.1:0".into());
    settings.insert("CODASH_WEBHOOKS_LOCAL", "true".into());
    settings.extend(REGISTRY.iter().flat_map(|venue| venue.hosts).map(|host| (host.setting, venues.to_owned())));
    settings
}

/// A running subcommand.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Both outputs go to `log`. The environment is `settings` and no more.
    pub fn start(subcommand: &str, settings: &Settings, log: &Path) -> Self {
        let output = std::fs::File::create(log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
        command.arg(subcommand).env_clear().envs(settings).stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Where `serve` listens, once it does.
    pub async fn address(&mut self) -> SocketAddr {
        let start = Instant::now();
        loop {
            let log = self.log();
            let said = log.lines().find(|line| line.contains("listening") && line.contains("server.address"));
            if let Some((_, after)) = said.and_then(|line| line.split_once("127.0.0.1:")) {
                let port: String = after.chars().take_while(char::is_ascii_digit).collect();
                return SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {log}");
            assert!(start.elapsed() < PATIENCE, "it does not listen: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How it ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to stop, waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        self.ended().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
