//! Which branch is meant, and how its commit is to be signed.

use super::checkout;
use super::program::{Oid, Runner};
use super::record::{Person, Record, VERSION};
use super::repository::{Repository, open};
use super::sandbox::Private;
use super::view;
use crate::error::{Fault, ParticipantError};
use crate::fs;
use crate::id::{ResourceKey, ResourceName};
use crate::sandbox::directory::staging::check_token;
use crate::sandbox::directory::text::Bytes;
use crate::sandbox::{Identity, Kind, Outcome, Place, Resource, Sandbox, Work};
use std::path::{Path, PathBuf};

/// The word in receipts and keys.
pub(super) const KIND: &str = "git";

/// Longest message of a commit, in bytes.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Longest name or address of a person, in bytes.
const PERSON_MAX_BYTES: usize = 1000;

/// A branch of a git repository that a plan wants to move.
///
/// ```
/// use planbox::Git;
/// let main = Git::at("./site").branch("main").message("new front page");
/// assert!(format!("{main:?}").contains("main"));
/// ```
#[derive(Debug, Clone)]
pub struct Git {
    path: PathBuf,
    branch: Option<String>,
    name: Option<ResourceName>,
    message: Option<String>,
    author: Option<Person>,
    committer: Option<Person>,
}

impl Git {
    /// The repository at `path`, which is made absolute now: the top of a work tree, or a git
    /// directory. The branch is the one that its `HEAD` is on.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            path: std::path::absolute(&path).unwrap_or(path),
            branch: None,
            name: None,
            message: None,
            author: None,
            committer: None,
        }
    }

    /// Takes this branch: its short name, or `refs/heads/` and the name. Nothing else that git
    /// takes for a branch (`@{-1}`, `HEAD`) is one here.
    #[must_use]
    pub fn branch(mut self, name: impl Into<String>) -> Self {
        self.branch = Some(name.into());
        self
    }

    /// Calls it `name` inside the plan.
    #[must_use]
    pub fn named(mut self, name: ResourceName) -> Self {
        self.name = Some(name);
        self
    }

    /// The message of the commit; `planbox: PLAN` otherwise.
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        self.message = Some(text.into());
        self
    }

    /// Who wrote the change; `planbox <planbox@localhost>` otherwise.
    #[must_use]
    pub fn author(mut self, name: impl Into<String>, email: impl Into<String>) -> Self {
        self.author = Some(Person {
            name: name.into(),
            email: email.into(),
        });
        self
    }

    /// Who commits it; the author otherwise.
    #[must_use]
    pub fn committer(mut self, name: impl Into<String>, email: impl Into<String>) -> Self {
        self.committer = Some(Person {
            name: name.into(),
            email: email.into(),
        });
        self
    }

    fn check_words(&self) -> Outcome<()> {
        for person in [&self.author, &self.committer].into_iter().flatten() {
            check_person("name", &person.name)?;
            check_person("address", &person.email)?;
        }
        let message = self.message.as_deref().unwrap_or_default();
        if message.contains('\0') || message.len() > MESSAGE_MAX_BYTES {
            return Err(refused(format!(
                "the message of a commit has at most {MESSAGE_MAX_BYTES} bytes, none of them NUL"
            )));
        }
        Ok(())
    }

    fn find(&self) -> Outcome<Target> {
        self.check_words()?;
        let repository = Repository::find(&self.path)?;
        let reference = repository.branch(self.branch.as_deref())?;
        let id = repository.id()?;
        let tree = checkout::WorkTree::find(&repository.common, &reference)?;
        let (tree, enclosing) = match tree {
            Some(tree) => {
                let tree = tree.key()?;
                (Some(tree.key), tree.enclosing)
            }
            None => (None, enclosing(&repository.common)?),
        };
        let identity = Identity {
            key: key_of(id, &reference),
            enclosing,
            tree,
        };
        Ok(Target {
            repository,
            reference,
            id,
            identity,
        })
    }
}

/// The branch that was found.
struct Target {
    repository: Repository,
    reference: String,
    id: (u64, u64),
    identity: Identity,
}

impl Target {
    /// The commit that the branch is at; none on a branch that is only the name in a `HEAD`.
    fn base(&self) -> Outcome<Option<Oid>> {
        let (repository, name) = (&self.repository, &self.reference);
        let trees = repository.work_trees()?;
        if let Some(what) = Repository::unfinished(name, &trees)? {
            return Err(refused(format!(
                "somebody is in the middle of a {what} on {name}; end it first"
            ))
            .at(&repository.given));
        }
        let base = repository.state(name)?.commit(name)?;
        let is_head = || repository.branch(None).is_ok_and(|head| head == *name);
        let unborn = trees.iter().any(|tree| tree.head.as_ref() == Some(name)) || is_head();
        if base.is_none() && !unborn {
            return Err(refused(format!("there is no branch {name}")).at(&repository.given));
        }
        Ok(base)
    }
}

