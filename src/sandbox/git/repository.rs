//! Finding a repository: its git directories, its branches, its work trees. Reads, never writes.

use super::program::{Oid, Runner};
use crate::error::{Fault, ParticipantError, Shown};
use crate::fs::{self, Dir, FileKind};
use crate::sandbox::Outcome;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Where branches are.
pub(super) const HEADS: &str = "refs/heads/";

/// A repository of this user.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    /// The path it was found by, made canonical.
    pub(super) given: PathBuf,
    /// The git directory of the work tree it was found by; the common one if there is none.
    pub(super) git_dir: PathBuf,
    /// The git directory that all its work trees share.
    pub(super) common: PathBuf,
}

/// What a branch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefState {
    /// There is no such reference.
    Absent,
    /// It is at this commit.
    At(Oid),
    /// It is another name for this one.
    Symbolic(String),
}

impl RefState {
    /// For people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Absent => "gone".to_owned(),
            Self::At(oid) => oid.short().to_owned(),
            Self::Symbolic(target) => format!("another name for {}", target.escape_debug()),
        }
    }

    /// The commit, none if there is no such reference.
    ///
    /// # Errors
    /// [`Fault::Refused`] for another name.
    pub(super) fn commit(self, name: &str) -> Outcome<Option<Oid>> {
        match self {
            Self::Absent => Ok(None),
            Self::At(oid) => Ok(Some(oid)),
            Self::Symbolic(target) => Err(refused(format!(
                "{name} is only another name for {}; name that one",
                target.escape_debug()
            ))),
        }
    }
}

/// A work tree of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkTree {
    /// Its top.
    pub(super) path: PathBuf,
    /// Its own git directory: `HEAD` and the index are there.
    pub(super) git_dir: PathBuf,
    /// The branch that is checked out, if one is.
    pub(super) head: Option<String>,
}

fn refused(why: impl Into<String>) -> ParticipantError {
    ParticipantError::new(Fault::Refused, why)
}

fn failed(path: &Path, error: io::Error) -> ParticipantError {
    ParticipantError::io("look at the repository", path, error)
}

