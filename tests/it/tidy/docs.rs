//! The pages say what the code does: named tests exist, generated parts are up to date.

use super::{Source, assert_none, file, files, module, pages, root, rust};
use planbox::sync::order::{ORDER, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Pages on which a path in backticks, all of it in lower case, is the name of a test.
const PAGES_WITH_TESTS: [&str; 2] = ["README.md", "docs/guarantees.md"];

/// The first words of crash points: a text like `commit.decided` in the sources is one.
const STEPS: [&str; 9] = [
    "open", "commit", "seal", "apply", "settle", "takeback", "rollback", "recover", "job",
];

/// Set it to have generated parts written instead of compared.
pub(super) const BLESS: &str = "PLANBOX_BLESS";

const BEGIN: &str = "<!-- generated from src/sync/order.rs: begin -->\n";
const END: &str = "<!-- generated: end -->";

/// The names of all tests, as `cargo test` prints them.
pub(super) fn names_of_tests(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let inside = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let inside = inside
            .trim_start_matches("src/")
            .trim_start_matches("tests/it/");
        let path = inside.replace('/', "::");
        let mut nested = String::new();
        let mut is_test = false;
        for (_, line) in source.code() {
            let line = line.trim();
            if let Some(name) = module(line, " {") {
                nested = format!("::{name}");
            }
            if let (true, Some(rest)) = (is_test, line.strip_prefix("fn ")) {
                let name = rest.split('(').next().unwrap_or_default();
                names.insert(format!("{path}{nested}::{name}"));
            }
            is_test = line == "#[test]" || is_test && line.starts_with('#');
        }
    }
    names
}

/// What is written between backticks on a page, with the line.
fn quoted(page: &Source) -> Vec<(usize, &str)> {
    page.lines()
        .flat_map(|(number, line)| {
            line.split('`')
                .skip(1)
                .step_by(2)
                .map(move |span| (number, span))
        })
        .collect()
}

/// True for `module::name`, all of it in lower case.
fn looks_like_a_test(span: &str) -> bool {
    let mut parts = span.split("::");
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    span.contains("::") && parts.all(plain)
}

pub(super) fn unknown_tests(page: &Source, tests: &BTreeSet<String>) -> Vec<String> {
    quoted(page)
        .into_iter()
        .filter(|(_, span)| looks_like_a_test(span) && !tests.contains(*span))
        .map(|(number, span)| page.complain(number, &format!("there is no test {span}")))
        .collect()
}

/// Crash points that are passed but not listed, or listed but never passed.
pub(super) fn crash_points(listed: &[&str], sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut passed = BTreeSet::new();
    for source in sources
        .iter()
        .filter(|source| source.path != "src/crash.rs")
    {
        for (number, line) in source.shipped() {
            for text in line.split('"').skip(1).step_by(2) {
                let Some((step, rest)) = text.split_once('.') else {
                    continue;
                };
                let one_word = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase());
                if !(one_word && STEPS.contains(&step)) {
                    continue;
                }
                if !listed.contains(&text) {
                    complaints.push(source.complain(number, &format!("{text} is not listed")));
                }
                passed.insert(text.to_owned());
            }
        }
    }
    let never = listed.iter().filter(|point| !passed.contains(**point));
    complaints.extend(never.map(|point| format!("src/crash.rs: {point} is never passed")));
    complaints
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = names_of_tests(&rust());
    assert!(tests.len() > 40, "the tests were not found: {tests:?}");
    let mut complaints = Vec::new();
    for path in PAGES_WITH_TESTS {
        let page = file(path);
        complaints.extend(unknown_tests(&page, &tests));
        let named = quoted(&page)
            .iter()
            .filter(|(_, span)| looks_like_a_test(span))
            .count();
        assert!(named > 5, "{path} names no tests");
    }
    assert_none(&complaints);
}

#[test]
fn every_guarantee_has_a_row() {
    let page = file("docs/guarantees.md").text;
    for number in 1..=13 {
        assert!(
            page.contains(&format!("## G{number} ")),
            "docs/guarantees.md: G{number}"
        );
    }
}

#[test]
fn every_source_file_that_a_page_names_exists() {
    let mut complaints = Vec::new();
    for page in pages() {
        for (number, span) in quoted(&page) {
            let named = ["src/", "tests/", "docs/", "benches/", ".ci/"]
                .iter()
                .any(|dir| span.starts_with(dir));
            let plain = !span.contains(|c: char| c.is_whitespace() || "*<{".contains(c));
            if named && plain && !root().join(span).exists() {
                complaints.push(page.complain(number, &format!("{span} does not exist")));
            }
        }
    }
    assert_none(&complaints);
}

/// True if `text` holds `word` as a whole word.
fn holds(text: &str, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(inner) && !after.is_some_and(inner)
    })
}

