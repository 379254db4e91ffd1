//! Rules 9 and 11 to 13 for a participant whose own commit decides.

use crate::conformance::rig::{Memory, Opened, Rig, stamp_of, twin};
use crate::conformance::stop::{Step, done, ensure, failed};
use crate::conformance::{Make, Spot};
use crate::sandbox::{Marker, Redo, Stamp};

fn marker(opened: &mut Opened) -> Step<&mut dyn Marker> {
    match opened.sandbox.marker() {
        Some(marker) => Ok(marker),
        None => failed("it was a marker and is none any more"),
    }
}

fn probed(opened: &mut Opened, redo: &Redo, stamp: &Stamp) -> Step<bool> {
    done("probe", marker(opened)?.probe(redo, stamp))
}

/// Rule 9: what is committed is seen as committed, by whoever opens the sandbox again.
pub(super) fn survives(make: &Make<'_>) -> Step {
    let new = twin(make, &[(Spot::A, 1)])?;
    for memory in Memory::BOTH {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&[Spot::A])?;
        let redo = opened.commit()?;
        let stamp = stamp_of(1)?;
        ensure(probed(&mut opened, &redo, &stamp)?, || {
            "probe does not see what was committed".to_owned()
        })?;
        let mut opened = rig.again(opened, memory)?;
        ensure(probed(&mut opened, &redo, &stamp)?, || {
            "probe of a sandbox opened again does not see what was committed".to_owned()
        })?;
        let other = stamp_of(2)?;
        ensure(!probed(&mut opened, &redo, &other)?, || {
            "probe sees a stamp that nobody committed".to_owned()
        })?;
        rig.is("after a commit", &new)?;
        opened.discard()?;
        rig.is("after discard", &new)?;
    }
    Ok(())
}

/// Rule 11: what was probed as not committed can never be committed any more.
pub(super) fn never_decided(make: &Make<'_>) -> Step {
    for memory in Memory::BOTH {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&rig.spots())?;
        let redo = opened.ready()?;
        let mut opened = rig.again(opened, memory)?;
        let stamp = stamp_of(1)?;
        ensure(!probed(&mut opened, &redo, &stamp)?, || {
            "probe sees a commit that was never made".to_owned()
        })?;
        if marker(&mut opened)?.commit(&redo, &stamp).is_ok() {
            return failed("a stamp was committed after probe had denied it");
        }
        rig.is_old("after a commit that probe had denied")?;
        opened.discard()?;
    }
    Ok(())
}

/// Rule 12: a crash before the commit is all old, one after it is all new.
pub(super) fn decides_once(make: &Make<'_>) -> Step {
    let new = twin(make, &[(Spot::A, 1)])?;
    for memory in Memory::BOTH {
        for decided in [false, true] {
            let rig = Rig::new(make)?;
            let mut opened = rig.opened_with(&[Spot::A])?;
            let redo = opened.ready()?;
            if decided {
                opened.carry(&redo)?;
            }
            let mut opened = rig.again(opened, memory)?;
            let stamp = stamp_of(1)?;
            let seen = probed(&mut opened, &redo, &stamp)?;
            ensure(seen == decided, || {
                format!("after a crash, committed: {decided}, but probe says {seen}")
            })?;
            rig.is("after a crash", if decided { &new } else { &rig.old })?;
            opened.discard()?;
        }
    }
    Ok(())
}

/// Rule 13: a foreign change on top neither hides the commit nor is touched by the end.
pub(super) fn stays_committed(make: &Make<'_>) -> Step {
    let theirs = twin(make, &[(Spot::A, 2)])?;
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let redo = opened.commit()?;
    rig.meddle(Spot::A, 2)?;
    let mut opened = rig.again(opened, Memory::AtOpen)?;
    let stamp = stamp_of(1)?;
    ensure(probed(&mut opened, &redo, &stamp)?, || {
        "a foreign change on top hides the commit".to_owned()
    })?;
    opened.discard()?;
    rig.is("after a foreign change on top", &theirs)
}
