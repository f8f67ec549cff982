//! `codash dev` as a newcomer meets it: the binary itself, its printed commands, its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// A running `codash dev` and the folder of this test.
struct Dev {
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
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
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

#[test]
fn the_printed_commands_work_as_printed_and_the_demo_has_something_to_show() {
    let folder = Folder::new();
    let mut dev = Dev::start(&folder.0, &["--ephemeral"]);
    let ready = dev.ready();
    for field in ["url", "apiKey", "workspaceId", "databaseUrl"] {
        assert!(ready[field].is_string(), "{field}");
    }
    // The ready file comes before the last line is printed.
    std::thread::sleep(Duration::from_millis(200));
    let output = dev.output();
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "{output}");
    if Command::new("curl").arg("--version").output().is_ok() {
        let accounts = shell(lines[0]);
        assert_eq!(accounts["result"]["structuredContent"]["count"], 2);
        assert!(accounts.to_string().contains("replayed"), "what is replayed says so");
        assert!(shell(lines[1])["result"]["structuredContent"]["count"].as_i64().unwrap() >= 10);
        assert_eq!(shell(lines[2])["data"]["count"], 2);
    }
    dev.signal("TERM");
    assert!(dev.ended().success());
    assert!(!folder.0.join("ready.json").exists(), "not ready any more");
}

#[test]
fn a_second_run_goes_on_with_the_same_workspace_also_after_a_kill() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let flags = ["--data-dir", data.to_str().unwrap()];
    let mut first = Dev::start(&folder.0, &flags);
    let (key, workspace) = {
        let ready = first.ready();
        (ready["apiKey"].clone(), ready["workspaceId"].clone())
    };

    let refused = Command::new(env!("CARGO_BIN_EXE_codash")).arg("dev").args(flags).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another `codash dev`"));

    first.signal("KILL");
    first.ended();
    std::fs::remove_file(folder.0.join("ready.json")).unwrap();
    let mut second = Dev::start(&folder.0, &flags);
    let ready = second.ready();
    assert_eq!((&ready["apiKey"], &ready["workspaceId"]), (&key, &workspace));
    second.signal("INT");
    assert!(second.ended().success());
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
    // What the data folder keeps to itself: the demo's venue secret and the master key among it.
    let kept = own_files(&data);
    let kept: Vec<&str> = kept.split(|c: char| !c.is_ascii_alphanumeric() && !"+/_=-".contains(c)).collect();
    let secrets = kept.into_iter().filter(|word| word.len() >= 40 && !word.starts_with("0x")).chain([key, password]);
    for secret in secrets {
        if let Some(line) = text.lines().find(|line| line.contains(secret)) {
            panic!("a secret of {} characters is in the log: {}", secret.len(), line.replace(secret, "<secret>"));
        }
    }
}
