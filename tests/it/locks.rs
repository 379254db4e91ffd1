//! The analysis of lock orders from outside: children plant errors and leave dumps, `planbox locks`
//! finds them. Each plant is a control: a check that misses it is worth nothing.

use crate::cli::Home;
use crate::support::scripted::{Scripted, ScriptedKind, World};
use crate::support::{child, plan};
use planbox::SandboxManager;
use planbox::sync::order::{Class, Order, Rank};
use planbox::sync::{Mutex, thread, witness};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

#[path = "../../docs/examples/ranked_locks.rs"]
#[expect(dead_code, reason = "the `main` of the example has no caller here")]
mod example;

const ORDER: Order = Order::new(&[
    Class::latch("jobs", "a latch of these tests"),
    Class::latch("routes", "a latch of these tests"),
    Class::latch("counts", "a latch of these tests"),
]);
const JOBS: Rank = ORDER.rank("jobs");
const ROUTES: Rank = ORDER.rank("routes");
const COUNTS: Rank = ORDER.rank("counts");

/// The test that children run; in the parent it does nothing.
#[test]
fn child_entry() {
    let Some((task, _)) = child::task() else {
        return;
    };
    match task.as_str() {
        "clean" => drop(example::run(false).unwrap()),
        "inverted" => drop(example::run(true).unwrap()),
        "circle" => circle(),
        "across-io" => across_io(),
        "registry" => registry_across_io(),
        "participants" => participants(),
        other => panic!("no task {other}"),
    }
}

/// Three threads, one after the other, so that nobody hangs: each takes two of three latches.
///
/// ```text
/// one:    jobs, routes
/// two:          routes, counts
/// three:  jobs,         counts     counts first
/// ```
fn circle() {
    let locks = [(JOBS, "jobs"), (ROUTES, "routes"), (COUNTS, "counts")];
    let [one, two, three] = locks.map(|(rank, name)| Mutex::new(rank, name, ()));
    for (first, second) in [(&one, &two), (&two, &three), (&three, &one)] {
        thread::scope(|scope| {
            let both = || drop((first.lock(), second.lock()));
            scope.spawn(both).join().unwrap();
        });
    }
}

fn across_io() {
    let latch = Mutex::new(COUNTS, "counts", ());
    let _held = latch.lock();
    witness::about_to_block("http.send");
}

/// What the rules forbid to planbox itself: its registry is held while a directory is opened.
fn registry_across_io() {
    let registry = Mutex::new(Rank::Registry, "registry", ());
    let home = tempfile::tempdir().unwrap();
    let _held = registry.lock();
    drop(SandboxManager::open(home.path().join("store")));
}

/// Two participants run on threads of their own, under a plan lock that a third thread holds: one of
/// them takes a lock that the host holds around calls to us.
fn participants() {
    const OUTER: Rank =
        Order::new(&[Class::around("outer", "a lock of these tests")]).rank("outer");
    let world = World::new();
    let kind = Arc::new(ScriptedKind(Arc::clone(&world)));
    let manager = SandboxManager::builder().kind(kind).in_memory();
    for name in ["one", "two"] {
        let opened = manager.open_sandbox(&plan("p"), Scripted::new(&world, name));
        opened.unwrap();
    }
    let outer = Mutex::new(OUTER, "outer", ());
    world.hook(move |step, _| {
        if step == "prepare" {
            drop(outer.lock());
        }
        Ok(())
    });
    // Where the witness refuses, the participant has panicked, and the commit says so and ends.
    drop(manager.commit_all(&plan("p")));
}

