//! What the suite answers.

use super::stop::{Step, Stop};
use super::{Make, RULES};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A rule that every participant keeps.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its number, from 1.
    pub number: u8,
    /// What it asks.
    pub sentence: &'static str,
    pub(super) run: fn(&Make<'_>) -> Step,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({}: {})", self.number, self.sentence)
    }
}

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The participant keeps it.
    Passed,
    /// It asks something that the participant has not got; the reason is told.
    NotApplicable(String),
    /// The participant breaks it; what was seen is told.
    Failed(String),
}

/// A rule that was tried on a participant.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checked {
    /// The rule.
    pub rule: Rule,
    /// What became of it.
    pub verdict: Verdict,
}

impl Checked {
    /// True if the participant breaks the rule.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.verdict, Verdict::Failed(_))
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule {
            number, sentence, ..
        } = self.rule;
        match &self.verdict {
            Verdict::Passed => write!(f, "{number:2} passed: {sentence}"),
            Verdict::NotApplicable(why) => write!(f, "{number:2} not applicable ({why})"),
            Verdict::Failed(seen) => write!(f, "{number:2} FAILED: {sentence}\n{seen}"),
        }
    }
}

/// All rules, tried on one participant.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// In the order of [`RULES`].
    pub rules: Vec<Checked>,
}

impl Report {
    /// True if no rule is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.rules.iter().any(Checked::is_broken)
    }

    /// The numbers of the rules that are broken.
    #[must_use]
    pub fn broken(&self) -> Vec<u8> {
        let broken = self.rules.iter().filter(|checked| checked.is_broken());
        broken.map(|checked| checked.rule.number).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules
            .iter()
            .try_for_each(|checked| writeln!(f, "{checked}"))
    }
}

/// Tries every rule on the participant whose real things `make` makes.
pub fn run(make: &Make<'_>) -> Report {
    Report {
        rules: RULES.iter().map(|rule| check(rule, make)).collect(),
    }
}

/// Tries one rule. A panic of the participant breaks it.
pub fn check(rule: &Rule, make: &Make<'_>) -> Checked {
    let outcome = catch_unwind(AssertUnwindSafe(|| (rule.run)(make)));
    let verdict = match outcome {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(Stop::NotApplicable(why))) => Verdict::NotApplicable(why.to_owned()),
        Ok(Err(Stop::Failed(seen))) => Verdict::Failed(seen),
        Err(payload) => {
            let text = payload
                .downcast_ref::<&'static str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            Verdict::Failed(format!("it panicked: {}", text.unwrap_or("without a text")))
        }
    };
    Checked {
        rule: *rule,
        verdict,
    }
}

/// Tries the rule with this `number`, for a `#[test]`.
///
/// # Panics
/// If the participant breaks it, with what was seen, or if there is no such rule.
pub fn assert_rule(number: u8, make: &Make<'_>) {
    let rule = RULES.iter().find(|rule| rule.number == number);
    assert!(rule.is_some(), "there is no rule {number}");
    if let Some(rule) = rule {
        let checked = check(rule, make);
        assert!(!checked.is_broken(), "rule {checked}");
    }
}
