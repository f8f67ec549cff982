//! Who runs the server. PostgreSQL refuses to run as root, so under root an unprivileged user does,
//! in a folder that this user can reach.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Durability, Error, random_hex, write_private};

/// Users that may run the server when we are root, best first.
const STAND_INS: [&str; 3] = ["postgres", "_postgres", "nobody"];
/// Notes, in the folder that was asked for, where the cluster had to go.
const NOTE: &str = "cluster-folder";
/// Reachable by every user of a machine, and kept over a restart.
const OUTSIDE: &str = "/var/tmp";

/// The user that the server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `None`: ourselves.
    stand_in: Option<(u32, u32)>,
    uid: u32,
}

impl Owner {
    /// Makes `folder`, and learns from a file in it who we are.
    pub fn for_files_in(folder: &Path) -> Result<Self, Error> {
        if !folder.exists() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(folder);
            made.map_err(Error::folder("cannot make", folder))?;
        }
        let probe = folder.join(format!(".codash-{}", random_hex::<4>()?));
        write_private(&probe, "").map_err(Error::folder("cannot write in", folder))?;
        let uid = fs::metadata(&probe).map_err(Error::folder("cannot read", &probe))?.uid();
        fs::remove_file(&probe).map_err(Error::folder("cannot write in", folder))?;
        if uid != 0 {
            return Ok(Self { stand_in: None, uid });
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let Some((uid, gid)) = STAND_INS.into_iter().find_map(|name| user(&users, name)) else {
            let reason = "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor `nobody`: run as an ordinary user";
            return Err(Error::Owner(reason.into()));
        };
        Ok(Self { stand_in: Some((uid, gid)), uid })
    }

    pub fn is_stand_in(&self) -> bool {
        self.stand_in.is_some()
    }

    /// The folder of the cluster, owned by this user: inside `folder`, or where the user can reach it.
    pub fn home(&mut self, folder: &Path, durability: Durability) -> Result<PathBuf, Error> {
        let folder = fs::canonicalize(folder).map_err(Error::folder("cannot find", folder))?;
        if durability == Durability::Throwaway {
            return self.throwaway_home(&folder);
        }
        if let Some(home) = self.noted(&folder) {
            return Ok(home);
        }
        let inside = folder.join("postgres");
        self.take_after(&inside.join("data"));
        if self.can_reach(&folder) {
            return self.make(inside);
        }
        let outside = Path::new(OUTSIDE).join(format!("codash-{}", random_hex::<8>()?));
        let home = self.make(outside)?;
        let note = folder.join(NOTE);
        write_private(&note, &home.to_string_lossy()).map_err(Error::folder("cannot write", &note))?;
        Ok(home)
    }

    /// A folder that the user who runs the server can remove too: it stands where all may write.
    fn throwaway_home(&self, folder: &Path) -> Result<PathBuf, Error> {
        let open_to_all = fs::metadata(folder).is_ok_and(|meta| meta.mode() & 0o002 != 0);
        let fits = !self.is_stand_in() || (open_to_all && self.can_reach(folder));
        let parent = if fits { folder } else { Path::new(OUTSIDE) };
        self.make(parent.join(format!("codash-throwaway-{}", random_hex::<8>()?)))
    }

    /// The place of an earlier run, if it is still there and still its user's alone.
    fn noted(&mut self, folder: &Path) -> Option<PathBuf> {
        let home = PathBuf::from(fs::read_to_string(folder.join(NOTE)).ok()?.trim());
        self.take_after(&home.join("data"));
        let meta = fs::symlink_metadata(&home).ok()?;
        let owner = self.stand_in.map_or(self.uid, |(uid, _)| uid);
        (meta.is_dir() && meta.uid() == owner && meta.mode() & 0o077 == 0).then_some(home)
    }

    /// Under root, an existing cluster is run by the user that owns it.
    fn take_after(&mut self, data: &Path) {
        if let (Some(_), Ok(meta)) = (self.stand_in, fs::symlink_metadata(data))
            && meta.uid() != 0
        {
            self.stand_in = Some((meta.uid(), meta.gid()));
        }
    }

    fn make(&self, home: PathBuf) -> Result<PathBuf, Error> {
        match fs::DirBuilder::new().mode(0o700).create(&home) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::folder("cannot make", &home)(error));
            }
            _ => self.own(&home)?,
        }
        Ok(home)
    }

    /// Gives a path to the user that runs the server.
    pub fn own(&self, path: &Path) -> Result<(), Error> {
        let Some((uid, gid)) = self.stand_in else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::folder("cannot give away", path))
    }

    /// True when this user may pass through every folder down to `path`.
    pub fn can_reach(&self, path: &Path) -> bool {
        let Some((uid, gid)) = self.stand_in else { return true };
        path.ancestors().all(|step| fs::metadata(step).is_ok_and(|meta| may_enter(&meta, uid, gid)))
    }

    /// A command as this user, without PostgreSQL's own variables of our environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/");
        if let Some((uid, gid)) = self.stand_in {
            command.uid(uid).gid(gid).env("HOME", "/");
        }
        command
    }
}

/// Uid and gid of a user, as /etc/passwd has them; systems that write -2 mean its two's complement.
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let id = |text: &str| text.parse::<i64>().ok().and_then(|id| u32::try_from(id & 0xffff_ffff).ok());
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let found = users.lines().map(fields).find(|fields| fields[0] == name)?;
    Some((id(found.get(2)?)?, id(found.get(3)?)?)).filter(|(uid, _)| *uid != 0)
}

fn may_enter(meta: &fs::Metadata, uid: u32, gid: u32) -> bool {
    let bit = match (meta.uid() == uid, meta.gid() == gid) {
        (true, _) => 0o100,
        (_, true) => 0o010,
        _ => 0o001,
    };
    meta.mode() & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name_and_root_is_none() {
        let users = "root:x:0:0::/:/bin/sh\npostgresql:x:5:6::/:\npostgres:x:101:104:a:b:c\nnobody:*:-2:-2:x:/:\n";
        assert_eq!(user(users, "postgres"), Some((101, 104)));
        assert_eq!(user(users, "nobody"), Some((4_294_967_294, 4_294_967_294)));
        assert_eq!(user(users, "root"), None);
        assert_eq!(user(users, "daemon"), None);
    }
}