/// The key of a branch.
pub(super) fn key_of((dev, ino): (u64, u64), reference: &str) -> ResourceKey {
    ResourceKey::new(KIND, format_args!("{dev}:{ino}:{reference}"))
}

fn enclosing(path: &Path) -> Outcome<Vec<ResourceKey>> {
    let above = open(path)?.ancestors();
    let above = above
        .map_err(|error| ParticipantError::io("look for the enclosing directories", path, error))?;
    let keys = above.into_iter().map(|ancestor| ancestor.id);
    Ok(keys.map(crate::sandbox::directory::record::key).collect())
}

/// Device and inode of a directory that [`enclosing`] or a work tree named.
fn id_in(key: &ResourceKey) -> Option<(u64, u64)> {
    let (dev, ino) = key.as_str().strip_prefix("dir:")?.split_once(':')?;
    Some((dev.parse().ok()?, ino.parse().ok()?))
}

fn refused(why: impl Into<String>) -> ParticipantError {
    ParticipantError::new(Fault::Refused, why)
}

/// Git cuts some characters off the ends of a name and refuses what is empty then; a name with a
/// line break or an angle bracket would forge the header of a commit.
fn check_person(what: &str, text: &str) -> Outcome<()> {
    let forbidden = |c: char| c.is_control() || matches!(c, '<' | '>');
    let cut = |c: char| c <= ' ' || ".,:;<>\"\\'".contains(c);
    if text.contains(forbidden) || text.trim_matches(cut).is_empty() {
        let shown = text.escape_debug();
        return Err(refused(format!(
            "{shown:?} cannot be the {what} of a person: it must be printable text without angle \
             brackets"
        )));
    }
    if text.len() > PERSON_MAX_BYTES {
        return Err(refused(format!(
            "the {what} of a person has {} bytes; the limit is {PERSON_MAX_BYTES}",
            text.len()
        )));
    }
    Ok(())
}

fn nobody() -> Person {
    Person {
        name: "planbox".to_owned(),
        email: "planbox@localhost".to_owned(),
    }
}

impl Resource for Git {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> Option<&ResourceName> {
        self.name.as_ref()
    }

    /// Looks at the branch, too: a misspelt one is refused before a plan is made for it.
    fn identify(&self) -> Outcome<Identity> {
        let target = self.find()?;
        drop(target.base()?);
        Ok(target.identity)
    }

    /// Writes nothing into the repository: the base is copied into the place, so that no garbage
    /// collection there can take it away.
    fn open(&self, place: &Place, work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        check_token(&place.token)?;
        let target = self.find()?;
        let base = target.base()?;
        let made = view::make(
            &target.repository,
            (&target.reference, base.as_ref()),
            place,
            work,
        )?;
        let author = self.author.clone().unwrap_or_else(nobody);
        let message = self.message.clone();
        let id_of = |keys: &[ResourceKey]| keys.iter().filter_map(id_in).collect::<Vec<_>>();
        let record = Record {
            version: VERSION,
            given: Bytes::from(target.repository.given.as_path()),
            common: Bytes::from(target.repository.common.as_path()),
            id: target.id,
            enclosing: id_of(&target.identity.enclosing),
            tree: target.identity.tree.as_ref().and_then(id_in),
            reference: target.reference,
            base,
            empty: made.empty,
            token: place.token.clone(),
            boot: fs::boot_id(),
            view: made.view,
            message: message.unwrap_or_else(|| format!("planbox: {}", place.label)),
            committer: self.committer.clone().unwrap_or_else(|| author.clone()),
            author,
            sealed: None,
        };
        Ok(Box::new(Private::new(record, place.clone())))
    }
}

/// Makes git sandboxes again from their records.
#[derive(Debug, Clone, Copy, Default)]
pub struct GitKind;

impl Kind for GitKind {
    fn name(&self) -> &'static str {
        KIND
    }

    /// Looks at nothing but the record, so that whatever is left can still be shown and discarded.
    fn reopen(&self, record: &str, place: &Place) -> Outcome<Box<dyn Sandbox>> {
        let record = Record::from_json(record)?;
        if record.token != place.token {
            return Err(ParticipantError::new(
                Fault::Corrupt,
                "the record belongs to another place",
            )
            .at(&place.dir));
        }
        Ok(Box::new(Private::new(record, place.clone())))
    }
}

/// The tree without an entry, in the hash of the git directory of `runner`.
pub(super) fn empty_tree(runner: &Runner) -> Outcome<Oid> {
    let hash = runner.call("hash-object").args(["-t", "tree", "--stdin"]);
    hash.oid()
}
