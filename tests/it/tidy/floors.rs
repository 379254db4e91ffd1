//! The floors: a module uses only modules of lower floors. See `docs/architecture.md`.

use super::{Source, assert_none, files};

/// Every top-level module and its floor.
const FLOORS: [(&str, u8); 15] = [
    ("id", 0),
    ("state", 0),
    ("crash", 0),
    ("error", 1),
    ("sync", 2),
    ("clock", 2),
    ("fs", 2),
    ("lock", 3),
    ("journal", 3),
    ("register", 3),
    ("sandbox", 4),
    ("job", 4),
    ("plan", 5),
    ("manager", 6),
    ("conformance", 7),
];

/// Modules that must not use a module although it is on a lower floor.
const BANS: [(&str, &str); 3] = [
    ("sandbox", "lock"),
    ("sandbox", "journal"),
    ("manager", "crash"),
];

/// Modules that may use one beside them: the door to files tells the witness of locks that somebody
/// passes it.
const BESIDE: [(&str, &str); 1] = [("fs", "sync")];

/// Crates that only some files may name.
const DOORS: [(&str, &[&str]); 12] = [
    ("arc_swap", &["src/sync/swap.rs"]),
    ("shuttle", &["src/sync/"]),
    ("parking_lot", &["src/sync/"]),
    ("loom", &["src/sync/"]),
    ("dashmap", &["src/sync/mod.rs", "src/manager/registry.rs"]),
    ("rusqlite", &["src/journal/", "src/sandbox/sqlite/"]),
    ("clap", &["src/bin/"]),
    ("clap_complete", &["src/bin/"]),
    ("comfy_table", &["src/bin/"]),
    ("indicatif", &["src/bin/"]),
    ("anstream", &["src/bin/"]),
    ("ctrlc", &["src/bin/"]),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// The top-level module of the library that a file belongs to, and how deep the file is in it.
fn place(path: &str) -> Option<(&str, usize)> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    if inside == "lib" || inside.starts_with("bin/") {
        return None;
    }
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let module = inside.split('/').next()?;
    Some((module, inside.split('/').count()))
}

/// The names right after each `prefix` in `text`; a group in braces gives each of its heads.
fn heads<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || char == '_') {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut fresh = true;
            for (index, char) in group.char_indices() {
                match char {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    _ if fresh && !char.is_whitespace() => {
                        found.push(name(&group[index..]));
                        fresh = false;
                    }
                    _ => (),
                }
            }
        } else {
            found.push(name(rest));
        }
    }
    found
}

fn name(text: &str) -> &str {
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Uses of a module on the same or a higher floor, and uses that are banned.
pub(super) fn crossings(source: &Source) -> Vec<String> {
    let Some((module, _)) = place(&source.path) else {
        return Vec::new();
    };
    let Some(own) = floor(module) else {
        return vec![source.complain(1, "a top-level module without a floor")];
    };
    let mut complaints = Vec::new();
    for (number, text) in statements(source) {
        for used in heads(&text, "crate::") {
            let what = match floor(used) {
                _ if used == module => continue,
                None => format!("`crate::{used}` goes through the crate root"),
                Some(theirs) if theirs > own => {
                    format!("{module} (floor {own}) must not use {used} above it (floor {theirs})")
                }
                Some(_) if BESIDE.contains(&(module, used)) => continue,
                Some(theirs) if theirs == own => {
                    format!("{module} must not use {used} beside it (floor {own})")
                }
                Some(_) if BANS.contains(&(module, used)) => {
                    format!("{module} is not to know {used}")
                }
                Some(_) => continue,
            };
            complaints.push(source.complain(number, &what));
        }
    }
    complaints
}

/// Lines of code; a `use` that spans several lines comes as one.
fn statements(source: &Source) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in source.code() {
        let line = line.trim();
        match found.last_mut() {
            Some((_, text)) if open => text.push_str(line),
            _ => found.push((number, line.to_owned())),
        }
        let is_use = found.last().is_some_and(|(_, text)| {
            let text = text
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            text.starts_with("use ")
        });
        open = is_use && !line.ends_with(';');
    }
    found
}

/// `super::` that leaves the top-level module: a way around the floors.
pub(super) fn escapes(source: &Source) -> Vec<String> {
    let Some((_, depth)) = place(&source.path) else {
        return Vec::new();
    };
    let mut nested = 0;
    let mut complaints = Vec::new();
    for (number, line) in source.code() {
        let opens = super::module(line, " {").is_some();
        let supers = line.split("super::").count() - 1;
        if supers >= depth + nested && !line.contains("pub(in ") && supers > 0 {
            complaints.push(source.complain(number, "`super::` leaves the top-level module"));
        }
        if opens && !line.starts_with(' ') {
            nested = 1;
        } else if line == "}" {
            nested = 0;
        }
    }
    complaints
}

/// Crates named outside of their door.
pub(super) fn back_doors(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in source.code() {
        for (krate, doors) in DOORS {
            let named = heads(line, &format!("{krate}::")).len()
                + usize::from(line.trim() == format!("use {krate};"));
            if named > 0 && !doors.iter().any(|door| source.path.starts_with(door)) {
                let what = format!("only {} may name {krate}", doors.join(" and "));
                complaints.push(source.complain(number, &what));
            }
        }
        if line.contains("#[path") || line.contains("include!(") {
            complaints.push(source.complain(number, "a file must be where its module says"));
        }
    }
    complaints
}

#[test]
fn modules_use_only_lower_floors() {
    let sources = files("src", "rs");
    assert!(sources.len() > 40, "the sources were not found");
    let mut complaints = Vec::new();
    for source in &sources {
        complaints.extend(crossings(source));
        complaints.extend(escapes(source));
        complaints.extend(back_doors(source));
    }
    assert_none(&complaints);
}

/// The binary is another crate, so the compiler keeps it to `pub`; hidden doors are for tests.
#[test]
fn the_command_line_uses_no_hidden_door() {
    let hidden = ["CRASH_POINTS", ".without("];
    let mut complaints = Vec::new();
    for source in files("src/bin", "rs") {
        for (number, line) in source.code() {
            if let Some(door) = hidden.iter().find(|door| line.contains(**door)) {
                complaints.push(source.complain(number, &format!("`{door}` is for tests")));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn the_page_on_the_architecture_names_every_floor() {
    let page = super::file("docs/architecture.md").text;
    for source in files("src", "rs") {
        let Some((module, _)) = place(&source.path) else {
            continue;
        };
        assert!(
            page.contains(&format!("`{module}`")),
            "docs/architecture.md: {module} is missing"
        );
    }
}
