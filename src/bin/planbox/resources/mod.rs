//! The resources of a plan as they are typed, checked before anything is written.

mod typed;

use crate::args::{Resources, ViewArg};
use crate::exit::{Exit, Failure, Own, refused};
use crate::output::Output;
use crate::text::shown;
use planbox::error::OpenSandboxError;
use planbox::sandbox::Identity;
use planbox::sandbox::directory::{ViewChoice, ViewKind};
use planbox::{
    Directory, Explain as _, Git, ParticipantError, PlanHold, PlanId, Resource, ResourceName,
    SandboxStatus, Sqlite, Stage,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use typed::{Thing, Typed};

/// A resource as it was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What the library will call it, unless the plan has one of that name already.
    label: ResourceName,
    named: bool,
    target: String,
    resource: Box<dyn Resource>,
    identity: Identity,
}

/// Makes resources out of the arguments; refuses those that are not there, take one name twice or
/// lie inside each other, whatever their kinds. Writes nothing.
///
/// `patience` is how long the commit is to wait for a lock on a database.
pub(crate) fn read(
    plan: &PlanId,
    arguments: &Resources,
    patience: Duration,
) -> Result<Vec<Wanted>, Failure> {
    let deciding = arguments.decide_in.as_ref().map(ResourceName::new);
    let deciding = deciding.transpose().map_err(planbox::Error::from)?;
    let all = typed(arguments);
    let mut wanted: Vec<Wanted> = Vec::new();
    for typed in &all {
        let label = label(typed, &all, &wanted);
        let decides = typed.kind() == "sqlite" && deciding.as_ref() == Some(&label);
        // What decides is named, so that it is this one whatever the plan has already.
        let name = typed.name.as_ref().or(decides.then_some(&label));
        let resource = resource(&typed.thing, name, decides, (arguments, patience));
        let identity = resource.identify();
        let identity = identity.map_err(|source| not_there(plan, &label, typed, source))?;
        let named = name.is_some();
        let next = Wanted {
            label,
            named,
            target: shown(path(&typed.thing)),
            resource,
            identity,
        };
        if !is_again(plan, &wanted, &next)? {
            wanted.push(next);
        }
    }
    let names = wanted.iter().map(|wanted| &wanted.label);
    variables(names)?;
    if let Some(name) = deciding {
        check_deciding(&name, &wanted)?;
    }
    Ok(wanted)
}

/// All arguments, those with a name first: what is given a default name makes room for them.
fn typed(arguments: &Resources) -> Vec<Typed> {
    let directories = arguments.dirs.iter().map(|text| Typed::directory(text));
    let branches = arguments.branches.iter().map(|text| Typed::branch(text));
    let databases = arguments.databases.iter().map(|text| Typed::database(text));
    let mut all: Vec<Typed> = directories.chain(branches).chain(databases).collect();
    all.sort_by_key(|typed| typed.name.is_none());
    all
}

/// The name, or the first of `kind`, `kind2`, `kind3` that nothing of this command has: as the
/// library would name it in a new plan.
fn label(typed: &Typed, all: &[Typed], before: &[Wanted]) -> ResourceName {
    if let Some(name) = &typed.name {
        return name.clone();
    }
    let taken = |name: &ResourceName| {
        all.iter().any(|other| other.name.as_ref() == Some(name))
            || before.iter().any(|other| other.label == *name)
    };
    let kind = typed.kind();
    let names = std::iter::once(kind.to_owned()).chain((2_u64..).map(|n| format!("{kind}{n}")));
    let mut names = names.filter_map(|text| ResourceName::new(text).ok());
    names.find(|name| !taken(name)).unwrap_or_else(|| {
        unreachable!("a kind is a short printable word and the numbers do not end")
    })
}

fn path(thing: &Thing) -> &Path {
    match thing {
        Thing::Directory(path) | Thing::Branch(path, _) | Thing::Database(path) => path,
    }
}

fn resource(
    thing: &Thing,
    name: Option<&ResourceName>,
    decides: bool,
    (arguments, patience): (&Resources, Duration),
) -> Box<dyn Resource> {
    match thing {
        Thing::Directory(path) => Box::new(directory(path, name, arguments)),
        Thing::Branch(path, branch) => {
            let mut git = Git::at(path);
            if let Some(branch) = branch {
                git = git.branch(branch);
            }
            if let Some(name) = name {
                git = git.named(name.clone());
            }
            if let Some(message) = &arguments.message {
                git = git.message(message);
            }
            if let Some(author) = &arguments.author {
                git = git.author(&author.name, &author.email);
            }
            Box::new(git)
        }
        Thing::Database(path) => {
            let mut sqlite = Sqlite::at(path).busy_timeout(patience);
            if let Some(name) = name {
                sqlite = sqlite.named(name.clone());
            }
            if decides {
                sqlite = sqlite.decides();
            }
            Box::new(sqlite)
        }
    }
}

