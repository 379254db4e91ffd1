//! What a directory sandbox remembers between processes, and its files in the place.

use super::staging::Side;
use super::text::Bytes;
use super::view::ViewKind;
use crate::error::{Fault, ParticipantError};
use crate::fs::{self, Dir};
use crate::id::ResourceKey;
use crate::sandbox::{Identity, Outcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Version of the record.
const VERSION: u32 = 1;

/// The view: where the plan works.
pub(super) const VIEW: &str = "view";

/// What the real tree was when the view was made.
pub(super) const MANIFEST: &str = "manifest";

/// The operations of the seal.
pub(super) const SEALED: &str = "sealed";

/// The operations of the redo.
pub(super) const REDO: &str = "redo";

/// Where the sandbox is, of what, and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Absolute path of the real directory.
    root: Bytes,
    /// Device and inode of the real directory.
    pub(super) id: (u64, u64),
    /// Device and inode of what encloses it, nearest first.
    enclosing: Vec<(u64, u64)>,
    /// Token of the place.
    pub(super) token: String,
    /// How the view was made.
    pub(super) view: ViewKind,
    /// Where staging is.
    pub(super) staging: Side,
    /// What a person should know about the view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// BLAKE3 of the file `sealed`, in hex, while the sandbox is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<String>,
}

impl Record {
    /// A record of an open sandbox.
    pub(super) fn new(
        root: PathBuf,
        (id, enclosing): ((u64, u64), Vec<(u64, u64)>),
        token: &str,
        staging: Side,
        (view, notes): (ViewKind, Vec<String>),
    ) -> Self {
        Self {
            version: VERSION,
            root: Bytes::from(root.into_os_string()),
            id,
            enclosing,
            token: token.to_owned(),
            view,
            staging,
            notes,
            sealed: None,
        }
    }

    /// Reads a record.
    pub(super) fn from_json(text: &str) -> Outcome<Self> {
        let record: Self = serde_json::from_str(text)
            .map_err(|error| corrupt(format!("the record of a directory sandbox: {error}")))?;
        if record.version != VERSION {
            return Err(corrupt(format!(
                "the record of a directory sandbox has version {}; this program knows {VERSION}",
                record.version
            )));
        }
        super::staging::check_token(&record.token)?;
        if !record.root().is_absolute() {
            return Err(corrupt("a root that is not absolute".to_owned()));
        }
        Ok(record)
    }

    /// Absolute path of the real directory.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.root.0.clone()))
    }

    /// Who the real directory is.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            key: key(self.id),
            enclosing: self.enclosing.iter().copied().map(key).collect(),
            tree: Some(key(self.id)),
        }
    }
}

/// The key of a directory.
pub(in crate::sandbox) fn key((dev, ino): (u64, u64)) -> ResourceKey {
    ResourceKey::new("dir", format_args!("{dev}:{ino}"))
}

fn corrupt(message: String) -> ParticipantError {
    ParticipantError::new(Fault::Corrupt, message)
}

/// How firmly a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Firmness {
    /// Whole or not at all for every process, but not flushed.
    Visible,
    /// On disk when the call returns.
    Durable,
}

/// Writes `value` as the file `name` of the place; returns the digest of the file, in hex.
pub(in crate::sandbox) fn store<T: Serialize>(
    place: &Dir,
    name: &str,
    value: &T,
    firmness: Firmness,
) -> Outcome<String> {
    let bytes = serde_json::to_vec(value).map_err(|error| corrupt(error.to_string()))?;
    let written = match firmness {
        Firmness::Durable => fs::write_durably(place, OsStr::new(name), &bytes),
        Firmness::Visible => write_visibly(place, OsStr::new(name), &bytes),
    };
    written.map_err(|error| {
        ParticipantError::io(
            "write a file of the sandbox",
            place.path().join(name),
            error,
        )
    })?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

fn write_visibly(place: &Dir, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let (temp, file) = place.temp_file(0o600)?;
    let written = fs::write_all(&file, bytes).and_then(|()| place.rename_over(&temp, place, name));
    written.inspect_err(|_| drop(place.remove_file(&temp)))
}

/// Reads the file `name` of the place, which must be the one with this `digest`.
pub(in crate::sandbox) fn load<T: DeserializeOwned>(
    place: &Dir,
    name: &str,
    digest: &str,
) -> Outcome<T> {
    let path = place.path().join(name);
    let mut bytes = Vec::new();
    let read = place
        .read_file(OsStr::new(name))
        .and_then(|mut file| file.read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "a file of the sandbox is gone";
            return Err(ParticipantError::new(Fault::Lost, message).at(path));
        }
        other => {
            other.map_err(|error| {
                ParticipantError::io("read a file of the sandbox", &path, error)
            })?;
        }
    }
    if blake3::hash(&bytes).to_hex().as_str() != digest {
        return Err(
            corrupt("a file of the sandbox is not the one that was written".to_owned()).at(path),
        );
    }
    serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()).at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_foreign_one_is_corrupt() {
        let record = Record::new(
            PathBuf::from("/srv/site"),
            ((1, 2), vec![(1, 1)]),
            "tok-1",
            Side::Place,
            (ViewKind::Copy, Vec::new()),
        );
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(Record::from_json(&json).unwrap(), record);
        assert_eq!(record.identity().key.as_str(), "dir:1:2");
        for bad in [
            "",
            "{}",
            &json.replace("\"version\":1", "\"version\":2"),
            &json.replace("tok-1", "../../etc"),
            &json.replace("/srv/site", "srv/site"),
        ] {
            assert_eq!(Record::from_json(bad).unwrap_err().fault, Fault::Corrupt);
        }
    }
}
