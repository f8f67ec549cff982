//! One server process: starting it, knowing when it answers, stopping it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::binaries::Binaries;
use super::owner::Owner;
use super::{Durability, Error, Progress};

const LONGEST_START: Duration = Duration::from_secs(60);
/// How long a server of an earlier run may take to go.
const LONGEST_GOODBYE: Duration = Duration::from_secs(30);
const LONGEST_STOP: Duration = Duration::from_secs(30);
const LARGEST_LOG: u64 = 8 << 20;

/// Holds the server until the pipe at its standard input ends.
///
/// The watcher is a process of its own, so even a killed keeper leaves no server behind. It asks
/// more than once: a server that has only just been started does not hear yet. Arguments:
/// the log, a file to mark the server's end with, a folder to remove at the very end or nothing,
/// then the server's command line.
const KEEPER: &str = r#"
log=$1; ended=$2; remove=$3; shift 3
rm -f "$ended"
exec 3<&0 </dev/null >>"$log" 2>&1
"$@" 3<&- &
server=$!
(
  read -r _ <&3
  tries=0
  while [ ! -e "$ended" ] && [ "$tries" -lt 100 ] && kill -INT "$server" 2>/dev/null; do
    sleep 0.2; tries=$((tries + 1))
  done
  if [ -n "$remove" ]; then rm -rf "$remove"; fi
) &
watcher=$!
exec 3<&-
wait "$server"
status=$?
: >"$ended"
if [ -z "$remove" ]; then kill "$watcher" && wait "$watcher"; fi 2>/dev/null
exit "$status"
"#;

/// Everything a start needs.
pub struct Launch<'a> {
    pub binaries: &'a Binaries,
    pub home: &'a Path,
    pub owner: &'a Owner,
    pub durability: Durability,
}

/// A server that answered, and the shell that holds it.
pub struct Running {
    keeper: Mutex<Child>,
    keeper_pid: u32,
    home: PathBuf,
    durability: Durability,
}

/// How an attempt to start ended.
enum Attempt {
    Ready,
    /// Worth another try: a port that was taken meanwhile, or an earlier server still going.
    Again(String),
    Failed(String),
}

impl Launch<'_> {
    /// Starts the server on a free port.
    pub async fn start(&self, progress: Progress<'_>) -> Result<(Running, u16), Error> {
        see_off_an_earlier_server(self.home, progress).await?;
        let log = self.home.join("server.log");
        self.turn_log(&log)?;
        let patience = Instant::now() + LONGEST_GOODBYE;
        loop {
            let start_of_log = fs::metadata(&log).map_or(0, |meta| meta.len());
            let port = free_port().map_err(Error::folder("no free port for", self.home))?;
            let keeper = self.spawn(&log, port).map_err(Error::folder("cannot run sh for", self.home))?;
            let (home, durability) = (self.home.to_owned(), self.durability);
            let running = Running { keeper_pid: keeper.id(), keeper: Mutex::new(keeper), home, durability };
            let said = || tail_from(&log, start_of_log);
            match running.until_ready(port, &said).await {
                Attempt::Ready => return Ok((running, port)),
                Attempt::Again(_) if Instant::now() < patience && self.durability == Durability::Durable => {
                    sleep(Duration::from_millis(500)).await
                }
                Attempt::Again(reason) | Attempt::Failed(reason) => {
                    let log = last_lines(&said(), 12);
                    running.stop().await;
                    return Err(Error::Start { reason, log });
                }
            }
        }
    }

    /// The log of this run; a long one becomes the previous log.
    fn turn_log(&self, log: &Path) -> Result<(), Error> {
        if fs::metadata(log).is_ok_and(|meta| meta.len() > LARGEST_LOG) {
            fs::rename(log, log.with_extension("log.1")).map_err(Error::folder("cannot turn", log))?;
        }
        let open = fs::OpenOptions::new().create(true).append(true).open(log);
        drop(open.map_err(Error::folder("cannot write", log))?);
        self.owner.own(log)
    }

    fn spawn(&self, log: &Path, port: u16) -> std::io::Result<Child> {
        let mut command = self.owner.command(Path::new("/bin/sh"));
        let remove = if self.durability == Durability::Throwaway { self.home } else { Path::new("") };
        command.args(["-c", KEEPER, "codash-postgres"]).arg(log).arg(self.home.join("ended")).arg(remove);
        command.arg(self.binaries.folder.join("postgres")).arg("-D").arg(self.home.join("data"));
        for setting in self.settings(port) {
            command.arg("-c").arg(setting);
        }
        // A process group of its own: Ctrl-C reaches us first, and we stop things in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn settings(&self, port: u16) -> Vec<String> {
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            "shared_buffers=128MB".into(),
            "log_timezone=UTC".into(),
            // What a failed statement carried is nobody's business in a log.
            "log_parameter_max_length=0".into(),
            "log_min_error_statement=panic".into(),
        ];
        let more: &[&str] = match self.durability {
            Durability::Durable => &["max_connections=100"],
            Durability::Throwaway => &[
                "max_connections=200",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum_naptime=10min",
            ],
        };
        settings.extend(more.iter().map(|setting| (*setting).to_owned()));
        settings
    }
}

