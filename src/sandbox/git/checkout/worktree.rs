//! Which work tree a branch is checked out in, and what its repository says about files.

use super::super::program::{Call, Runner};
use super::super::repository::Repository;
use super::changed::{between, unreadable, whole};
use crate::error::{Fault, ParticipantError};
use crate::id::ResourceKey;
use crate::sandbox::directory::text::Bytes;
use crate::sandbox::directory::{Directory, guards_at};
use crate::sandbox::{Guard, Identity, Outcome, Resource as _, Work};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A work tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::git) struct WorkTree {
    /// Its top.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub(in crate::sandbox::git) root: PathBuf,
    /// Its own git directory, with `HEAD` and the index.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub(in crate::sandbox::git) git_dir: PathBuf,
    /// The git directory that it shares with others.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub(in crate::sandbox::git) common: PathBuf,
}

fn write<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    Bytes::from(path).serialize(serializer)
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let bytes = Bytes::deserialize(deserializer)?;
    Ok(PathBuf::from(OsStr::from_bytes(&bytes.0)))
}

impl WorkTree {
    /// The work tree in which the branch `name` of the repository at `common` is checked out.
    ///
    /// # Errors
    /// [`Fault::Refused`] if it is checked out twice, or if it is not certain where.
    pub(in crate::sandbox::git) fn find(common: &Path, name: &str) -> Outcome<Option<Self>> {
        let repository = Repository {
            given: common.to_path_buf(),
            git_dir: common.to_path_buf(),
            common: common.to_path_buf(),
        };
        let trees = repository.work_trees()?;
        let mut here = trees
            .into_iter()
            .filter(|tree| tree.head.as_deref() == Some(name));
        let Some(first) = here.next() else {
            return Ok(None);
        };
        if let Some(second) = here.next() {
            let why = "the branch is checked out in two work trees; only one of them could follow";
            return Err(ParticipantError::new(Fault::Refused, why).at(second.path));
        }
        let found = Self {
            root: first.path,
            git_dir: first.git_dir,
            common: common.to_path_buf(),
        };
        found.check()?;
        Ok(Some(found))
    }

    /// Refuses a directory that does not lead back to the git directory. Of a repository whose git
    /// directory is elsewhere, git names that itself: a file of the commit would become a hook.
    fn check(&self) -> Outcome<()> {
        let leads_back = || {
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            let (root, common) = (real(&self.root)?, real(&self.common)?);
            let found = Repository::find(&root).ok()?;
            let outside = !root.starts_with(&common) && !root.starts_with(&found.git_dir);
            Some(outside && Some(found.git_dir) == real(&self.git_dir))
        };
        if leads_back() == Some(true) {
            return Ok(());
        }
        let why = "the branch is checked out, and it is not certain in which directory; \
                   `git config core.worktree PATH` tells";
        Err(ParticipantError::new(Fault::Refused, why).at(&self.root))
    }

    /// Who its root directory is, and what encloses it.
    ///
    /// # Errors
    /// [`Fault::Refused`] if it is gone.
    pub(in crate::sandbox::git) fn key(&self) -> Outcome<Identity> {
        Directory::at(&self.root).identify()
    }

    /// Keeps other plans away from it, as from a directory.
    ///
    /// # Errors
    /// [`Fault::Lost`] if it is gone.
    pub(in crate::sandbox::git) fn guards(&self) -> Outcome<Vec<Guard>> {
        guards_at(&self.root)
    }

    /// Keeps apart from it those who change one of the files in it that differ between the trees
    /// `old` and `new`, in place: whose database one of them is.
    ///
    /// # Errors
    /// What git says.
    pub(in crate::sandbox::git) fn touched(
        &self,
        git: &Runner,
        old: Option<&str>,
        new: &str,
    ) -> Outcome<Vec<Guard>> {
        let there = between(git, old, new)?.into_iter().filter_map(|change| {
            change.old.as_ref()?;
            let found = self.root.join(change.as_path()).symlink_metadata().ok()?;
            let key = format!("{}:{}", found.dev(), found.ino());
            found.is_file().then(|| Guard {
                key: ResourceKey::new("sqlite", key),
                file: None,
                shared: false,
            })
        });
        Ok(there.collect())
    }

    /// True if the branch `name` is checked out in it now.
    ///
    /// # Errors
    /// What git says.
    pub(in crate::sandbox::git) fn is_on(&self, name: &str) -> Outcome<bool> {
        if !self.git_dir.is_dir() || !self.root.is_dir() {
            // The work tree was removed or moved; nobody has the branch checked out here.
            return Ok(false);
        }
        let head = Runner::on(&self.git_dir).call("symbolic-ref");
        let head = head.args(["-q", "HEAD"]).answer()?;
        match head.code {
            0 => Ok(String::from_utf8_lossy(&head.stdout).trim_end() == name),
            1 => Ok(false),
            _ => Err(head.failure().at(&self.git_dir)),
        }
    }
}

