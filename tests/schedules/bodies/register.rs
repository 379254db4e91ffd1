//! The versioned register: readers, and those who replace what it holds.

use super::commit::{both, ended};
use crate::case::{Case, Control, Depth, Verdict, check, stop};
use crate::scripted::{Scripted, World};
use crate::world::{Without, manager, pass, plan, stage};
use planbox::sync::thread;
use planbox::{Explain as _, RegisterError, RegisterFault, Value, VersionRegister};
use std::sync::{Arc, Mutex};

pub(crate) const CASES: &[Case] = &[
    Case::light(
        "register: two writers, a reader",
        Depth::Preemptions(2),
        || readers(&VersionRegister::new("v0", 0)),
        &[
            Control::new(
                "the comparison",
                || readers(&Careless::new(false)),
                &["lost"],
            )
            .stops(&[stop("compared", "compared")]),
            Control::new(
                "the comparison (of the register itself)",
                || {
                    readers(&VersionRegister::with_fault(
                        "v0",
                        0,
                        RegisterFault::NoComparison,
                    ))
                },
                &["lost"],
            )
            .stops(&[stop("seen", "seen")]),
            Control::new(
                "one latch for both",
                || readers(&Careless::new(true)),
                &["mix", "lost"],
            )
            .stops(&[stop("reads", "half written"), stop("half written", "read")]),
        ],
    ),
    Case::heavy(
        "register: a plan, and somebody without a plan",
        Depth::Preemptions(1),
        || against_a_plan(true, None),
        &[
            Control::new(
                "the promise (a thing that makes none)",
                || against_a_plan(false, None),
                &["lost"],
            )
            .stops(&[stop("free", "applied")]),
            Control::new(
                "the refusal of what is promised",
                || against_a_plan(true, Some(RegisterFault::NoPromise)),
                &["broken promise"],
            )
            .stops(&[stop("free", "apply"), stop("apply", "replaced")]),
        ],
    ),
];

/// What the body needs of a register.
trait Versioned: Sync {
    /// Version, value, generation.
    fn look(&self) -> (String, u64, u64);
    /// Replaces both, if nobody did since `expected`.
    fn replace(&self, expected: u64, version: &str, value: u64) -> bool;
}

impl Versioned for VersionRegister<u64> {
    fn look(&self) -> (String, u64, u64) {
        let seen = self.snapshot();
        (
            seen.version().to_owned(),
            seen.value().copied().unwrap_or_default(),
            seen.generation(),
        )
    }

    fn replace(&self, expected: u64, version: &str, value: u64) -> bool {
        self.activate(expected, version, Arc::new(value)).is_ok()
    }
}

/// The control: it looks and replaces in two steps, and may keep its two halves apart.
#[derive(Debug)]
struct Careless {
    version: Mutex<(String, u64)>,
    value: Mutex<u64>,
    torn: bool,
}

impl Careless {
    fn new(torn: bool) -> Self {
        Self {
            version: Mutex::new(("v0".to_owned(), 1)),
            value: Mutex::new(0),
            torn,
        }
    }
}

impl Versioned for Careless {
    fn look(&self) -> (String, u64, u64) {
        let (version, generation) = self.version.lock().unwrap().clone();
        if self.torn {
            stage("half read");
        }
        (version, *self.value.lock().unwrap(), generation)
    }

    fn replace(&self, expected: u64, version: &str, value: u64) -> bool {
        if self.version.lock().unwrap().1 != expected {
            return false;
        }
        stage("compared");
        *self.version.lock().unwrap() = (version.to_owned(), expected + 1);
        if self.torn {
            stage("half written");
        }
        *self.value.lock().unwrap() = value;
        true
    }
}

/// The model router's race (two activations and a prediction):
///
/// ```text
/// writer   look: generation 1 ---- replace by 2
/// writer        look: generation 1 ---------- replace by 2: refused
/// reader             look          look       a version is never seen with another one's value
/// ```
fn readers(register: &dyn Versioned) -> Verdict {
    let write = |value: u64| {
        let (_, _, generation) = register.look();
        stage("seen");
        u64::from(register.replace(generation, &format!("v{value}"), value))
    };
    let read = || {
        stage("reads");
        let (first, second) = (register.look(), register.look());
        stage("read");
        for (version, value, _) in [&first, &second] {
            check(*version == format!("v{value}"), "mix", || {
                format!("version {version} with value {value}")
            })?;
        }
        check(first.2 <= second.2, "lost", || {
            format!("{first:?}, then {second:?}")
        })
    };
    let (replaced, verdict) = thread::scope(|scope| {
        let writers = [scope.spawn(|| write(1)), scope.spawn(|| write(2))];
        let reader = scope.spawn(read);
        let replaced = writers
            .map(|writer| ended(writer.join()))
            .iter()
            .sum::<u64>();
        (replaced, ended(reader.join()))
    });
    verdict?;
    let (version, value, generation) = register.look();
    check(generation == replaced + 1, "lost", || {
        format!("{replaced} replaced it, generation {generation}")
    })?;
    check(version == format!("v{value}"), "mix", || {
        format!("version {version} with value {value}")
    })
}

/// A plan that commits a value which somebody else replaces without one:
///
/// ```text
/// plan     vote: promised ---- decide ---- apply
/// other         replace: refused, it is promised, or it was before the vote, and the plan conflicts
/// ```
fn against_a_plan(promises: bool, fault: Option<RegisterFault>) -> Verdict {
    let world = World::new();
    let manager = manager(&world, Without::Nothing);
    let register = fault.map_or_else(
        || VersionRegister::new("v0", 0_u64),
        |fault| VersionRegister::with_fault("v0", 0, fault),
    );
    if promises {
        let sandbox = manager
            .open_sandbox(&plan("p"), Value::of(&register))
            .unwrap();
        sandbox.set("v1", 1).unwrap();
        // A companion, which is applied before the value is swapped.
        manager
            .open_sandbox(&plan("p"), Scripted::new(&world, "first"))
            .unwrap();
    } else {
        manager
            .open_sandbox(&plan("p"), Scripted::new(&world, "x"))
            .unwrap();
    }
    world.hook(|step, _| {
        pass(step);
        Ok(())
    });
    let replace = || {
        if promises {
            stage("free");
            let replaced = register.activate(1, "v2", Arc::new(2));
            stage("replaced");
            return match replaced {
                Ok(_) => true,
                Err(RegisterError::Promised | RegisterError::Moved { .. }) => false,
                Err(error) => unreachable!("{error}"),
            };
        }
        let free = world.real("x") == 0;
        stage("free");
        if free {
            world.set_real("x", 1);
        }
        free
    };
    let (receipt, replaced) = both(|| manager.commit_all(&plan("p")), replace);
    check(!(receipt.is_ok() && replaced), "lost", || {
        "both replaced the same".to_owned()
    })?;
    check(receipt.is_ok() || replaced, "half", || {
        format!("{receipt:?}")
    })?;
    if let Err(error) = &receipt {
        let voted = error.code() != "conflict" || world.count("applied") > 0;
        check(!voted, "broken promise", || {
            format!("refused after the vote: {error}")
        })?;
    }
    let held = register.snapshot();
    let wanted = if replaced { ("v2", 2) } else { ("v1", 1) };
    let seen = (held.version(), held.value().copied().unwrap_or_default());
    check(!promises || seen == wanted, "mix", || format!("{held:?}"))?;
    if receipt.is_err() {
        manager.rollback_all(&plan("p")).unwrap();
    }
    Ok(())
}
