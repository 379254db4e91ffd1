//! One resource as it is typed: `[NAME=]PATH`, and for git `[NAME=]REPO[#BRANCH]`.

use planbox::ResourceName;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// A real thing as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Thing {
    /// `--dir`
    Directory(PathBuf),
    /// `--git`; without a branch the one that is checked out.
    Branch(PathBuf, Option<String>),
    /// `--sqlite`
    Database(PathBuf),
}

/// A real thing with the name it was given, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) name: Option<ResourceName>,
    pub(super) thing: Thing,
}

impl Typed {
    /// Reads the value of `--dir`.
    pub(super) fn directory(argument: &OsStr) -> Self {
        let (name, path) = named(argument, &['/']);
        Self {
            name,
            thing: Thing::Directory(path.into()),
        }
    }

    /// Reads the value of `--git`. A name holds no `#` either, so that `repo#a=b` is a branch `a=b`.
    pub(super) fn branch(argument: &OsStr) -> Self {
        let (name, rest) = named(argument, &['/', '#']);
        let (repository, branch) = split_branch(&rest);
        Self {
            name,
            thing: Thing::Branch(repository, branch),
        }
    }

    /// Reads the value of `--sqlite`.
    pub(super) fn database(argument: &OsStr) -> Self {
        let (name, path) = named(argument, &['/']);
        Self {
            name,
            thing: Thing::Database(path.into()),
        }
    }

    /// The kind, and so the first of the default names.
    pub(super) fn kind(&self) -> &'static str {
        match self.thing {
            Thing::Directory(_) => "dir",
            Thing::Branch(..) => "git",
            Thing::Database(_) => "sqlite",
        }
    }
}

/// What stands before the first `=` is a name if it can be one and holds nothing of `without`;
/// otherwise everything is the path.
fn named(argument: &OsStr, without: &[char]) -> (Option<ResourceName>, OsString) {
    let bytes = argument.as_bytes();
    let whole = (None, argument.to_owned());
    let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
        return whole;
    };
    let (name, path) = bytes.split_at(at);
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.contains(without));
    match name.and_then(|name| ResourceName::new(name).ok()) {
        Some(name) => {
            let path = path.get(1..).unwrap_or_default().to_vec();
            (Some(name), OsString::from_vec(path))
        }
        None => whole,
    }
}

/// What follows the last `#` is the branch, if it can be the name of one; nothing after it means
/// the branch that is checked out. Decided by the text alone: what is on the disk today must not
/// decide which branch a script commits to.
fn split_branch(argument: &OsStr) -> (PathBuf, Option<String>) {
    let bytes = argument.as_bytes();
    let whole = (PathBuf::from(argument), None);
    let Some(at) = bytes.iter().rposition(|byte| *byte == b'#') else {
        return whole;
    };
    let (path, branch) = bytes.split_at(at);
    let path = PathBuf::from(OsStr::from_bytes(path));
    match std::str::from_utf8(branch.get(1..).unwrap_or_default()) {
        Ok("") => (path, None),
        Ok(branch) if can_be_a_branch(branch) => (path, Some(branch.to_owned())),
        _ => whole,
    }
}

/// The rules of `git check-ref-format --branch`, as far as they forbid a name.
fn can_be_a_branch(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let component = |part: &str| {
        let ends_as_a_lock = part.as_bytes().ends_with(b".lock");
        !part.is_empty() && !part.starts_with('.') && !ends_as_a_lock
    };
    !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name != "@"
        && name.split('/').all(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(typed: Typed) -> (Option<String>, Thing) {
        (typed.name.map(|name| name.to_string()), typed.thing)
    }

    fn directory(argument: &str) -> (Option<String>, PathBuf) {
        match parts(Typed::directory(OsStr::new(argument))) {
            (name, Thing::Directory(path)) => (name, path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_stands_before_the_first_equals_sign_and_holds_no_slash() {
        let named = |name: &str, path: &str| (Some(name.to_owned()), PathBuf::from(path));
        assert_eq!(directory("site=/srv/x=y"), named("site", "/srv/x=y"));
        assert_eq!(directory("a#1=x#y"), named("a#1", "x#y"));
        assert_eq!(directory("a="), named("a", ""));
        for path in ["./a=b", "/a/b=c", "=x", "plain", "a\nb=c"] {
            assert_eq!(directory(path), (None, PathBuf::from(path)), "{path:?}");
        }
        let bytes = OsStr::from_bytes(b"\xff=x");
        let typed = Typed::database(bytes);
        assert_eq!(
            (typed.name, typed.thing),
            (None, Thing::Database(PathBuf::from(bytes)))
        );
    }

    #[test]
    fn the_last_hash_splits_a_branch_off_a_repository() {
        let cases = [
            ("repo", None, "repo", None),
            ("repo#main", None, "repo", Some("main")),
            ("app=repo#fix/a=b", Some("app"), "repo", Some("fix/a=b")),
            ("repo#a=b", None, "repo", Some("a=b")),
            ("c#/repo", None, "c#/repo", None),
            ("c#1/repo#", None, "c#1/repo", None),
            ("c#1/repo#main", None, "c#1/repo", Some("main")),
            ("repo#1#", None, "repo#1", None),
            ("repo#my branch", None, "repo#my branch", None),
            ("#main", None, "", Some("main")),
        ];
        for (argument, name, path, branch) in cases {
            let thing = Thing::Branch(PathBuf::from(path), branch.map(str::to_owned));
            assert_eq!(
                parts(Typed::branch(OsStr::new(argument))),
                (name.map(str::to_owned), thing),
                "{argument}"
            );
        }
        let bytes = OsStr::from_bytes(b"repo#\xff");
        let whole = Thing::Branch(PathBuf::from(bytes), None);
        assert_eq!(Typed::branch(bytes).thing, whole);
    }

    #[test]
    fn names_that_git_refuses_are_no_branches() {
        for name in [
            "", "-x", ".x", "a/.x", "a//b", "/a", "a/", "a..b", "a.", "a.lock", "a.lock/b", "@",
            "a@{1}", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a\tb",
        ] {
            assert!(!can_be_a_branch(name), "{name:?}");
        }
        for name in ["main", "fix/a=b", "v1.2", "caf\u{e9}", "#1", "a@b"] {
            assert!(can_be_a_branch(name), "{name:?}");
        }
    }
}
