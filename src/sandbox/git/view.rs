//! Making the work tree of a plan, and our own git directory beside it.

use super::program::{Oid, Runner, quote};
use super::record::{INDEX, OWN, Record, VIEW};
use super::records::Records;
use super::repository::{HEADS, Repository};
use super::resource::empty_tree;
use super::stage::note_odd;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::sandbox::{Outcome, Place, Work};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The branch that our own `HEAD` names; it never exists.
const NO_BRANCH: &str = "refs/heads/none";

/// What was made.
#[derive(Debug)]
pub(super) struct Made {
    /// Device and inode of the view.
    pub(super) view: (u64, u64),
    /// The tree without an entry.
    pub(super) empty: Oid,
}

/// Runs git on our own git directory in `place`.
pub(super) fn own(place: &Place) -> Runner {
    Runner::on(place.dir.join(OWN))
}

/// Makes the view of the branch with this name and base, in `place`.
pub(super) fn make(
    repository: &Repository,
    (reference, base): (&str, Option<&Oid>),
    place: &Place,
    work: &Work<'_>,
) -> Outcome<Made> {
    let failed = |error| ParticipantError::io("make the sandbox", &place.dir, error);
    let store = Dir::open(&place.dir).map_err(failed)?;
    let format = repository.object_format()?;
    let excluded = excluded(repository);
    let layout = |name: &str, head: &str, bare: bool| -> io::Result<Dir> {
        let dir = git_dir(&store, name, (head, bare), &format)?;
        put(&dir.child(OsStr::new("info"))?, "exclude", &excluded)?;
        Ok(dir)
    };
    let own_dir = layout(OWN, NO_BRANCH, true).map_err(failed)?;
    let own = own(place);
    store.make_dir(OsStr::new(VIEW), 0o700).map_err(failed)?;
    let view = store.child(OsStr::new(VIEW)).map_err(failed)?;
    let id = view.stat().map_err(failed)?.id();
    if let Some(base) = base {
        put(&own_dir, "shallow", format!("{base}\n").as_bytes()).map_err(failed)?;
        copy_base(&own, (repository, place), base, work)?;
        check_out(&own, place, base, work)?;
    }
    let theirs = layout("view-git", reference, false).map_err(failed)?;
    plan_git(&theirs, (repository, place), (reference, base))?;
    let moved = store.rename_new(OsStr::new("view-git"), &view, OsStr::new(".git"));
    moved.map_err(failed)?;
    if let Some(base) = base {
        forget_submodules(&own, place, &base.zero(), work)?;
        note_odd(&own_dir, base, place, work)?;
    }
    Ok(Made {
        view: id,
        empty: empty_tree(&own)?,
    })
}

fn put(dir: &Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    dir.create_file(OsStr::new(name), 0o600)?.write_all(bytes)
}

/// Lays out an empty git directory with a configuration of ours.
fn git_dir(store: &Dir, name: &str, (head, bare): (&str, bool), format: &str) -> io::Result<Dir> {
    store.make_dir(OsStr::new(name), 0o700)?;
    let dir = store.child(OsStr::new(name))?;
    for sub in ["objects", "refs", "info"] {
        dir.make_dir(OsStr::new(sub), 0o700)?;
    }
    let objects = dir.child(OsStr::new("objects"))?;
    for sub in ["info", "pack"] {
        objects.make_dir(OsStr::new(sub), 0o700)?;
    }
    put(&dir, "HEAD", format!("ref: {head}\n").as_bytes())?;
    put(&dir, "config", config(bare, format).as_bytes())?;
    Ok(dir)
}

fn config(bare: bool, format: &str) -> String {
    let hash = if format == "sha1" {
        String::new()
    } else {
        format!("[extensions]\n\tobjectFormat = {format}\n")
    };
    let version = u8::from(!hash.is_empty());
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tbare = {bare}\n\tfilemode = true\n{hash}"
    )
}

/// Checks that our own git directory is configured as we made it: a plan that reached beside its
/// view could define a filter or a merge driver there, or send git to another configuration.
///
/// # Errors
/// [`Fault::Corrupt`] if it is not.
pub(super) fn check_own(record: &Record, place: &Place) -> Outcome<()> {
    let path = place.dir.join(OWN);
    let failed = |error| ParticipantError::io("look at our git directory", &path, error);
    let dir = Dir::open(&path).map_err(failed)?;
    let format = if record.empty.as_str().len() == 40 {
        "sha1"
    } else {
        "sha256"
    };
    let found = fs::read_small(&dir, OsStr::new("config")).map_err(failed)?;
    let elsewhere = dir.stat_at(OsStr::new("commondir")).map_err(failed)?;
    if found == config(true, format).as_bytes() && elsewhere.is_none() {
        return Ok(());
    }
    let why = "somebody changed the configuration of planbox's own git directory; nothing was run";
    Err(ParticipantError::new(Fault::Corrupt, why).at(path))
}

/// What the repository leaves out beyond its `.gitignore` files; a file that is no plain small one
/// says nothing.
fn excluded(repository: &Repository) -> Vec<u8> {
    let info = Dir::open(&repository.common.join("info"));
    info.and_then(|info| fs::read_small(&info, OsStr::new("exclude")))
        .unwrap_or_default()
}

