//! From a list of changed paths to operations on the work tree.
//!
//! Every path is looked at where it is. A name that is not as the old commit has it, and a name in
//! the way of a new one, is a conflict; a directory goes as a whole only if everything in it goes.

use super::changed::{Changed, Leaf, describe};
use crate::error::Conflict;
use crate::fs::{FileKind, Stat};
use crate::sandbox::directory::{Batch, Stranger};
use crate::sandbox::{Outcome, Work};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// What is known of one path: a changed one, or a directory on the way to one.
#[derive(Debug, Default)]
struct Node<'a> {
    change: Option<&'a Changed>,
    /// How many changed paths below it the old commit has.
    olds: usize,
    /// How many the new one has.
    news: usize,
}

/// What the work tree needs.
#[derive(Debug, Default)]
pub(super) struct Layout<'a> {
    /// What is in the way.
    pub(super) conflicts: Vec<Conflict>,
    /// Paths whose content must be that of the old commit.
    pub(super) verify: Vec<&'a Changed>,
    /// Paths whose content is to be written.
    pub(super) write: Vec<&'a Changed>,
}

/// Where to go on after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    /// With what is below it.
    Into,
    /// With what comes after all that.
    Past,
}

/// Names all operations that `changed` needs in `batch`.
///
/// # Errors
/// What the system refuses.
pub(super) fn lay_out<'a>(
    batch: &mut Batch,
    changed: &[&'a Changed],
    no_symlinks: bool,
    work: &Work<'_>,
) -> Outcome<Layout<'a>> {
    let nodes = nodes_of(changed);
    let list: Vec<(&Vec<u8>, &Node<'a>)> = nodes.iter().collect();
    let mut planner = Planner {
        nodes: &nodes,
        no_symlinks,
        layout: Layout::default(),
    };
    let mut at = 0;
    while let Some((key, node)) = list.get(at) {
        work.step(at as u64, list.len() as u64, "entries")?;
        let end = list
            .get(at + 1..)
            .unwrap_or_default()
            .iter()
            .position(|(other, _)| !is_below(other, key))
            .map_or(list.len(), |after| at + 1 + after);
        let below = list.get(at + 1..end).unwrap_or_default();
        let go = planner.node(batch, (key, node), below)?;
        at = if go == Go::Past { end } else { at + 1 };
    }
    Ok(planner.layout)
}

/// Paths sort by component where the separator is the smallest byte; a name has no NUL.
fn key_of(path: &[u8]) -> Vec<u8> {
    let separate = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    path.iter().map(separate).collect()
}

fn path_of(key: &[u8]) -> Vec<u8> {
    let join = |byte: &u8| if *byte == 0 { b'/' } else { *byte };
    key.iter().map(join).collect()
}

fn is_below(key: &[u8], top: &[u8]) -> bool {
    key.strip_prefix(top)
        .is_some_and(|rest| rest.first() == Some(&0))
}

fn nodes_of<'a>(changed: &[&'a Changed]) -> BTreeMap<Vec<u8>, Node<'a>> {
    let mut nodes: BTreeMap<Vec<u8>, Node<'a>> = BTreeMap::new();
    for change in changed {
        let key = key_of(&change.path);
        for (end, _) in key.iter().enumerate().filter(|(_, byte)| **byte == 0) {
            let above = nodes.entry(key.get(..end).unwrap_or_default().to_vec());
            let above = above.or_default();
            above.olds += usize::from(change.old.is_some());
            above.news += usize::from(change.new.is_some());
        }
        nodes.entry(key).or_default().change = Some(change);
    }
    nodes
}

