//! What a person should know, without an end.

use crate::error::Shown;
use std::path::Path;

/// Most notes that are kept one by one.
const NOTES_MAX: usize = 50;

/// A bounded list of notes about places.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    more: u64,
}

impl Notes {
    /// Notes `what` about a place; `path` is asked for only while there is room.
    pub(super) fn add(&mut self, what: &str, path: impl FnOnce() -> std::path::PathBuf) {
        if self.kept.len() < NOTES_MAX {
            let path = path();
            let shown = Shown(if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &path
            });
            self.kept.push(format!("{shown}: {what}"));
        } else {
            self.more += 1;
        }
    }

    /// Notes something that is about no single place; kept in any case.
    pub(super) fn text(&mut self, text: String) {
        self.kept.push(text);
    }

    /// The notes, with the number of those that found no room.
    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more notes", self.more));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let mut notes = Notes::default();
        for number in 0..NOTES_MAX + 7 {
            notes.add("left out", || format!("p{number}\n").into());
        }
        let notes = notes.finish();
        assert_eq!(notes.len(), NOTES_MAX + 1);
        assert_eq!(notes[0], "p0\\n: left out");
        assert_eq!(notes[NOTES_MAX], "and 7 more notes");
    }
}
