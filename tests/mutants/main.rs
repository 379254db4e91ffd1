//! Mutants: every change that cargo-mutants would make to some modules, all in one build behind a
//! switch. Each is run as a process of its own, and a test has to fail. `.ci/mutants` calls this;
//! docs/design/0022 says why it is so.
//!
//! `cargo test --test mutants -- run COPY REPORT (short | MODULE...)`: COPY is a copy of the repository, which
//! is changed; below REPORT is what cargo-mutants itself writes, of the few that have no place behind
//! a switch.
//!
//! Controls: without a mutant all tests pass; the switch reaches programs that a test starts; a planted mutant that changes nothing is missed; one of each
//! module is caught; and each mutant of cargo-mutants' list has one verdict.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::panic,
    reason = "a program that prints a table and stops at the first surprise"
)]

mod alone;
mod build;
mod list;
mod rewrite;
mod scope;
mod trial;

use build::Build;
use list::Mutant;
use scope::Scope;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trial::{Tests, Verdict};

/// Tests of one module run at the same time in one process: those that hang leave the others room.
const THREADS_UNITS: usize = 8;
const THREADS_INTEGRATION: usize = 4;

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Units,
    Integration,
    Time,
    NotCompiled,
    Missed,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [run_them, copy, report, scope @ ..] = words.as_slice() else {
        return self_check();
    };
    if run_them != "run" {
        return self_check();
    }
    let started = Instant::now();
    let scope = Scope::new(scope);
    let copy = Path::new(copy);
    // Before the copy is changed.
    let every = list::without_exclusions(copy, &scope.globs);
    let ends = run(&scope, copy, Path::new(report));
    let missed = ends.iter().filter(|(_, end)| *end == End::Missed).count();
    for (mutant, _) in ends.iter().filter(|(_, end)| *end == End::Missed) {
        println!("missed: {}", mutant.name);
    }
    print(&scope, &every, &ends);
    println!(
        "mutants: {missed} missed, {} s",
        started.elapsed().as_secs()
    );
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        println!("mutants: a test is missing, or a reason in .cargo/mutants.toml");
        ExitCode::FAILURE
    }
}

/// With all other tests: what is read and written of a source, without cargo-mutants and without a build.
fn self_check() -> ExitCode {
    rewrite::self_check();
    println!("mutants: a body is found and becomes a choice; .ci/mutants runs the mutants");
    ExitCode::SUCCESS
}

/// Each mutant of the scope with its end.
fn run(scope: &Scope, copy: &Path, report: &Path) -> Vec<(Mutant, End)> {
    let all = list::mutants(copy, &scope.globs);
    assert!(!all.is_empty(), "no mutants");
    let numbered: BTreeMap<u32, &Mutant> = (1..).zip(&all).collect();
    let (switched, alone): (BTreeMap<_, _>, BTreeMap<_, _>) = numbered
        .iter()
        .map(|(number, mutant)| (*number, *mutant))
        .partition(|(_, mutant)| {
            let text = std::fs::read_to_string(copy.join(&mutant.file)).unwrap();
            rewrite::can_switch(&text, mutant)
        });
    println!(
        "mutants: {} behind a switch, {} in a build of their own",
        switched.len(),
        alone.len()
    );
    let planted = planted(scope, &switched);
    let mut behind = switched.clone();
    behind.extend(planted.iter().map(|(number, mutant)| (*number, mutant)));
    let mut build = Build::new(copy, scope.profile, behind);
    let mut ends = trials(scope, (copy, report), &mut build);
    build.restore();
    ends.extend(alone::run(scope, copy, report, &alone));
    for (number, text) in build.refused() {
        println!("does not compile: {}: {text}", numbered[number].name);
        ends.insert(*number, End::NotCompiled);
    }
    for (number, mutant) in &planted {
        let end = ends.remove(number);
        assert_eq!(end, Some(End::Missed), "{}", mutant.name);
        let label = scope.label(mutant.module());
        println!("mutants: control of {label}: one that changes nothing is missed");
    }
    assert!(
        ends.keys().eq(numbered.keys()),
        "each mutant has one verdict"
    );
    ends.into_iter()
        .map(|(number, end)| (numbered[&number].clone(), end))
        .collect()
}

/// One mutant for each module that changes nothing, so that its tests must pass.
fn planted(scope: &Scope, switched: &BTreeMap<u32, &Mutant>) -> BTreeMap<u32, Mutant> {
    let mut planted = BTreeMap::new();
    for (number, module) in (1_000_000..).zip(&scope.modules) {
        let like = switched
            .values()
            .find(|mutant| mutant.module() == *module)
            .expect("a mutant of each module");
        let mut mutant = (*like).clone();
        mutant.span.end = mutant.span.start;
        mutant.replacement = String::new();
        mutant.name = format!("planted in {}: nothing is changed", mutant.file);
        planted.insert(number, mutant);
    }
    planted
}

