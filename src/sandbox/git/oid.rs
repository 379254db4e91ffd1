//! Ids of objects.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The id of an object: 40 or 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Oid(String);

impl Oid {
    /// The id written in `text`, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        (digits && matches!(text.len(), 40 | 64)).then(|| Self(text.to_owned()))
    }

    /// The id that stands for "no object", as long as this one.
    pub(super) fn zero(&self) -> Self {
        Self("0".repeat(self.0.len()))
    }

    /// True for the id that stands for "no object".
    pub(super) fn is_zero(&self) -> bool {
        self.0.bytes().all(|digit| digit == b'0')
    }

    /// All digits.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first digits, for people.
    pub(super) fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl TryFrom<String> for Oid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the id of an object")
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_hex_of_a_known_length() {
        let id = Oid::parse(&"a1".repeat(20)).unwrap();
        assert_eq!(id.zero().as_str(), "0".repeat(40));
        assert!(id.zero().is_zero() && !id.is_zero());
        for bad in ["", "HEAD", "--all", &"A1".repeat(20), &"a1".repeat(21)] {
            assert_eq!(Oid::parse(bad), None, "{bad}");
        }
        assert!(Oid::parse(&"0f".repeat(32)).is_some(), "sha256");
    }
}
