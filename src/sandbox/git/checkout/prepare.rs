//! Checking a work tree and making ready what it needs.

use super::changed::{Changed, between};
use super::index::{staged, update};
use super::layout::lay_out;
use super::lock::IndexLock;
use super::swap::{self, Swap};
use super::worktree::{Settings, left_out};
use super::{
    Bytes, Checkout, CheckoutRedo, CheckoutVote, Move, Oid, REDO, Runner, TREE, VERSION, carry,
    contents,
};
use crate::error::{Conflict, Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::directory::{Batch, Given};
use crate::sandbox::{Outcome, Work};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// The index as git has it, brought to the new commit; nobody changes it afterwards.
pub(super) const PRISTINE: &str = "index.pristine";

/// An index with nothing but the paths that are compared.
const COMPARED: &str = "index.compared";

/// An index of the whole new commit.
const WHOLE: &str = "index.whole";

/// What is checked, with what is needed for that.
struct Job<'a> {
    checkout: &'a Checkout,
    git: &'a Runner,
    settings: Settings,
    home: PathBuf,
    dir: Dir,
    new: &'a str,
    work: &'a Work<'a>,
}

/// The two halves of the redo, or why there is none.
type Halves<T> = Result<T, Vec<Conflict>>;

pub(super) fn prepare(
    checkout: &Checkout,
    git: &Runner,
    (name, old, new): Move<'_>,
    work: &Work<'_>,
) -> Outcome<CheckoutVote> {
    if !checkout.tree.is_on(name)? {
        return Ok(CheckoutVote::Nothing);
    }
    let changed = between(git, old.map(Oid::as_str), new.as_str())?;
    if changed.is_empty() {
        return Ok(CheckoutVote::Nothing);
    }
    refuse_submodules(&changed)?;
    let home = checkout.make_home()?;
    let failed = |error| ParticipantError::io("make the checkout", &home, error);
    let dir = Dir::open(&home).map_err(failed)?;
    dir.make_dir(OsStr::new(TREE), 0o700).map_err(failed)?;
    let git_dir = Dir::open(&checkout.tree.git_dir).map_err(failed)?;
    let lock = IndexLock::new(git_dir, dir.dup().map_err(failed)?, &checkout.place.token);
    lock.make()?;
    lock.wait()?;
    let job = Job {
        checkout,
        git,
        settings: Settings::of(&checkout.tree)?,
        home: home.clone(),
        dir,
        new: new.as_str(),
        work,
    };
    let (index, tree) = match job.halves(&changed)? {
        Ok(halves) => halves,
        Err(conflicts) => return Ok(CheckoutVote::Conflict(conflicts)),
    };
    let redo = CheckoutRedo {
        version: VERSION,
        name: name.to_owned(),
        home: Bytes::from(home.as_path()),
        tree,
        index,
    };
    job.store(&redo)?;
    Ok(CheckoutVote::Ready(Box::new(redo)))
}

