//! Originals that a take-back put back.
//!
//! A rename sets the time of change, so an original that went to a slot and came back no longer
//! equals its signature, though nobody touched it. Its new time of change is remembered here; the
//! plan can then be committed again without a conflict with itself.

use super::manifest::{Entry, Signature};
use crate::error::{Fault, ParticipantError};
use crate::fs::{Dir, FileKind, Stat, Time};
use crate::sandbox::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read as _;

/// Its file in the place.
pub(super) const FILE: &str = "restored";

/// Times of change by device and inode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Restored(HashMap<(u64, u64), Time>);

/// One original in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    dev: u64,
    ino: u64,
    ctime: Time,
}

impl Restored {
    /// Remembers an original as `stat` shows it now.
    pub(super) fn remember(&mut self, stat: &Stat) {
        self.0.insert(stat.id(), stat.ctime);
    }

    /// When the inode was changed by being put back.
    pub(super) fn ctime_of(&self, id: (u64, u64)) -> Option<Time> {
        self.0.get(&id).copied()
    }

    /// The content of the file.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self
            .0
            .iter()
            .map(|((dev, ino), ctime)| Line {
                dev: *dev,
                ino: *ino,
                ctime: *ctime,
            })
            .collect();
        lines.sort_unstable_by_key(|line| (line.dev, line.ino));
        lines
    }

    /// Reads the file; nothing if there is none.
    pub(super) fn load(place: &Dir) -> Outcome<Self> {
        let path = || place.path().join(FILE);
        let mut text = Vec::new();
        let read = super::staging::maybe(place.read_file(OsStr::new(FILE)))
            .and_then(|file| file.map_or(Ok(0), |mut file| file.read_to_end(&mut text)));
        read.map_err(|error| ParticipantError::io("read what was put back", path(), error))?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let lines: Vec<Line> = serde_json::from_slice(&text).map_err(|error| {
            ParticipantError::new(Fault::Corrupt, format!("not ours to read: {error}")).at(path())
        })?;
        Ok(Self(
            lines
                .iter()
                .map(|line| ((line.dev, line.ino), line.ctime))
                .collect(),
        ))
    }

    /// True if `now` is still the original of `entry`.
    ///
    /// Of a directory that stays where it is, only what was done to itself counts: names that came
    /// and went do not.
    pub(super) fn is_base(&self, entry: &Entry, now: &Signature) -> bool {
        let mut now = *now;
        if self.ctime_of((now.dev, now.ino)) == Some(now.ctime) {
            now.ctime = entry.base.ctime;
        }
        let base = &entry.base;
        if base.kind != FileKind::Directory {
            return base.is_same(&now);
        }
        let itself = (base.dev, base.ino, base.kind, base.mode, base.uid, base.gid)
            == (now.dev, now.ino, now.kind, now.mode, now.uid, now.gid);
        // Names come and go with both times; only one of them moves for anything else.
        itself && (base.ctime == now.ctime || base.mtime != now.mtime)
    }
}