fn directory(path: &Path, name: Option<&ResourceName>, arguments: &Resources) -> Directory {
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

/// The refusal of a thing that cannot be a resource.
fn not_there(
    plan: &PlanId,
    label: &ResourceName,
    typed: &Typed,
    source: ParticipantError,
) -> Failure {
    if let Thing::Branch(path, Some(branch)) = &typed.thing
        && !path.exists()
    {
        let next = format!(
            "the text after the last `#` is the branch, here {branch}; a path that holds a `#` \
             itself gets one more at its end: PATH#"
        );
        let message = format!("{label} could not be opened: {source}");
        return refused(source.code(), message, &next).of(Some(plan));
    }
    let source = Box::new(source);
    OpenSandboxError::Participant {
        plan: plan.clone(),
        resource: label.clone(),
        stage: Stage::Open,
        source,
    }
    .into()
}

/// True if `next` is a thing that this command named before; a refusal if the two cannot both be in
/// a plan.
fn is_again(plan: &PlanId, before: &[Wanted], next: &Wanted) -> Result<bool, OpenSandboxError> {
    let mut again = false;
    for other in before {
        let same = other.identity.key == next.identity.key;
        let one = same && (!next.named || next.label == other.label);
        if (same && !one) || other.identity.overlaps(&next.identity) {
            return Err(OpenSandboxError::Overlap {
                plan: plan.clone(),
                resource: next.label.clone(),
                with: other.label.clone(),
            });
        }
        if !same && other.label == next.label {
            return Err(OpenSandboxError::NameTaken {
                plan: plan.clone(),
                resource: next.label.clone(),
                by: other.target.clone(),
            });
        }
        again |= one;
    }
    Ok(again)
}

fn check_deciding(name: &ResourceName, wanted: &[Wanted]) -> Result<(), Failure> {
    let databases = wanted
        .iter()
        .filter(|wanted| wanted.resource.kind() == "sqlite");
    let names: Vec<&str> = databases.map(|wanted| wanted.label.as_str()).collect();
    if names.contains(&name.as_str()) {
        return Ok(());
    }
    let own = Own {
        exit: Exit::Refused,
        code: "usage",
        message: format!("--decide-in {name}: no --sqlite of this command has that name"),
        next: format!("name one of these: {}", names.join(", ")),
        source: None,
    };
    Err(own.into())
}

/// Opens all of them in a plan that is held and has the sandboxes `before`.
pub(crate) fn open(
    out: Output,
    hold: &mut PlanHold,
    wanted: Vec<Wanted>,
    (arguments, before): (&Resources, &[SandboxStatus]),
) -> Result<(), OpenSandboxError> {
    for wanted in wanted {
        let told = match wanted.resource.kind() {
            "git" => arguments.message.is_some() || arguments.author.is_some(),
            "sqlite" => arguments
                .decide_in
                .as_ref()
                .is_some_and(|name| wanted.label.as_str() == name),
            _ => false,
        };
        let handle = hold.open_sandbox(wanted.resource)?;
        if told && before.iter().any(|sandbox| sandbox.name == *handle.name()) {
            out.talk(&format!(
                "{} has been in plan {} before: it keeps the message, the author and the part it was \
                 opened with",
                handle.name(),
                handle.plan()
            ));
        }
    }
    Ok(())
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

    #[test]
    fn variables_are_upper_case_and_clashes_are_refused() {
        let names = ["my-site.2", "caf\u{e9}"].map(|name| ResourceName::new(name).unwrap());
        let found = variables(names.iter()).unwrap();
        let found: Vec<_> = found.into_keys().collect();
        assert_eq!(found, ["PLANBOX_PATH_CAF__", "PLANBOX_PATH_MY_SITE_2"]);
        let clash = ["a-b", "A_b"].map(|name| ResourceName::new(name).unwrap());
        assert_eq!(variables(clash.iter()).unwrap_err().exit(), Exit::Refused);
    }
}