/// Copies the base, without its history, into our own store: what the plan started from stays,
/// whatever becomes of the repository.
fn copy_base(
    own: &Runner,
    (repository, place): (&Repository, &Place),
    base: &Oid,
    work: &Work<'_>,
) -> Outcome<()> {
    work.step(0, 0, "objects")?;
    let copied = own.clone().borrow(repository.objects());
    let copied = copied
        .call("pack-objects")
        .args(["--revs", "--quiet", "--window=0"])
        .arg(place.dir.join(OWN).join("objects/pack/pack"))
        .input(format!("{base}\n"))
        .stopped_by(work)
        .answer()?;
    if copied.code == 0 {
        return Ok(());
    }
    let failure = copied.failure();
    if repository.is_partial()? {
        return Err(ParticipantError::new(
            Fault::Refused,
            format!(
                "this is a partial clone, and not all objects of the branch are here; fetch them \
                 first: {}",
                failure.message
            ),
        )
        .at(&repository.given));
    }
    Err(failure.at(&repository.given))
}

/// Writes the tracked files into the view. No filter is defined, so none runs; names that could
/// reach a git directory are refused by git itself.
fn check_out(own: &Runner, place: &Place, base: &Oid, work: &Work<'_>) -> Outcome<()> {
    work.step(0, 0, "files")?;
    let index = place.dir.join(OWN).join(INDEX);
    let runner = own.clone().work_tree(place.dir.join(VIEW)).index(index);
    let written = runner
        .call("read-tree")
        .args(["-m", "-u", "--end-of-options", base.as_str()])
        .stopped_by(work)
        .answer()?;
    match written.code {
        0 => Ok(()),
        _ if written.complaint().contains("invalid path") => {
            let why = format!("the branch cannot be checked out: {}", written.complaint());
            Err(ParticipantError::new(Fault::Refused, why))
        }
        _ => Err(written.failure()),
    }
}

/// The git directory that the plan's own tools find in the view. We never read it again.
fn plan_git(
    dir: &Dir,
    (repository, place): (&Repository, &Place),
    (reference, base): (&str, Option<&Oid>),
) -> Outcome<()> {
    let failed = |error| ParticipantError::io("make the sandbox", &place.dir, error);
    let mut lines = Vec::new();
    for objects in [repository.objects(), place.dir.join(OWN).join("objects")] {
        lines.extend_from_slice(quote(&objects).as_bytes());
        lines.push(b'\n');
    }
    let info = dir.beneath(Path::new("objects/info")).map_err(failed)?;
    put(&info, "alternates", &lines).map_err(failed)?;
    let Some(base) = base else { return Ok(()) };
    let common = Dir::open(&repository.common).map_err(failed)?;
    if let Ok(shallow) = fs::read_small(&common, OsStr::new("shallow")) {
        put(dir, "shallow", &shallow).map_err(failed)?;
    }
    let own = Dir::open(&place.dir.join(OWN)).map_err(failed)?;
    let index = OsStr::new(INDEX);
    let copied = own.read_file(index).and_then(|source| {
        let target = dir.create_file(index, 0o600)?;
        copy_index(&source, &target)
    });
    copied.map_err(failed)?;
    debug_assert!(reference.starts_with(HEADS), "a branch");
    let runner = Runner::on(dir.path());
    let update = runner.call("update-ref");
    let update = update.args(["--no-deref", "--end-of-options", reference, base.as_str()]);
    update.bytes().map(drop)
}

/// Copies an index with its time: git distrusts every entry that is not older than its index, and
/// a younger copy would be trusted where the original is not.
pub(super) fn copy_index(source: &File, target: &File) -> io::Result<()> {
    io::copy(&mut &*source, &mut &*target)?;
    fs::set_file_mtime(target, fs::stat_file(source)?.mtime)
}

/// Takes submodules out of our index: git looks into what lies in their places with that
/// repository's own configuration, and that is the plan's.
fn forget_submodules(own: &Runner, place: &Place, zero: &Oid, work: &Work<'_>) -> Outcome<()> {
    let runner = own.clone().index(place.dir.join(OWN).join(INDEX));
    let (mut records, mut gone) = (Records::default(), Vec::new());
    let listed = runner.call("ls-files").args(["-s", "-z"]).stopped_by(work);
    let listed = listed.stream(&mut |piece| {
        records.cut(piece, &mut |record| {
            if record.starts_with(b"160000 ") {
                let path = record.splitn(2, |byte| *byte == b'\t').nth(1);
                gone.extend_from_slice(format!("0 {zero}\t").as_bytes());
                gone.extend_from_slice(path.unwrap_or_default());
                gone.push(0);
            }
            Ok(())
        })
    })?;
    if listed.code != 0 {
        return Err(listed.failure());
    }
    if gone.is_empty() {
        return Ok(());
    }
    let update = runner.call("update-index").args(["-z", "--index-info"]);
    update.input(gone).bytes().map(drop)
}
