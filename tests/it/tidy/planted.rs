//! Planted violations: each rule is shown to notice what it is there for.

use super::words::{not_ascii, sleeps, unfinished, unwraps};
use super::{FILE_MAX_LINES, Source, docs, floors, forgotten, too_long};

fn noticed(complaints: &[String], path: &str, line: usize, what: &str) {
    let expected = format!("{path}:{line}: ");
    assert!(
        complaints
            .iter()
            .any(|text| text.starts_with(&expected) && text.contains(what)),
        "expected {expected:?} with {what:?} among {complaints:?}"
    );
}

#[test]
fn an_upward_use_is_noticed() {
    for text in [
        "use crate::plan::Receipt;",
        "use crate::{error::Fault, plan::Receipt};",
        "pub(crate) use crate::{\n    error::{Fault, Stage},\n    plan::Receipt,\n};",
        "fn f() -> crate::plan::Receipt {}",
        "macro_rules! m { () => { $crate::plan::x() } }",
    ] {
        let source = Source::planted("src/journal/rules.rs", text);
        noticed(
            &floors::crossings(&source),
            "src/journal/rules.rs",
            1,
            "above it (floor 5)",
        );
    }
}

#[test]
fn a_sideways_use_is_noticed() {
    let source = Source::planted(
        "src/lock/table.rs",
        "use crate::id;\nuse crate::register::R;\n",
    );
    let complaints = floors::crossings(&source);
    noticed(&complaints, "src/lock/table.rs", 2, "beside it (floor 3)");
    assert_eq!(complaints.len(), 1);
}

#[test]
fn a_banned_use_is_noticed() {
    let path = "src/sandbox/directory/view.rs";
    for banned in ["lock", "journal"] {
        let source = Source::planted(path, &format!("use crate::{banned}::X;"));
        noticed(&floors::crossings(&source), path, 1, "is not to know");
    }
}

#[test]
fn a_use_through_the_crate_root_is_noticed() {
    let path = "src/lock/lease.rs";
    let source = Source::planted(path, "use crate::PlanId;\n");
    noticed(&floors::crossings(&source), path, 1, "crate root");
    let source = Source::planted("src/lock/mod.rs", "use super::journal::X;\n");
    noticed(&floors::escapes(&source), "src/lock/mod.rs", 1, "leaves");
    let source = Source::planted("src/lock/lease.rs", "use super::super::journal::X;\n");
    noticed(&floors::escapes(&source), "src/lock/lease.rs", 1, "leaves");
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    let text = "//! See [`crate::plan`].\nuse crate::id::{Epoch, PlanId};\nuse crate::sync::Rank;\n\
                use super::wait::LockWait; // as crate::manager does\n";
    let source = Source::planted("src/lock/lease.rs", text);
    assert_eq!(floors::crossings(&source), Vec::<String>::new());
    assert_eq!(floors::escapes(&source), Vec::<String>::new());
    assert_eq!(floors::back_doors(&source), Vec::<String>::new());
    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    let source = Source::planted("src/clock.rs", text);
    assert_eq!(floors::escapes(&source), Vec::<String>::new());
}

#[test]
fn a_module_without_a_floor_is_noticed() {
    let source = Source::planted("src/helpers.rs", "");
    noticed(
        &floors::crossings(&source),
        "src/helpers.rs",
        1,
        "without a floor",
    );
}

#[test]
fn a_crate_used_past_its_door_is_noticed() {
    for (path, text) in [
        ("src/journal/writer.rs", "use parking_lot::Mutex;"),
        ("src/plan/mod.rs", "use dashmap::DashMap;"),
        (
            "src/sandbox/value.rs",
            "let c = rusqlite::Connection::open(p);",
        ),
        ("src/manager/mod.rs", "use clap;"),
        ("src/plan/mod.rs", "#[path = \"../x.rs\"]"),
    ] {
        noticed(
            &floors::back_doors(&Source::planted(path, text)),
            path,
            1,
            "",
        );
    }
}

