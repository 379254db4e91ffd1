//! Words for people: times, ages, sizes, and text that cannot do harm to a terminal.

use comfy_table::{Table, presets};
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

/// The same on one line: for a cell of a table, or an item of a list.
pub(crate) fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n")
}

/// Rows with their columns aligned, without blanks at the ends of lines.
pub(crate) fn aligned(rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)));
    }
    let lines = table.to_string();
    // The table puts one blank before each line.
    let line = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned();
    lines.lines().map(line).collect()
}

/// A number with its unit, in the singular where it is one: `1 sandbox`, `2 files`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
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
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(clean("a\x1b[31mb\r\n\u{85}c"), "a\\u{1b}[31mb\\r\n\\u{85}c");
    }

    #[test]
    fn columns_are_aligned_and_a_cell_is_one_line() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = aligned([row(["a", "b\nc", "x"]), row(["long", "", "y"])]);
        assert_eq!(lines, ["a     b\\nc  x", "long        y"]);
        assert!(aligned([]).is_empty());
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
