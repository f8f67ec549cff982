//! `codash dev` as a newcomer meets it: the binary itself, its printed commands, its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use codash_domain::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sqlx::Connection;

use crate::agent::Agent;

const PATIENCE: Duration = Duration::from_secs(90);

/// A running `codash dev` and the folder of this test.
pub struct Dev {
    process: Child,
    folder: PathBuf,
}

impl Dev {
    fn start(folder: &Path, flags: &[&str]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let output = std::fs::File::create(folder.join("output")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
        command.args(["dev", "--port", "0", "--ready-file"]).arg(folder.join("ready.json")).args(flags);
        let process = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
        Self { process, folder: folder.to_owned() }
    }

    /// Started, and what its ready file says.
    pub async fn started(folder: &Path, flags: &[&str]) -> (Self, Value) {
        let mut dev = Self::start(folder, flags);
        let waited = tokio::task::spawn_blocking(move || {
            let ready = dev.ready();
            (dev, ready)
        });
        waited.await.unwrap()
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("output")).unwrap()
    }

    /// Waits until everything answers.
    fn ready(&mut self) -> Value {
        let start = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(self.folder.join("ready.json")) {
                return serde_json::from_str(&text).unwrap();
            }
            assert!(self.process.try_wait().unwrap().is_none(), "it ended: {}", self.output());
            assert!(start.elapsed() < PATIENCE, "not ready: {}", self.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn ended(&mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Dev {
    /// In order where it can, so that it removes its own folder.
    fn drop(&mut self) {
        let is_running = |process: &mut Child| matches!(process.try_wait(), Ok(None));
        if is_running(&mut self.process) {
            self.signal("TERM");
        }
        for _ in 0..200 {
            if !is_running(&mut self.process) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("codash-test-dev-{}", hex::encode(crate::tenants::random::<6>()))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn shell(line: &str) -> Value {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"))
}

/// Whoever holds the key of a ready file.
pub fn agent(ready: &Value) -> Agent {
    let text = |field: &str| ready[field].as_str().unwrap_or_else(|| panic!("{field}: {ready}")).to_owned();
    Agent { address: text("url").trim_start_matches("http://").parse().unwrap(), key: text("apiKey") }
}

#[test]
fn the_printed_commands_work_as_printed_and_the_demo_has_something_to_show() {
    let folder = Folder::new();
    let mut dev = Dev::start(&folder.0, &["--ephemeral"]);
    let ready = dev.ready();
    for field in ["url", "apiKey", "workspaceId", "databaseUrl", "paperExchangeUrl", "paperKey", "paperSecret"] {
        assert!(ready[field].is_string(), "{field}");
    }
    // The ready file comes before the last line is printed.
    std::thread::sleep(Duration::from_millis(200));
    let output = dev.output();
    for field in ["url", "apiKey", "workspaceId", "paperExchangeUrl", "paperKey", "paperSecret"] {
        assert!(output.contains(ready[field].as_str().unwrap()), "{field} is printed");
    }
    assert!(output.contains("simulated") && output.contains("docs/paper-exchange.md"), "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{output}");
    if Command::new("curl").arg("--version").output().is_ok() {
        let accounts = shell(lines[0]);
        let accounts = &accounts["result"]["structuredContent"];
        assert_eq!(accounts["count"], 4);
        for account in accounts["accounts"].as_array().unwrap() {
            assert_eq!((&account["venue"], &account["status"]), (&json!("paper"), &json!("connected")), "{account}");
            assert!(account["name"].as_str().unwrap().contains("simulated") && account["lastBalanceUsd"].is_number());
        }
        assert!(shell(lines[1])["result"]["structuredContent"]["count"].as_i64().unwrap() >= 10);
        assert_eq!(shell(lines[2])["data"]["count"], 4);
    }
    dev.signal("TERM");
    assert!(dev.ended().success());
    assert!(!folder.0.join("ready.json").exists(), "not ready any more");
}

/// Ninety days of the demo, whatever day it is.
#[tokio::test]
async fn the_demo_is_whole_has_money_of_every_kind_and_its_nav_moves() {
    let folder = Folder::new();
    let (_dev, ready) = Dev::started(&folder.0, &["--ephemeral"]).await;
    let agent = agent(&ready);
    let from = codash_domain::Timestamp::nearest(SystemClock.now().millis() - 89 * 24 * 3_600_000);
    let activity = agent.call("get_trading_activity_summary", json!({ "from": from })).await;
    assert_eq!(activity["provenance"]["coverage"]["complete"], true, "{}", activity["provenance"]["coverage"]);
    let totals = &activity["totals"];
    assert!(totals["eventCount"].as_i64().unwrap() > 1000, "{totals}");
    for sum in ["fundingUsd", "feesUsd", "realizedPnlUsd"] {
        assert!(
            totals[sum].to_string().trim_start_matches('-').parse::<rust_decimal::Decimal>().unwrap() > 100.into(),
            "{totals}"
        );
    }
    let events = agent.call("get_trade_events", json!({ "from": from, "eventTypes": ["liquidation"] })).await;
    assert!(!events["rows"].as_array().unwrap().is_empty(), "a liquidation");
    let worst = agent.call("get_largest_loss_events", json!({ "from": from, "limit": 1 })).await;
    let worst: rust_decimal::Decimal = worst["rows"][0]["netPnlImpactUsd"].to_string().parse().unwrap();
    assert!(worst < (-1000).into(), "a loss worth looking at: {worst}");

    let nav = async || agent.call("get_portfolio_summary", json!({})).await["navUsd"].clone();
    let (first, start) = (nav().await, Instant::now());
    while nav().await == first {
        assert!(start.elapsed() < PATIENCE, "NAV stands at {first}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// `codash dev` works its automations off: the example runs when it is asked to.
#[tokio::test]
async fn the_example_automation_is_there_and_runs() {
    let folder = Folder::new();
    let (_dev, ready) = Dev::started(&folder.0, &["--ephemeral", "--no-demo"]).await;
    let agent = agent(&ready);
    let ask = async |method: reqwest::Method, path: &str| -> Value {
        let reply = agent.request(method, path).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&reply).unwrap()["data"].take()
    };
    let listed = ask(reqwest::Method::GET, "/api/automations").await;
    assert_eq!(listed["count"], json!(1), "{listed}");
    let path = format!("/api/automations/{}", listed["automations"][0]["id"].as_str().unwrap());
    ask(reqwest::Method::POST, &format!("{path}/run")).await;
    let start = Instant::now();
    loop {
        let runs = ask(reqwest::Method::GET, &format!("{path}/runs")).await;
        if runs["runs"][0]["state"] == json!("succeeded") {
            assert_eq!(runs["runs"][0]["result"]["accountCount"], json!(0), "{runs}");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{runs}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A signed order, as ccxt sends it.
async fn buy(ready: &Value, qty: &str) -> Value {
    let text = |field: &str| ready[field].as_str().unwrap();
    let at = SystemClock.now().millis();
    let body = format!("symbol=ETHUSDT&side=BUY&type=MARKET&quantity={qty}&recvWindow=20000&timestamp={at}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(text("paperSecret").as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let body = format!("{body}&signature={}", hex::encode(mac.finalize().into_bytes()));
    let request = crate::http_client().post(format!("{}/fapi/v1/order", text("paperExchangeUrl")));
    let reply = request.header("X-MBX-APIKEY", text("paperKey")).body(body).send().await.unwrap();
    serde_json::from_str(&reply.text().await.unwrap()).unwrap()
}

/// The fills of the account that people trade on, once as many as expected were read.
async fn fills(ready: &Value, expected: usize) -> Vec<Value> {
    let agent = agent(ready);
    let accounts = agent.call("list_accounts", json!({})).await;
    let mut accounts = accounts["accounts"].as_array().unwrap().iter();
    let paper = accounts.find(|account| account["name"].as_str().unwrap().contains("acct-paper")).unwrap();
    let start = Instant::now();
    loop {
        // Streams have pauses of their own; a test does not wait for them.
        let mut database = sqlx::PgConnection::connect(ready["databaseUrl"].as_str().unwrap()).await.unwrap();
        sqlx::query("UPDATE streams SET due_at = now()").execute(&mut database).await.unwrap();
        database.close().await.unwrap();
        let asked = json!({ "accountId": paper["id"], "symbols": ["ETH-PERP"], "eventTypes": ["trade"] });
        let events = agent.call("get_trade_events", asked).await;
        let rows = events["rows"].as_array().unwrap();
        if rows.len() >= expected {
            return rows.clone();
        }
        assert!(start.elapsed() < PATIENCE, "{rows:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_second_run_goes_on_with_the_same_workspace_and_exchange_also_after_a_kill() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let flags = ["--data-dir", data.to_str().unwrap()];
    let (mut first, before) = Dev::started(&folder.0, &flags).await;
    let order = buy(&before, "0.5").await;
    assert_eq!(order["symbol"], "ETHUSDT", "{order}");
    let seen = fills(&before, 1).await;

    let refused = Command::new(env!("CARGO_BIN_EXE_codash")).arg("dev").args(flags).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another `codash dev`"));

    first.signal("KILL");
    first.ended();
    std::fs::remove_file(folder.0.join("ready.json")).unwrap();
    let (mut second, after) = Dev::started(&folder.0, &flags).await;
    for field in ["apiKey", "workspaceId", "paperKey", "paperSecret"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(agent(&after).call("list_accounts", json!({})).await["count"], 4);
    buy(&after, "0.25").await;
    let fills = fills(&after, seen.len() + 1).await;
    assert!(seen.iter().all(|fill| fills.contains(fill)), "{seen:?} {fills:?}");
    let total: rust_decimal::Decimal =
        fills.iter().map(|fill| fill["qty"].to_string().parse::<rust_decimal::Decimal>().unwrap()).sum();
    assert_eq!(total, "0.75".parse().unwrap(), "{fills:?}");
    second.signal("INT");
    assert!(second.ended().success());
}

#[test]
fn without_the_demo_nothing_is_simulated_and_an_old_demo_is_set_aside() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let old = r#"{"workspaceId":"00000000-0000-4000-8000-000000000001","apiKey":"kv_live_of_another_database"}"#;
    for (name, text) in [("workspace.json", old), ("demo.json", r#"{"anchor":"2026-01-01T00:00:00Z"}"#)] {
        std::fs::write(data.join(name), text).unwrap();
        std::fs::set_permissions(data.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let mut dev = Dev::start(&folder.0, &["--no-demo", "--data-dir", data.to_str().unwrap()]);
    let ready = dev.ready();
    for field in ["paperExchangeUrl", "paperKey", "paperSecret"] {
        assert_eq!(ready.get(field), Some(&Value::Null), "{field}");
    }
    let output = dev.output();
    assert!(output.contains("earlier version") && !output.contains("paper exchange is at"), "{output}");
    assert!(std::fs::read_to_string(data.join("workspace.replayed.json")).unwrap().contains("another_database"));
    dev.signal("TERM");
    assert!(dev.ended().success());
}

#[test]
fn the_paper_exchange_by_itself_says_where_it_is_and_stops_when_told() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let output = std::fs::File::create(folder.0.join("output")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
    command.args(["paper-exchange", "--port", "0", "--seed", "7", "--days", "2", "--accounts", "1", "--speed", "60"]);
    let process = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
    let mut paper = Dev { process, folder: folder.0.clone() };
    let start = Instant::now();
    while !paper.output().contains("Ctrl-C") {
        assert!(start.elapsed() < PATIENCE, "{}", paper.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = paper.output();
    for word in ["http://127.0.0.1:", "simulated", "acct-01", "acct-paper", "trade  "] {
        assert!(output.contains(word), "{word}: {output}");
    }
    paper.signal("TERM");
    assert!(paper.ended().success());
}

/// Every text below a folder of the data folder's own files.
fn own_files(data: &Path) -> String {
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
}

#[test]
fn no_secret_is_in_the_log_however_much_it_says() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    std::fs::create_dir_all(&folder.0).unwrap();
    let log = folder.0.join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_codash"));
    command.args(["dev", "--port", "0", "--ready-file"]).arg(folder.0.join("ready.json")).arg("--data-dir").arg(&data);
    command.env("CODASH_LOG", "trace").env("CODASH_LOG_FORMAT", "json").stdout(Stdio::null());
    let process = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut dev = Dev { process, folder: folder.0.clone() };
    let ready = dev.ready();
    let key = ready["apiKey"].as_str().unwrap();
    let call = |body: &str| {
        let url = format!("{}/mcp", ready["url"].as_str().unwrap());
        let line =
            format!("curl -sS {url} -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d '{body}'");
        Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    call(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_pnl_by_symbol","arguments":{}}}"#);
    call(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_trade_events","arguments":{"cursor":"x"}}}"#,
    );
    dev.signal("TERM");
    assert!(dev.ended().success());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > 100, "it said something");
    assert!(text.lines().any(|line| line.contains("request.id") || line.contains("request_id")), "requests have ids");
    let password = ready["databaseUrl"].as_str().unwrap().split([':', '@']).nth(2).unwrap();
    // What the data folder keeps to itself: the master key among it.
    let kept = own_files(&data);
    let kept: Vec<&str> = kept.split(|c: char| !c.is_ascii_alphanumeric() && !"+/_=-".contains(c)).collect();
    let secrets = kept.into_iter().filter(|word| word.len() >= 40 && !word.starts_with("0x")).chain([key, password]);
    let secrets = secrets.chain(["paperKey", "paperSecret"].map(|field| ready[field].as_str().unwrap()));
    for secret in secrets {
        if let Some(line) = text.lines().find(|line| line.contains(secret)) {
            panic!("a secret of {} characters is in the log: {}", secret.len(), line.replace(secret, "<secret>"));
        }
    }
}
