//! Words that name things: plans, jobs, resources, sandboxes and epochs; and how bytes and moments are
//! written.
//!
//! Every id that comes from outside passes through exactly one constructor here. An id is *data*:
//! it is compared byte by byte, shown escaped, and becomes a file name only through
//! [`PlanId::file_name`], which is injective and never yields a path separator, a leading dot or an
//! option.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest id or name, in bytes of UTF-8.
pub const ID_MAX_BYTES: usize = 200;

/// Longest encoded file name we make out of an id, in bytes; room is left for suffixes.
const FILE_NAME_MAX_BYTES: usize = 200;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text has no bytes.
    #[error("a {what} must not be empty; give it 1 to {ID_MAX_BYTES} bytes")]
    Empty {
        /// What was being named: "plan id", "job id" or "resource name".
        what: &'static str,
    },
    /// The text is longer than [`ID_MAX_BYTES`].
    #[error("this {what} has {bytes} bytes; the limit is {ID_MAX_BYTES} bytes of UTF-8")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text holds a control character (including NUL, CR, LF and ESC).
    #[error("{what} {shown} holds the control character {character:?}; use printable text")]
    Control {
        /// What was being named.
        what: &'static str,
        /// The text, escaped for display.
        shown: String,
        /// The first offending character.
        character: char,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > ID_MAX_BYTES {
        return Err(IdError::TooLong {
            what,
            bytes: text.len(),
        });
    }
    match text.chars().find(|character| character.is_control()) {
        Some(character) => Err(IdError::Control {
            what,
            shown: format!("{text:?}"),
            character,
        }),
        None => Ok(()),
    }
}

/// Encodes `text` injectively into a name that every file system takes, case-blind ones included.
///
/// Lower-case letters, digits and `-` stand for themselves, every other byte is `_xx` (two hex
/// digits). A text whose encoding would be too long is named by its BLAKE3 digest instead; the two
/// forms cannot meet, because they begin with different letters.
fn encode(text: &str) -> String {
    let mut name = String::from("p-");
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            other => {
                name.push('_');
                name.push_str(&hex(&[other]));
            }
        }
    }
    if name.len() <= FILE_NAME_MAX_BYTES {
        return name;
    }
    format!("h-{}", blake3::hash(text.as_bytes()).to_hex())
}

/// Two lower-case hex digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// A moment in RFC 3339, in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    format!("{}.{:03}Z", date_and_time(unix_ms / 1_000), unix_ms % 1_000)
}

/// A moment in RFC 3339, in UTC, to the nanosecond; seconds since 1970 if it lies before that.
pub(crate) fn rfc3339_nanos(seconds: i64, nanos: u32) -> String {
    match u64::try_from(seconds) {
        Ok(seconds) => format!("{}.{nanos:09}Z", date_and_time(seconds)),
        Err(_) => format!("{seconds}.{nanos:09}"),
    }
}

fn date_and_time(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of the `days`-th day after 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last one of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Checks `text` and makes it a ", $what, ".")]
            ///
            /// # Errors
            /// [`IdError`] if the text is empty, longer than [`ID_MAX_BYTES`] bytes or holds a
            /// control character.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($what, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// An injective encoding that is safe as one component of a path: at most 200 bytes of
            /// `[a-z0-9_-]`.
            #[must_use]
            pub fn file_name(&self) -> String {
                encode(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// The name of a plan, chosen by the caller. It may live longer than a process.
    ///
    /// ```
    /// # use planbox::PlanId;
    /// let plan = PlanId::new("refactor-42")?;
    /// assert_eq!(plan.as_str(), "refactor-42");
    /// assert!(PlanId::new("line\nbreak").is_err());
    /// # Ok::<(), planbox::IdError>(())
    /// ```
    PlanId, "plan id"
}

text_id! {
    /// The name of a job, chosen by the caller: the same checks as for a [`PlanId`].
    JobId, "job id"
}

text_id! {
    /// The name of a resource inside one plan, such as `site` or `dir`.
    ResourceName, "resource name"
}

/// The canonical identity of a real thing, equal for every spelling of its place.
///
/// It begins with the kind and a colon, for example `dir:2049:131`; resources are locked in the
/// order of their keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceKey(Arc<str>);

impl ResourceKey {
    /// A key for the thing of this `kind` with this `identity` (for a directory: device and inode).
    #[must_use]
    pub fn new(kind: &str, identity: impl fmt::Display) -> Self {
        Self(Arc::from(format!("{kind}:{identity}")))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceKey({:?})", &*self.0)
    }
}

/// A fencing token: it grows with each taking of a plan's lease, and an older one can decide
/// nothing.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact() {
        assert!(PlanId::new("x".repeat(ID_MAX_BYTES)).is_ok());
        assert_eq!(
            PlanId::new("x".repeat(ID_MAX_BYTES + 1)),
            Err(IdError::TooLong {
                what: "plan id",
                bytes: ID_MAX_BYTES + 1
            })
        );
        assert_eq!(
            ResourceName::new(""),
            Err(IdError::Empty {
                what: "resource name"
            })
        );
    }

    #[test]
    fn control_characters_are_refused_and_shown_escaped() {
        for text in ["a\0b", "a\rb", "a\nb", "a\x1b[31m", "\u{85}"] {
            let error = PlanId::new(text).expect_err("control characters are refused");
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn file_names_never_leave_their_directory() {
        let long = "\u{e9}".repeat(100);
        for text in [
            "../../etc",
            "/etc",
            ".",
            "..",
            ".git",
            "HEAD",
            "-rf",
            "--force",
            "a.lock",
            &long,
        ] {
            let name = PlanId::new(text).expect("printable").file_name();
            assert!(name.len() <= FILE_NAME_MAX_BYTES, "{name}");
            assert!(name.starts_with("p-") || name.starts_with("h-"), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || b == b'-'
                    || b == b'_'),
                "{name}"
            );
        }
    }

    #[test]
    fn encoding_is_injective_on_look_alikes() {
        let texts = [
            "a", "A", "_61", "a_", "a-", "p-a", "h-a", " a", "a ", "\u{e4}", "a\u{308}",
        ];
        let mut names: Vec<_> = texts
            .iter()
            .map(|t| PlanId::new(t).expect("printable").file_name())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), texts.len());
    }

    #[test]
    fn moments_are_written_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (moment, text) in cases {
            assert_eq!(rfc3339(moment), text);
        }
    }

    #[test]
    fn moments_before_1970_and_nanoseconds_are_written_too() {
        assert_eq!(rfc3339_nanos(86_400, 7), "1970-01-02T00:00:00.000000007Z");
        assert_eq!(rfc3339_nanos(-2, 5), "-2.000000005");
    }
}
