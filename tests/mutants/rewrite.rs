//! All mutants of a file in one text: the body of each function becomes a choice of bodies.
//!
//! ```text
//! fn take(&self) -> bool { self.free }
//! fn take(&self) -> bool { match crate::mutant_switch::number() {
//!     3 => { true }
//!     4 => { false }
//!     _ => { self.free }
//! } }
//! ```

use super::list::{Mutant, Place};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// The variable with the number of the mutant that is to be. Tests that start planbox take away what
/// begins with `PLANBOX_`.
pub(crate) const SWITCH: &str = "MUTANT_OF_PLANBOX";

/// The value with which `planbox` itself ends at once, and a test that was built does not.
pub(crate) const PROGRAM: &str = "program";

/// The module that reads it once.
pub(crate) const SWITCH_MODULE: &str = r#"
//! Which mutant this process is: none of them if the variable is not set.
pub(crate) fn number() -> u32 {
    static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| match std::env::var("MUTANT_OF_PLANBOX").as_deref() {
        Err(_) => 0,
        Ok("program") => {
            let exe = std::env::current_exe().expect("a program");
            if exe.ends_with("planbox") {
                std::process::exit(97);
            }
            0
        }
        Ok(text) => text.parse().expect("a number"),
    })
}
"#;

/// A mutant with its number, and where it is in the original text.
#[derive(Debug)]
struct Change {
    number: u32,
    replaced: Range<usize>,
    replacement: String,
}

/// A file with all of its mutants.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// The lines of each mutant, counted from 1.
    pub(crate) arms: Vec<(u32, Range<usize>)>,
}

/// True if the mutant can stand behind the switch in `text`.
pub(crate) fn can_switch(text: &str, mutant: &Mutant) -> bool {
    let Some(function) = &mutant.function else {
        return false;
    };
    let start = offset(text, function.span.start);
    let body = body(text, start..offset(text, function.span.end));
    let head = &text[start..body.start];
    // Each arm of an `impl Trait` would have a type of its own.
    let inside = body.contains(&offset(text, mutant.span.start));
    inside && !head.contains("const fn") && !head.contains("-> impl ")
}

/// `text` with those of `mutants` that [can switch](can_switch).
pub(crate) fn rewrite(text: &str, mutants: &[(u32, &Mutant)]) -> Rewritten {
    let mut bodies: BTreeMap<usize, (usize, Vec<Change>)> = BTreeMap::new();
    for (number, mutant) in mutants {
        let function = mutant.function.as_ref().unwrap().span;
        let body = body(
            text,
            offset(text, function.start)..offset(text, function.end),
        );
        let change = Change {
            number: *number,
            replaced: offset(text, mutant.span.start)..offset(text, mutant.span.end),
            replacement: mutant.replacement.clone(),
        };
        // A function in a function belongs to the outer one.
        let outer = bodies
            .range_mut(..=body.start)
            .next_back()
            .filter(|(_, (end, _))| *end >= body.end);
        if let Some((_, (_, changes))) = outer {
            changes.push(change);
        } else {
            bodies.insert(body.start, (body.end, vec![change]));
        }
    }
    let mut new = String::new();
    let mut arms = Vec::new();
    let mut at = 0;
    for (start, (end, changes)) in bodies {
        assert!(start >= at, "the outer function comes first");
        new.push_str(&text[at..start]);
        new.push_str("{ match crate::mutant_switch::number() {\n");
        for Change {
            number,
            replaced,
            replacement,
        } in changes
        {
            let first = lines(&new);
            let (before, after) = (&text[start..replaced.start], &text[replaced.end..end]);
            writeln!(new, "{number} => {before}{replacement} {after}").unwrap();
            arms.push((number, first..lines(&new)));
        }
        write!(new, "_ => {}\n}} }}", &text[start..end]).unwrap();
        at = end;
    }
    new.push_str(&text[at..]);
    Rewritten { text: new, arms }
}

/// The number of the line that comes next.
fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count() + 1
}

fn offset(text: &str, place: Place) -> usize {
    let line: usize = text
        .split_inclusive('\n')
        .take(place.line - 1)
        .map(str::len)
        .sum();
    let columns: usize = text[line..]
        .chars()
        .take(place.column - 1)
        .map(char::len_utf8)
        .sum();
    line + columns
}

