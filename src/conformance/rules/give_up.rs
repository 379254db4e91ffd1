//! Rule 10: a plan that comes to nothing.

use crate::conformance::rig::{Memory, Opened, Rig};
use crate::conformance::stop::{Step, done, ensure};
use crate::conformance::{Make, Spot};
use crate::sandbox::Work;

/// How far the plan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Open,
    Changed,
    Sealed,
    Prepared,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Unseal,
    Died(Memory),
    Discard,
}

pub(super) fn leaves_nothing(make: &Make<'_>) -> Step {
    let ends = [
        Then::Unseal,
        Then::Died(Memory::AtOpen),
        Then::Died(Memory::Latest),
        Then::Discard,
    ];
    for reached in [
        Reached::Open,
        Reached::Changed,
        Reached::Sealed,
        Reached::Prepared,
    ] {
        for then in ends {
            ended(make, reached, then)?;
        }
    }
    Ok(())
}

fn ended(make: &Make<'_>, reached: Reached, then: Then) -> Step {
    let rig = Rig::new(make)?;
    let mut opened = rig.open()?;
    if reached != Reached::Open {
        rig.change(&opened, Spot::A, 1)?;
    }
    match reached {
        Reached::Open | Reached::Changed => (),
        Reached::Sealed => drop(done("seal", opened.sandbox.seal(&Work::silent()))?),
        Reached::Prepared => drop(opened.ready()?),
    }
    let when = format!("given up ({reached:?}, {then:?})");
    let opened = match then {
        Then::Discard => opened,
        Then::Unseal => {
            opened.sandbox.stand_down();
            opened.sandbox.stand_down();
            unsealed(opened)?
        }
        Then::Died(memory) => unsealed(rig.again(opened, memory)?)?,
    };
    rig.is_old(&when)?;
    if reached != Reached::Open && then != Then::Discard {
        let changes = done("diff", opened.sandbox.diff(&Work::silent()))?;
        ensure(!changes.is_empty(), || format!("the work is lost, {when}"))?;
    }
    opened.discard()?;
    rig.nothing_left()?;
    rig.is_old(&when)
}

fn unsealed(mut opened: Opened) -> Step<Opened> {
    done("unseal", opened.sandbox.unseal())?;
    Ok(opened)
}
