//! Which directory is meant, and how its sandbox is to be made.

use super::exclude::Exclusions;
use super::private::Private;
use super::record::{MANIFEST, Record, VIEW, key};
use super::staging::{Side, check_token};
use super::view::{ViewChoice, make_view};
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::id::ResourceName;
use crate::sandbox::{Identity, Kind, Outcome, Place, Resource, Sandbox, Work};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// The word in receipts and keys.
pub(super) const KIND: &str = "dir";

/// A directory that a plan wants to change.
///
/// ```
/// use planbox::sandbox::Directory;
/// let site = Directory::at("./site").exclude("node_modules");
/// assert!(format!("{site:?}").contains("site"));
/// ```
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    name: Option<ResourceName>,
    view: ViewChoice,
    vcs: bool,
    excluded: Vec<OsString>,
    staging_inside: bool,
}

impl Directory {
    /// The directory at `path`, which is made absolute now. Its last component may not be a link.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let absolute = std::path::absolute(&path).unwrap_or(path);
        Self {
            // Without the trailing slash, behind which a link would be followed.
            path: absolute.components().collect(),
            name: None,
            view: ViewChoice::default(),
            vcs: false,
            excluded: Vec::new(),
            staging_inside: false,
        }
    }

    /// Calls it `name` inside the plan.
    #[must_use]
    pub fn named(mut self, name: ResourceName) -> Self {
        self.name = Some(name);
        self
    }

    /// Asks for a certain kind of view.
    #[must_use]
    pub fn view(mut self, choice: ViewChoice) -> Self {
        self.view = choice;
        self
    }

    /// Leaves out everything called `name`, at any depth: it is neither shown nor changed.
    #[must_use]
    pub fn exclude(mut self, name: impl Into<OsString>) -> Self {
        self.excluded.push(name.into());
        self
    }

    /// Takes the stores of version-control systems in, which are left out by default.
    #[must_use]
    pub fn with_vcs(mut self) -> Self {
        self.vcs = true;
        self
    }

    /// Keeps staging inside the directory (in `.planbox`), even where the store is on its mount.
    ///
    /// Needed where renames from the store fail all the same, for example between two project
    /// quotas.
    #[must_use]
    pub fn staging_inside(mut self) -> Self {
        self.staging_inside = true;
        self
    }

    fn exclusions(&self) -> Outcome<Exclusions> {
        let start = if self.vcs {
            Exclusions::none()
        } else {
            Exclusions::default()
        };
        self.excluded.iter().try_fold(start, Exclusions::with)
    }

    fn open_root(&self) -> Outcome<Dir> {
        let refused = |why: &str| Err(ParticipantError::new(Fault::Refused, why).at(&self.path));
        match Dir::open(&self.path) {
            Ok(root) => Ok(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refused("there is no such directory")
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                refused("it is not a directory, or it is a symbolic link to one")
            }
            Err(error) => Err(ParticipantError::io(
                "open the directory",
                &self.path,
                error,
            )),
        }
    }
}

/// The ancestors of `root`, nearest first.
pub(super) fn enclosing(root: &Dir) -> Outcome<Vec<(u64, u64)>> {
    let found = root.ancestors().map_err(|error| {
        ParticipantError::io("look for the enclosing directories", root.path(), error)
    })?;
    Ok(found.into_iter().map(|ancestor| ancestor.id).collect())
}

pub(super) fn id_of(root: &Dir) -> Outcome<(u64, u64)> {
    let stat = root.stat();
    stat.map(|stat| stat.id())
        .map_err(|error| ParticipantError::io("look at the directory", root.path(), error))
}

impl Resource for Directory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> Option<&ResourceName> {
        self.name.as_ref()
    }

    fn identify(&self) -> Outcome<Identity> {
        drop(self.exclusions()?);
        let root = self.open_root()?;
        let own = key(id_of(&root)?);
        Ok(Identity {
            tree: Some(own.clone()),
            key: own,
            enclosing: enclosing(&root)?.into_iter().map(key).collect(),
        })
    }

    /// The root is opened once and everything is read through that descriptor; the identity of the
    /// sandbox is that of the directory that was read.
    fn open(&self, place: &Place, work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        check_token(&place.token)?;
        let exclusions = self.exclusions()?;
        let root = self.open_root()?;
        let id = id_of(&root)?;
        let failed = |error| ParticipantError::io("make the sandbox", &place.dir, error);
        let store = Dir::open(&place.dir).map_err(failed)?;
        if id_of(&store)? == id || enclosing(&store)?.contains(&id) {
            return Err(ParticipantError::new(
                Fault::Refused,
                "the store is inside this directory; keep it elsewhere",
            )
            .at(&self.path));
        }
        let side = if self.staging_inside {
            Side::Root
        } else {
            Side::choose(&root, &store).map_err(failed)?
        };
        store.make_dir(OsStr::new(VIEW), 0o700).map_err(failed)?;
        let view = store.child(OsStr::new(VIEW)).map_err(failed)?;
        let (manifest, kind, notes) = make_view(&root, &view, self.view, &exclusions, work)?;
        manifest.save(&store, OsStr::new(MANIFEST))?;
        let record = Record::new(
            self.path.clone(),
            (id, enclosing(&root)?),
            &place.token,
            side,
            (kind, notes),
        );
        Ok(Box::new(Private::new(record, place.clone())))
    }
}

/// Makes directory sandboxes again from their records.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectoryKind;

impl Kind for DirectoryKind {
    fn name(&self) -> &'static str {
        KIND
    }

    /// Looks at nothing but the record, so that whatever is left can still be shown and discarded:
    /// a root or a view that is gone is reported by the step that needs it.
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
