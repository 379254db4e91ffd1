//! Words for people: times, ages, sizes, and text that cannot do harm to a terminal.

use std::path::Path;
use std::time::SystemTime;

/// `text` with every control character but the line feed escaped.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            cleaned.extend(character.escape_default());
        } else {
            cleaned.push(character);
        }
    }
    cleaned
}

/// A path for people: printable UTF-8 as it is, everything else escaped.
pub(crate) fn shown(path: &Path) -> String {
    planbox::error::Shown(path).to_string()
}

/// `word` as one word of a shell command that a person can paste.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:+@%,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Milliseconds since the Unix epoch, now.
#[expect(
    clippy::disallowed_methods,
    reason = "the library's door to time is private; ages for people are all that is made of this"
)]
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in RFC 3339, in UTC, to the millisecond.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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

/// How long ago `unix_ms` was, in the two largest units that fit a glance: `3s`, `12m`, `5h`, `9d`.
pub(crate) fn age(unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(unix_ms) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number of bytes: `512 B`, `1.5 KiB`, `3.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut unit = "B";
    let mut tenths = u128::from(count) * 10;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = larger;
    }
    if unit == "B" {
        return format!("{count} B");
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\x1b[31mb\r\n\u{85}c"), "a\\u{1b}[31mb\\r\n\\u{85}c");
    }

    #[test]
    fn ages_and_sizes_are_short() {
        assert_eq!(
            (age(0, 59_999), age(0, 60_000)),
            ("59s".to_owned(), "1m".to_owned())
        );
        assert_eq!(
            (age(0, 172_800_000), age(9, 0)),
            ("2d".to_owned(), "0s".to_owned())
        );
        assert_eq!(
            (bytes(1_023), bytes(1_536)),
            ("1023 B".to_owned(), "1.5 KiB".to_owned())
        );
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }

    #[test]
    fn words_can_be_pasted() {
        assert_eq!(shell_word("refactor-42"), "refactor-42");
        assert_eq!(shell_word("it's $x"), r"'it'\''s $x'");
        assert_eq!(shell_word(""), "''");
    }
}