/// The block that ends where the function ends.
fn body(text: &str, function: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut at = function.start;
    let mut last = None;
    while at < function.end {
        match bytes[at] {
            b'{' => open.push(at),
            b'}' => last = Some((open.pop().expect("an opening brace"), at + 1)),
            _ => {
                at += token(&text[at..]);
                continue;
            }
        }
        at += 1;
    }
    let (start, end) = last.expect("a block");
    assert!(open.is_empty() && end == function.end, "the end is a brace");
    start..end
}

/// How long the comment, the literal or the single character at the start of `text` is.
fn token(text: &str) -> usize {
    let until = |skip: usize, end: &str| {
        text[skip..]
            .find(end)
            .map_or(text.len(), |at| skip + at + end.len())
    };
    if text.starts_with("//") {
        return until(0, "\n");
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    for raw in ["r\"", "br\""] {
        if text.starts_with(raw) {
            return until(raw.len(), "\"");
        }
    }
    for raw in ["r#\"", "br#\""] {
        if text.starts_with(raw) {
            return until(raw.len(), "\"#");
        }
    }
    let mut chars = text.char_indices();
    match chars.next() {
        Some((_, '"')) => {
            let mut escaped = false;
            for (at, char) in chars {
                match char {
                    '"' if !escaped => return at + 1,
                    _ => escaped = char == '\\' && !escaped,
                }
            }
            text.len()
        }
        Some((_, '\'')) => {
            // A character is closed after one, or is escaped; else it is a lifetime.
            match (chars.next(), chars.next()) {
                (Some((_, '\\')), _) => until(3, "'"),
                (_, Some((at, '\''))) => at + 1,
                _ => 1,
            }
        }
        // A whole word, so that its last letter is not taken for the start of a raw string.
        Some((_, char)) if char.is_alphanumeric() || char == '_' => text
            .find(|char: char| !char.is_alphanumeric() && char != '_')
            .unwrap_or(text.len()),
        Some((_, char)) => char.len_utf8(),
        None => 0,
    }
}

/// What the text looks like after a change, and that braces in text are not taken for blocks.
pub(crate) fn self_check() {
    let text = "/// {\nfn f<'a>(a: &'a str) -> [char; 2] {\n    /* } */ ['{', '\\''] // }\n}\nfn g() -> &'static str { r#\"}\"\"# }\n";
    let place = |line, column| Place { line, column };
    let span = |start, end| super::list::Span { start, end };
    let mutant = |function, replaced, replacement: &str| Mutant {
        file: "src/a/b.rs".into(),
        name: String::new(),
        function: Some(super::list::Function { span: function }),
        span: replaced,
        replacement: replacement.into(),
    };
    let first = span(place(1, 1), place(4, 2));
    let second = span(place(5, 1), place(5, 35));
    let mutants = [
        mutant(first, span(place(3, 13), place(3, 24)), "['a'; 2]"),
        mutant(second, span(place(5, 26), place(5, 33)), "\"\""),
    ];
    assert!(mutants.iter().all(|mutant| can_switch(text, mutant)));
    let new = rewrite(text, &[(1, &mutants[0]), (2, &mutants[1])]);
    let wanted = "/// {\nfn f<'a>(a: &'a str) -> [char; 2] { match crate::mutant_switch::number() {\n1 => {\n    /* } */ ['a'; 2]  // }\n}\n_ => {\n    /* } */ ['{', '\\''] // }\n}\n} }\nfn g() -> &'static str { match crate::mutant_switch::number() {\n2 => { \"\"  }\n_ => { r#\"}\"\"# }\n} }\n";
    assert_eq!(new.text, wanted);
    assert_eq!(new.arms, [(1, 3..6), (2, 11..12)]);
    let constant = Mutant {
        function: None,
        ..mutants[0].clone()
    };
    assert!(!can_switch(text, &constant));
    let text = text.replace("fn f", "const fn f");
    let moved = span(place(1, 1), place(4, 2));
    assert!(!can_switch(&text, &mutant(moved, mutants[0].span, "")));
}