impl Repository {
    /// The repository whose work tree has its top at `path`, or whose git directory `path` is.
    ///
    /// # Errors
    /// [`Fault::Refused`] if there is none, or if it belongs to another user.
    pub(super) fn find(path: &Path) -> Outcome<Self> {
        let given = std::fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refused("there is no such repository").at(path),
            _ => failed(path, error),
        })?;
        let top = open(&given)?;
        let git_dir = match stat(&top, ".git")? {
            None => given.clone(),
            Some(FileKind::File) => {
                check_owner(&given.join(".git"))?;
                pointed(&top, ".git", Some("gitdir: "))?
            }
            Some(_) => canonical(&given.join(".git"))?,
        };
        let dir = open(&git_dir)?;
        if stat(&dir, "HEAD")?.is_none() {
            let why = "it is not the top of a git work tree, and not a git directory";
            return Err(refused(why).at(path));
        }
        let common = match stat(&dir, "commondir")? {
            None => git_dir.clone(),
            Some(_) => pointed(&dir, "commondir", None)?,
        };
        if stat(&open(&common)?, "objects")? != Some(FileKind::Directory) {
            return Err(refused("its git directory has no objects").at(&common));
        }
        for part in [&given, &git_dir, &common] {
            check_owner(part)?;
        }
        Ok(Self {
            given,
            git_dir,
            common,
        })
    }

    /// Device and inode of the common git directory: who the repository is.
    pub(super) fn id(&self) -> Outcome<(u64, u64)> {
        let stat = open(&self.common)?.stat();
        stat.map(|stat| stat.id())
            .map_err(|error| failed(&self.common, error))
    }

    /// Runs git on the repository itself.
    pub(super) fn runner(&self) -> Runner {
        Runner::on(&self.common)
    }

    /// Where its objects are.
    pub(super) fn objects(&self) -> PathBuf {
        self.common.join("objects")
    }

    /// The hash its objects are named by: `sha1` or `sha256`.
    pub(super) fn object_format(&self) -> Outcome<String> {
        self.runner()
            .call("rev-parse")
            .arg("--show-object-format")
            .line()
    }

    /// A setting of the repository, none if it has no value.
    pub(super) fn setting(&self, name: &str) -> Outcome<Option<String>> {
        let call = self
            .runner()
            .call("config")
            .args(["--get", name])
            .answer()?;
        match call.code {
            0 => Ok(Some(
                String::from_utf8_lossy(&call.stdout).trim_end().to_owned(),
            )),
            1 => Ok(None),
            _ => Err(call.failure().at(&self.common)),
        }
    }

    /// True if objects may be missing here, because another repository promised them.
    pub(super) fn is_partial(&self) -> Outcome<bool> {
        let pattern = r"^(extensions\.partialclone|remote\..*\.promisor)$";
        let call = self.runner().call("config");
        Ok(call.args(["--get-regexp", pattern]).answer()?.code == 0)
    }

    /// What the reference `name` is.
    pub(super) fn state(&self, name: &str) -> Outcome<RefState> {
        let format = "--format=%(refname)%00%(objectname)%00%(symref)";
        let listed = self.runner().call("for-each-ref").arg(format);
        let listed = listed.arg("--").arg(name).bytes();
        let listed = listed.map_err(|error| error.at(&self.common))?;
        for line in listed.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut fields = line.split('\0');
            if fields.next() != Some(name) {
                continue;
            }
            let oid = fields.next().and_then(Oid::parse);
            let target = fields.next().unwrap_or_default();
            return match oid {
                _ if !target.is_empty() => Ok(RefState::Symbolic(target.to_owned())),
                Some(oid) => Ok(RefState::At(oid)),
                None => Err(ParticipantError::new(
                    Fault::Corrupt,
                    format!("{name} has no commit that can be read"),
                )
                .at(&self.common)),
            };
        }
        Ok(RefState::Absent)
    }

    /// The full name of `branch`, or of the branch that is checked out.
    ///
    /// # Errors
    /// [`Fault::Refused`] for a name that git does not take, and for a `HEAD` on no branch.
    pub(super) fn branch(&self, branch: Option<&str>) -> Outcome<String> {
        let Some(branch) = branch else {
            let head = Runner::on(&self.git_dir).call("symbolic-ref");
            let head = head.args(["-q", "HEAD"]).answer()?;
            let name = String::from_utf8_lossy(&head.stdout).trim_end().to_owned();
            return match head.code {
                0 if name.starts_with(HEADS) => Ok(name),
                0 | 1 => Err(refused("HEAD is on no branch; name the branch").at(&self.given)),
                _ => Err(head.failure().at(&self.given)),
            };
        };
        let name = match branch.strip_prefix(HEADS) {
            Some(_) => branch.to_owned(),
            None => format!("{HEADS}{branch}"),
        };
        let short = name.strip_prefix(HEADS).unwrap_or_default();
        let allowed = !short.starts_with('-') && short != "HEAD" && !name.contains('\0');
        let check = || {
            Runner::nowhere()
                .call("check-ref-format")
                .arg(&name)
                .answer()
        };
        if !allowed || check()?.code != 0 {
            let shown = branch.escape_debug();
            return Err(refused(format!("{shown} is no name for a branch")).at(&self.given));
        }
        Ok(name)
    }

    /// All work trees that are there, with what is checked out in them.
    pub(super) fn work_trees(&self) -> Outcome<Vec<WorkTree>> {
        let list = self.runner().call("worktree");
        let list = list.args(["list", "--porcelain", "-z"]).bytes()?;
        let moved = self.setting("core.worktree")?;
        let mut trees = Vec::new();
        for (number, tree) in list
            .split(|byte| *byte == 0)
            .collect::<Vec<_>>()
            .split(|attribute| attribute.is_empty())
            .filter(|tree| !tree.is_empty())
            .enumerate()
        {
            let value = |name: &[u8]| tree.iter().find_map(|line| line.strip_prefix(name));
            let has = |name: &[u8]| tree.iter().any(|line| line.starts_with(name));
            let Some(path) = value(b"worktree ") else {
                continue;
            };
            let head = value(b"branch ").map(|name| String::from_utf8_lossy(name).into_owned());
            let mut path = PathBuf::from(OsString::from_vec(path.to_vec()));
            let main = number == 0;
            if has(b"bare") || has(b"prunable") {
                continue;
            }
            if let (true, Some(moved)) = (main, &moved) {
                path = self.common.join(moved);
            }
            let git_dir = if main {
                self.common.clone()
            } else {
                pointed(&open(&path)?, ".git", Some("gitdir: "))?
            };
            trees.push(WorkTree {
                path,
                git_dir,
                head,
            });
        }
        Ok(trees)
    }

    /// What somebody is in the middle of with the branch `name`: a merge, a rebase.
    pub(super) fn unfinished(name: &str, trees: &[WorkTree]) -> Outcome<Option<&'static str>> {
        const STARTED: [(&str, &str); 3] = [
            ("MERGE_HEAD", "merge"),
            ("CHERRY_PICK_HEAD", "cherry-pick"),
            ("REVERT_HEAD", "revert"),
        ];
        const NAMED: [(&str, &str, &str); 3] = [
            ("rebase-merge", "head-name", "rebase"),
            ("rebase-apply", "head-name", "rebase"),
            ("", "BISECT_START", "bisect"),
        ];
        for tree in trees {
            let dir = open(&tree.git_dir)?;
            for (dir_name, file, what) in NAMED {
                let inside = dir.beneath(Path::new(dir_name));
                let Ok(text) = inside.and_then(|inside| fs::read_small(&inside, OsStr::new(file)))
                else {
                    continue;
                };
                let text = String::from_utf8_lossy(&text).trim_end().to_owned();
                if text == name || format!("{HEADS}{text}") == name {
                    return Ok(Some(what));
                }
            }
            if tree.head.as_deref() == Some(name) {
                for (file, what) in STARTED {
                    if stat(&dir, file)?.is_some() {
                        return Ok(Some(what));
                    }
                }
            }
        }
        Ok(None)
    }
}

