//! Walking a tree of any depth with a bounded number of descriptors.

use super::dir::Dir;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;

/// Most descriptors that a cursor holds.
const WINDOW: usize = 32;

/// A place in a tree that can go down by name and up again.
///
/// It holds the deepest [`WINDOW`] directories of its way open; a shallower one is opened again
/// through `..` and must then still be the one that was entered.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The directories at the end of the way that are open, deepest last; never empty.
    open: VecDeque<Dir>,
    /// Who each directory of the way is, the root first.
    way: Vec<(u64, u64)>,
    /// The name of each directory of the way but the root.
    names: Vec<OsString>,
}

impl Cursor {
    /// A cursor at `root`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(root: &Dir) -> io::Result<Self> {
        let id = root.stat()?.id();
        Ok(Self {
            open: VecDeque::from([root.dup()?]),
            way: vec![id],
            names: Vec::new(),
        })
    }

    /// The directory it is in.
    ///
    /// # Panics
    /// Never: the deepest directory is always open.
    #[must_use]
    #[expect(clippy::expect_used, reason = "`leave` refuses to close the last one")]
    pub(crate) fn dir(&self) -> &Dir {
        self.open.back().expect("the deepest directory is open")
    }

    /// How many levels it is below its root.
    #[must_use]
    pub(crate) fn depth(&self) -> usize {
        self.names.len()
    }

    /// Goes into the directory `name`, as [`Dir::child`] does.
    ///
    /// # Errors
    /// What [`Dir::child`] says; the cursor stays where it was.
    pub(crate) fn enter(&mut self, name: &OsStr) -> io::Result<()> {
        let child = self.dir().child_quiet(name)?;
        let id = child.stat()?.id();
        if self.open.len() == WINDOW {
            drop(self.open.pop_front());
        }
        self.open.push_back(child);
        self.way.push(id);
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Goes up one level and returns the directory it left, still open.
    ///
    /// # Errors
    /// [`Moved`](super::Moved) if the directory above is no longer the one it came through,
    /// EINVAL at the root; the cursor stays where it was.
    pub(crate) fn leave(&mut self) -> io::Result<Dir> {
        let above = self.way.len().checked_sub(2);
        let Some(above) = above.and_then(|index| self.way.get(index)) else {
            return Err(rustix::io::Errno::INVAL.into());
        };
        if self.open.len() == 1 {
            let parent = self.dir().parent_checked(*above)?;
            self.open.push_front(parent);
        }
        self.way.pop();
        self.names.pop();
        self.open
            .pop_back()
            .ok_or_else(|| rustix::io::Errno::INVAL.into())
    }

    /// Goes to the directory at `names` below the root, by way of the common part.
    ///
    /// # Errors
    /// As [`enter`](Self::enter) and [`leave`](Self::leave); the cursor stays where the failure
    /// was met.
    pub(crate) fn go_to<N: AsRef<OsStr>>(&mut self, names: &[N]) -> io::Result<()> {
        let common = self
            .names
            .iter()
            .zip(names)
            .take_while(|(here, there)| here.as_os_str() == there.as_ref())
            .count();
        while self.depth() > common {
            self.leave()?;
        }
        for name in names.iter().skip(common) {
            self.enter(name.as_ref())?;
        }
        Ok(())
    }
}
