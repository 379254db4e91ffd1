//! Which modules, and which tests are theirs.

use std::time::Duration;

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) modules: Vec<&'static str>,
    /// Files with the mutants.
    pub(crate) globs: Vec<String>,
    /// Without the integration tests.
    pub(crate) units_only: bool,
    /// The build profile.
    pub(crate) profile: &'static str,
    /// A run may take so long, and a few times what it takes without a mutant.
    pub(crate) least_limit: Duration,
}

impl Scope {
    /// Of the words `short`, `lock`, `plan`, `manager`.
    pub(crate) fn new(words: &[String]) -> Self {
        if words == ["short"] {
            return Self {
                modules: vec!["lock"],
                globs: ["src/lock/gate/**", "src/lock/table/**"]
                    .map(String::from)
                    .to_vec(),
                units_only: true,
                // The dependencies are there: the tests were built with it.
                profile: "test",
                least_limit: Duration::from_secs(10),
            };
        }
        let modules: Vec<&str> = words
            .iter()
            .map(|word| match word.as_str() {
                "lock" => "lock",
                "plan" => "plan",
                "manager" => "manager",
                other => panic!("what is {other:?}?"),
            })
            .collect();
        Self {
            globs: modules
                .iter()
                .map(|module| format!("src/{module}/**"))
                .collect(),
            modules,
            units_only: false,
            profile: "mutants",
            least_limit: Duration::from_secs(30),
        }
    }

    /// What the table calls `module`.
    pub(crate) fn label<'a>(&self, module: &'a str) -> &'a str {
        if self.units_only {
            "the gate and the table of locks"
        } else {
            module
        }
    }
}

/// Filters of the unit tests of a module.
pub(crate) fn units(module: &str) -> &'static [&'static str] {
    match module {
        "lock" => &["lock::"],
        _ => &["plan::", "manager::"],
    }
}

/// Filters of the integration tests, for what the unit tests miss. First those that stay in one process
/// and are quick; then the others, for what is left.
pub(crate) fn integration(module: &str) -> &'static [&'static [&'static str]] {
    const QUICK: &[&str] = &[
        "protocol::",
        "manager::",
        "commit::",
        "marker::",
        "register::",
    ];
    match module {
        "lock" => &[&["commit::", "locks::"], &["processes::"]],
        _ => &[
            QUICK,
            &["crash::", "processes::", "jobs::", "cli::", "mixed::"],
        ],
    }
}
