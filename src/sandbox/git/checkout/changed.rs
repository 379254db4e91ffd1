//! What two trees differ in, as git lists it.

use super::super::program::{Call, Runner};
use crate::error::{Fault, ParticipantError, Shown};
use crate::sandbox::Outcome;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A regular file that may be executed.
const EXECUTABLE: u32 = 0o100_755;

/// A symbolic link.
const LINK: u32 = 0o120_000;

/// A commit of another repository: a submodule.
const COMMIT: u32 = 0o160_000;

/// Longest path that the system takes in one call, and git with it.
const PATH_MAX: usize = 4_095;

/// What a name of a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Kind and executable bit, as git writes them.
    pub(super) mode: u32,
    /// Name of the object, in hex.
    pub(super) oid: String,
}

impl Leaf {
    fn new(mode: &str, oid: &str) -> Option<Self> {
        let mode = u32::from_str_radix(mode, 8).ok()?;
        let hex = !oid.is_empty() && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Self {
            mode,
            oid: oid.to_owned(),
        })
    }

    /// True for a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        self.mode == LINK
    }

    /// True for a submodule.
    pub(super) fn is_submodule(&self) -> bool {
        self.mode == COMMIT
    }

    /// For a conflict: what it is.
    pub(super) fn describe(&self) -> String {
        let word = match self.mode {
            LINK => "symlink",
            COMMIT => "submodule",
            EXECUTABLE => "executable file",
            _ => "file",
        };
        let oid = self.oid.get(..12).unwrap_or(&self.oid);
        format!("the {word} {oid}")
    }
}

/// For a conflict: what one side has.
pub(super) fn describe(leaf: Option<&Leaf>) -> String {
    leaf.map_or_else(|| "nothing".to_owned(), Leaf::describe)
}

/// One path at which the two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// From the root of the work tree.
    pub(super) path: Vec<u8>,
    /// What the branch has now.
    pub(super) old: Option<Leaf>,
    /// What it is to have.
    pub(super) new: Option<Leaf>,
}

impl Changed {
    /// The path as the system takes it.
    pub(super) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        Shown(self.as_path()).to_string()
    }

    /// True if a submodule is on one of the sides.
    pub(super) fn has_submodule(&self) -> bool {
        [&self.old, &self.new]
            .into_iter()
            .flatten()
            .any(Leaf::is_submodule)
    }
}

/// Lists the paths at which `old` (nothing, for a branch without a commit) and `new` differ.
///
/// # Errors
/// [`Fault::Refused`] for a path that no work tree can have.
pub(super) fn between(git: &Runner, old: Option<&str>, new: &str) -> Outcome<Vec<Changed>> {
    let changed = if let Some(old) = old {
        let call = git
            .call("diff-tree")
            .args(["-r", "-z", "--raw", "--no-renames"]);
        let call = call.args(["--no-abbrev", "--end-of-options", old, new]);
        parse_raw(&whole(call)?)
    } else {
        let call = git.call("ls-tree").args(["-r", "-z", "--full-tree"]);
        parse_tree(&whole(call.args(["--end-of-options", new]))?)
    };
    let mut changed = changed.ok_or_else(unreadable)?;
    changed.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    for change in &changed {
        check_path(change)?;
    }
    Ok(changed)
}

/// Most bytes of a list of paths: 1 GiB, some ten million paths.
const LIST_MAX: usize = 1 << 30;

/// All that a call writes; it must succeed.
pub(super) fn whole(call: Call<'_>) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let answer = call.stream(&mut |piece| {
        if bytes.len() + piece.len() > LIST_MAX {
            let why = "git wrote more than fits the limit of one list";
            return Err(ParticipantError::new(Fault::Refused, why));
        }
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    if answer.code != 0 {
        return Err(answer.failure());
    }
    Ok(bytes)
}

/// What git printed is not what it documents.
pub(super) fn unreadable() -> ParticipantError {
    ParticipantError::new(Fault::Unsupported, "git answers in a way that is not known")
}

/// `:MODE MODE OID OID STATUS`, NUL, path, NUL.
fn parse_raw(bytes: &[u8]) -> Option<Vec<Changed>> {
    let mut fields = bytes.split(|byte| *byte == 0);
    let mut changed = Vec::new();
    loop {
        let head = fields.next()?;
        if head.is_empty() {
            return fields.next().is_none().then_some(changed);
        }
        let head = std::str::from_utf8(head).ok()?.strip_prefix(':')?;
        let mut parts = head.split(' ');
        let (old, new) = (parts.next()?, parts.next()?);
        let (old_oid, new_oid) = (parts.next()?, parts.next()?);
        let path = fields.next()?.to_vec();
        let (old, new) = (Leaf::new(old, old_oid)?, Leaf::new(new, new_oid)?);
        changed.push(Changed {
            path,
            old: Some(old).filter(|leaf| leaf.mode != 0),
            new: Some(new).filter(|leaf| leaf.mode != 0),
        });
    }
}

/// `MODE TYPE OID`, tab, path, NUL.
fn parse_tree(bytes: &[u8]) -> Option<Vec<Changed>> {
    let lines = bytes
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty());
    let parse = |line: &[u8]| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (head, path) = (line.get(..tab)?, line.get(tab + 1..)?);
        let mut parts = std::str::from_utf8(head).ok()?.split(' ');
        let (mode, _, oid) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Changed {
            path: path.to_vec(),
            old: None,
            new: Some(Leaf::new(mode, oid)?),
        })
    };
    lines.map(parse).collect()
}

/// Refuses what must never be written into a work tree. git refuses more of it by itself.
fn check_path(change: &Changed) -> Outcome<()> {
    let reserved = |part: &[u8]| {
        matches!(part, b"" | b"." | b".." | b".planbox") || part.eq_ignore_ascii_case(b".git")
    };
    let bad = change.path.split(|byte| *byte == b'/').any(reserved);
    if bad || change.path.len() > PATH_MAX {
        let message = "a path that cannot be in a work tree";
        return Err(ParticipantError::new(Fault::Refused, message).at(change.as_path()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_difference_is_read_with_any_bytes_in_the_names() {
        let raw = b":100644 000000 aa 00 D\0a\nb\0:000000 120000 00 bb A\0\xff\0";
        let changed = parse_raw(raw).unwrap();
        assert_eq!(changed[0].path, b"a\nb");
        assert_eq!(changed[0].new, None);
        assert!(changed[1].new.as_ref().unwrap().is_link());
        assert_eq!(changed[1].old, None);
        assert_eq!(parse_raw(b""), Some(Vec::new()));
        for bad in [&b"x\0"[..], b":100644 1 a b M\0", b":1 2 zz b M\0p\0"] {
            assert_eq!(parse_raw(bad), None);
        }
    }

    #[test]
    fn a_path_into_the_repository_is_refused() {
        for path in [".git/hooks/x", "a/.GIT", "../x", "a//b", "", "a/./b"] {
            let change = Changed {
                path: path.as_bytes().to_vec(),
                old: None,
                new: None,
            };
            assert_eq!(check_path(&change).unwrap_err().fault, Fault::Refused);
        }
    }
}
