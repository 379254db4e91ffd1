//! How much a sandbox holds.

use crate::text;
use std::path::{Path, PathBuf};

/// After so many entries the count stops: `status` is to be quick.
const ENTRIES_MAX: u64 = 100_000;

/// What a tree holds, as far as it was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// False if there is more than was counted.
    pub(crate) whole: bool,
}

impl Size {
    /// Counts the files below `root`, or `root` itself if it is a file. Never follows a link; what
    /// cannot be read is not counted.
    pub(crate) fn of(root: &Path) -> Self {
        let mut size = Self {
            whole: true,
            ..Self::default()
        };
        if let Ok(found) = std::fs::symlink_metadata(root)
            && found.is_file()
        {
            return Self {
                bytes: found.len(),
                entries: 1,
                ..size
            };
        }
        let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
        while let Some(directory) = waiting.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                size.whole = false;
                continue;
            };
            for entry in entries.flatten() {
                if size.entries == ENTRIES_MAX {
                    return Self {
                        whole: false,
                        ..size
                    };
                }
                size.entries += 1;
                let Ok(found) = entry.metadata() else {
                    continue;
                };
                if found.is_dir() {
                    waiting.push(entry.path());
                } else if found.is_file() {
                    size.bytes = size.bytes.saturating_add(found.len());
                }
            }
        }
        size
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
            whole: self.whole && other.whole,
        }
    }

    /// For people: `1.5 KiB`, with a `+` if there is more.
    pub(crate) fn in_words(self) -> String {
        format!(
            "{}{}",
            text::bytes(self.bytes),
            if self.whole { "" } else { "+" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn files_are_counted_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("d")).unwrap();
        let mut file = std::fs::File::create(home.path().join("d/f")).unwrap();
        file.write_all(b"12345").unwrap();
        std::os::unix::fs::symlink("/", home.path().join("d/root")).unwrap();
        let size = Size::of(home.path());
        assert_eq!(
            size,
            Size {
                bytes: 5,
                entries: 3,
                whole: true
            }
        );
        assert_eq!(size.in_words(), "5 B");
        let file = Size::of(&home.path().join("d/f"));
        assert_eq!((file.bytes, file.entries, file.whole), (5, 1, true));
        assert_eq!(Size::of(&home.path().join("none")).in_words(), "0 B+");
    }
}
