//! The store directory: who may own it, what is in it.
//!
//! ```text
//! STORE/                 mode 0700, owned by the user, never a link
//!   format               "planbox store 1"
//!   id                   text unique to this store
//!   journal.db           the journal
//!   locks/               one lease file per live plan
//!   jobs/                one lease file per owned job
//!   plans/<plan>/<name>/ one place per sandbox
//! ```

use crate::clock;
use crate::error::OpenError;
use crate::fs;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The first line of the file `format`. A store with another number is left untouched.
const FORMAT: &str = "planbox store 1";

/// An open store directory.
#[derive(Debug)]
pub(crate) struct Home {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// Text unique to this store.
    pub(crate) id: String,
}

impl Home {
    /// Opens the store at `path`, making it if it is not there.
    ///
    /// # Errors
    /// [`OpenError::Store`] if the directory cannot be a store; nothing was written then.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let root = std::path::absolute(path)
            .map_err(|error| bad(path, "it has no absolute path", Some(error)))?;
        check_not_a_link(&root)?;
        let dir = fs::make_private_dirs(&root)
            .map_err(|error| bad(&root, "it cannot be made or opened", Some(error)))?;
        check_owner(&root, &dir)?;
        let id = Self::read_or_write_format(&root, &dir)?;
        for name in ["locks", "plans", "jobs"] {
            let path = root.join(name);
            fs::make_private_dirs(&path)
                .map_err(|error| bad(&path, "it cannot be made or opened", Some(error)))?;
        }
        Ok(Self { root, id })
    }

    /// Where the lease files of plans are.
    pub(crate) fn plan_leases(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Where the lease files of jobs are.
    pub(crate) fn job_leases(&self) -> PathBuf {
        self.root.join("jobs")
    }

    fn read_or_write_format(root: &Path, dir: &fs::Dir) -> Result<String, OpenError> {
        let failed = |error| {
            bad(
                root,
                "its format file cannot be read or written",
                Some(error),
            )
        };
        let read = |name: &str| match fs::read_small(dir, OsStr::new(name)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        };
        match read("format")? {
            Some(found) if found == FORMAT => (),
            Some(found) => {
                let reason = format!("its format is {found:?}, this planbox knows {FORMAT:?}");
                return Err(bad(root, reason, None));
            }
            None => {
                refuse_strangers(root, dir)?;
                let line = format!("{FORMAT}\n");
                fs::write_durably(dir, OsStr::new("format"), line.as_bytes()).map_err(failed)?;
            }
        }
        if let Some(id) = read("id")? {
            return Ok(id);
        }
        // Two processes may make the store at once: the first id that is there wins.
        let id = clock::fresh_token();
        match fs::write_new_durably(dir, OsStr::new("id"), id.as_bytes()) {
            Ok(()) => Ok(id),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                read("id")?.ok_or_else(|| bad(root, "its id file vanished", None))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn bad(path: &Path, reason: impl Into<String>, source: Option<io::Error>) -> OpenError {
    OpenError::Store {
        path: path.to_owned(),
        reason: reason.into(),
        source,
    }
}

fn check_not_a_link(root: &Path) -> Result<(), OpenError> {
    match std::fs::symlink_metadata(root) {
        Ok(found) if found.is_symlink() => Err(bad(
            root,
            "it is a symbolic link; name the directory itself",
            None,
        )),
        Ok(found) if !found.is_dir() => Err(bad(root, "it is not a directory", None)),
        _ => Ok(()),
    }
}

fn check_owner(root: &Path, dir: &fs::Dir) -> Result<(), OpenError> {
    let stat = dir
        .stat()
        .map_err(|error| bad(root, "it cannot be looked at", Some(error)))?;
    let me = rustix::process::geteuid().as_raw();
    if stat.uid != me {
        let reason = format!("it belongs to user {}, not to user {me}", stat.uid);
        return Err(bad(root, reason, None));
    }
    if stat.mode & 0o077 != 0 {
        let reason = format!(
            "its mode is {:o}: others may enter it; make it 0700 first",
            stat.mode
        );
        return Err(bad(root, reason, None));
    }
    Ok(())
}

/// A directory with other people's files in it is not made into a store by mistake.
fn refuse_strangers(root: &Path, dir: &fs::Dir) -> Result<(), OpenError> {
    let names = dir
        .entries()
        .map_err(|error| bad(root, "it cannot be listed", Some(error)))?;
    let ours = |name: &OsStr| {
        let text = name.to_string_lossy();
        matches!(&*text, "id" | "format" | "locks" | "plans" | "jobs")
            || text.starts_with("journal.db")
            || text.starts_with(fs::TEMP_PREFIX)
    };
    let stranger = names.iter().find(|(name, _)| !ours(name));
    match stranger {
        None => Ok(()),
        Some((name, _)) => {
            let name = name.to_string_lossy();
            let reason = format!("it is not empty ({name:?} is in it) and is not a planbox store");
            Err(bad(root, reason, None))
        }
    }
}
