//! Rules 14 and 15: the ends, and what is outside.

use crate::conformance::Make;
use crate::conformance::rig::{Memory, Rig, twin_at};
use crate::conformance::stop::{Step, done, same};
use crate::sandbox::Work;

pub(super) fn idempotent(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let spots = rig.spots();
    let new = twin_at(make, &spots, 1)?;
    let mut opened = rig.opened_with(&spots)?;
    let redo = opened.commit()?;
    if opened.sandbox.marker().is_none() {
        done("settle", opened.sandbox.settle(&redo))?;
        done("a second settle", opened.sandbox.settle(&redo))?;
        opened = rig.again(opened, Memory::AtOpen)?;
        done("settle by another", opened.sandbox.settle(&redo))?;
    }
    done("discard", opened.sandbox.discard(&Work::silent()))?;
    rig.nothing_left()?;
    rig.is("after discard", &new)?;
    done("a second discard", opened.sandbox.discard(&Work::silent()))?;
    rig.nothing_left()?;
    if let Some(mut opened) = rig.again_or_gone(opened)? {
        let third = opened.sandbox.discard(&Work::silent());
        done("discard by another, again", third)?;
    }
    rig.is("after a second discard", &new)?;
    dropping_keeps(make, &new)
}

fn dropping_keeps(make: &Make<'_>, new: &str) -> Step {
    for memory in Memory::BOTH {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&rig.spots())?;
        opened = rig.again(opened, memory)?;
        let what = "the view after its sandbox was dropped";
        same(what, &rig.seen(&opened)?, new)?;
        drop(done("seal", opened.sandbox.seal(&Work::silent()))?);
        opened = rig.again(opened, memory)?;
        let redo = opened.commit()?;
        rig.is("after a commit by another", new)?;
        opened.wind_up(&redo)?;
    }
    Ok(())
}

pub(super) fn confined(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&rig.spots())?;
    rig.is_confined("by open")?;
    let redo = opened.ready()?;
    rig.is_confined("by seal and prepare")?;
    opened.carry(&redo)?;
    rig.is_confined("by apply")?;
    if opened.sandbox.marker().is_none() {
        let back = opened.sandbox.take_back(&redo, &Work::silent());
        done("take-back", back)?;
        rig.is_confined("by take-back")?;
        let again = opened.sandbox.settle(&redo);
        done("settle", again)?;
        done("unseal", opened.sandbox.unseal())?;
        drop(opened.commit()?);
    }
    opened.discard()?;
    rig.is_confined("by discard")
}