pub(super) fn open(path: &Path) -> Outcome<Dir> {
    Dir::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => refused("it is not a directory").at(path),
        io::ErrorKind::NotFound => {
            ParticipantError::new(Fault::Lost, "the directory is gone").at(path)
        }
        _ => failed(path, error),
    })
}

fn stat(dir: &Dir, name: &str) -> Outcome<Option<FileKind>> {
    let stat = dir.stat_at(OsStr::new(name));
    stat.map(|stat| stat.map(|stat| stat.kind))
        .map_err(|error| failed(dir.path(), error))
}

fn canonical(path: &Path) -> Outcome<PathBuf> {
    std::fs::canonicalize(path).map_err(|error| failed(path, error))
}

/// The directory that the small file `name` of `dir` names, behind `prefix`.
fn pointed(dir: &Dir, name: &str, prefix: Option<&str>) -> Outcome<PathBuf> {
    let bytes = fs::read_small(dir, OsStr::new(name)).map_err(|error| failed(dir.path(), error))?;
    let target = bytes
        .strip_prefix(prefix.unwrap_or_default().as_bytes())
        .map(|rest| rest.trim_ascii_end().to_vec())
        .filter(|rest| !rest.is_empty() && !rest.contains(&0))
        .ok_or_else(|| refused("it does not lead to a git directory").at(dir.path().join(name)))?;
    canonical(&dir.path().join(OsString::from_vec(target)))
}

/// Refuses what belongs to somebody else, as git does.
fn check_owner(path: &Path) -> Outcome<()> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::symlink_metadata(path)
        .map_err(|error| failed(path, error))?
        .uid();
    let us = rustix::process::geteuid().as_raw();
    if owner == us {
        return Ok(());
    }
    Err(refused(format!(
        "it belongs to user {owner} and we are user {us}: git calls such a repository unsafe \
         (`safe.directory`), and planbox does not go around that; work as its owner: {}",
        Shown(path)
    ))
    .at(path))
}
