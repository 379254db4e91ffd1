//! Rule 4: what is sealed is what is committed.

use crate::conformance::rig::{Rig, twin};
use crate::conformance::stop::{Step, done, ensure};
use crate::conformance::{Make, Spot};
use crate::sandbox::Work;

pub(super) fn freezes(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let first = done("seal", opened.sandbox.seal(&Work::silent()))?;
    // A view may refuse this, or take it and keep it to itself.
    for spot in rig.spots() {
        rig.try_change(&opened, spot, 2);
    }
    let second = done("a second seal", opened.sandbox.seal(&Work::silent()))?;
    ensure(first == second, || {
        format!("the second seal differs\n--- first\n{first:?}\n--- second\n{second:?}")
    })?;
    drop(opened.commit()?);
    let wanted = twin(make, &[(Spot::A, 1)])?;
    rig.is("after a commit of what was sealed", &wanted)?;
    goes_on(make)
}

/// A plan that is unsealed can change its view, and a new seal holds that.
fn goes_on(make: &Make<'_>) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.opened_with(&[Spot::A])?;
    let first = done("seal", opened.sandbox.seal(&Work::silent()))?;
    done("unseal", opened.sandbox.unseal())?;
    done("a second unseal", opened.sandbox.unseal())?;
    rig.change(&opened, Spot::A, 2)?;
    let second = done("seal", opened.sandbox.seal(&Work::silent()))?;
    ensure(first.digest != second.digest, || {
        "two different contents have the same digest".to_owned()
    })?;
    drop(opened.commit()?);
    let wanted = twin(make, &[(Spot::A, 2)])?;
    rig.is("after unseal, a change and a commit", &wanted)
}
