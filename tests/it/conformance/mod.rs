//! The suite for participants: every kind passes it, and broken ones do not.

mod broken;
mod directory;
mod example;
mod git;

#[expect(dead_code, reason = "its main runs as an example")]
#[path = "../../../docs/examples/participant.rs"]
mod participant;
mod shelf;
#[cfg(feature = "sqlite")]
mod sqlite;
mod value;

pub(crate) use directory::directory;
pub(crate) use example::settings;

pub(crate) use broken::Defect;
pub(crate) use git::{checked_out, git};
pub(crate) use shelf::{Shelf, shelf};
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::sqlite;
pub(crate) use value::value;

use planbox::conformance::RULES;

#[test]
fn the_rules_are_numbered_and_told_on_the_page_for_writers_of_participants() {
    let page = include_str!("../../../docs/participants.md");
    let words: Vec<&str> = page.split_whitespace().collect();
    let page = words.join(" ");
    for (number, rule) in (1..).zip(&RULES) {
        assert_eq!(rule.number, number);
        let line = format!("{number}. {}", rule.sentence);
        assert!(page.contains(&line), "docs/participants.md: {line}");
    }
}

#[test]
fn the_macro_makes_a_test_of_every_rule() {
    let macro_text = include_str!("../../../src/conformance/tests_macro.rs");
    for rule in &RULES {
        let number = rule.number;
        let name = format!("fn rule_{number:02}_");
        let call = format!("assert_rule({number}, ");
        assert!(
            macro_text.contains(&name) && macro_text.contains(&call),
            "{number}"
        );
    }
    assert_eq!(macro_text.matches("assert_rule(").count(), RULES.len());
}
