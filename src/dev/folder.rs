//! The data folder of `codash dev`: what must be the same at the next start, and a lock, so that two
//! runs never share it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use codash_store::MasterKeys;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Error;
use super::paper::Kept;
use super::postgres::write_private;

const WORKSPACE: &str = "workspace.json";
/// What earlier versions kept of their demo.
const REPLAYED: &str = "demo.json";

/// An open data folder. The lock goes with it, or with the process.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    ephemeral: bool,
    _lock: File,
}

/// The workspace of this folder and its key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    pub workspace_id: String,
    pub api_key: String,
}

/// Bytes from the operating system, for keys and names.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bits = [0; N];
    getrandom::fill(&mut bits).map_err(|error| Error::Other(format!("the system gives no random bytes: {error}")))?;
    Ok(bits)
}

/// `$XDG_DATA_HOME/codash`, or `~/.local/share/codash`.
pub fn usual() -> Result<PathBuf, Error> {
    let set = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(std::env::home_dir()?.join(".local/share"));
    let base =
        set.or_else(home).ok_or_else(|| Error::Other("there is no home folder: choose one with --data-dir".into()))?;
    Ok(base.join("codash"))
}

impl Folder {
    /// Opens a folder that stays, and makes it if need be.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(fault("cannot find", path))?;
        if !path.exists() {
            // Others may pass through, as PostgreSQL's user must under root, and list nothing.
            let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(&path);
            made.map_err(fault("cannot make", &path))?;
        }
        Self::locked(path, false)
    }

    /// A folder of this run alone.
    pub fn ephemeral() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("codash-dev-{}", hex::encode(random::<6>()?)));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(fault("cannot make", &path))?;
        Self::locked(path, true)
    }

    fn locked(path: PathBuf, ephemeral: bool) -> Result<Self, Error> {
        let file = path.join("lock");
        let open = File::options().create(true).truncate(false).write(true).open(&file);
        let lock = open.map_err(fault("cannot write", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, ephemeral, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Other(format!(
                "another `codash dev` works on {}: stop it, or choose another folder with --data-dir",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(fault("cannot lock", &file)(error)),
        }
    }

    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// The key that seals venue credentials: made once, kept here alone.
    pub fn master_keys(&self) -> Result<SecretString, Error> {
        let path = self.path.join("master-key");
        if let Some(text) = read(&path)? {
            MasterKeys::parse(&text).map_err(|reason| Error::Other(format!("{}: {reason}", path.display())))?;
            return Ok(text.into());
        }
        let text = MasterKeys::generate("dev", random()?).to_text();
        write_private(&path, text.expose_secret()).map_err(fault("cannot write", &path))?;
        Ok(text)
    }

    pub fn workspace(&self) -> Result<Option<Workspace>, Error> {
        self.load(WORKSPACE)
    }

    pub fn keep_workspace(&self, workspace: &Workspace) -> Result<(), Error> {
        self.save(WORKSPACE, workspace)
    }

    /// What the paper exchange of this folder is started with.
    pub fn paper(&self) -> Result<Option<Kept>, Error> {
        self.load("paper.json")
    }

    pub fn keep_paper(&self, kept: &Kept) -> Result<(), Error> {
        self.save("paper.json", kept)
    }

    /// Where the paper exchange writes down what people do.
    pub fn paper_journal(&self) -> PathBuf {
        self.path.join("paper.journal")
    }

    /// True for a folder of an earlier version, whose demo accounts were replayed recordings.
    pub fn has_replayed_demo(&self) -> bool {
        self.path.join(REPLAYED).exists()
    }

    /// Puts the replayed demo's workspace aside: its key stays readable there, and a new one is made.
    /// The demo's own file goes last: cut off in between, this is done again.
    pub fn set_replayed_demo_aside(&self) -> Result<PathBuf, Error> {
        let aside = self.path.join("workspace.replayed.json");
        for (from, to) in
            [(self.path.join(WORKSPACE), &aside), (self.path.join(REPLAYED), &self.path.join("demo.replayed.json"))]
        {
            match fs::rename(&from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(fault("cannot rename", &from)(error));
                }
                _ => {}
            }
        }
        Ok(aside)
    }

    fn load<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let Some(text) = read(&path)? else { return Ok(None) };
        // The text holds keys: the message says where it is wrong, not what it says.
        let wrong = |error: serde_json::Error| {
            Error::Other(format!(
                "{} cannot be read (line {}): remove it to start afresh",
                path.display(),
                error.line()
            ))
        };
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let path = self.path.join(name);
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Other(error.to_string()))?;
        write_private(&path, &text).map_err(fault("cannot write", &path))
    }

    /// Lets go of the folder; one of this run alone is removed.
    pub fn close(self) {
        if self.ephemeral
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "the temporary folder was not removed");
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let mode = fs::metadata(path).map_err(fault("cannot read", path))?.mode();
            if mode & 0o077 != 0 {
                return Err(Error::Other(format!(
                    "{} holds keys and others can read it: run chmod 600 on it",
                    path.display()
                )));
            }
            Ok(Some(text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("cannot read", path)(error)),
    }
}

/// A trouble with a path, in words.
pub fn fault(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Other(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time_and_remembers() {
        let folder = Folder::ephemeral().unwrap();
        let path = folder.path.clone();
        let keys = folder.master_keys().unwrap();
        assert_eq!(folder.master_keys().unwrap().expose_secret(), keys.expose_secret());
        assert!(folder.workspace().unwrap().is_none());
        folder.keep_workspace(&Workspace { workspace_id: "w".into(), api_key: "k".into() }).unwrap();
        assert_eq!(folder.workspace().unwrap().unwrap().api_key, "k");
        let second = Folder::open(&path).unwrap_err();
        assert!(second.to_string().contains("another `codash dev`"), "{second}");
        folder.close();
        assert!(!path.exists());
    }

    #[test]
    fn the_workspace_of_a_replayed_demo_is_set_aside_once() {
        let folder = Folder::ephemeral().unwrap();
        assert!(!folder.has_replayed_demo());
        folder.keep_workspace(&Workspace { workspace_id: "old".into(), api_key: "k".into() }).unwrap();
        fs::write(folder.path.join(REPLAYED), "{}").unwrap();
        assert!(folder.has_replayed_demo());
        let aside = folder.set_replayed_demo_aside().unwrap();
        assert!(fs::read_to_string(aside).unwrap().contains("old"));
        assert!(!folder.has_replayed_demo() && folder.workspace().unwrap().is_none());
        folder.close();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::ephemeral().unwrap();
        folder.master_keys().unwrap();
        fs::set_permissions(folder.path.join("master-key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(folder.master_keys().unwrap_err().to_string().contains("chmod 600"));
        folder.close();
    }
}
