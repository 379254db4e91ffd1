//! A value takes part in a commit: hidden, sealed, promised, swapped, taken back.

use super::*;
use crate::register::RegisterError;
use std::path::PathBuf;

fn place(token: &str) -> Place {
    Place {
        dir: PathBuf::from("/nowhere"),
        token: token.to_owned(),
        label: "a plan".to_owned(),
    }
}

fn open(value: &Value<u32>, token: &str) -> Box<dyn Sandbox> {
    value.open(&place(token), &Work::silent()).unwrap()
}

fn pair() -> (VersionRegister<u32>, Value<u32>) {
    let register = VersionRegister::new("v1", 1);
    let value = Value::of(&register);
    (register, value)
}

fn ready(sandbox: &mut Box<dyn Sandbox>) -> Redo {
    sandbox.seal(&Work::silent()).unwrap();
    match sandbox.prepare(&Work::silent()).unwrap() {
        Vote::Ready { redo, changes } => {
            assert_eq!(changes.entries.len(), 1);
            redo
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_sees_it_until_it_is_applied_and_openers_share_it() {
    let (register, value) = pair();
    let mut sandbox = open(&value, "t");
    let again = open(&value.clone(), "t");
    value.set("t", "v2", 2).unwrap();
    assert_eq!(*value.get("t").unwrap().value().unwrap(), 2);
    assert_eq!(again.diff(&Work::silent()).unwrap().entries.len(), 1);
    assert_eq!(*register.snapshot().value().unwrap(), 1);
    let redo = ready(&mut sandbox);
    assert_eq!(*register.snapshot().value().unwrap(), 1);
    for _ in 0..2 {
        sandbox.apply(&redo, &Work::silent()).unwrap();
        let now = register.snapshot();
        assert_eq!(
            (now.version(), *now.value().unwrap(), now.generation()),
            ("v2", 2, 2)
        );
    }
    sandbox.settle(&redo).unwrap();
    sandbox.discard(&Work::silent()).unwrap();
    sandbox.discard(&Work::silent()).unwrap();
    assert_eq!(value.get("t").unwrap_err().fault, Fault::Lost);
    assert_eq!(register.activate(2, "v3", Arc::new(3)), Ok(3));
}

#[test]
fn a_sealed_value_is_fixed_until_it_is_unsealed() {
    let (_register, value) = pair();
    let mut sandbox = open(&value, "t");
    value.set("t", "v2", 2).unwrap();
    let sealed = sandbox.seal(&Work::silent()).unwrap();
    assert_eq!(sandbox.seal(&Work::silent()).unwrap(), sealed);
    let refused = value.set("t", "v3", 3).unwrap_err();
    assert_eq!(refused.fault, Fault::Refused);
    assert!(refused.message.contains("sealed"));
    assert!(sandbox.record().contains("\"sealed\":true"));
    sandbox.unseal().unwrap();
    value.set("t", "v3", 3).unwrap();
    let other = sandbox.seal(&Work::silent()).unwrap();
    assert_ne!(other.digest, sealed.digest);
}

#[test]
fn a_foreign_change_is_a_conflict_and_nothing_set_is_read_only() {
    let (register, value) = pair();
    let (mut idle, mut busy) = (open(&value, "idle"), open(&value, "busy"));
    value.set("busy", "mine", 2).unwrap();
    register.activate(1, "theirs", Arc::new(9)).unwrap();
    for sandbox in [&mut idle, &mut busy] {
        sandbox.seal(&Work::silent()).unwrap();
    }
    let vote = idle.prepare(&Work::silent()).unwrap();
    assert!(matches!(vote, Vote::ReadOnly), "{vote:?}");
    let Vote::Conflict(found) = busy.prepare(&Work::silent()).unwrap() else {
        panic!("a conflict was missed");
    };
    let text = found[0].to_string();
    for word in ["\"v1\"", "\"theirs\"", "\"mine\""] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(register.snapshot().version(), "theirs");
    assert_eq!(register.activate(2, "v3", Arc::new(3)), Ok(3), "no promise");
}

#[test]
fn from_prepare_on_nobody_can_come_between() {
    let (register, value) = pair();
    let mut sandbox = open(&value, "t");
    value.set("t", "v2", 2).unwrap();
    let redo = ready(&mut sandbox);
    let refused = register.activate(1, "theirs", Arc::new(9));
    assert_eq!(refused, Err(RegisterError::Promised));
    sandbox.take_back(&redo, &Work::silent()).unwrap();
    assert_eq!(
        *register.snapshot().value().unwrap(),
        1,
        "nothing was applied"
    );
    assert_eq!(register.activate(1, "theirs", Arc::new(9)), Ok(2));
    let late = sandbox.apply(&redo, &Work::silent()).unwrap_err();
    assert_eq!(late.fault, Fault::Conflict);
    assert_eq!(register.snapshot().version(), "theirs");
}

#[test]
fn a_dropped_sandbox_gives_its_promise_back_and_keeps_the_work() {
    let (register, value) = pair();
    let mut sandbox = open(&value, "t");
    value.set("t", "v2", 2).unwrap();
    ready(&mut sandbox);
    drop(sandbox);
    assert_eq!(*value.get("t").unwrap().value().unwrap(), 2);
    assert_eq!(register.activate(1, "v3", Arc::new(3)), Ok(2));
}

#[test]
fn taking_back_restores_the_old_value_once_and_the_plan_can_commit_again() {
    let (register, value) = pair();
    let mut sandbox = open(&value, "t");
    value.set("t", "v2", 2).unwrap();
    let redo = ready(&mut sandbox);
    sandbox.apply(&redo, &Work::silent()).unwrap();
    for _ in 0..2 {
        sandbox.take_back(&redo, &Work::silent()).unwrap();
        let now = register.snapshot();
        assert_eq!(
            (now.version(), *now.value().unwrap(), now.generation()),
            ("v1", 1, 3)
        );
    }
    let redo = ready(&mut sandbox);
    sandbox.apply(&redo, &Work::silent()).unwrap();
    assert_eq!(register.snapshot().generation(), 4);
}

#[test]
fn taking_back_never_overwrites_a_later_change() {
    let (register, value) = pair();
    let mut sandbox = open(&value, "t");
    value.set("t", "v2", 2).unwrap();
    let redo = ready(&mut sandbox);
    sandbox.apply(&redo, &Work::silent()).unwrap();
    register.activate(2, "theirs", Arc::new(9)).unwrap();
    let error = sandbox.take_back(&redo, &Work::silent()).unwrap_err();
    assert_eq!(error.fault, Fault::Hazard);
    assert_eq!(register.snapshot().version(), "theirs");
}

#[test]
fn another_process_is_told_where_the_value_lives() {
    let (register, value) = pair();
    let value = value.named(ResourceName::new("router").unwrap());
    let sandbox = open(&value, "t");
    assert_eq!((sandbox.kind(), sandbox.view()), ("value", "memory"));
    assert!(sandbox.is_volatile() && value.is_volatile());
    assert!(sandbox.path().is_none());
    let guards = sandbox.guards().unwrap();
    let keys: Vec<_> = guards.iter().map(|guard| &guard.key).collect();
    assert_eq!(keys, [&value.identify().unwrap().key]);
    // No other process can reach the value: there is no file to lock.
    assert!(guards.iter().all(|guard| guard.file.is_none()));
    assert_eq!(sandbox.target(), "router");
    assert_eq!(sandbox.identity(), &value.identify().unwrap());
    assert_ne!(
        value.identify().unwrap(),
        Value::of(&VersionRegister::new("v1", 1))
            .identify()
            .unwrap()
    );
    let error = ValueKind.reopen(&sandbox.record(), &place("t"));
    assert_eq!(error.unwrap_err().fault, Fault::Elsewhere);
    assert_eq!(value.register().id(), register.id());
}

#[test]
fn a_plan_brings_what_its_row_says_or_unloads() {
    let (register, value) = pair();
    let commit = |token: &str| {
        let mut sandbox = open(&value, token);
        let redo = ready(&mut sandbox);
        sandbox.apply(&redo, &Work::silent()).unwrap();
        sandbox.discard(&Work::silent()).unwrap();
        register.snapshot()
    };
    drop(open(&value, "row"));
    let row = Stored::new("v7", 31);
    value.set_stored("row", &row, Some(7)).unwrap();
    let now = commit("row");
    assert!(now.agrees_with(&row), "{now:?}");
    assert_eq!((now.value(), now.generation()), (Some(&7), 2));
    drop(open(&value, "gone"));
    value.unload("gone").unwrap();
    let now = commit("gone");
    assert_eq!((now.version(), now.value()), ("v7", None));
    drop(open(&value, "nothing"));
    let row = Stored::nothing(32);
    let half = value.set_stored("nothing", &row, Some(1)).unwrap_err();
    assert_eq!(half.fault, Fault::Refused);
    let half = value.set_stored("nothing", &Stored::new("v8", 32), None);
    assert_eq!(half.unwrap_err().fault, Fault::Refused);
    value.set_stored("nothing", &row, None).unwrap();
    assert!(commit("nothing").agrees_with(&row));
}
