//! Words and characters that do not belong in a finished source.

use super::{Source, assert_none, files, module, pages, rust};

/// Words of unfinished work. Written in halves, so that this file does not hold them.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// A lint is expected with a reason, never silenced.
const SILENCED: [&str; 2] = [concat!("#[al", "low("), concat!("#![al", "low(")];

pub(super) const SLEEP: &str = concat!("thread::sl", "eep");
pub(super) const UNWRAP: &str = concat!(".unw", "rap()");

/// A lock between processes can only be polled, so the one door to threads has a sleep and the
/// locks use it. `index.lock` of a repository is one, too; and no event tells when the clock of a
/// file system has ticked.
const MAY_SLEEP: [&str; 4] = [
    "src/sync/",
    "src/lock/",
    "src/sandbox/git/checkout/lock.rs",
    "src/sandbox/git/checkout/prepare.rs",
];

fn find(source: &Source, words: &[&str], what: &str) -> Vec<String> {
    source
        .lines()
        .flat_map(|(number, line)| words.iter().map(move |word| (number, line, word)))
        .filter(|(_, line, word)| line.contains(**word))
        .map(|(number, _, word)| source.complain(number, &format!("`{word}`: {what}")))
        .collect()
}

pub(super) fn unfinished(source: &Source) -> Vec<String> {
    let mut complaints = find(source, &UNFINISHED, "finish it or write it down elsewhere");
    complaints.extend(find(source, &SILENCED, "use #[expect(lint, reason = ...)]"));
    complaints
}

pub(super) fn not_ascii(source: &Source) -> Vec<String> {
    let lines = source.lines().filter(|(_, line)| !line.is_ascii());
    lines
        .map(|(number, _)| source.complain(number, "a character that is not ASCII"))
        .collect()
}

pub(super) fn sleeps(source: &Source) -> Vec<String> {
    if MAY_SLEEP.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    find(source, &[SLEEP], "wait for a named event instead")
}

pub(super) fn unwraps(source: &Source) -> Vec<String> {
    source
        .shipped()
        .filter(|(_, line)| line.contains(UNWRAP))
        .map(|(number, _)| source.complain(number, "say why it holds, or return an error"))
        .collect()
}

/// True if the module at `path`, or one around it, is declared under `#[cfg(test)]`.
fn is_for_tests(sources: &[Source], path: &str) -> bool {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((dir, stem)) = path.rsplit_once('/') else {
        return false;
    };
    let parents = [format!("{dir}.rs"), format!("{dir}/mod.rs")];
    let declared = sources
        .iter()
        .filter(|source| parents.contains(&source.path))
        .any(|parent| {
            let lines: Vec<&str> = parent.text.lines().collect();
            let pairs = lines.iter().zip(lines.iter().skip(1));
            let mut marked =
                pairs.filter(|(mark, _)| mark.starts_with("#[cfg(") && mark.contains("test"));
            marked.any(|(_, line)| module(line, ";") == Some(stem))
        });
    declared || is_for_tests(sources, dir)
}

#[test]
fn nothing_is_unfinished_or_silenced() {
    let complaints: Vec<_> = rust().iter().flat_map(unfinished).collect();
    assert_none(&complaints);
}

#[test]
fn everything_is_ascii() {
    let mut sources = rust();
    sources.extend(pages());
    let complaints: Vec<_> = sources.iter().flat_map(not_ascii).collect();
    assert_none(&complaints);
}

#[test]
fn nothing_waits_by_sleeping() {
    let complaints: Vec<_> = rust().iter().flat_map(sleeps).collect();
    assert_none(&complaints);
}

#[test]
fn nothing_that_ships_unwraps() {
    let sources = files("src", "rs");
    let shipped = sources
        .iter()
        .filter(|source| !is_for_tests(&sources, &source.path));
    let complaints: Vec<_> = shipped.flat_map(unwraps).collect();
    assert_none(&complaints);
}