#[test]
fn a_forgotten_file_is_noticed() {
    let sources = [
        Source::planted("tests/it/main.rs", "mod named;\n"),
        Source::planted("tests/it/named.rs", ""),
        Source::planted("tests/it/lost.rs", ""),
        Source::planted("tests/it/deep/mod.rs", "pub(crate) mod inner;\n"),
        Source::planted("tests/it/deep/inner.rs", ""),
    ];
    let complaints = forgotten(&sources);
    noticed(&complaints, "tests/it/lost.rs", 1, "no parent");
    noticed(&complaints, "tests/it/deep/mod.rs", 1, "no parent");
    assert_eq!(complaints.len(), 2);
}

#[test]
fn a_long_file_is_noticed() {
    let fits = Source::planted("src/a.rs", &"\n".repeat(FILE_MAX_LINES));
    assert_eq!(too_long(&fits), None);
    let long = Source::planted("src/a.rs", &"\n".repeat(FILE_MAX_LINES + 1));
    assert!(too_long(&long).is_some());
}

#[test]
fn unfinished_work_is_noticed() {
    for word in [
        "TO_DO: later",
        "FIX_ME",
        "dbg_!(x)",
        "to_do!()",
        "#[al_low(dead_code)]",
    ] {
        let word = word.replacen('_', "", 1);
        let source = Source::planted("src/a.rs", &format!("fn f() {{}}\n{word}\n"));
        noticed(&unfinished(&source), "src/a.rs", 2, "");
    }
}

#[test]
fn a_foreign_character_is_noticed() {
    let source = Source::planted("docs/a.md", "fine\nna\u{ef}ve\n");
    noticed(&not_ascii(&source), "docs/a.md", 2, "ASCII");
}

#[test]
fn a_sleep_is_noticed() {
    let text = format!("std::{}(pause);", super::words::SLEEP);
    noticed(
        &sleeps(&Source::planted("tests/it/a.rs", &text)),
        "tests/it/a.rs",
        1,
        "named event",
    );
    assert_eq!(
        sleeps(&Source::planted("src/lock/wait.rs", &text)),
        Vec::<String>::new()
    );
}

#[test]
fn an_unwrap_that_ships_is_noticed() {
    let unwrap = super::words::UNWRAP;
    let text = format!(
        "fn f() {{ x{unwrap}; }}\n#[cfg(test)]\nmod tests {{\n    fn g() {{ x{unwrap}; }}\n}}\n\
         fn h() {{ x{unwrap}; }}\n"
    );
    let complaints = unwraps(&Source::planted("src/a.rs", &text));
    noticed(&complaints, "src/a.rs", 1, "why it holds");
    noticed(&complaints, "src/a.rs", 6, "why it holds");
    assert_eq!(complaints.len(), 2);
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let tests = docs::names_of_tests(&[
        Source::planted("tests/it/seed.rs", "#[test]\nfn the_race() {\n}\n"),
        Source::planted(
            "src/lock/table.rs",
            "mod tests {\n    #[test]\n    fn no_leak() {}\n}\n",
        ),
    ]);
    let page = "`seed::the_race` and `lock::table::tests::no_leak`\n`seed::not_there`\n";
    let complaints = docs::unknown_tests(&Source::planted("README.md", page), &tests);
    noticed(&complaints, "README.md", 2, "seed::not_there");
    assert_eq!(complaints.len(), 1);
}

#[test]
fn an_item_that_does_not_exist_is_noticed() {
    let sources = [Source::planted(
        "src/a.rs",
        "impl Plan { fn commit(&self) {} }",
    )];
    let page = "`Plan::commit` and `OPEN` and `a::b`\n`Plan::comm`\n";
    let complaints = docs::unknown_items(&Source::planted("docs/a.md", page), &sources);
    noticed(&complaints, "docs/a.md", 2, "Plan::comm");
    assert_eq!(complaints.len(), 1);
}

#[test]
fn a_crash_point_that_is_not_listed_or_not_passed_is_noticed() {
    let source = Source::planted("src/plan/a.rs", "crash::point(\"commit.one\");\n");
    let complaints = docs::crash_points(&["commit.two"], &[source]);
    assert!(
        complaints.iter().any(|text| text.contains("commit.one")),
        "{complaints:?}"
    );
    assert!(
        complaints.iter().any(|text| text.contains("commit.two")),
        "{complaints:?}"
    );
}
