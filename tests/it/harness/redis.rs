//! A Redis or Valkey of a test's own: started on a free port, empty, killed with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use codash::limits::shared::SharedSettings;

const PATIENCE: Duration = Duration::from_secs(30);
static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct TestRedis {
    pub url: String,
    /// `None` when `CODASH_TEST_REDIS_URL` names a server that is not ours.
    own: Option<Own>,
}

struct Own {
    program: PathBuf,
    port: u16,
    process: Child,
}

impl TestRedis {
    /// The server that `CODASH_TEST_REDIS_URL` names, a database of its own of the sixteen; else one of ours.
    pub fn start() -> Self {
        let Some(url) = std::env::var_os("CODASH_TEST_REDIS_URL") else { return Self::own() };
        let database = NEXT.fetch_add(1, Ordering::Relaxed) % 15 + 1;
        let url = format!("{}/{database}", url.to_string_lossy().trim_end_matches('/'));
        let redis = Self { url, own: None };
        redis::cmd("FLUSHDB").exec(&mut redis.connection()).unwrap();
        redis
    }

    /// One that may be killed.
    pub fn own() -> Self {
        let program = program();
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let own = Own { process: spawn(&program, port), program: program.clone(), port };
            let mut redis = Self { url: format!("redis://127.0.0.1:{port}/"), own: Some(own) };
            if redis.answers() {
                return redis;
            }
        }
        panic!("{} does not start", program.display());
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// For an app that is not hurried: other tests keep the machine busy.
    pub fn patient(&self) -> Option<SharedSettings> {
        SharedSettings::parse(&self.url, PATIENCE)
    }

    /// For an app as it is in production.
    pub fn usual(&self) -> Option<SharedSettings> {
        SharedSettings::parse(&self.url, Duration::from_millis(250))
    }

    /// Names of our windows, without that of the probe, which comes and goes.
    pub fn windows(&self) -> Vec<String> {
        let mut names: Vec<String> = redis::cmd("KEYS").arg("codash:limit:*").query(&mut self.connection()).unwrap();
        names.retain(|name| !name.starts_with("codash:limit:probe:"));
        names
    }

    pub fn kill(&mut self) {
        let own = self.own.as_mut().unwrap();
        own.process.kill().unwrap();
        own.process.wait().unwrap();
    }

    /// At the same port, and empty.
    pub fn restart(&mut self) {
        let own = self.own.as_mut().unwrap();
        own.process = spawn(&own.program, own.port);
        assert!(self.answers(), "it does not start again");
    }

    /// `STOP` makes it hang, `CONT` go on.
    pub fn signal(&self, name: &str) {
        let id = self.own.as_ref().unwrap().process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    fn answers(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let client = redis::Client::open(self.url.as_str()).unwrap();
            let asked = client.get_connection().and_then(|mut c| redis::cmd("PING").query::<String>(&mut c));
            if asked.is_ok() {
                return true;
            }
            if self.own.as_mut().is_some_and(|own| own.process.try_wait().unwrap().is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            drop(own.process.kill());
            drop(own.process.wait());
        }
    }
}

fn program() -> PathBuf {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let places = folders.iter().flat_map(|folder| ["valkey-server", "redis-server"].map(|name| folder.join(name)));
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| {
        panic!(
            "this test needs valkey-server or redis-server on the PATH (apt-get install redis-server, dnf install \
             valkey, brew install valkey), or CODASH_TEST_REDIS_URL, the address of a running one"
        )
    })
}

/// Keeps nothing on disk.
fn spawn(program: &PathBuf, port: u16) -> Child {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
