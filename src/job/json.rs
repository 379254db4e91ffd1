//! Values of a job: JSON as it was written, and secrets, which are never written.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// What the serializer of a [`Secret`] says; every error that holds it is about a secret.
const REFUSAL: &str = "planbox: a secret is never stored";

/// A JSON value, kept as the text it was written as: numbers of any size and the order of fields
/// come back as they were.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// `value` as JSON.
    ///
    /// # Errors
    /// What the serializer of the value said; that of a [`Secret`] always refuses.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|text| Self(text.into()))
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the value as a `T`.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The value for people: a string without its quotes, anything else as it is.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.parse().unwrap_or_else(|_| self.0.to_string())
    }

    pub(super) fn of_raw(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.0.to_string());
        raw.map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::of_raw(&raw))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that must not be stored: a key, a password, a token.
///
/// It can be read from a request, but serializing it *fails*: a patch or a result that holds one,
/// however deep, is refused before anything is written. `Debug` shows `***`.
///
/// ```
/// # use planbox::job::Secret;
/// let key = Secret::new("sk-123");
/// assert!(serde_json::to_string(&key).is_err());
/// assert_eq!(format!("{key:?}"), "***");
/// assert_eq!(*key.expose(), "sk-123");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Makes `value` a secret.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(REFUSAL))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// True if `error` says that a secret was to be written.
pub(super) fn is_about_a_secret(error: &serde_json::Error) -> bool {
    error.to_string().contains(REFUSAL)
}
