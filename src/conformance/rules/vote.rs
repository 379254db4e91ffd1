//! Rules 5 to 7: what prepare finds.

use crate::conformance::rig::{Opened, Rig, stamp_of, twin};
use crate::conformance::stop::{Step, Stop, done, ensure, failed, told};
use crate::conformance::{Make, Spot};
use crate::error::{Conflict, Fault};
use crate::sandbox::{Redo, Vote, Work};

pub(super) fn read_only(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.open()?;
    let vote = opened.vote()?;
    ensure(matches!(vote, Vote::ReadOnly), || {
        format!("prepare of nothing: {vote:?}")
    })?;
    rig.is_old("after prepare of nothing")?;
    opened.discard()?;
    // A foreign change is no conflict for a plan that changes nothing.
    let rig = Rig::new(make)?;
    let mut opened = rig.open()?;
    rig.meddle(Spot::A, 1)?;
    let vote = opened.vote()?;
    ensure(matches!(vote, Vote::ReadOnly), || {
        format!("prepare of nothing beside a foreign change: {vote:?}")
    })?;
    opened.discard()
}

/// When the foreign writer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeSeal,
    BeforePrepare,
}

pub(super) fn conflict(make: &Make<'_>) -> Step {
    let theirs = twin(make, &[(Spot::A, 2)])?;
    for moment in [Moment::BeforeSeal, Moment::BeforePrepare] {
        let rig = Rig::new(make)?;
        let mut opened = rig.opened_with(&rig.spots())?;
        if moment == Moment::BeforePrepare {
            drop(done("seal", opened.sandbox.seal(&Work::silent()))?);
        }
        rig.meddle(Spot::A, 2)?;
        match opened.vote()? {
            Vote::Conflict(conflicts) => names(&rig, &conflicts)?,
            other => {
                return failed(format!(
                    "a foreign change ({moment:?}) was overlooked: {other:?}"
                ));
            }
        }
        rig.is("after a conflict", &theirs)?;
        opened.sandbox.stand_down();
        done("unseal", opened.sandbox.unseal())?;
        opened.discard()?;
        rig.is("after a conflict was given up", &theirs)?;
    }
    late(make, &theirs)
}

fn names(rig: &Rig, conflicts: &[Conflict]) -> Step {
    let place = rig.subject.name_of(Spot::A);
    let named = conflicts
        .iter()
        .any(|conflict| conflict.place.contains(&place));
    ensure(named, || {
        format!("no conflict names {place}: {conflicts:?}")
    })?;
    let empty = conflicts
        .iter()
        .find(|conflict| conflict.theirs.is_empty() || conflict.ours.is_empty());
    ensure(empty.is_none(), || {
        format!("a conflict does not say who wants what: {empty:?}")
    })
}

/// A foreign writer comes after prepare has answered. One that is kept out is fine, too.
fn late(make: &Make<'_>, theirs: &str) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let redo = opened.ready()?;
    if rig.subject.meddle(Spot::A, 2).is_err() {
        opened.sandbox.stand_down();
        rig.meddle(Spot::A, 2)?;
        return rig.is("after a stand-down let a foreign writer in", theirs);
    }
    let outcome = carried(&mut opened, &redo)?;
    match outcome {
        Err(Fault::Conflict | Fault::Hazard) => (),
        other => {
            return failed(format!(
                "apply over a change made after prepare answered {other:?} instead of Conflict"
            ));
        }
    }
    rig.is("after an apply that met a foreign change", theirs)?;
    if opened.sandbox.marker().is_none() {
        let back = opened.sandbox.take_back(&redo, &Work::silent());
        done("take-back of an apply that changed nothing", back)?;
        rig.is("after the take-back of that apply", theirs)?;
    }
    Ok(())
}

fn carried(opened: &mut Opened, redo: &Redo) -> Step<Result<(), Fault>> {
    let stamp = stamp_of(1)?;
    let outcome = match opened.sandbox.marker() {
        Some(marker) => marker.commit(redo, &stamp),
        None => opened.sandbox.apply(redo, &Work::silent()),
    };
    if let Err(error) = &outcome
        && error.message.is_empty()
    {
        return Err(Stop::Failed(format!(
            "an error without text: {}",
            told(error)
        )));
    }
    Ok(outcome.map_err(|error| error.fault))
}

pub(super) fn disjoint(make: &Make<'_>) -> Step {
    let wanted = |theirs: Spot| twin(make, &[(Spot::A, 1), (theirs, 2)]);
    for moment in [Moment::BeforeSeal, Moment::BeforePrepare] {
        let rig = Rig::new(make)?;
        let other = rig.second()?;
        let mut opened = rig.opened_with(&[Spot::A])?;
        if moment == Moment::BeforePrepare {
            drop(done("seal", opened.sandbox.seal(&Work::silent()))?);
        }
        rig.meddle(other, 2)?;
        let redo = opened.commit()?;
        rig.is("after a commit beside a foreign change", &wanted(other)?)?;
        if opened.sandbox.marker().is_none() {
            let back = opened.sandbox.take_back(&redo, &Work::silent());
            done("take-back beside a foreign change", back)?;
            let theirs = twin(make, &[(other, 2)])?;
            rig.is("after a take-back beside a foreign change", &theirs)?;
        }
    }
    Ok(())
}
