//! The store directory: who may own it, what is in it.
//!
//! ```text
//! STORE/                 mode 0700, owned by the user, never a link
//!   format               "planbox store 1"
//!   id                   text unique to this store
//!   journal.db           the journal
//!   locks/               one lease file per live plan
//!   plans/<plan>/<name>/ one place per sandbox
//! ```

use super::options::default_store;
use super::recover::RecoveryReport;
use super::{ManagerBuilder, SandboxManager};
use crate::clock;
use crate::error::OpenError;
use crate::fs;
use crate::journal::SqliteJournal;
use crate::plan::Places;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The first line of the file `format`. A store with another number is left untouched.
const FORMAT: &str = "planbox store 1";

/// An open store directory.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) root: PathBuf,
    pub(super) id: String,
}

impl Store {
    /// Opens the store at `path`, making it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let root = std::path::absolute(path)
            .map_err(|error| bad(path, "it has no absolute path", Some(error)))?;
        check_not_a_link(&root)?;
        let dir = fs::make_private_dirs(&root)
            .map_err(|error| bad(&root, "it cannot be made or opened", Some(error)))?;
        check_owner(&root, &dir)?;
        let id = Self::read_or_write_format(&root, &dir)?;
        for name in ["locks", "plans"] {
            let path = root.join(name);
            fs::make_private_dirs(&path)
                .map_err(|error| bad(&path, "it cannot be made or opened", Some(error)))?;
        }
        Ok(Self { root, id })
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

impl SandboxManager {
    /// Opens the store at `path`, making it if it is not there, and recovers what a crash left.
    ///
    /// Plans that another living process holds are left to it. What was recovered is in
    /// [`SandboxManager::recovered`]. No thread is started before the first write.
    ///
    /// # Errors
    /// [`OpenError`] if the directory cannot be a store (a link, another owner, a mode that lets
    /// others in, a foreign or newer format) or the journal cannot be opened. Nothing was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder().store(path.as_ref()).open()
    }
}

impl ManagerBuilder {
    /// Opens the store.
    ///
    /// # Errors
    /// As [`SandboxManager::open`].
    pub fn open(self) -> Result<SandboxManager, OpenError> {
        let path = match &self.store {
            Some(path) => path.clone(),
            None => default_store().ok_or(OpenError::NoHome)?,
        };
        let store = Store::open(&path)?;
        let journal = Arc::new(SqliteJournal::open(&store.root)?);
        let places = Places::new(store.root.join("plans"), store.id.clone());
        let leases = Some(store.root.join("locks"));
        let recover = self.recover_at_open;
        let mut manager = self.build(journal, places, leases);
        if recover {
            let report = manager.recover();
            let report = report.unwrap_or_else(|error| {
                tracing::error!(%error, "recovery at open failed");
                RecoveryReport::default()
            });
            if let Some(inner) = Arc::get_mut(&mut manager.inner) {
                inner.recovered = report;
            }
        }
        Ok(manager)
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
        matches!(&*text, "id" | "format" | "locks" | "plans")
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