/// Has a child run `task` and record; true if it came to its end. The second is its dump.
fn record(home: &Home, task: &str, only_record: bool) -> (bool, PathBuf) {
    let dump = home.path(&format!("{task}-{only_record}.jsonl"));
    let mut command = child::command("locks::child_entry", task, &home.path(""));
    command
        .env("PLANBOX_LOCK_EDGES", &dump)
        .env_remove("PLANBOX_LOCK_WITNESS")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if only_record {
        command.env("PLANBOX_LOCK_WITNESS", "record");
    }
    (command.status().unwrap().success(), dump)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn codes(json: &Value) -> Vec<&str> {
    let findings = json["findings"].as_array().unwrap();
    let codes = findings.iter().map(|finding| finding["code"].as_str());
    codes.map(Option::unwrap).collect()
}

#[test]
fn a_clean_run_of_the_example_is_clean() {
    let home = Home::new();
    let (ended, dump) = record(&home, "clean", false);
    assert!(ended);
    let json = home.json(0, &["locks", "--check", text(&dump)]);
    assert_eq!((&json["outcome"], codes(&json)), (&"clean".into(), vec![]));
    assert!(json["edges"].as_u64() > Some(5), "{json}");
    assert!(json["holds"].as_u64() > Some(0), "{json}");
    let pairs = home.ok(&["locks", "--graph", "pairs", text(&dump)]).stdout;
    for pair in [
        "workers/workers queue/queue\n",
        "workers/workers plan/plan\n",
    ] {
        assert!(pairs.contains(pair), "{pairs}");
    }
}

#[test]
fn the_planted_inversion_of_the_example_is_found_with_both_call_sites() {
    let home = Home::new();
    for only_record in [true, false] {
        let (ended, dump) = record(&home, "inverted", only_record);
        assert_eq!(
            ended, only_record,
            "a debug build stops unless told otherwise"
        );
        let found = home.run(&["locks", "--check", text(&dump)]);
        assert_eq!(found.code, Some(3), "{found:?}");
        assert!(found.stdout.starts_with("cycle: "), "{}", found.stdout);
        let sites = found
            .stdout
            .matches("docs/examples/ranked_locks.rs:")
            .count();
        assert!(sites >= 6, "both edges of the circle: {}", found.stdout);
        let json = home.json(3, &["locks", "--check", text(&dump)]);
        assert_eq!(
            (&json["outcome"], codes(&json)),
            (&"findings".into(), vec!["cycle", "undeclared"])
        );
    }
}

#[test]
fn a_planted_circle_through_three_threads_is_found_with_all_six_call_sites() {
    let home = Home::new();
    let (ended, dump) = record(&home, "circle", true);
    assert!(
        ended,
        "no thread met another: nothing hung, and still it is found"
    );
    let json = home.json(3, &["locks", "--check", text(&dump)]);
    assert_eq!(codes(&json), ["cycle", "undeclared"]);
    let edges = json["findings"][0]["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 3);
    for edge in edges {
        for side in ["held", "taken"] {
            let at = edge[side]["at"].as_str().unwrap();
            assert!(at.starts_with("tests/it/locks.rs:"), "{edge}");
        }
    }
}

#[test]
fn a_planted_hold_across_io_is_found() {
    let home = Home::new();
    let (_, dump) = record(&home, "across-io", true);
    let json = home.json(3, &["locks", "--check", text(&dump)]);
    assert_eq!(codes(&json), ["held-across-io"]);
    assert_eq!(json["findings"][0]["hold"]["door"], "http.send");
}

#[test]
fn the_registry_held_across_our_own_doors_is_found_at_each_of_them() {
    let home = Home::new();
    let (_, dump) = record(&home, "registry", true);
    let json = home.json(3, &["locks", "--check", text(&dump)]);
    let findings = json["findings"].as_array().unwrap();
    let doors: Vec<_> = findings
        .iter()
        .map(|found| &found["hold"]["door"])
        .collect();
    for door in ["fs.open", "fs.make", "fs.sync", "journal"] {
        assert!(doors.contains(&&door.into()), "{door}: {doors:?}");
    }
    let (ended, dump) = record(&home, "registry", false);
    assert!(!ended, "a debug build stops at the first door");
    home.json(3, &["locks", text(&dump)]);
}

#[test]
fn what_a_participant_takes_is_judged_under_the_locks_of_the_thread_that_waits_for_it() {
    let home = Home::new();
    for only_record in [true, false] {
        let (ended, dump) = record(&home, "participants", only_record);
        assert!(
            ended,
            "the panic of the witness was caught: only the dump tells"
        );
        let json = home.json(3, &["locks", "--check", text(&dump)]);
        let finding = &json["findings"][0];
        assert_eq!(
            (&finding["code"], &finding["edge"]["held"]["rank"]),
            (&"undeclared".into(), &"plan".into())
        );
        assert_eq!(finding["edge"]["taken"]["lock"], "outer");
        assert_eq!(finding["edge"]["refused"], !only_record);
    }
}

#[test]
fn several_dumps_are_judged_as_one_run() {
    let home = Home::new();
    let (_, clean) = record(&home, "clean", true);
    let (_, circle) = record(&home, "circle", true);
    let json = home.json(3, &["locks", "--check", text(&clean), text(&circle)]);
    assert_eq!(json["processes"], 2);
}

#[test]
fn what_is_no_dump_is_refused() {
    let home = Home::new();
    let real = home.real("real", &[("empty", ""), ("text", "hello\n")]);
    for name in ["empty", "text", "missing"] {
        for how in ["--check", "--graph=dot"] {
            let json = home.json(2, &["locks", how, text(&real.join(name))]);
            assert_eq!(json["error"]["code"], "bad-dump", "{json}");
        }
    }
    assert_eq!(home.run(&["locks", "--check"]).code, Some(2));
}

#[test]
fn every_form_of_the_graph_is_drawn() {
    let home = Home::new();
    let (_, dump) = record(&home, "circle", true);
    let draw = |form: &str| home.ok(&["locks", "--graph", form, text(&dump)]).stdout;
    assert!(draw("dot").contains("\"counts\" -> \"jobs\" [style=bold, color=red]"));
    assert!(draw("mermaid").contains("==>|forbidden|"));
    assert!(draw("svg").contains("<title>counts then jobs</title>"));
    assert!(draw("pairs").contains("counts/counts jobs/jobs\n"));
    let declared = home.json(0, &["locks", "--graph", "svg"]);
    assert!(declared["graph"].as_str().unwrap().starts_with("<svg "));
}

#[test]
fn who_holds_a_plan_is_told_with_since_when_and_what_for() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let nobody = home.json(0, &["locks"]);
    assert_eq!(nobody["locks"], Value::Array(Vec::new()));
    let waiting = home.start_waiting(&["held", "--dir", text(&real)]);
    let json = home.json(0, &["locks"]);
    let lock = &json["locks"][0];
    assert_eq!(
        (&lock["plan"], &lock["waiters"]),
        (&"held".into(), &Value::Null)
    );
    assert_eq!(lock["holder"]["pid"], waiting.id());
    assert!(lock["holder"]["since_unix_ms"].as_u64() > Some(0));
    let shown = home.ok(&["locks"]).stdout;
    assert!(
        shown.contains("PLAN") && shown.contains("held") && shown.contains("run"),
        "{shown}"
    );
    assert_eq!(waiting.finish().code, Some(0));
}
