//! A SQLite database file as a resource.

use super::connect::{Located, locate};
use super::copying::{duplicate, snapshot};
use super::private::Private;
use super::record::{BASE, Record, VIEW, identity};
use crate::error::{Fault, ParticipantError};
use crate::fs::Dir;
use crate::id::ResourceName;
use crate::sandbox::{Identity, Kind, Outcome, Place, Resource, Sandbox, Work};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// The kind.
pub(super) const KIND: &str = "sqlite";

/// How long a commit waits for a writer outside of planbox unless told otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A SQLite database file as a resource. Cheap to clone.
///
/// The plan works in a private copy of one moment of it, a real file that any tool may open. What
/// it changed there is found row by row, and committed if nobody else changed the same rows
/// meanwhile; see the [module](super).
///
/// ```
/// use planbox::Sqlite;
///
/// let users = Sqlite::at("/srv/app/users.db").busy_timeout(std::time::Duration::from_secs(1));
/// assert!(format!("{users:?}").contains("users.db"));
/// ```
#[derive(Debug, Clone)]
pub struct Sqlite {
    asked: PathBuf,
    path: PathBuf,
    name: Option<ResourceName>,
    wait: Duration,
    decides: bool,
}

impl Sqlite {
    /// The database in `file`, which is made absolute now.
    ///
    /// The name is a plain one, whatever it looks like: nothing in it is a URI.
    #[must_use]
    pub fn at(file: impl Into<PathBuf>) -> Self {
        let asked = file.into();
        let absolute = std::path::absolute(&asked).unwrap_or_default();
        Self {
            path: absolute.components().collect(),
            asked,
            name: None,
            wait: DEFAULT_WAIT,
            decides: false,
        }
    }

    /// Calls it `name` inside the plan.
    #[must_use]
    pub fn named(mut self, name: ResourceName) -> Self {
        self.name = Some(name);
        self
    }

    /// How long to wait for a lock that somebody outside of planbox holds on the database: 5
    /// seconds by default, at most 10 minutes.
    #[must_use]
    pub fn busy_timeout(mut self, wait: Duration) -> Self {
        self.wait = wait.min(WAIT_MAX);
        self
    }

    /// Has the commit of this database decide for the whole plan: see
    /// [`Marker`](crate::sandbox::Marker). A plan can have one such resource.
    #[must_use]
    pub fn decides(mut self) -> Self {
        self.decides = true;
        self
    }

    fn locate(&self) -> Outcome<Located> {
        let refused = |why: &str| Err(ParticipantError::new(Fault::Refused, why).at(&self.asked));
        let bytes = self.asked.as_os_str().as_encoded_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            return refused("a database is named by a path, without NUL");
        }
        if bytes == b":memory:" {
            return refused("a database in memory is in no file");
        }
        locate(&self.path)
    }
}

/// The directories above a file, nearest first.
fn enclosing(found: &Located) -> Outcome<Vec<(u64, u64)>> {
    let failed = |error| {
        ParticipantError::io(
            "look for the enclosing directories",
            found.dir.path(),
            error,
        )
    };
    let own = found.dir.stat().map_err(failed)?.id();
    let above = found.dir.ancestors().map_err(failed)?;
    Ok(std::iter::once(own)
        .chain(above.into_iter().map(|ancestor| ancestor.id))
        .collect())
}

impl Resource for Sqlite {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> Option<&ResourceName> {
        self.name.as_ref()
    }

    fn identify(&self) -> Outcome<Identity> {
        let found = self.locate()?;
        Ok(identity(found.stat.id(), &enclosing(&found)?))
    }

    /// The view is a copy of the snapshot, so both are the same moment.
    fn open(&self, place: &Place, work: &Work<'_>) -> Outcome<Box<dyn Sandbox>> {
        let found = self.locate()?;
        let ids = (found.stat.id(), enclosing(&found)?);
        let record = Record::new(&found.path, ids, &place.token, (self.wait, self.decides));
        let failed = |error| ParticipantError::io("make the sandbox", &place.dir, error);
        let dir = Dir::open(&place.dir).map_err(failed)?;
        snapshot(&found, (&dir, BASE), self.wait, work)?;
        drop(super::real::still(&record)?);
        dir.make_dir(OsStr::new(VIEW), 0o700).map_err(failed)?;
        let view = dir.child(OsStr::new(VIEW)).map_err(failed)?;
        duplicate((&dir, BASE), (&view, &record.file_name()), work)?;
        Ok(Box::new(Private::new(record, place.clone())))
    }
}

/// Makes SQLite sandboxes again from their records.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqliteKind;

impl Kind for SqliteKind {
    fn name(&self) -> &'static str {
        KIND
    }

    /// Looks at nothing but the record: what is gone is reported by the step that needs it.
    fn reopen(&self, record: &str, place: &Place) -> Outcome<Box<dyn Sandbox>> {
        let record = Record::from_json(record)?;
        if record.token != place.token {
            let why = "the record belongs to another place";
            return Err(ParticipantError::new(Fault::Corrupt, why).at(&place.dir));
        }
        Ok(Box::new(Private::new(record, place.clone())))
    }
}
