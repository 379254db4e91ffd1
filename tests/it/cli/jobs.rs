//! `planbox job`, and a `run` as a job.

use super::{Home, ended, make_pipe, read};
use planbox::{JobId, JobPatch, JobState, JobStore, NewJob};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

fn jobs(home: &Home) -> JobStore {
    JobStore::open(home.store()).unwrap()
}

fn job(home: &Home, name: &str) -> planbox::Job {
    jobs(home)
        .read(&JobId::new(name).unwrap())
        .unwrap()
        .unwrap()
}

#[test]
fn a_run_is_a_job_that_ends_with_its_receipt() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let real = real.to_str().unwrap();
    let script = "printf new >f";
    let ran = home.json(0, &["run", "p", "--dir", real, "--", "sh", "-c", script]);
    let shown = home.json(0, &["job", "show", "p"]);
    assert_eq!(shown["outcome"], "found");
    let job = &shown["job"];
    assert_eq!(job["kind"], "plan");
    assert_eq!(
        (&job["state"], &job["progress"]),
        (&"completed".into(), &100.into())
    );
    assert_eq!(job["result"], ran, "the receipt, as it was printed");
    let log = home.run(&["job", "log", "p"]);
    assert_eq!(log.code, Some(0));
    assert!(log.stdout.contains("plan is committing"), "{log:?}");
    let list = home.run(&["job", "list"]);
    assert!(
        list.stdout.contains("completed") && list.stdout.contains("100 %"),
        "{list:?}"
    );
    let people = home.run(&["job", "show", "p"]);
    assert!(people.stdout.contains("state"), "{people:?}");
}

#[test]
fn a_run_that_fails_is_a_failed_job_and_the_next_run_is_its_next_attempt() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let real = real.to_str().unwrap();
    home.json(7, &["run", "p", "--dir", real, "--", "sh", "-c", "exit 3"]);
    let failed = job(&home, "p");
    assert_eq!((failed.state, failed.attempt), (JobState::Failed, 1));
    let error: serde_json::Value = failed.error.unwrap().parse().unwrap();
    assert_eq!(error["code"], "cmd-failed");
    home.json(0, &["run", "p", "--", "true"]);
    let done = job(&home, "p");
    assert_eq!((done.state, done.attempt), (JobState::Completed, 2));
}

#[test]
fn what_a_command_writes_is_seen_by_others_while_it_runs_if_asked_for() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let pipe = home.path("pipe");
    make_pipe(&pipe);
    let script = "echo out; echo err >&2; read line <\"$0\"; printf last";
    let options = ["run", "--log", "p", "--dir", real.to_str().unwrap(), "--"];
    let mut run = home.command(&options);
    let run = run.args(["sh", "-c", script, pipe.to_str().unwrap()]);
    let run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let keep = std::fs::File::options().write(true).open(&pipe).unwrap();
    let text = |job: &planbox::Job| {
        let lines = job.log.iter().map(|line| line.text.clone());
        lines.collect::<Vec<String>>()
    };
    let mut watch = jobs(&home).watch(0);
    let both = |log: &[String]| ["out", "err"].iter().all(|w| log.iter().any(|l| l == w));
    while !both(&text(&job(&home, "p"))) {
        let next = watch.next(Duration::from_secs(10)).unwrap();
        assert!(next.is_some(), "{:?}", text(&job(&home, "p")));
    }
    assert_eq!(job(&home, "p").state, JobState::Running);
    drop(keep);
    let run = ended(&run.wait_with_output().unwrap());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("out\nlast"), "{run:?}");
    assert!(run.stderr.contains("err\n"), "{run:?}");
    assert!(text(&job(&home, "p")).iter().any(|line| line == "last"));
}

#[test]
fn a_command_that_writes_much_is_passed_on_whole_and_filed() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done";
    let real = real.to_str().unwrap();
    let ran = home.run(&["run", "--log", "p", "--dir", real, "--", "sh", "-c", script]);
    assert_eq!(ran.code, Some(0));
    let lines = ran.stdout.lines().filter(|line| line.starts_with("line "));
    assert_eq!(lines.count(), 3_000);
    let job = job(&home, "p");
    let last = job.log.iter().filter(|line| line.text == "line 2999");
    assert!(last.count() == 1 && job.lines >= 3_000, "{}", job.lines);
}

