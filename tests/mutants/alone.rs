//! Mutants that have no place behind a switch, as those of a constant: cargo-mutants builds and runs
//! each of them.

use super::End;
use super::list::Mutant;
use super::scope::{self, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The end of each.
pub(crate) fn run(
    scope: &Scope,
    copy: &Path,
    report: &Path,
    mutants: &BTreeMap<u32, &Mutant>,
) -> BTreeMap<u32, End> {
    let mut ends = BTreeMap::new();
    for module in &scope.modules {
        let of_module = mutants
            .iter()
            .filter(|(_, mutant)| mutant.module() == *module);
        let mut left: Vec<(u32, &Mutant)> = of_module
            .map(|(number, mutant)| (*number, *mutant))
            .collect();
        let mut passes = vec![("--lib", scope::units(module), End::Units)];
        if !scope.units_only {
            for filters in scope::integration(module) {
                passes.push(("--test=it", *filters, End::Integration));
            }
        }
        for (target, filters, caught) in passes {
            if left.is_empty() {
                break;
            }
            let verdicts =
                cargo_mutants(scope, copy, &report.join(module), (target, filters), &left);
            left.retain(|(number, mutant)| {
                let end = match verdicts.get(&mutant.name).map(String::as_str) {
                    Some("caught.txt") => caught,
                    Some("timeout.txt") => End::Time,
                    Some("unviable.txt") => End::NotCompiled,
                    Some("missed.txt") => return true,
                    _ => panic!("cargo-mutants says nothing of {}", mutant.name),
                };
                ends.insert(*number, end);
                false
            });
        }
        ends.extend(left.iter().map(|(number, _)| (*number, End::Missed)));
    }
    ends
}

/// Name of each mutant -> the list of cargo-mutants that it is on.
fn cargo_mutants(
    scope: &Scope,
    copy: &Path,
    report: &Path,
    (target, filters): (&str, &[&str]),
    mutants: &[(u32, &Mutant)],
) -> BTreeMap<String, String> {
    fs::create_dir_all(report).unwrap();
    let files: BTreeSet<&str> = mutants
        .iter()
        .map(|(_, mutant)| mutant.file.as_str())
        .collect();
    let status = Command::new("cargo")
        .args(["mutants", "--in-place", "--profile", scope.profile, "-d"])
        .arg(copy)
        .arg("-o")
        .arg(report)
        .args(files.iter().flat_map(|file| ["-f", file]))
        .args(
            mutants
                .iter()
                .flat_map(|(_, mutant)| ["--re".to_owned(), mutant.pattern()]),
        )
        .args(["-C=--locked", &format!("-C={target}"), "--", "--"])
        .args(filters)
        .status()
        .unwrap();
    // 2: some were missed. 3: some ran into the time limit.
    assert!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "cargo-mutants: {status}"
    );
    let mut verdicts = BTreeMap::new();
    for list in ["caught.txt", "timeout.txt", "unviable.txt", "missed.txt"] {
        let text = fs::read_to_string(report.join("mutants.out").join(list)).unwrap();
        for name in text.lines() {
            verdicts.insert(name.to_owned(), list.to_owned());
        }
    }
    verdicts
}
