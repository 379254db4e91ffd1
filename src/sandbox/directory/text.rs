//! Bytes as readable text: names, paths and attribute values inside records.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// Any bytes: a JSON string if they are UTF-8, else `{"hex": "..."}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sandbox) struct Bytes(pub(in crate::sandbox) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(std::borrow::Cow<'a, str>),
    Hex { hex: String },
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<OsString> for Bytes {
    fn from(text: OsString) -> Self {
        Self(text.into_vec())
    }
}

impl From<&Path> for Bytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Written::Text(text.into()),
            Err(_) => Written::Hex { hex: hex(&self.0) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Written::Hex { hex } => unhex(&hex)
                .map(Self)
                .ok_or_else(|| D::Error::custom("a hex text of odd length or with other digits")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    bytes
        .iter()
        .flat_map(digits)
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let digits = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(digits, 16).ok()
        })
        .collect()
}

/// A path below the root of the resource; empty for the root itself.
///
/// Every component is a plain name. A record that says otherwise is refused when it is read, so no
/// byte of a journal leads out of the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Rel(PathBuf);

impl fmt::Debug for Rel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Rel {
    /// The path, if it consists of plain names only.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let plain = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            && !path.as_os_str().as_bytes().contains(&0);
        // Rebuilt from its components, because `a//b` and `a/./b` are the same path.
        plain.then(|| Self(path.components().collect()))
    }

    /// The path as the operating system takes it, relative to the root.
    pub(super) fn as_path(&self) -> &Path {
        &self.0
    }

    /// True for the root itself.
    pub(super) fn is_root(&self) -> bool {
        self.0.as_os_str().is_empty()
    }

    /// The directory it is in, and its name there; `None` for the root.
    pub(super) fn split(&self) -> Option<(Self, &OsStr)> {
        let name = self.0.file_name()?;
        let parent = self.0.parent().unwrap_or(Path::new(""));
        Some((Self(parent.to_path_buf()), name))
    }

    /// For people: `.` for the root.
    pub(super) fn shown(&self) -> String {
        if self.is_root() {
            ".".to_owned()
        } else {
            crate::error::Shown(&self.0).to_string()
        }
    }
}

impl Serialize for Rel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(self.0.as_path()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        Self::new(Path::new(OsStr::from_bytes(&bytes.0)))
            .ok_or_else(|| D::Error::custom("a path that leaves the root"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_as_they_were() {
        for bytes in [
            &b"plain"[..],
            b"",
            b"a\nb\x1b",
            b"\xff\xfe\x00",
            "gr\u{fc}n".as_bytes(),
        ] {
            let json = serde_json::to_string(&Bytes(bytes.to_vec())).unwrap();
            let back: Bytes = serde_json::from_str(&json).unwrap();
            assert_eq!(back.0, bytes, "{json}");
        }
        assert!(serde_json::from_str::<Bytes>(r#"{"hex":"0"}"#).is_err());
        assert!(serde_json::from_str::<Bytes>(r#"{"hex":"+f"}"#).is_err());
    }

    #[test]
    fn a_record_cannot_name_a_path_outside_the_root() {
        for evil in ["/etc/passwd", "../x", "a/../../x", "a/..", "a\u{0}b"] {
            let json = serde_json::to_string(evil).unwrap();
            assert!(serde_json::from_str::<Rel>(&json).is_err(), "{evil}");
        }
        let good: Rel = serde_json::from_str("\"a/./b//c/\"").unwrap();
        assert_eq!(good.as_path(), Path::new("a/b/c"));
        let (parent, name) = good.split().unwrap();
        assert_eq!(
            (parent.as_path(), name),
            (Path::new("a/b"), OsStr::new("c"))
        );
        assert!(serde_json::from_str::<Rel>("\"\"").unwrap().is_root());
    }
}
