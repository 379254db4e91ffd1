//! Failures and conflicts of one participant.

use super::{Explain, Shown};
use crate::id::ResourceName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One thing that the plan touched and somebody else changed since: both sides are named, nothing
/// was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conflict {
    /// The resource, filled in by the plan.
    pub resource: Option<ResourceName>,
    /// Where inside the resource: a path, a table and key, a version. Escaped for display.
    pub place: String,
    /// What the plan started from.
    pub base: String,
    /// What is there now.
    pub theirs: String,
    /// What the plan wants there.
    pub ours: String,
}

impl Conflict {
    /// A conflict at `place`; the plan fills in the resource.
    #[must_use]
    pub fn new(place: String, base: String, theirs: String, ours: String) -> Self {
        Self {
            resource: None,
            place,
            base,
            theirs,
            ours,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            place,
            base,
            theirs,
            ours,
        } = self;
        if let Some(resource) = resource {
            write!(f, "{resource}: ")?;
        }
        write!(
            f,
            "{place}: the plan started from {base} and wants {ours}, but now it is {theirs}"
        )
    }
}

/// What kind of failure a participant met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// The input is refused: nothing was written.
    Refused,
    /// Somebody else changed what the plan touched.
    Conflict,
    /// The sandbox is gone or changed since it was sealed.
    Lost,
    /// The disk, the quota or a size limit is exhausted.
    NoSpace,
    /// The operating system denies it (mode, immutable flag, read-only file system).
    Denied,
    /// The file system or the platform cannot do it.
    Unsupported,
    /// Somebody else holds a lock on the real thing, and the bounded wait ran out.
    Busy,
    /// The value lives in another process.
    Elsewhere,
    /// The caller asked to stop.
    Interrupted,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A foreign change is in the way of a decided step; both versions are kept.
    Hazard,
    /// The participant's own code panicked.
    Panicked,
    /// Any other input or output error.
    Io,
}

/// A failure of one participant, with the path it is about.
#[derive(Debug)]
pub struct ParticipantError {
    /// What kind of failure it is.
    pub fault: Fault,
    /// What could not be done and why, as a sentence without the path.
    pub message: String,
    /// The path it is about, if there is one.
    pub path: Option<PathBuf>,
    /// The error of the operating system, if there is one.
    pub source: Option<io::Error>,
    /// The conflicting places, if `fault` is [`Fault::Conflict`].
    pub conflicts: Vec<Conflict>,
}

impl ParticipantError {
    /// A failure without a path or a source.
    #[must_use]
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            message: message.into(),
            path: None,
            source: None,
            conflicts: Vec::new(),
        }
    }

    /// A failure of the operating system while doing `action` (such as "rename into place").
    ///
    /// The kind of failure is derived from the error number.
    #[must_use]
    pub fn io(action: impl Into<String>, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            fault: classify(&source),
            message: action.into(),
            path: Some(path.into()),
            source: Some(source),
            conflicts: Vec::new(),
        }
    }

    /// The same failure, about `path`.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Conflicts found after the check, in the middle of an apply.
    #[must_use]
    pub fn conflict(conflicts: Vec<Conflict>) -> Self {
        let mut error = Self::new(
            Fault::Conflict,
            "somebody else changed what the plan touched",
        );
        error.conflicts = conflicts;
        error
    }
}

fn classify(error: &io::Error) -> Fault {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => Fault::NoSpace,
        K::PermissionDenied | K::ReadOnlyFilesystem => Fault::Denied,
        K::Unsupported | K::CrossesDevices => Fault::Unsupported,
        _ => Fault::Io,
    }
}

impl fmt::Display for ParticipantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(path) = &self.path {
            write!(f, ": {}", Shown(path))?;
        }
        for conflict in &self.conflicts {
            write!(f, "\n  {conflict}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParticipantError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl Explain for ParticipantError {
    fn code(&self) -> &'static str {
        match self.fault {
            Fault::Refused => "refused",
            Fault::Conflict => "conflict",
            Fault::Lost => "sandbox-lost",
            Fault::NoSpace => "no-space",
            Fault::Denied => "denied",
            Fault::Unsupported => "unsupported",
            Fault::Busy => "resource-busy",
            Fault::Elsewhere => "value-elsewhere",
            Fault::Interrupted => "interrupted",
            Fault::Corrupt => "corrupt",
            Fault::Hazard => "hazard",
            Fault::Panicked => "panicked",
            Fault::Io => "io",
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self.fault, Fault::Interrupted | Fault::Busy)
    }

    fn next_step(&self) -> String {
        match self.fault {
            Fault::Refused => "remove or change what is named, then try again",
            Fault::Conflict => {
                "look at what the others changed, bring it into the sandbox or roll the plan back"
            }
            Fault::Lost => "nothing was written; roll the plan back and start it again",
            Fault::NoSpace => "free space (or raise the quota), then try again",
            Fault::Denied => "clear the immutable flag or grant write permission, then try again",
            Fault::Unsupported => {
                "the message says what cannot be done here: choose another way (for a directory: another view), or move the resource to where it can"
            }
            Fault::Busy => "wait until the other writer has ended, then try again",
            Fault::Elsewhere => "commit in the process that opened the value",
            Fault::Interrupted => "try again; the sandbox is kept",
            Fault::Corrupt => "do not touch the store; run `planbox doctor`",
            Fault::Hazard => {
                "compare both versions, put the right one in place, then run `planbox recover PLAN --keep-theirs`"
            }
            Fault::Panicked => "this is a defect of the participant: see its message and the log",
            Fault::Io => "see the cause; nothing real was changed, so it can be tried again",
        }
        .to_owned()
    }

    fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn needs_recovery(&self) -> bool {
        self.fault == Fault::Hazard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_classified() {
        let full = ParticipantError::io("write", "/x", io::Error::from_raw_os_error(28));
        assert_eq!((full.fault, full.code()), (Fault::NoSpace, "no-space"));
        let denied = ParticipantError::io("rename", "/x", io::Error::from_raw_os_error(1));
        assert_eq!(
            denied.fault,
            Fault::Denied,
            "EPERM is what an immutable file answers"
        );
        let other_fs = ParticipantError::io("rename", "/x", io::Error::from_raw_os_error(18));
        assert_eq!(other_fs.fault, Fault::Unsupported);
    }

    #[test]
    fn control_characters_of_a_path_are_shown_escaped() {
        let error = ParticipantError::new(Fault::Refused, "a pipe").at("/tmp/a\nb\x1b[31m");
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text}");
    }
}
