//! What must not compile, and what the compiler says then. Each case is a program; all of them are
//! checked by one call of cargo, in a package of their own, against this library.
//!
//! The tests look for the words that matter in the message, not for all of it: the rest of it changes
//! with every compiler.
#![expect(
    clippy::disallowed_methods,
    reason = "a test lays out a package of its own"
)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What every case begins with.
const HEAD: &str = r#"
use planbox::lock::{LockTable, LockWait};
use planbox::sync::level::{Before, Level, Leveled, Under};
use planbox::sync::order::{Class, Order, Rank};
use planbox::sync::Mutex;

const ORDER: Order = Order::new(&[
    Class::around("workers", "workers"),
    Class::latch("queue", "jobs"),
]);
struct Workers;
impl Level for Workers { const RANK: Rank = ORDER.rank("workers"); }
struct Queue;
impl Level for Queue { const RANK: Rank = ORDER.rank("queue"); }
impl Before<Queue> for Workers {}
"#;

/// Name, body of `main` or items, and what the compiler must say; nothing if it must compile.
const CASES: [(&str, &str, &[&str]); 16] = [
    (
        "in_order",
        "fn main() {
            let (w, q) = (Leveled::new(Workers, \"w\", 1), Leveled::new(Queue, \"q\", 2));
            let mut nothing = Under::nothing();
            let (one, mut under) = w.lock(&mut nothing);
            let (two, _) = q.lock(&mut under);
        }",
        &[],
    ),
    (
        "a_receipt_out_of_nothing",
        "fn main() { let _ = planbox::Receipt {}; }",
        &["cannot construct", "private fields"],
    ),
    (
        "a_plan_that_is_held",
        "fn main() {
            let manager = planbox::SandboxManager::in_memory();
            let mut hold = manager.hold(&planbox::PlanId::new(\"p\").unwrap(), \"x\").unwrap();
            drop(hold.commit_all(&Default::default()));
        }",
        &[],
    ),
    (
        "a_plan_that_was_let_go",
        "fn main() {
            let manager = planbox::SandboxManager::in_memory();
            let mut hold = manager.hold(&planbox::PlanId::new(\"p\").unwrap(), \"x\").unwrap();
            drop(hold);
            drop(hold.commit_all(&Default::default()));
        }",
        &["E0382", "borrow of moved value: `hold`"],
    ),
    (
        "a_held_plan_to_another_thread",
        "fn needs_send<T: Send>() {}
        fn main() { needs_send::<planbox::PlanHold>(); }",
        &["E0277", "cannot be sent between threads safely", "PlanHold"],
    ),
    (
        "a_hold_out_of_nothing",
        "fn main() { let _ = planbox::PlanHold {}; }",
        &["cannot construct", "private fields"],
    ),
    (
        "the_steps_of_a_plan",
        "fn commit(plan: &mut planbox::plan::Locked) {} fn main() {}",
        &["E0603", "module `plan` is private"],
    ),
    (
        "against_the_order",
        "fn main() {
            let (w, q) = (Leveled::new(Workers, \"w\", 1), Leveled::new(Queue, \"q\", 2));
            let mut nothing = Under::nothing();
            let (one, mut under) = q.lock(&mut nothing);
            let (two, _) = w.lock(&mut under);
        }",
        &[
            "E0277",
            "a lock of level `Workers` must not be taken while one of level `Queue` is held",
            "against the lock order",
        ],
    ),
    (
        "two_of_one_level",
        "fn main() {
            let (a, b) = (Leveled::new(Queue, \"a\", 1), Leveled::new(Queue, \"b\", 2));
            let mut nothing = Under::nothing();
            let (one, mut under) = a.lock(&mut nothing);
            let (two, _) = b.lock(&mut under);
        }",
        &[
            "E0277",
            "a lock of level `Queue` must not be taken while one of level `Queue` is held",
        ],
    ),
    (
        "beside_one_that_is_held",
        "fn main() {
            let (w, q) = (Leveled::new(Workers, \"w\", 1), Leveled::new(Queue, \"q\", 2));
            let mut nothing = Under::nothing();
            let (one, _) = q.lock(&mut nothing);
            let (two, _) = w.lock(&mut nothing);
            drop(one);
        }",
        &["E0499", "cannot borrow `nothing` as mutable more than once"],
    ),
    (
        "a_plan_guard_to_another_thread",
        "fn main() {
            let plans = LockTable::new(Rank::Plan);
            let guard = plans.lock(&7_u64, LockWait::Try, \"x\").unwrap();
            std::thread::scope(|scope| { scope.spawn(move || drop(guard)); });
        }",
        &["E0277", "cannot be sent between threads safely"],
    ),
    (
        "a_latch_across_an_await",
        "fn needs_send<T: Send>(_: T) {}
        async fn other() {}
        fn main() {
            let latch = Mutex::new(Rank::Leaf, \"l\", 1);
            needs_send(async { let held = latch.lock(); other().await; drop(held); });
        }",
        &[
            "future cannot be sent between threads safely",
            "across an await",
        ],
    ),
    (
        "a_rank_that_is_not_declared",
        "const QUEUES: Rank = ORDER.rank(\"queues\"); fn main() { let _ = QUEUES; }",
        &["E0080", "the order has no such rank"],
    ),
    (
        "a_latch_before_a_lock",
        "const WRONG: Order = Order::new(&[Class::latch(\"a\", \"\"), Class::around(\"b\", \"\")]);
        fn main() { let _ = WRONG; }",
        &["E0080", "then latches"],
    ),
    (
        "a_name_of_ours",
        "const WRONG: Order = Order::new(&[Class::around(\"plan\", \"\")]); fn main() { let _ = WRONG; }",
        &["E0080", "this name is one of planbox"],
    ),
    (
        "a_name_twice",
        "const WRONG: Order = Order::new(&[Class::latch(\"a\", \"\"), Class::latch(\"a\", \"\")]);
        fn main() { let _ = WRONG; }",
        &["E0080", "a rank is declared twice"],
    ),
];

/// Lays out a package with one program for each case.
fn lay_out(package: &Path) {
    let library = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"must-not-compile\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n[lints.rust]\nunused = \"allow\"\n[dependencies]\n\
         planbox = {{ path = {library:?}, default-features = false }}\n"
    );
    std::fs::create_dir_all(package.join("src/bin")).unwrap();
    std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The same versions as the library's own; what is not needed is left out of it by cargo.
    std::fs::copy(
        Path::new(library).join("Cargo.lock"),
        package.join("Cargo.lock"),
    )
    .unwrap();
    for (name, body, _) in CASES {
        let source = format!("{HEAD}{body}\n");
        std::fs::write(package.join("src/bin").join(format!("{name}.rs")), source).unwrap();
    }
}

/// What the compiler says of each program, as people see it.
fn messages(package: &Path) -> BTreeMap<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "check",
            "--offline",
            "--keep-going",
            "--bins",
            "--message-format=json",
        ])
        .current_dir(package)
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile"),
        )
        .output()
        .unwrap();
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |path: &str| {
            line.pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let name = text("/target/name").to_owned();
        match text("/reason") {
            "compiler-artifact" => drop(said.entry(name).or_default()),
            "compiler-message" => {
                let words = text("/message/rendered");
                said.entry(name).or_default().push_str(words);
            }
            _ => (),
        }
    }
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains_key("planbox"),
        "the library was not checked: {talk}"
    );
    said
}

#[test]
fn wrong_orders_do_not_compile_and_the_compiler_says_why() {
    let package = tempfile::tempdir().unwrap();
    lay_out(package.path());
    let said = messages(package.path());
    for (name, _, wanted) in CASES {
        let text = said
            .get(name)
            .unwrap_or_else(|| panic!("{name} was not checked"));
        assert_eq!(wanted.is_empty(), text.is_empty(), "{name}: {text}");
        for words in wanted {
            assert!(text.contains(words), "{name} should say {words:?}: {text}");
        }
    }
}
