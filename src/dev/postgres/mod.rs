//! A private PostgreSQL cluster: for `codash dev`, and for tests.
//!
//! It listens on loopback with a random password, and never outlives this process: a shell holds
//! the server and reads from a pipe of ours. When the pipe closes, by an ordered stop, a panic or
//! `kill -9` alike, the shell shuts the server down.

mod binaries;
mod owner;
mod server;

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{fs, io};

use secrecy::SecretString;

use binaries::Binaries;
use owner::Owner;
use server::{Launch, Running};

/// Said while the cluster comes up.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// What a cluster's rows are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit survives a power cut.
    Durable,
    /// Fast and forgotten: nothing is synced, and the folder is removed when the server stops.
    Throwaway,
}

/// Where the cluster lives, and how.
#[derive(Debug, Clone)]
pub struct Options {
    folder: PathBuf,
    durability: Durability,
}

impl Options {
    /// A cluster that stays, in a folder that is made if need be. Under root the folder may only
    /// hold a note of where the cluster had to go.
    pub fn durable(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), durability: Durability::Durable }
    }

    /// A cluster in a temporary folder, gone when it stops or when this process ends in any way.
    pub fn throwaway() -> Self {
        Self { folder: std::env::temp_dir(), durability: Durability::Throwaway }
    }
}

/// Why there is no cluster. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    NoBinaries(String),
    #[error("{what} {}: {source}", path.display())]
    Folder { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Owner(String),
    #[error("initdb failed: {0}")]
    Initdb(String),
    #[error("PostgreSQL did not start: {reason}\n{log}")]
    Start { reason: String, log: String },
}

impl Error {
    fn folder(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Folder { what, path: path.to_owned(), source }
    }
}

/// A running server. Dropping it stops the server too, without waiting.
pub struct Cluster {
    running: Running,
    port: u16,
    password: String,
    version: u32,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("port", &self.port).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds PostgreSQL, makes the cluster if there is none, and starts it.
    pub async fn start(options: &Options, progress: Progress<'_>) -> Result<Self, Error> {
        // Another process may take the free port between our look and the server's. A cluster that
        // stays tries again by itself; a throwaway goes with its server, so a new one is made.
        let mut tries = if options.durability == Durability::Throwaway { 3 } else { 1 };
        loop {
            tries -= 1;
            match Self::try_start(options, progress).await {
                Err(Error::Start { .. }) if tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_start(options: &Options, progress: Progress<'_>) -> Result<Self, Error> {
        let mut owner = Owner::for_files_in(&options.folder)?;
        let home = owner.home(&options.folder, options.durability)?;
        let unfinished = Unfinished(Some(&home).filter(|_| options.durability == Durability::Throwaway));
        let binaries = Binaries::find(major_of(&home), &owner, progress).await?;
        let password = password(&home, &owner)?;
        if !home.join("data").join("PG_VERSION").exists() {
            progress("making a private PostgreSQL cluster");
            initdb(&binaries, &home, &owner, options.durability).await?;
        }
        progress(&format!("starting PostgreSQL {}", binaries.version));
        let launch = Launch { binaries: &binaries, home: &home, owner: &owner, durability: options.durability };
        let (running, port) = launch.start(progress).await?;
        unfinished.done();
        Ok(Self { running, port, password, version: binaries.major })
    }

    /// How to reach a database of the cluster as its superuser.
    pub fn url(&self, database: &str) -> SecretString {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port).into()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The major version of the server.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The folder that holds the server's files, which under root may be elsewhere than asked.
    pub fn home(&self) -> &Path {
        self.running.home()
    }

    /// The shell that holds the server.
    pub fn keeper_pid(&self) -> u32 {
        self.running.keeper_pid()
    }

    /// Returns when the server ended without being told to.
    pub async fn ended(&self) {
        self.running.ended().await;
    }

    /// Stops the server in order and waits until it is gone.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// A throwaway that never came up, whose folder no server will remove.
struct Unfinished<'a>(Option<&'a PathBuf>);

impl Unfinished<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Some(home) = self.0 else { return };
        // A killed initdb may take a moment to go.
        for _ in 0..10 {
            if fs::remove_dir_all(home).is_ok() || !home.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The major version that made the cluster, which alone can run it.
fn major_of(home: &Path) -> Option<u32> {
    fs::read_to_string(home.join("data").join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// Random bytes as text.
fn random_hex<const N: usize>() -> Result<String, Error> {
    let mut bits = [0_u8; N];
    getrandom::fill(&mut bits).map_err(|error| Error::Owner(format!("the system gives no random bytes: {error}")))?;
    Ok(hex::encode(bits))
}

/// The superuser's password: made once, kept beside the cluster for its owner's eyes only.
fn password(home: &Path, owner: &Owner) -> Result<String, Error> {
    let path = home.join("password");
    match fs::read_to_string(&path) {
        Ok(password) if !password.trim().is_empty() => {
            owner.own(&path)?;
            return Ok(password.trim().to_owned());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::folder("cannot read", &path)(error)),
    }
    let password = random_hex::<24>()?;
    write_private(&path, &password).map_err(Error::folder("cannot write", &path))?;
    owner.own(&path)?;
    Ok(password)
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    let fresh = path.with_extension("new");
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

const UNFINISHED: &str = "data.new-";

/// An initdb whose parent was killed may still be writing: its folder is tried again next time.
fn sweep_unfinished(home: &Path) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, "an unfinished cluster stays for now");
        }
    }
}

/// Makes the cluster beside its place and moves it there when it is whole.
async fn initdb(binaries: &Binaries, home: &Path, owner: &Owner, durability: Durability) -> Result<(), Error> {
    sweep_unfinished(home);
    let (fresh, data) = (home.join(format!("{UNFINISHED}{}", random_hex::<4>()?)), home.join("data"));
    fs::DirBuilder::new().mode(0o700).create(&fresh).map_err(Error::folder("cannot make", &fresh))?;
    owner.own(&fresh)?;
    let mut command = owner.command(&binaries.folder.join("initdb"));
    command.arg("-D").arg(&fresh).arg("--pwfile").arg(home.join("password"));
    command.args(["-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
    match durability {
        Durability::Durable => command.arg("--auth=scram-sha-256"),
        // A login that a test leaves half-way would hold up every DROP DATABASE for the minute that
        // PostgreSQL waits for its answer. Nothing that is kept lies behind this door.
        Durability::Throwaway => command.args(["--auth=trust", "--no-sync"]),
    };
    command.stdin(Stdio::null());
    let output = tokio::time::timeout(
        Duration::from_secs(120),
        tokio::process::Command::from(command).kill_on_drop(true).output(),
    )
    .await
    .map_err(|_| Error::Initdb("no answer for two minutes".into()))?
    .map_err(|error| Error::Initdb(error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Initdb(server::last_lines(&String::from_utf8_lossy(&output.stderr), 12)));
    }
    fs::rename(&fresh, &data).map_err(Error::folder("cannot move to", &data))
}
