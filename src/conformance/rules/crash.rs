//! Rule 12: a crash after every step, and in the middle of apply.

use super::marker;
use super::undo::MANY_STEPS;
use crate::conformance::Make;
use crate::conformance::halt::halted_at;
use crate::conformance::rig::{Memory, Opened, Rig, twin_at};
use crate::conformance::stop::{Step, done};
use crate::sandbox::{Redo, Work};

/// What is found in the journal afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Commit,
    TakeBack,
}

/// When the process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Died {
    Prepared,
    Applied,
    TakenBack,
    Settled,
    Within(u64),
}

pub(super) fn all_or_nothing(make: &Make<'_>) -> Step {
    let probe = Rig::new(make)?;
    if probe.open()?.sandbox.marker().is_some() {
        return marker::decides_once(make);
    }
    let new = twin_at(make, &probe.spots(), 1)?;
    for memory in Memory::BOTH {
        for died in [Died::Prepared, Died::Applied, Died::Settled] {
            recovered(make, memory, (died, Found::Commit), &new)?;
        }
        for died in [Died::Prepared, Died::Applied, Died::TakenBack] {
            recovered(make, memory, (died, Found::TakeBack), &new)?;
        }
        for step in 1..=MANY_STEPS {
            let commit = (Died::Within(step), Found::Commit);
            if !recovered(make, memory, commit, &new)? {
                break;
            }
            let back = (Died::Within(step), Found::TakeBack);
            recovered(make, memory, back, &new)?;
        }
    }
    Ok(())
}

/// Plays one crash and its recovery; false if the apply has no such step.
fn recovered(make: &Make<'_>, memory: Memory, story: (Died, Found), new: &str) -> Step<bool> {
    let (died, found) = story;
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&rig.spots())?;
    let redo = opened.ready()?;
    if !dies(&mut opened, &redo, died)? {
        return Ok(false);
    }
    let when = format!("after a crash ({died:?}, {memory:?}, {found:?})");
    // A recovery that dies before its own end is repeated.
    for _ in 0..2 {
        opened = rig.again(opened, memory)?;
        let work = Work::silent();
        match found {
            Found::Commit => done(&format!("redo {when}"), opened.sandbox.apply(&redo, &work))?,
            Found::TakeBack => done(
                &format!("take-back {when}"),
                opened.sandbox.take_back(&redo, &work),
            )?,
        }
        rig.is(
            &when,
            if found == Found::Commit {
                new
            } else {
                &rig.old
            },
        )?;
    }
    done("settle", opened.sandbox.settle(&redo))?;
    let opened = rig.again(opened, memory)?;
    opened.discard()?;
    rig.is(
        &when,
        if found == Found::Commit {
            new
        } else {
            &rig.old
        },
    )?;
    Ok(true)
}

fn dies(opened: &mut Opened, redo: &Redo, died: Died) -> Step<bool> {
    let (sandbox, work) = (&mut opened.sandbox, Work::silent());
    match died {
        Died::Prepared => (),
        Died::Within(step) => {
            return Ok(halted_at(step, |work| sandbox.apply(redo, work)).is_none());
        }
        Died::Applied => done("apply", sandbox.apply(redo, &work))?,
        Died::TakenBack => {
            done("apply", sandbox.apply(redo, &work))?;
            done("take-back", sandbox.take_back(redo, &work))?;
        }
        Died::Settled => {
            done("apply", sandbox.apply(redo, &work))?;
            done("settle", sandbox.settle(redo))?;
        }
    }
    Ok(true)
}
