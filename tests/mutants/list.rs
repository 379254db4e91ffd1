//! What cargo-mutants would change, and what it leaves out.

use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// A change of one expression.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) file: String,
    pub(crate) name: String,
    /// None in a constant.
    pub(crate) function: Option<Function>,
    /// What is replaced.
    pub(crate) span: Span,
    pub(crate) replacement: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Function {
    /// With its attributes, up to the closing brace.
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// A place in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Mutant {
    /// The module: what comes after `src/`.
    pub(crate) fn module(&self) -> &str {
        self.file.split('/').nth(1).unwrap()
    }

    /// Where it is and what it does, without the column: as the exclusions know it.
    pub(crate) fn pattern(&self) -> String {
        let mut text = String::from("^");
        for char in self.name.chars() {
            if !char.is_alphanumeric() && !" _/:-<>=&,'\"".contains(char) {
                text.push('\\');
            }
            text.push(char);
        }
        text.push('$');
        text
    }
}

/// The mutants of the files that match one of `globs` in the tree at `copy`.
pub(crate) fn mutants(copy: &Path, globs: &[String]) -> Vec<Mutant> {
    listed(copy, globs, &[])
}

/// The same, with those that `.cargo/mutants.toml` leaves out.
pub(crate) fn without_exclusions(copy: &Path, globs: &[String]) -> Vec<Mutant> {
    listed(copy, globs, &["--no-config"])
}

fn listed(copy: &Path, globs: &[String], options: &[&str]) -> Vec<Mutant> {
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--json", "-d"])
        .arg(copy)
        .args(options)
        .args(globs.iter().flat_map(|glob| ["-f", glob]))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo mutants --list: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
