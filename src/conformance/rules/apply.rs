//! Rules 8 and 9: carrying out.

use super::marker;
use crate::conformance::rig::{Memory, Rig, twin, twin_at};
use crate::conformance::stop::{Step, done};
use crate::conformance::{Make, Spot};
use crate::sandbox::Work;

pub(super) fn exactly(make: &Make<'_>) -> Step {
    let all = Rig::new(make)?.spots();
    for count in 1..=all.len() {
        let spots: Vec<Spot> = all.iter().copied().take(count).collect();
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&spots)?;
        let redo = opened.commit()?;
        let new = twin_at(make, &spots, 1)?;
        rig.is("after apply", &new)?;
        opened.wind_up(&redo)?;
        rig.is("after settle and discard", &new)?;
    }
    Ok(())
}

pub(super) fn once(make: &Make<'_>) -> Step {
    let new = twin(make, &[(Spot::A, 1)])?;
    for memory in Memory::BOTH {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&[Spot::A])?;
        if opened.sandbox.marker().is_some() {
            return marker::survives(make);
        }
        let redo = opened.commit()?;
        let second = opened.sandbox.apply(&redo, &Work::silent());
        done("apply, a second time,", second)?;
        rig.is("after a second apply", &new)?;
        let mut opened = rig.again(opened, memory)?;
        let third = opened.sandbox.apply(&redo, &Work::silent());
        done("apply in a sandbox opened again", third)?;
        rig.is("after an apply in a sandbox opened again", &new)?;
        opened.wind_up(&redo)?;
        rig.is("at the end", &new)?;
        by_another(make, memory, &new)?;
        under_theirs(make, memory)?;
    }
    Ok(())
}

/// Somebody else changes what was committed before it is settled: a recovery that applies the redo
/// once more finds it done, and theirs on top.
fn under_theirs(make: &Make<'_>, memory: Memory) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let redo = opened.commit()?;
    rig.meddle(Spot::A, 2)?;
    let theirs = twin(make, &[(Spot::A, 2)])?;
    for _ in 0..2 {
        let again = opened.sandbox.apply(&redo, &Work::silent());
        done("apply of what is done and was changed since", again)?;
        rig.is(
            "after an apply of what is done and was changed since",
            &theirs,
        )?;
        opened = rig.again(opened, memory)?;
    }
    opened.wind_up(&redo)?;
    rig.is("once it is settled", &theirs)
}

/// The one who applies never saw the plan.
fn by_another(make: &Make<'_>, memory: Memory, new: &str) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let redo = opened.ready()?;
    let mut opened = rig.again(opened, memory)?;
    let first = opened.sandbox.apply(&redo, &Work::silent());
    done("a first apply in a sandbox opened again", first)?;
    rig.is("after an apply by another", new)?;
    opened.wind_up(&redo)
}