/// Items like `Type::name` on a page that no source file holds both words of.
pub(super) fn unknown_items(page: &Source, sources: &[Source]) -> Vec<String> {
    let is_item = |(_, span): &(usize, &str)| {
        let mut parts = span.split("::");
        let first = parts.next().unwrap_or_default();
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        first.starts_with(|c: char| c.is_ascii_uppercase()) && plain(first) && parts.all(plain)
    };
    let unknown = |(_, span): &(usize, &str)| {
        let words: Vec<&str> = span.split("::").collect();
        words.len() > 1
            && !sources
                .iter()
                .any(|source| words.iter().all(|word| holds(&source.text, word)))
    };
    let found = quoted(page).into_iter().filter(is_item).filter(unknown);
    found
        .map(|(number, span)| page.complain(number, &format!("there is no {span}")))
        .collect()
}

#[test]
fn every_item_that_a_page_names_exists() {
    let sources = files("src", "rs");
    let complaints: Vec<_> = pages()
        .iter()
        .flat_map(|page| unknown_items(page, &sources))
        .collect();
    assert_none(&complaints);
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut complaints = Vec::new();
    for page in pages() {
        let dir = root().join(&page.path);
        let dir = dir.parent().unwrap();
        for (number, line) in page.lines() {
            for rest in line.split("](").skip(1) {
                let target = rest.split([')', '#']).next().unwrap_or_default();
                if !target.is_empty() && !target.contains("://") && !dir.join(target).exists() {
                    complaints.push(page.complain(number, &format!("{target} does not exist")));
                }
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn crash_points_are_listed_passed_and_explained() {
    let listed = planbox::CRASH_POINTS;
    let unique: BTreeSet<_> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a crash point is listed twice");
    assert_none(&crash_points(listed, &files("src", "rs")));
    let page = file("docs/protocol.md").text;
    let silent = listed
        .iter()
        .filter(|point| !page.contains(&format!("`{point}`")));
    let silent: Vec<_> = silent
        .map(|point| format!("docs/protocol.md: {point}"))
        .collect();
    assert_none(&silent);
}

#[test]
fn the_page_on_the_command_line_has_every_command() {
    let page = file("docs/cli.md").text;
    let commands = files("src/bin/planbox/cmd", "rs");
    let names = commands.iter().filter_map(|source| {
        let name = source.path.rsplit('/').next()?.strip_suffix(".rs")?;
        let helper = ["mod", "receipt"].contains(&name);
        (!helper).then(|| name.to_owned())
    });
    let missing: Vec<_> = names
        .filter(|name| !page.contains(&format!("planbox {name} ")))
        .collect();
    assert_none(&missing);
}

fn yes_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "never" }
}

fn generated() -> String {
    let mut text = String::from(
        "\n| # | rank | protects | held across I/O | several at once | may be taken under it |\n\
         |---|---|---|---|---|---|\n",
    );
    for (index, row) in ORDER.iter().enumerate() {
        let Row {
            name,
            protects,
            across_io,
            several,
            then,
            ..
        } = row;
        let several = if *several { "in key order" } else { "never" };
        let then = if then.is_empty() {
            "nothing".to_owned()
        } else {
            then.join(", ")
        };
        let io = yes_no(*across_io);
        let number = index + 1;
        writeln!(
            text,
            "| {number} | {name} | {protects} | {io} | {several} | {then} |"
        )
        .unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn the_page_on_the_lock_order_is_up_to_date() {
    let path = "docs/lock-order.md";
    let page = file(path).text;
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (now, tail) = rest.split_once(END).unwrap();
    let wanted = generated();
    if std::env::var_os(BLESS).is_some() {
        let blessed = format!("{head}{BEGIN}{wanted}{END}{tail}");
        let mut out = std::fs::File::create(root().join(path)).unwrap();
        std::io::Write::write_all(&mut out, blessed.as_bytes()).unwrap();
        return;
    }
    assert_eq!(
        now, wanted,
        "{path} is out of date; run this test with {BLESS}=1"
    );
}

/// The part of the page on testing that maps promises to bodies and tests.
const MAP: &str = "### What is held to schedules";

#[test]
fn the_map_of_schedules_names_every_body_and_no_other() {
    let page = file("docs/testing.md");
    let map = page.text.split_once(MAP).unwrap().1;
    let map = map.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = map.split('"').skip(1).step_by(2).collect();
    let bodies: Vec<Source> = rust()
        .into_iter()
        .filter(|source| source.path.starts_with("tests/schedules/bodies/"))
        .collect();
    let mut known = BTreeSet::new();
    for body in &bodies {
        let made = ["Case::light(", "Case::heavy("];
        for made in made {
            let cases = body.text.split(made).skip(1);
            known.extend(cases.filter_map(|case| case.split('"').nth(1)));
        }
    }
    assert!(known.len() > 40, "the bodies were not found: {known:?}");
    let missing: Vec<_> = known
        .iter()
        .filter(|body| !named.contains(**body) && !body.contains("the checker"))
        .collect();
    assert!(missing.is_empty(), "not in the map: {missing:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "no such body: {unknown:?}");
    let tests = names_of_tests(&rust());
    let spans = map.split('`').skip(1).step_by(2);
    let gone: Vec<_> = spans
        .filter(|span| looks_like_a_test(span) && !tests.contains(*span))
        .collect();
    assert!(gone.is_empty(), "no such test: {gone:?}");
}