/// ```text
/// run    : CMD  job note ......... goes on, commits, job completed
/// follow :    log -f p  sees the note ............ ends
/// others :               list, show: 50 %
/// ```
#[test]
fn a_long_run_is_watched_from_another_terminal() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let pipe = home.path("pipe");
    make_pipe(&pipe);
    let script = r#"printf new >f; "$1" job note "$PLANBOX_PLAN" "half of it" --done 50
        read line <"$0"; "$1" job note "$PLANBOX_PLAN" "all of it" --done 100"#;
    let mut run = home.command(&["run", "p", "--json", "--dir", real.to_str().unwrap(), "--"]);
    let run = run.args(["sh", "-c", script, pipe.to_str().unwrap()]);
    let run = run.arg(env!("CARGO_BIN_EXE_planbox"));
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = run.spawn().unwrap();
    // CMD opens the pipe to read: it has said how far it is, and does not go on.
    let mut go_on = std::fs::File::options().write(true).open(&pipe).unwrap();
    let mut follow = home.command(&["job", "log", "-f", "p"]);
    let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let mut told = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut until = |words: &[&str]| {
        let mut left = words.to_vec();
        while !left.is_empty() {
            let line = told.next().unwrap_or_else(|| panic!("without {left:?}"));
            let line = line.unwrap();
            left.retain(|word| !line.ends_with(word));
        }
    };
    // CMD may be quicker than the one who notes that it runs.
    until(&["  #1  sh runs", "  #1  half of it"]);
    let list = home.run(&["job", "list"]);
    assert!(list.stdout.contains("running  50 %"), "{list:?}");
    let process = format!("process {}", run.id());
    assert!(list.stdout.contains(&process), "{list:?}");
    let shown = home.run(&["job", "show", "p"]);
    assert!(
        shown.stdout.contains("running, 50 %, attempt 1"),
        "{shown:?}"
    );
    go_on.write_all(b"\n").unwrap();
    until(&["all of it", "sh has ended", "plan is done"]);
    let run = ended(&run.wait_with_output().unwrap());
    assert_eq!(run.code, Some(0), "{run:?}");
    let follow = ended(&follow.wait_with_output().unwrap());
    assert_eq!(follow.code, Some(0), "{follow:?}");
    assert!(follow.stderr.contains("job p is completed"), "{follow:?}");
    let late = home.json(2, &["job", "note", "p", "too late"]);
    assert_eq!(late["error"]["code"], "job-over");
}

/// ```text
/// run    : CMD ................. (SIGTERM) ends, job cancelled, 130
/// cancel :        job cancel p
/// follow :    log -f p ......................... ends
/// ```
#[test]
fn a_run_stops_when_somebody_cancels_its_job() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    let pipe = home.path("pipe");
    make_pipe(&pipe);
    let script = "printf new >f; read line <\"$0\"";
    let mut run = home.command(&["run", "p", "--json", "--dir", real.to_str().unwrap(), "--"]);
    let run = run.args(["sh", "-c", script, pipe.to_str().unwrap()]);
    let mut run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // CMD opens the pipe to read: from then on it runs.
    let keep = std::fs::File::options().write(true).open(&pipe).unwrap();
    assert_eq!(job(&home, "p").state, JobState::Running);
    let mut follow = home.command(&["job", "log", "-f", "p"]);
    let follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = home.json(0, &["job", "cancel", "p"]);
    assert_eq!(
        (&asked["outcome"], &asked["job"]["state"]),
        (&"asked".into(), &"running".into())
    );
    run.wait().unwrap();
    drop(keep);
    let run = ended(&run.wait_with_output().unwrap());
    assert_eq!(run.code, Some(130), "{run:?}");
    assert_eq!(job(&home, "p").state, JobState::Cancelled);
    assert_eq!(read(real.join("f")), "old", "nothing was committed");
    let follow = ended(&follow.wait_with_output().unwrap());
    assert_eq!(follow.code, Some(0), "{follow:?}");
    assert!(follow.stdout.contains("asked to stop"), "{follow:?}");
    assert!(follow.stderr.contains("is cancelled"), "{follow:?}");
}

#[test]
fn jobs_of_other_programs_are_shown_followed_cancelled_and_removed() {
    let home = Home::new();
    let store = jobs(&home);
    let id = JobId::new("restyle 7").unwrap();
    store
        .create(&id, NewJob::new("restyle").set("profile", "warm"))
        .unwrap();
    let owner = store.start(&id).unwrap();
    owner
        .update(JobPatch::new().progress(30).log("bad\x1b[31m\nline"))
        .unwrap();
    let shown = home.run(&["job", "show", "restyle 7"]);
    assert!(shown.stdout.contains("profile = \"warm\""), "{shown:?}");
    assert!(shown.stdout.contains("bad\\u{1b}[31m\\nline"), "{shown:?}");
    assert!(
        shown
            .stdout
            .contains(&format!("process {}", std::process::id()))
    );
    let kept = home.json(0, &["job", "prune", "restyle 7", "nobody"]);
    assert_eq!(kept["kept"][0]["state"], "running");
    assert_eq!(kept["unknown"][0], "nobody");
    let mut watch = store.watch(store.revision().unwrap());
    home.json(0, &["job", "cancel", "restyle 7"]);
    assert!(watch.next(Duration::from_secs(60)).unwrap().is_some());
    assert!(owner.is_cancel_requested().unwrap());
    drop(owner);
    assert_eq!(
        home.json(0, &["job", "show", "restyle 7"])["job"]["state"],
        "interrupted"
    );
    assert_eq!(
        home.json(0, &["job", "cancel", "restyle 7"])["outcome"],
        "cancelled"
    );
    assert_eq!(
        home.json(2, &["job", "cancel", "restyle 7"])["error"]["code"],
        "job-over"
    );
    let pruned = home.json(0, &["job", "prune", "--older-than", "0"]);
    assert_eq!(pruned["removed"][0], "restyle 7");
    assert_eq!(
        home.json(2, &["job", "show", "restyle 7"])["error"]["code"],
        "unknown-job"
    );
    assert_eq!(
        home.json(0, &["job", "list"])["jobs"],
        serde_json::json!([])
    );
    assert_eq!(home.run(&["doctor"]).code, Some(0));
}