impl Job<'_> {
    fn failed(&self, error: std::io::Error) -> ParticipantError {
        ParticipantError::io("make the checkout", &self.home, error)
    }

    fn halves(&self, changed: &[Changed]) -> Outcome<Halves<(Swap, Option<Given>)>> {
        let tree = &self.checkout.tree;
        let git_dir = Dir::open(&tree.git_dir).map_err(|error| self.failed(error))?;
        refuse_split(&git_dir)?;
        let yard = self.checkout.yard(self.git, &self.dir);
        let base = swap::take_copy(yard)?;
        let pristine = self.home.join(PRISTINE);
        let theirs = swap::entries(self.git, &pristine)?;
        let mut staged = staged(self.git, &pristine, changed)?;
        let mut conflicts = std::mem::take(&mut staged.conflicts);
        self.skip_new(changed, &mut staged.skipped)?;
        let mut batch = Batch::begin(&tree.root, &self.checkout.inner(&self.home))?;
        // A file that is there is one of the work tree, whatever the rules say.
        for change in changed {
            if staged.skipped.contains(&change.path) && batch.look(change.as_path())?.is_some() {
                staged.skipped.remove(&change.path);
            }
        }
        let files: Vec<&Changed> = changed
            .iter()
            .filter(|change| !change.has_submodule() || change.old.is_none())
            .filter(|change| !staged.skipped.contains(&change.path))
            .collect();
        let layout = lay_out(&mut batch, &files, self.settings.no_symlinks, self.work)?;
        conflicts.extend(layout.conflicts);
        // A change within one tick of the clock after the one we saw would leave the same times.
        crate::sync::thread::sleep(Duration::from_millis(batch.racy_ms()));
        let with = (self.git, &self.settings, self.work);
        let dirty = contents::verify(with, tree, &self.home.join(COMPARED), &layout.verify)?;
        conflicts.extend(dirty);
        if !conflicts.is_empty() {
            conflicts.sort_unstable_by(|one, other| one.place.cmp(&other.place));
            conflicts.dedup_by(|one, other| one.place == other.place);
            return Ok(Err(conflicts));
        }
        let to = (self.home.join(WHOLE), batch.fresh());
        contents::write(with, self.new, (&to.0, &to.1), &layout.write)?;
        update(with, tree, &pristine, (changed, &staged))?;
        let index = Swap::make(yard, base, theirs)?;
        let tree = if batch.is_empty() {
            None
        } else {
            batch.fill()?;
            Some(batch.finish()?)
        };
        Ok(Ok((index, tree)))
    }

    /// Adds the new paths that the rules of a sparse work tree leave out.
    fn skip_new(
        &self,
        changed: &[Changed],
        skipped: &mut std::collections::HashSet<Vec<u8>>,
    ) -> Outcome<()> {
        let Some(cone) = self.settings.sparse else {
            return Ok(());
        };
        let new: Vec<&[u8]> = changed
            .iter()
            .filter(|change| change.old.is_none())
            .map(|change| change.path.as_slice())
            .collect();
        let out = left_out((&self.checkout.tree, self.git), cone, &new)?;
        skipped.extend(out.into_iter().map(<[u8]>::to_vec));
        Ok(())
    }

    /// Leaves the redo for `clear`, removes what is not needed any more, and makes all durable.
    fn store(&self, redo: &CheckoutRedo) -> Outcome<()> {
        for name in [COMPARED, WHOLE] {
            drop(self.dir.remove_file(OsStr::new(name)));
        }
        carry::undecided(&self.dir)?;
        let bytes = serde_json::to_vec(redo)
            .map_err(|error| ParticipantError::new(Fault::Corrupt, error.to_string()))?;
        fs::write_durably(&self.dir, OsStr::new(REDO), &bytes).map_err(|error| self.failed(error))
    }
}

/// A submodule may come, go and change its commit: only its entry in the index follows, and an
/// empty directory for a new one. In the place of a file, or a file in its place, is refused.
fn refuse_submodules(changed: &[Changed]) -> Outcome<()> {
    for (at, change) in changed.iter().enumerate() {
        if !change.has_submodule() {
            continue;
        }
        let sides = [&change.old, &change.new];
        let other = sides.into_iter().flatten().any(|leaf| !leaf.is_submodule());
        let mut top = change.path.clone();
        top.push(b'/');
        let rest = changed.get(at + 1..).unwrap_or_default();
        if other || rest.iter().any(|below| below.path.starts_with(&top)) {
            let why = "a submodule takes the place of files, or files that of a submodule: the \
                       work tree in which the branch is checked out cannot follow";
            return Err(ParticipantError::new(Fault::Refused, why).at(change.as_path()));
        }
    }
    Ok(())
}

/// Refuses an index that is only half of itself.
fn refuse_split(git_dir: &Dir) -> Outcome<()> {
    let failed = |error| ParticipantError::io("read the git directory", git_dir.path(), error);
    for (name, _) in git_dir.entries().map_err(failed)?.iter() {
        if name.as_encoded_bytes().starts_with(b"sharedindex.") {
            let why =
                "a split index is not supported; `git update-index --no-split-index` joins it";
            return Err(ParticipantError::new(Fault::Refused, why).at(git_dir.path().join(name)));
        }
    }
    Ok(())
}
