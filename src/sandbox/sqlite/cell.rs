//! One stored value, exactly: its storage class and its bytes.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::cmp::Ordering;
use std::fmt;

/// Most characters of a text, or bytes of a blob, that are shown.
const SHOWN_MAX: usize = 40;

/// The first number above every 64-bit integer.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A stored value. Two are equal only if SQLite could tell them apart by no means: `1`, `1.0` and
/// `'1'` are three values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// The bits of a number with a fraction.
    Real(u64),
    /// A text: UTF-8 by convention only.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

/// The values of a row, without generated columns.
pub(super) type Row = Vec<Cell>;

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Int(number),
            ValueRef::Real(number) => Self::Real(number.to_bits()),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(bits) => ValueRef::Real(f64::from_bits(*bits)),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Cell {
    /// The order of SQLite under the collation BINARY, in which `1` and `1.0` are one key.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(ours), Self::Int(theirs)) => ours.cmp(theirs),
            (Self::Real(ours), Self::Real(theirs)) => {
                let (ours, theirs) = (f64::from_bits(*ours), f64::from_bits(*theirs));
                ours.partial_cmp(&theirs).unwrap_or(Ordering::Equal)
            }
            (Self::Int(ours), Self::Real(theirs)) => int_and_real(*ours, f64::from_bits(*theirs)),
            (Self::Real(ours), Self::Int(theirs)) => {
                int_and_real(*theirs, f64::from_bits(*ours)).reverse()
            }
            (Self::Text(ours), Self::Text(theirs)) | (Self::Blob(ours), Self::Blob(theirs)) => {
                ours.cmp(theirs)
            }
            _ => self.class().cmp(&other.class()),
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        }
    }

    /// How many bytes it takes to hold.
    pub(super) fn weight(&self) -> u64 {
        let bytes = match self {
            Self::Text(bytes) | Self::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        bytes as u64 + size_of::<Self>() as u64
    }

    /// Adds it to a digest, unambiguously.
    pub(super) fn digest(&self, hasher: &mut blake3::Hasher) {
        let mut put = |mark: u8, bytes: &[u8]| {
            hasher.update(&[mark]);
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        match self {
            Self::Null => put(b'n', b""),
            Self::Int(number) => put(b'i', &number.to_le_bytes()),
            Self::Real(bits) => put(b'r', &bits.to_le_bytes()),
            Self::Text(bytes) => put(b't', bytes),
            Self::Blob(bytes) => put(b'b', bytes),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked first, and a fraction is compared by itself"
)]
fn int_and_real(int: i64, real: f64) -> Ordering {
    if real >= TWO_TO_63 {
        return Ordering::Less;
    }
    if real < -TWO_TO_63 {
        return Ordering::Greater;
    }
    let whole = real as i64;
    let fraction = (whole as f64).partial_cmp(&real);
    int.cmp(&whole).then(fraction.unwrap_or(Ordering::Equal))
}

impl fmt::Display for Cell {
    /// As SQL would write it, printable and bounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Real(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Text(bytes) => write!(f, "'{}'", shown_text(bytes)),
            Self::Blob(bytes) => {
                f.write_str("x'")?;
                for byte in bytes.iter().take(SHOWN_MAX / 2) {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str(if bytes.len() > SHOWN_MAX / 2 {
                    "...'"
                } else {
                    "'"
                })
            }
        }
    }
}

/// A text or a name for people: printable, bounded, quotes doubled.
pub(super) fn shown_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == SHOWN_MAX {
            shown.push_str("...");
            break;
        }
        match char {
            '\'' => shown.push_str("''"),
            plain if plain.is_control() => shown.extend(plain.escape_default()),
            plain => shown.push(plain),
        }
    }
    shown
}

/// `users[id=3]`: a row by its key, for people.
pub(super) fn place<'a>(table: &str, key: impl Iterator<Item = (&'a str, &'a Cell)>) -> String {
    let mut text = format!("{}[", shown_text(table.as_bytes()));
    for (count, (column, value)) in key.enumerate() {
        let comma = if count == 0 { "" } else { "," };
        text.push_str(comma);
        text.push_str(&shown_text(column.as_bytes()));
        text.push('=');
        text.push_str(&value.to_string());
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_alike_are_not_equal() {
        let all = [
            Cell::Null,
            Cell::Int(1),
            Cell::Real(1.0_f64.to_bits()),
            Cell::Text(b"1".to_vec()),
            Cell::Blob(b"1".to_vec()),
            Cell::Real(0.0_f64.to_bits()),
            Cell::Real((-0.0_f64).to_bits()),
        ];
        let mut digests = Vec::new();
        for (n, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(n));
            let mut hasher = blake3::Hasher::new();
            one.digest(&mut hasher);
            digests.push(hasher.finalize());
        }
        digests.dedup();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn the_order_is_that_of_sqlite() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let real = |number: f64| Cell::Real(number.to_bits());
        let all = [
            Cell::Null,
            Cell::Int(i64::MIN),
            Cell::Int(-1),
            Cell::Int(0),
            Cell::Int(9_007_199_254_740_993),
            Cell::Int(i64::MAX),
            real(-1e300),
            real(-0.5),
            real(0.0),
            real(9_007_199_254_740_992.0),
            real(TWO_TO_63),
            real(-TWO_TO_63),
            real(f64::INFINITY),
            Cell::Text(b"".to_vec()),
            Cell::Text(b"A".to_vec()),
            Cell::Text(b"a\0b".to_vec()),
            Cell::Text(vec![0xff]),
            Cell::Blob(b"".to_vec()),
            Cell::Blob(b"A".to_vec()),
        ];
        for one in &all {
            for other in &all {
                let sql = "SELECT count(*) FROM (SELECT ?1 AS x) WHERE x < ?2";
                let less = |a: &Cell, b: &Cell| -> bool {
                    conn.query_row(sql, [a, b], |row| row.get::<_, i64>(0))
                        .unwrap()
                        == 1
                };
                if *one == Cell::Null || *other == Cell::Null {
                    continue;
                }
                let expected = match (less(one, other), less(other, one)) {
                    (true, _) => Ordering::Less,
                    (_, true) => Ordering::Greater,
                    _ => Ordering::Equal,
                };
                assert_eq!(one.order(other), expected, "{one} and {other}");
            }
        }
    }

    #[test]
    fn what_is_shown_is_printable_and_bounded() {
        let hostile = Cell::Text(b"it's\n\x1b[31m\xff".to_vec());
        assert_eq!(hostile.to_string(), "'it''s\\n\\u{1b}[31m\u{fffd}'");
        assert!(Cell::Text(vec![b'x'; 10_000]).to_string().len() < 60);
        assert!(Cell::Blob(vec![7; 10_000]).to_string().len() < 60);
        let key = [("a", Cell::Int(1)), ("b", Cell::Text(b"x".to_vec()))];
        let place = place("t", key.iter().map(|(name, cell)| (*name, cell)));
        assert_eq!(place, "t[a=1,b='x']");
    }
}
