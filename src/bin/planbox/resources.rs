//! The resources of a plan as they are typed, checked before anything is written.

use crate::args::{Resources, ViewArg};
use crate::exit::{Failure, refused};
use planbox::error::OpenSandboxError;
use planbox::sandbox::Identity;
use planbox::sandbox::directory::{ViewChoice, ViewKind};
use planbox::{Directory, PlanHold, PlanId, Resource as _, ResourceName, Stage};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// A directory as it was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    name: Option<ResourceName>,
    directory: Directory,
    identity: Identity,
}

/// Reads `[NAME=]PATH`. What stands before the first `=` is a name if it can be one and holds no
/// `/`; otherwise everything is the path.
fn split(argument: &OsStr) -> (Option<ResourceName>, PathBuf) {
    let bytes = argument.as_bytes();
    let whole = (None, PathBuf::from(argument));
    let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
        return whole;
    };
    let (name, path) = bytes.split_at(at);
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.contains('/'));
    match name.and_then(|name| ResourceName::new(name).ok()) {
        Some(name) => {
            let path = path.get(1..).unwrap_or_default().to_vec();
            (Some(name), PathBuf::from(OsString::from_vec(path)))
        }
        None => whole,
    }
}

/// Makes resources out of the arguments; refuses those that are no directories, take one name
/// twice or lie inside each other. Writes nothing.
pub(crate) fn read(plan: &PlanId, arguments: &Resources) -> Result<Vec<Wanted>, Failure> {
    let mut all: Vec<Wanted> = Vec::new();
    for argument in &arguments.dirs {
        let (name, path) = split(argument);
        let directory = configured(path, name.as_ref(), arguments);
        let identity = directory
            .identify()
            .map_err(|source| OpenSandboxError::Participant {
                plan: plan.clone(),
                resource: name.clone().unwrap_or_else(|| default_name("dir")),
                stage: Stage::Open,
                source: Box::new(source),
            })?;
        let wanted = Wanted {
            name,
            directory,
            identity,
        };
        for other in &all {
            check_pair(plan, other, &wanted)?;
        }
        all.push(wanted);
    }
    let names = all.iter().filter_map(|wanted| wanted.name.as_ref());
    variables(names)?;
    Ok(all)
}

/// Two directories of one command that cannot both be in a plan.
fn check_pair(plan: &PlanId, first: &Wanted, second: &Wanted) -> Result<(), OpenSandboxError> {
    let first_name = || first.name.clone().unwrap_or_else(|| default_name("dir"));
    // As the library would name it, so that the two are told apart.
    let second_name = || match &second.name {
        Some(name) => name.clone(),
        None if first_name() == default_name("dir") => default_name("dir2"),
        None => default_name("dir"),
    };
    let same = first.identity.key == second.identity.key;
    let again = same && (second.name.is_none() || second.name == first.name);
    let inside = first.identity.overlaps(&second.identity);
    if (same && !again) || inside {
        let (plan, resource, with) = (plan.clone(), second_name(), first_name());
        return Err(OpenSandboxError::Overlap {
            plan,
            resource,
            with,
        });
    }
    if !same && first.name.is_some() && first.name == second.name {
        let by = first.identity.key.to_string();
        return Err(OpenSandboxError::NameTaken {
            plan: plan.clone(),
            resource: second_name(),
            by,
        });
    }
    Ok(())
}

fn default_name(text: &str) -> ResourceName {
    ResourceName::new(text).unwrap_or_else(|_| unreachable!("it is short and printable"))
}

fn configured(path: PathBuf, name: Option<&ResourceName>, arguments: &Resources) -> Directory {
    let view = match arguments.view {
        ViewArg::Auto => ViewChoice::Auto,
        ViewArg::Copy => ViewChoice::Pinned(ViewKind::Copy),
        ViewArg::Reflink => ViewChoice::Pinned(ViewKind::Reflink),
    };
    let mut directory = Directory::at(path).view(view);
    if let Some(name) = name {
        directory = directory.named(name.clone());
    }
    if arguments.with_vcs {
        directory = directory.with_vcs();
    }
    arguments.exclude.iter().fold(directory, Directory::exclude)
}

/// Opens all of them in a plan that is held.
pub(crate) fn open(hold: &mut PlanHold, wanted: Vec<Wanted>) -> Result<(), OpenSandboxError> {
    wanted
        .into_iter()
        .try_for_each(|wanted| hold.open_sandbox(wanted.directory).map(drop))
}

/// The environment variable for each name; a refusal if two names share one.
pub(crate) fn variables<'a>(
    names: impl Iterator<Item = &'a ResourceName>,
) -> Result<BTreeMap<String, &'a ResourceName>, Failure> {
    let mut variables = BTreeMap::new();
    for name in names {
        let variable = variable(name);
        match variables.insert(variable.clone(), name) {
            Some(other) if other != name => {
                let message = format!("the names {other} and {name} both become {variable}");
                let next = "give one of them a name that differs in letters or digits";
                return Err(refused("name-clash", message, next));
            }
            _ => (),
        }
    }
    Ok(variables)
}

fn variable(name: &ResourceName) -> String {
    let plain = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            byte.to_ascii_uppercase()
        } else {
            b'_'
        }
    };
    let suffix = name.as_str().bytes().map(plain).map(char::from);
    "PLANBOX_PATH_".chars().chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parts(argument: &str) -> (Option<String>, PathBuf) {
        let (name, path) = split(OsStr::new(argument));
        (name.map(|name| name.to_string()), path)
    }

    #[test]
    fn a_name_stands_before_the_first_equals_sign_and_holds_no_slash() {
        let named = |name: &str, path: &str| (Some(name.to_owned()), PathBuf::from(path));
        assert_eq!(parts("site=/srv/x=y"), named("site", "/srv/x=y"));
        assert_eq!(parts("a="), named("a", ""));
        for path in ["./a=b", "/a/b=c", "=x", "plain", "a\nb=c"] {
            assert_eq!(parts(path), (None, PathBuf::from(path)), "{path:?}");
        }
        let (name, path) = split(OsStr::from_bytes(b"\xff=x"));
        assert_eq!(
            (name, path.as_path()),
            (None, Path::new(OsStr::from_bytes(b"\xff=x")))
        );
    }

    #[test]
    fn variables_are_upper_case_and_clashes_are_refused() {
        let names = ["my-site.2", "caf\u{e9}"].map(|name| ResourceName::new(name).unwrap());
        let found = variables(names.iter()).unwrap();
        let found: Vec<_> = found.into_keys().collect();
        assert_eq!(found, ["PLANBOX_PATH_CAF__", "PLANBOX_PATH_MY_SITE_2"]);
        let clash = ["a-b", "A_b"].map(|name| ResourceName::new(name).unwrap());
        assert_eq!(
            variables(clash.iter()).unwrap_err().exit(),
            crate::exit::Exit::Refused
        );
    }
}