impl Running {
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn keeper_pid(&self) -> u32 {
        self.keeper_pid
    }

    fn keeper_is_gone(&self) -> bool {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(keeper.try_wait(), Ok(None))
    }

    /// Returns when the keeper is gone, which holds the server.
    pub async fn ended(&self) {
        while !self.keeper_is_gone() {
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until the server says in its pid file that it accepts connections.
    async fn until_ready(&self, port: u16, said: &impl Fn() -> String) -> Attempt {
        let patience = Instant::now() + LONGEST_START;
        while Instant::now() < patience {
            if PidFile::read(&self.home).is_some_and(|file| file.ready && file.port == Some(port)) {
                return Attempt::Ready;
            }
            if self.keeper_is_gone() {
                let log = said();
                let passing =
                    ["Address already in use", "could not bind", "lock file \"postmaster.pid\"", "still in use"];
                return match passing.iter().find(|words| log.contains(**words)) {
                    Some(_) => Attempt::Again("its port or its folder is in use".into()),
                    None => Attempt::Failed("it ended at once".into()),
                };
            }
            sleep(Duration::from_millis(50)).await;
        }
        Attempt::Failed(format!("no answer for {} s", LONGEST_START.as_secs()))
    }

    /// Closes the pipe, waits for the server, and insists when it takes too long.
    pub async fn stop(&self) {
        let server = PidFile::read(&self.home).map(|file| file.pid);
        drop(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).stdin.take());
        let patience = Instant::now() + LONGEST_STOP;
        // A keeper that was killed knows nothing of its server any more.
        let is_up = || {
            let stays = self.durability == Durability::Throwaway && self.home.exists();
            !self.keeper_is_gone() || stays || server.is_some_and(|pid| is_server(pid, &self.home))
        };
        while is_up() {
            if Instant::now() >= patience {
                if let Some(pid) = server.filter(|pid| is_server(*pid, &self.home)) {
                    signal("QUIT", pid);
                }
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).stdin.take());
    }
}

/// What a server says of itself in `postmaster.pid`.
struct PidFile {
    pid: u32,
    port: Option<u16>,
    ready: bool,
}

impl PidFile {
    fn read(home: &Path) -> Option<Self> {
        let text = fs::read_to_string(home.join("data").join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3).and_then(|port| port.parse().ok()),
            ready: lines.get(7).is_some_and(|state| *state == "ready"),
        })
    }
}

/// A server that an earlier run left behind is on its way out: wait for it, then ask again.
/// A pid file without its server is PostgreSQL's own to sweep.
async fn see_off_an_earlier_server(home: &Path, progress: Progress<'_>) -> Result<(), Error> {
    let Some(PidFile { pid, .. }) = PidFile::read(home) else { return Ok(()) };
    if !is_server(pid, home) {
        return Ok(());
    }
    progress("waiting for the PostgreSQL of an earlier run to stop");
    // Nothing, a fast stop, an immediate one: each for a third of our patience.
    for ask in [None, Some("INT"), Some("QUIT")] {
        let patience = Instant::now() + LONGEST_GOODBYE / 3;
        while Instant::now() < patience {
            if !is_server(pid, home) {
                return Ok(());
            }
            if let Some(name) = ask {
                signal(name, pid);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
    let reason = format!("another PostgreSQL (process {pid}) works on {} and does not stop", home.display());
    Err(Error::Start { reason, log: String::new() })
}

/// True when the process is a PostgreSQL on this cluster, and not another that inherited its number.
fn is_server(pid: u32, home: &Path) -> bool {
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(_) if Path::new("/proc/self").exists() => return false,
        Err(_) => {
            let ps = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
            ps.map(|output| output.stdout).unwrap_or_default()
        }
    };
    String::from_utf8_lossy(&line).contains(&*home.join("data").to_string_lossy())
}

/// Sends a signal by its name: the standard library has none.
fn signal(name: &str, pid: u32) {
    let kill = Command::new("/bin/sh").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &pid.to_string()]).status();
    if !kill.is_ok_and(|status| status.success()) {
        tracing::debug!(signal.name = name, process.pid = pid, "the process was gone");
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What the log says since it had `from` bytes.
fn tail_from(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

/// The end of a text, a few lines of it.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_short_text_are_the_text() {
        assert_eq!(last_lines("a\n\nb\n", 5), "a\nb");
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
    }
}
