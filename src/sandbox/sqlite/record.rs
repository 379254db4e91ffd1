//! What a SQLite sandbox remembers between processes.

use crate::error::{Fault, ParticipantError};
use crate::id::{ResourceKey, hex};
use crate::sandbox::{Identity, Outcome, Redo};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Version of the record and of the redo.
const VERSION: u32 = 1;

/// The snapshot: what the plan started from.
pub(super) const BASE: &str = "base.db";

/// The directory with the view in it.
pub(super) const VIEW: &str = "view";

/// What the plan made of the snapshot, frozen.
pub(super) const SEALED: &str = "sealed.db";

/// A path, which need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Hex { hex: String },
}

impl Name {
    fn new(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Hex {
                hex: hex(path.as_os_str().as_bytes()),
            },
        }
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Text(text) => Some(PathBuf::from(text)),
            Self::Hex { hex } => {
                let digits = hex.as_bytes().chunks(2);
                let bytes = digits.map(|pair| {
                    let text = str::from_utf8(pair).ok()?;
                    u8::from_str_radix(text, 16).ok()
                });
                let bytes: Option<Vec<u8>> = bytes.collect();
                bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
            }
        }
    }
}

/// What was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// BLAKE3 of what would be committed, in hex.
    pub(super) digest: String,
    /// True if the database changes as a whole.
    pub(super) whole: bool,
}

/// Where the sandbox is, of what, and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Absolute path of the real file, without links.
    file: Name,
    /// Device and inode of the real file.
    pub(super) id: (u64, u64),
    /// Device and inode of the directories above it, nearest first.
    enclosing: Vec<(u64, u64)>,
    /// Token of the place.
    pub(super) token: String,
    /// Longest wait for a lock, in milliseconds.
    busy_ms: u64,
    /// True if its commit decides for the plan.
    pub(super) decides: bool,
    /// What is sealed, while the sandbox is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<Seal>,
}

impl Record {
    /// A record of an open sandbox of `file`.
    pub(super) fn new(
        file: &Path,
        (id, enclosing): ((u64, u64), Vec<(u64, u64)>),
        token: &str,
        (wait, decides): (Duration, bool),
    ) -> Self {
        Self {
            version: VERSION,
            file: Name::new(file),
            id,
            enclosing,
            token: token.to_owned(),
            busy_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            decides,
            sealed: None,
        }
    }

    /// Reads a record.
    pub(super) fn from_json(text: &str) -> Outcome<Self> {
        let record: Self = serde_json::from_str(text)
            .map_err(|error| corrupt(format!("the record of a SQLite sandbox: {error}")))?;
        known(record.version)?;
        let path = record.file.path();
        if path.is_none_or(|path| !path.is_absolute() || path.file_name().is_none()) {
            return Err(corrupt("a database whose path is not absolute".to_owned()));
        }
        Ok(record)
    }

    /// Absolute path of the real file.
    pub(super) fn file(&self) -> PathBuf {
        self.file.path().unwrap_or_default()
    }

    /// The name of the real file, and of the view.
    pub(super) fn file_name(&self) -> OsString {
        let file = self.file();
        file.file_name().map(OsStr::to_owned).unwrap_or_default()
    }

    /// Longest wait for a lock.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.busy_ms)
    }

    /// Who the real file is.
    pub(super) fn identity(&self) -> Identity {
        identity(self.id, &self.enclosing)
    }
}

/// Who the file `id` below the directories `enclosing` is.
pub(super) fn identity(id: (u64, u64), enclosing: &[(u64, u64)]) -> Identity {
    let dir = |(dev, ino): &(u64, u64)| ResourceKey::new("dir", format_args!("{dev}:{ino}"));
    Identity {
        key: ResourceKey::new("sqlite", format_args!("{}:{}", id.0, id.1)),
        enclosing: enclosing.iter().map(dir).collect(),
        tree: None,
    }
}

/// What the journal keeps: the rest is in the place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RedoText {
    version: u32,
    /// Digest of what is to be committed: see [`Seal::digest`].
    pub(super) digest: String,
    /// True if the database changes as a whole.
    pub(super) whole: bool,
    /// The plan, for people.
    pub(super) label: String,
    /// Changes that somebody else had made already: they are not ours to take back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agreed: Vec<usize>,
}

impl RedoText {
    /// The redo of `seal`.
    pub(super) fn new(seal: &Seal, label: &str, agreed: Vec<usize>) -> Self {
        Self {
            version: VERSION,
            digest: seal.digest.clone(),
            whole: seal.whole,
            label: label.to_owned(),
            agreed,
        }
    }

    /// As the journal keeps it.
    pub(super) fn to_redo(&self) -> Outcome<Redo> {
        let text = serde_json::to_string(self).map_err(|error| corrupt(error.to_string()))?;
        Ok(Redo(text))
    }

    /// Reads a redo.
    pub(super) fn from_redo(redo: &Redo) -> Outcome<Self> {
        let text: Self = serde_json::from_str(&redo.0)
            .map_err(|error| corrupt(format!("the redo of a SQLite database: {error}")))?;
        known(text.version)?;
        Ok(text)
    }
}

fn known(version: u32) -> Outcome<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(corrupt(format!(
        "a text of a SQLite sandbox has version {version}; this program knows {VERSION}"
    )))
}

/// Stored bytes are not what was written.
pub(super) fn corrupt(message: String) -> ParticipantError {
    ParticipantError::new(Fault::Corrupt, message)
}
