//! Where the sealed content and the displaced originals wait: two directories of numbered slots.
//!
//! Everything that apply does is a rename between a slot and the real tree, and a rename works only
//! inside one mount. So staging is in the sandbox's place if that is on the mount of the root, and
//! otherwise inside the root, in `ROOT/.planbox/<token>/` with mode 0700. That name is never part
//! of a view, a scan or a diff. The view has no such need: it may be on another file system.

use super::exclude::STAGING_NAME as IN_ROOT;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::{Outcome, Place};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// Name of the staging directory inside the place.
const IN_PLACE: &str = "staging";

/// Name of the directory of what will be put into the tree.
const NEW: &str = "new";

/// Name of the directory of what was taken out of the tree.
const OLD: &str = "old";

/// On which side the staging directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    /// `staging` in the place.
    Place,
    /// `.planbox/<token>` in the root.
    Root,
}

impl Side {
    /// The side that is on the mount of `root`.
    pub(super) fn choose(root: &Dir, place: &Dir) -> io::Result<Self> {
        let (here, there) = (root.stat()?, place.stat()?);
        Ok(if here.same_mount(&there) {
            Self::Place
        } else {
            Self::Root
        })
    }
}

/// The open staging directory.
#[derive(Debug)]
pub(super) struct Staging {
    /// The directory that holds the two.
    pub(super) dir: Dir,
    /// `new/<n>`: staged content, and after an exchange the displaced original.
    pub(super) new: Dir,
    /// `old/<n>`: deleted originals.
    pub(super) old: Dir,
}

/// Where staging is, without opening it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    /// On which side.
    pub(super) side: Side,
    /// The place of the sandbox.
    pub(super) place: &'a Place,
}

impl Site<'_> {
    /// Opens what is there; `None` if there is no complete staging.
    pub(super) fn open(self, root: Option<&Dir>) -> Outcome<Option<Staging>> {
        let found = self.parent(root).and_then(|parent| {
            let Some(parent) = parent else {
                return Ok(None);
            };
            let Some(dir) = maybe(parent.child(self.name()))? else {
                return Ok(None);
            };
            let (new, old) = (
                maybe(dir.child(OsStr::new(NEW)))?,
                maybe(dir.child(OsStr::new(OLD)))?,
            );
            Ok(new.zip(old).map(|(new, old)| Staging { dir, new, old }))
        });
        found.map_err(|error| ParticipantError::io("open the staging", self.shown(), error))
    }

    /// Makes it anew, empty. What an earlier seal left is thrown away.
    pub(super) fn make(self, root: &Dir) -> Outcome<Staging> {
        self.remove(Some(root))?;
        self.make_empty(root)
            .map_err(|error| ParticipantError::io("make the staging", self.shown(), error))
    }

    fn make_empty(self, root: &Dir) -> io::Result<Staging> {
        let make = || -> io::Result<Staging> {
            let parent = match self.side {
                Side::Place => Dir::open(&self.place.dir)?,
                Side::Root => {
                    exists_is_fine(root.make_dir(OsStr::new(IN_ROOT), 0o700))?;
                    root.child(OsStr::new(IN_ROOT))?
                }
            };
            parent.make_dir(self.name(), 0o700)?;
            let dir = parent.child(self.name())?;
            for name in [NEW, OLD] {
                dir.make_dir(OsStr::new(name), 0o700)?;
            }
            Ok(Staging {
                new: dir.child(OsStr::new(NEW))?,
                old: dir.child(OsStr::new(OLD))?,
                dir,
            })
        };
        match self.side {
            Side::Place => make(),
            // Another sandbox may remove the empty parent between our two steps.
            Side::Root => keeping_time(root, || {
                make().or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => make(),
                    _ => Err(error),
                })
            }),
        }
    }

    /// Removes it with everything in it, and its parent in the root if nobody else uses that.
    /// Idempotent.
    pub(super) fn remove(self, root: Option<&Dir>) -> Outcome<()> {
        let removed = self.parent(root).and_then(|parent| {
            let Some(parent) = parent else { return Ok(()) };
            if parent.stat_at(self.name())?.is_some() {
                fs::remove_tree(&parent, self.name(), &mut |_| Ok(()))?;
            }
            match (self.side, root) {
                (Side::Root, Some(root)) => {
                    keeping_time(root, || match root.remove_dir(OsStr::new(IN_ROOT)) {
                        Err(error) if !is_in_use(&error) => Err(error),
                        _ => Ok(()),
                    })
                }
                _ => Ok(()),
            }
        });
        removed.map_err(|error| ParticipantError::io("remove the staging", self.shown(), error))
    }

    fn name(&self) -> &OsStr {
        OsStr::new(match self.side {
            Side::Place => IN_PLACE,
            Side::Root => &self.place.token,
        })
    }

    fn parent(self, root: Option<&Dir>) -> io::Result<Option<Dir>> {
        match (self.side, root) {
            (Side::Place, _) => maybe(Dir::open(&self.place.dir)),
            (Side::Root, Some(root)) => maybe(root.child(OsStr::new(IN_ROOT))),
            (Side::Root, None) => Ok(None),
        }
    }

    /// Its path, for messages only.
    pub(super) fn path(self, root: &Dir) -> PathBuf {
        match self.side {
            Side::Place => self.place.dir.join(IN_PLACE),
            Side::Root => root.path().join(IN_ROOT).join(&self.place.token),
        }
    }

    fn shown(self) -> PathBuf {
        match self.side {
            Side::Place => self.place.dir.join(IN_PLACE),
            Side::Root => std::path::Path::new(IN_ROOT).join(&self.place.token),
        }
    }
}

/// Refuses tokens that are not one plain name.
pub(in crate::sandbox) fn check_token(token: &str) -> Outcome<()> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if token.is_empty() || token.len() > 100 || !token.bytes().all(plain) {
        return Err(ParticipantError::new(
            Fault::Corrupt,
            "the token of the sandbox is not 1 to 100 bytes of [a-z0-9_-]",
        ));
    }
    Ok(())
}

/// The name of slot `number`.
pub(super) fn slot(number: u64) -> String {
    number.to_string()
}

/// Runs `step`, which makes or removes a name of ours in `root`, and sets the modification time
/// of `root` back: to everybody else nothing has happened there.
fn keeping_time<T>(root: &Dir, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = root.stat()?;
    let done = step();
    let after = root.stat()?;
    if after.mtime != before.mtime {
        // A root that is not ours cannot be stamped; then it shows when staging came and went.
        drop(root.set_mtime(before.mtime));
    }
    done
}

fn exists_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn is_in_use(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

/// `None` instead of "not found".
pub(in crate::sandbox) fn maybe<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
