//! Walking a tree of any depth with a bounded number of descriptors.

use super::dir::Dir;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;

/// Most descriptors that a cursor holds.
const WINDOW: usize = 12;

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
    /// `Moved` if the directory above is no longer the one it came through,
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

#[cfg(test)]
mod tests {
    use super::super::open::tests::with_and_without_openat2;
    use super::super::testing::{Scratch, make_deep};
    use super::super::{is_moved, remove_tree};
    use super::*;

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/thread-self/fd").unwrap().count()
    }

    #[test]
    fn it_goes_down_20_000_levels_and_up_again() {
        const DEPTH: usize = 20_000;
        let scratch = Scratch::quick();
        make_deep(scratch.dir(), DEPTH);
        let mut cursor = Cursor::new(scratch.dir()).unwrap();
        for _ in 0..DEPTH {
            cursor.enter(OsStr::new("d")).unwrap();
        }
        assert!(cursor.open.len() <= WINDOW);
        assert!(cursor.dir().entries().unwrap().is_empty(), "the very end");
        assert!(cursor.enter(OsStr::new("d")).is_err());
        assert_eq!(cursor.depth(), DEPTH, "a failure does not move it");
        for _ in 0..DEPTH {
            cursor.leave().unwrap();
        }
        let root = scratch.dir().stat().unwrap().id();
        assert_eq!(cursor.dir().stat().unwrap().id(), root);
        assert!(cursor.leave().is_err(), "never above its root");
        assert_eq!(cursor.depth(), 0);
    }

    #[test]
    fn it_goes_across_by_the_common_part() {
        let scratch = Scratch::new();
        for path in ["a/b/c/f", "a/x/y/f"] {
            scratch.put(path, b"");
        }
        with_and_without_openat2(|| {
            let mut cursor = Cursor::new(scratch.dir()).unwrap();
            cursor.go_to(&["a", "b", "c"]).unwrap();
            cursor.go_to(&["a", "x", "y"]).unwrap();
            let here = std::fs::metadata(scratch.path().join("a/x/y")).unwrap();
            let ino = std::os::unix::fs::MetadataExt::ino(&here);
            assert_eq!(cursor.dir().stat().unwrap().ino, ino);
            cursor.go_to::<&str>(&[]).unwrap();
            assert_eq!(cursor.depth(), 0);
        });
    }

    #[test]
    fn it_notices_that_its_way_was_moved() {
        let scratch = Scratch::new();
        make_deep(scratch.dir(), WINDOW + 8);
        let mut cursor = Cursor::new(scratch.dir()).unwrap();
        for _ in 0..WINDOW + 8 {
            cursor.enter(OsStr::new("d")).unwrap();
        }
        let elsewhere = scratch.sub("elsewhere");
        let seven = scratch.dir().beneath("d/d/d/d/d/d/d".as_ref()).unwrap();
        seven
            .rename_new(OsStr::new("d"), &elsewhere, OsStr::new("d"))
            .unwrap();
        let error = loop {
            if let Err(error) = cursor.leave() {
                break error;
            }
        };
        assert!(is_moved(&error), "{error}");
        assert_eq!(cursor.depth(), 8);
    }

    #[test]
    fn a_link_put_in_place_of_a_directory_is_refused() {
        let scratch = Scratch::new();
        scratch.put("inside/f", b"");
        scratch.put("outside/f", b"");
        let name = OsStr::new("inside");
        let dir = scratch.dir();
        remove_tree(dir, name, &mut |_| Ok(())).unwrap();
        dir.make_symlink(OsStr::new("outside"), name).unwrap();
        with_and_without_openat2(|| {
            assert!(Cursor::new(dir).unwrap().enter(name).is_err());
            assert!(dir.beneath("inside".as_ref()).is_err());
        });
    }

    #[test]
    fn it_gives_its_descriptors_back() {
        let scratch = Scratch::new();
        make_deep(scratch.dir(), 100);
        let name = "fs::cursor::tests::it_gives_its_descriptors_back";
        if !super::super::testing::is_child(name) {
            return super::super::testing::in_a_child(name);
        }
        let before = open_descriptors();
        let mut cursor = Cursor::new(scratch.dir()).unwrap();
        cursor.go_to(&["d"; 100]).unwrap();
        assert!(open_descriptors() - before <= WINDOW);
        drop(cursor);
        assert_eq!(open_descriptors(), before);
    }
}