/// What the repository says about the files of its work trees. It is read as data: only values
/// that are known to start nothing are passed on.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    args: Vec<OsString>,
    /// True if links are plain files in this work tree.
    pub(super) no_symlinks: bool,
    /// If only a part of the tree is to be there: true if the rules are directories.
    pub(super) sparse: Option<bool>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// What git says of a file that it cannot read.
    pub(super) fn of(tree: &WorkTree) -> Outcome<Self> {
        let mut values = HashMap::new();
        load(&tree.common.join("config"), &mut values)?;
        if is_true(&values, "extensions.worktreeconfig") == Some(true) {
            load(&tree.git_dir.join("config.worktree"), &mut values)?;
        }
        let mut args = Vec::new();
        let mut pass = |name: &str, value: &str| {
            args.push(OsString::from("-c"));
            args.push(OsString::from(format!("{name}={value}")));
        };
        let autocrlf = match is_true(&values, "core.autocrlf") {
            Some(true) => Some("true"),
            None if word(&values, "core.autocrlf") == Some("input") => Some("input"),
            _ => None,
        };
        if let Some(value) = autocrlf {
            pass("core.autocrlf", value);
        }
        if let Some(value @ ("lf" | "crlf" | "native")) = word(&values, "core.eol") {
            pass("core.eol", value);
        }
        let flags = [
            "core.filemode",
            "core.symlinks",
            "core.ignorecase",
            "core.precomposeunicode",
        ];
        for name in flags {
            if let Some(value) = is_true(&values, name) {
                pass(name, if value { "true" } else { "false" });
            }
        }
        let cone = is_true(&values, "core.sparsecheckoutcone") != Some(false);
        Ok(Self {
            args,
            no_symlinks: is_true(&values, "core.symlinks") == Some(false),
            sparse: (is_true(&values, "core.sparsecheckout") == Some(true)).then_some(cone),
        })
    }

    /// A call of git that treats files as this work tree does, and ends when `work` is to end.
    pub(super) fn call<'w>(&self, (git, work): (&Runner, &Work<'w>), args: &[&str]) -> Call<'w> {
        let call = git.call("").args(self.args.clone()).args(args);
        call.stopped_by(work)
    }
}

fn load(file: &Path, values: &mut HashMap<String, Option<String>>) -> Outcome<()> {
    if !file.is_file() {
        return Ok(());
    }
    let list = Runner::nowhere().call("config").arg("--file").arg(file);
    let list = whole(list.args(["--no-includes", "-z", "--list"]))?;
    for line in list
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let line = std::str::from_utf8(line).unwrap_or_default();
        match line.split_once('\n') {
            Some((name, value)) => values.insert(name.to_owned(), Some(value.to_owned())),
            None => values.insert(line.to_owned(), None),
        };
    }
    Ok(())
}

fn word<'a>(values: &'a HashMap<String, Option<String>>, name: &str) -> Option<&'a str> {
    values.get(name)?.as_deref()
}

/// A value without `=` is true, as for git.
fn is_true(values: &HashMap<String, Option<String>>, name: &str) -> Option<bool> {
    match values.get(name)?.as_deref().map(str::to_ascii_lowercase) {
        None => Some(true),
        Some(value) => match value.as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        },
    }
}

/// Which of `paths` the rules of a sparse work tree leave out.
///
/// # Errors
/// [`Fault::Unsupported`] if this git cannot tell.
pub(super) fn left_out<'a>(
    (tree, git): (&WorkTree, &Runner),
    cone: bool,
    paths: &[&'a [u8]],
) -> Outcome<Vec<&'a [u8]>> {
    let rules = tree.git_dir.join("info").join("sparse-checkout");
    if paths.is_empty() || !rules.is_file() {
        return Ok(Vec::new());
    }
    let cone = if cone { "--cone" } else { "--no-cone" };
    let mut input = paths.join(&0);
    input.push(0);
    let call = git.call("sparse-checkout");
    let call = call.args(["check-rules", "-z", cone]).arg("--rules-file");
    let answer = call.arg(rules).input(input).answer()?;
    if answer.code != 0 {
        let why = "only a part of the tree is checked out, and this git cannot tell which";
        return Err(ParticipantError::new(Fault::Unsupported, why).at(&tree.root));
    }
    let inside: HashSet<&[u8]> = answer
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .collect();
    let asked: HashSet<&[u8]> = paths.iter().copied().collect();
    if !inside.is_subset(&asked) {
        return Err(unreadable());
    }
    Ok(paths
        .iter()
        .copied()
        .filter(|path| !inside.contains(path))
        .collect())
}
