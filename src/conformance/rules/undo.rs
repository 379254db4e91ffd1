//! Rules 11 and 13: taking back.

use super::marker;
use crate::conformance::halt::halted_at;
use crate::conformance::rig::{Memory, Rig, twin, twin_at};
use crate::conformance::stop::{Step, done, failed, told};
use crate::conformance::{Make, Spot};
use crate::error::Fault;
use crate::sandbox::Work;

/// More steps than any participant reports for three spots.
pub(super) const MANY_STEPS: u64 = 64;

pub(super) fn restores(make: &Make<'_>) -> Step {
    let probe = Rig::new(make)?;
    if probe.open()?.sandbox.marker().is_some() {
        return marker::never_decided(make);
    }
    let all = twin_at(make, &probe.spots(), 1)?;
    for memory in Memory::BOTH {
        after_none(make, memory)?;
        after_all(make, memory, &all)?;
        for step in 1..=MANY_STEPS {
            if !after_part(make, memory, step, &all)? {
                break;
            }
        }
    }
    Ok(())
}

fn after_none(make: &Make<'_>, memory: Memory) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&rig.spots())?;
    let redo = opened.ready()?;
    let mut opened = rig.again(opened, memory)?;
    let back = opened.sandbox.take_back(&redo, &Work::silent());
    done("take-back without an apply", back)?;
    rig.is_old("after a take-back without an apply")?;
    done("settle", opened.sandbox.settle(&redo))?;
    done("unseal", opened.sandbox.unseal())?;
    opened.discard()
}

/// Applied, taken back twice, and committed after all.
fn after_all(make: &Make<'_>, memory: Memory, new: &str) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&rig.spots())?;
    let redo = opened.commit()?;
    let mut opened = rig.again(opened, memory)?;
    for time in ["", ", a second time"] {
        let back = opened.sandbox.take_back(&redo, &Work::silent());
        done(&format!("take-back{time}"), back)?;
        rig.is_old(&format!("after a take-back{time}"))?;
    }
    done(
        "settle of what was taken back",
        opened.sandbox.settle(&redo),
    )?;
    rig.is_old("after settle of what was taken back")?;
    done("unseal", opened.sandbox.unseal())?;
    let redo = opened.commit()?;
    rig.is("after a take-back and a second commit", new)?;
    opened.wind_up(&redo)
}

/// An apply that died at its step number `step`, taken back by another. False if it has no such
/// step.
fn after_part(make: &Make<'_>, memory: Memory, step: u64, new: &str) -> Step<bool> {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&rig.spots())?;
    let redo = opened.ready()?;
    if halted_at(step, |work| opened.sandbox.apply(&redo, work)).is_some() {
        return Ok(false);
    }
    let when = format!("after an apply that died at step {step} was taken back");
    let mut opened = rig.again(opened, memory)?;
    // The take-back dies there, too, and a third one ends it.
    drop(halted_at(step, |work| {
        opened.sandbox.take_back(&redo, work)
    }));
    let mut opened = rig.again(opened, memory)?;
    let back = opened.sandbox.take_back(&redo, &Work::silent());
    done(
        &format!("take-back of an apply that died at step {step}"),
        back,
    )?;
    rig.is_old(&when)?;
    done("settle", opened.sandbox.settle(&redo))?;
    done("unseal", opened.sandbox.unseal())?;
    let redo = opened.commit()?;
    rig.is(&format!("{when} and committed anew"), new)?;
    opened.wind_up(&redo)?;
    Ok(true)
}

pub(super) fn keeps_theirs(make: &Make<'_>) -> Step {
    let spots = Rig::new(make)?.spots();
    let mut on_top: Vec<_> = spots.iter().map(|spot| (*spot, 1)).collect();
    on_top.push((Spot::A, 2));
    // What others did not touch is taken back or left, as the kind can.
    let allowed = [twin(make, &[(Spot::A, 2)])?, twin(make, &on_top)?];
    for memory in Memory::BOTH {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&spots)?;
        if opened.sandbox.marker().is_some() {
            return marker::stays_committed(make);
        }
        let redo = opened.commit()?;
        rig.meddle(Spot::A, 2)?;
        let mut opened = rig.again(opened, memory)?;
        for _ in 0..2 {
            match opened.sandbox.take_back(&redo, &Work::silent()) {
                Err(error) if error.fault == Fault::Hazard => (),
                Ok(()) => return failed("take-back over a foreign change answered Ok"),
                Err(error) => {
                    return failed(format!(
                        "take-back over a foreign change answered {} instead of Hazard",
                        told(&error)
                    ));
                }
            }
            rig.is_one_of("after a take-back that met a foreign change", &allowed)?;
        }
        let mut opened = rig.again(opened, memory)?;
        let work = Work::silent().keeping_theirs(true);
        let back = opened.sandbox.take_back(&redo, &work);
        done("take-back that lets theirs stand", back)?;
        rig.is_one_of("after a take-back that lets theirs stand", &allowed)?;
        let end = rig.real()?;
        done("settle", opened.sandbox.settle(&redo))?;
        opened.discard()?;
        rig.is("at the end", &end)?;
    }
    Ok(())
}