/// Runs the unit tests against all that compile, then the integration tests against what is left.
fn trials(
    scope: &Scope,
    (copy, report): (&Path, &Path),
    build: &mut Build<'_>,
) -> BTreeMap<u32, End> {
    let binary = |build: &mut Build<'_>, target: &str| {
        let started = Instant::now();
        let original = build.binary(target);
        // Whatever else is built meanwhile has the same name.
        let binary = report.join(target.trim_start_matches('-'));
        std::fs::copy(original, &binary).unwrap();
        println!(
            "mutants: {target} built in {} s",
            started.elapsed().as_secs()
        );
        binary
    };
    let units = binary(build, "--lib");
    let integration = (!scope.units_only).then(|| binary(build, "--test=it"));
    let mut ends = BTreeMap::new();
    for module in &scope.modules {
        let mut left: Vec<(u32, &Mutant)> = build
            .living()
            .iter()
            .filter(|(_, mutant)| mutant.module() == *module)
            .map(|(number, mutant)| (*number, *mutant))
            .collect();
        let mut passes = vec![(
            units.clone(),
            scope::units(module),
            THREADS_UNITS,
            End::Units,
        )];
        for filters in scope::integration(module) {
            let binary = integration.clone();
            passes.extend(
                binary.map(|binary| (binary, *filters, THREADS_INTEGRATION, End::Integration)),
            );
        }
        for (binary, filters, threads, caught) in passes {
            let tests = Tests {
                binary,
                filters,
                threads,
                doubts: caught == End::Integration,
                copy,
            };
            let (count, time) = tests.control();
            let limit = scope.least_limit + time * 5;
            println!(
                "mutants: {module}: {count} tests, {} ms; {} mutants, limit {} s",
                time.as_millis(),
                left.len(),
                limit.as_secs()
            );
            if filters.iter().any(|filter| filter.starts_with("cli")) {
                let verdict = tests.run(rewrite::PROGRAM, limit);
                let is_seen = matches!(&verdict, Verdict::Caught(test) if test.starts_with("cli"));
                assert!(is_seen, "the switch does not reach planbox: {verdict:?}");
            }
            left = pass(&tests, limit, left, |number, verdict| {
                let end = if verdict == Verdict::Hung {
                    End::Time
                } else {
                    caught
                };
                ends.insert(number, end);
            });
        }
        ends.extend(left.iter().map(|(number, _)| (*number, End::Missed)));
    }
    ends
}

/// Runs `tests` against each of `mutants`; gives back those that they miss.
fn pass<'a>(
    tests: &Tests<'_>,
    limit: Duration,
    mutants: Vec<(u32, &'a Mutant)>,
    mut end: impl FnMut(u32, Verdict),
) -> Vec<(u32, &'a Mutant)> {
    let queue = Mutex::new(mutants.into_iter());
    let verdicts = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((number, mutant)) = next else {
                        return;
                    };
                    let started = Instant::now();
                    let verdict = tests.run(&number.to_string(), limit);
                    let ms = started.elapsed().as_millis();
                    let said = match &verdict {
                        Verdict::Missed => "not caught".to_owned(),
                        Verdict::Caught(test) => format!("caught by {test}"),
                        Verdict::Hung => "hung".to_owned(),
                    };
                    println!("{}: {said}, {ms} ms", mutant.name);
                    verdicts.lock().unwrap().push((number, mutant, verdict));
                }
            });
        }
    });
    let mut missed = Vec::new();
    for (number, mutant, verdict) in verdicts.into_inner().unwrap() {
        if verdict == Verdict::Missed {
            missed.push((number, mutant));
        } else {
            end(number, verdict);
        }
    }
    missed.sort_by_key(|(number, _)| *number);
    missed
}

/// One line for each module; every module has some that were caught, or the switch does not work.
fn print(scope: &Scope, every: &[Mutant], ends: &[(Mutant, End)]) {
    println!(
        "| module | mutants | caught by units | by integration tests | by time | do not compile | left out with a reason | missed |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for module in &scope.modules {
        let count = |wanted: End| {
            let of = |(mutant, end): &&(Mutant, End)| mutant.module() == *module && *end == wanted;
            ends.iter().filter(of).count()
        };
        let listed = ends
            .iter()
            .filter(|(mutant, _)| mutant.module() == *module)
            .count();
        let all = every
            .iter()
            .filter(|mutant| mutant.module() == *module)
            .count();
        println!(
            "| mutants of {} | {listed} | {} | {} | {} | {} | {} | {} |",
            scope.label(module),
            count(End::Units),
            count(End::Integration),
            count(End::Time),
            count(End::NotCompiled),
            all - listed,
            count(End::Missed)
        );
        assert!(count(End::Units) > 0, "the switch of {module} works");
    }
}