/// A node with its key.
type Named<'n, 'a> = (&'n Vec<u8>, &'n Node<'a>);

struct Planner<'n, 'a> {
    nodes: &'n BTreeMap<Vec<u8>, Node<'a>>,
    no_symlinks: bool,
    layout: Layout<'a>,
}

impl<'a> Planner<'_, 'a> {
    /// Decides about one node, whose directory is there.
    fn node(
        &mut self,
        batch: &mut Batch,
        (key, node): Named<'_, 'a>,
        below: &[Named<'_, 'a>],
    ) -> Outcome<Go> {
        let path = path_of(key);
        let path = Path::new(OsStr::from_bytes(&path));
        let now = batch.look(path)?;
        match (node.change, now) {
            (Some(change), now) if below.is_empty() => self.leaf(batch, (path, change), now),
            (Some(change), now) if change.old.is_some() => {
                self.file_to_directory(batch, (path, change), (below, now))
            }
            (Some(change), now) => self.directory_to_file(batch, (path, change), (below, now)),
            (None, None) => self.absent_directory(batch, (path, node), below),
            (None, Some(now)) if now.kind == FileKind::Directory => {
                if node.news > 0 {
                    return Ok(Go::Into);
                }
                let Ok(digest) = self.strangers(batch, path)? else {
                    return Ok(Go::Into);
                };
                if batch.delete(path, Some(digest))? {
                    self.verify_below(batch, below)?;
                }
                Ok(Go::Past)
            }
            (None, Some(now)) => {
                let theirs = format!("a {} where a directory was", now.kind.word());
                for change in below.iter().filter_map(|(_, node)| node.change) {
                    self.conflict(change, theirs.clone());
                }
                Ok(Go::Past)
            }
        }
    }

    fn leaf(
        &mut self,
        batch: &mut Batch,
        (path, change): (&Path, &'a Changed),
        now: Option<Stat>,
    ) -> Outcome<Go> {
        match (&change.old, &change.new, now) {
            (Some(_), None, None) | (None, None, _) => {}
            (Some(_), Some(_), None) => self.conflict(change, "nothing".to_owned()),
            (Some(old), new, Some(now)) => {
                if !self.fits(old, &now) {
                    self.conflict(change, changed_into(&now));
                    return Ok(Go::Past);
                }
                let there = if new.is_some() {
                    batch.replace(path, None)?
                } else {
                    batch.delete(path, None)?
                };
                if there {
                    self.layout.verify.push(change);
                    self.layout.write.extend(new.as_ref().map(|_| change));
                } else {
                    self.conflict(change, "nothing".to_owned());
                }
            }
            (None, Some(_), None) => {
                batch.create(path)?;
                self.layout.write.push(change);
            }
            (None, Some(new), Some(now)) => {
                if !(new.is_submodule() && now.kind == FileKind::Directory) {
                    self.conflict(change, in_the_way(&now));
                }
            }
        }
        Ok(Go::Past)
    }

    /// A file or link becomes a directory.
    fn file_to_directory(
        &mut self,
        batch: &mut Batch,
        (path, change): (&Path, &'a Changed),
        (below, now): (&[Named<'_, 'a>], Option<Stat>),
    ) -> Outcome<Go> {
        let fits = match (&change.old, &now) {
            (Some(old), Some(now)) => self.fits(old, now),
            _ => true,
        };
        if let (false, Some(now)) = (fits, &now) {
            self.conflict(change, changed_into(now));
            return Ok(Go::Past);
        }
        if now.is_none() {
            batch.create(path)?;
        } else if batch.replace(path, None)? {
            self.layout.verify.push(change);
        } else {
            self.conflict(change, "nothing".to_owned());
        }
        self.write_below(below);
        Ok(Go::Past)
    }

    /// A directory becomes a file or link.
    fn directory_to_file(
        &mut self,
        batch: &mut Batch,
        (path, change): (&Path, &'a Changed),
        (below, now): (&[Named<'_, 'a>], Option<Stat>),
    ) -> Outcome<Go> {
        match now {
            None => batch.create(path)?,
            Some(now) if now.kind == FileKind::Directory => match self.strangers(batch, path)? {
                Ok(digest) if batch.replace(path, Some(digest.clone()))? => {
                    self.verify_below(batch, below)?;
                }
                Ok(_) => self.conflict(change, "nothing".to_owned()),
                Err(strangers) => {
                    for stranger in strangers {
                        self.stranger(change, &stranger);
                    }
                    return Ok(Go::Past);
                }
            },
            Some(now) => {
                self.conflict(change, in_the_way(&now));
                return Ok(Go::Past);
            }
        }
        self.layout.write.push(change);
        Ok(Go::Past)
    }

    /// A directory on the way is not there.
    fn absent_directory(
        &mut self,
        batch: &mut Batch,
        (path, node): (&Path, &Node<'a>),
        below: &[Named<'_, 'a>],
    ) -> Outcome<Go> {
        let changes = below.iter().filter_map(|(_, node)| node.change);
        let mut lost = changes.filter(|change| change.old.is_some() && change.new.is_some());
        if let Some(first) = lost.next() {
            self.conflict(first, "nothing".to_owned());
            for change in lost {
                self.conflict(change, "nothing".to_owned());
            }
        } else if node.news > 0 {
            batch.create(path)?;
            self.write_below(below);
        }
        Ok(Go::Past)
    }

    fn write_below(&mut self, below: &[Named<'_, 'a>]) {
        let changes = below.iter().filter_map(|(_, node)| node.change);
        self.layout
            .write
            .extend(changes.filter(|change| change.new.is_some()));
    }

    /// What goes with its directory must be that of the old commit, as far as it is there.
    fn verify_below(&mut self, batch: &Batch, below: &[Named<'_, 'a>]) -> Outcome<()> {
        for change in below.iter().filter_map(|(_, node)| node.change) {
            if change.old.is_some() && batch.look(change.as_path())?.is_some() {
                self.layout.verify.push(change);
            }
        }
        Ok(())
    }

    /// The digest of a directory in which everything is of the old commit and goes.
    fn strangers(&self, batch: &mut Batch, path: &Path) -> Outcome<Result<String, Vec<Stranger>>> {
        batch.strangers(path, &mut |path, now| {
            let Some(node) = self.nodes.get(&key_of(path.as_os_str().as_bytes())) else {
                return false;
            };
            match node.change.and_then(|change| change.old.as_ref()) {
                Some(old) => self.fits(old, now),
                None => node.olds > 0 && now.kind == FileKind::Directory,
            }
        })
    }

    fn fits(&self, leaf: &Leaf, now: &Stat) -> bool {
        match now.kind {
            FileKind::Symlink => leaf.is_link(),
            FileKind::File => !leaf.is_link() || self.no_symlinks,
            _ => false,
        }
    }

    fn conflict(&mut self, change: &Changed, theirs: String) {
        self.layout.conflicts.push(conflict(change, theirs));
    }

    fn stranger(&mut self, change: &Changed, stranger: &Stranger) {
        let shown = crate::error::Shown(&stranger.path).to_string();
        let theirs = format!("a {} that is not in the commit", stranger.kind.word());
        let ours = format!("{} at {}", describe(change.new.as_ref()), change.shown());
        self.layout
            .conflicts
            .push(Conflict::new(shown, "nothing".to_owned(), theirs, ours));
    }
}

/// The conflict of a changed path at which the work tree has `theirs`.
pub(super) fn conflict(change: &Changed, theirs: String) -> Conflict {
    let (base, ours) = (describe(change.old.as_ref()), describe(change.new.as_ref()));
    Conflict::new(change.shown(), base, theirs, ours)
}

fn changed_into(now: &Stat) -> String {
    format!("a {} in the work tree", now.kind.word())
}

fn in_the_way(now: &Stat) -> String {
    format!("an untracked or ignored {}", now.kind.word())
}
