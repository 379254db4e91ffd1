//! Rules 1 to 3: the view.

use crate::conformance::rig::{Rig, twin};
use crate::conformance::stop::{Step, done, ensure, same};
use crate::conformance::{Make, Spot};
use crate::sandbox::Work;

pub(super) fn nothing_real_changes(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.open()?;
    rig.is_old("after open")?;
    for spot in rig.spots() {
        rig.change(&opened, spot, 1)?;
    }
    rig.is_old("after the plan changed its view")?;
    drop(done("diff", opened.sandbox.diff(&Work::silent()))?);
    rig.is_old("after diff")?;
    drop(done("seal", opened.sandbox.seal(&Work::silent()))?);
    rig.is_old("after seal")?;
    drop(opened.ready()?);
    rig.is_old("after prepare")?;
    opened.sandbox.stand_down();
    rig.is_old("after stand-down")?;
    done("unseal", opened.sandbox.unseal())?;
    rig.is_old("after unseal")
}

pub(super) fn starts_equal(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let opened = rig.open()?;
    same("the view after open", &rig.seen(&opened)?, &rig.old)?;
    rig.meddle(Spot::A, 1)?;
    let seen = rig.seen(&opened)?;
    same("the view after a foreign change", &seen, &rig.old)?;
    rig.change(&opened, Spot::A, 2)?;
    let wanted = twin(make, &[(Spot::A, 2)])?;
    same("the view after a change", &rig.seen(&opened)?, &wanted)
}

pub(super) fn diff_tells(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let opened = rig.open()?;
    let nothing = done("diff", opened.sandbox.diff(&Work::silent()))?;
    ensure(nothing.is_empty(), || {
        format!("the diff of nothing: {nothing:?}")
    })?;
    rig.change(&opened, Spot::A, 1)?;
    let changes = done("diff", opened.sandbox.diff(&Work::silent()))?;
    ensure(!changes.is_empty(), || {
        "the diff does not see a change".to_owned()
    })
}
