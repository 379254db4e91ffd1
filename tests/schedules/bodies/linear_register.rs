//! Recorded histories of the register.

use super::linear::record;
use crate::case::{Case, Control, Depth, Verdict};
use planbox::VersionRegister;
use planbox::sync::point;
use stateright::semantics::{LinearizabilityTester, SequentialSpec};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Read,
    /// Replace what is there at this generation by this value.
    Replace(u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Generation and value.
    Holds(u64, u64),
    Replaced(u64),
    Moved,
}

/// The register as a sequential thing.
#[derive(Debug, Clone, Copy)]
struct Plain {
    generation: u64,
    value: u64,
}

impl SequentialSpec for Plain {
    type Op = Ask;
    type Ret = Told;

    fn invoke(&mut self, ask: &Ask) -> Told {
        match *ask {
            Ask::Read => Told::Holds(self.generation, self.value),
            Ask::Replace(expected, value) if expected == self.generation => {
                self.generation += 1;
                self.value = value;
                Told::Replaced(self.generation)
            }
            Ask::Replace(..) => Told::Moved,
        }
    }
}

pub(crate) const CASES: &[Case] = &[Case::light(
    "history: the register",
    Depth::Preemptions(3),
    || history(false),
    &[Control::new(
        "the comparison",
        || history(true),
        &["not linear"],
    )],
)];

const CALLERS: [&[Ask]; 3] = [
    &[Ask::Replace(1, 10), Ask::Read],
    &[Ask::Replace(1, 20), Ask::Replace(2, 21)],
    &[Ask::Read, Ask::Read],
];

fn ask(register: &VersionRegister<u64>, ask: Ask, careless: bool) -> Told {
    let look = || {
        let seen = register.snapshot();
        (seen.generation(), seen.value().copied().unwrap_or_default())
    };
    match ask {
        Ask::Read => {
            let (generation, value) = look();
            Told::Holds(generation, value)
        }
        Ask::Replace(expected, value) => {
            // The control compares, and then replaces whatever is there by then.
            let expected = if careless && look().0 == expected {
                point();
                look().0
            } else {
                expected
            };
            let replaced = register.activate(expected, "v", Arc::new(value));
            replaced.map_or(Told::Moved, Told::Replaced)
        }
    }
}

/// Two writers and a reader, two calls each; some order of the calls that overlap explains every
/// answer:
///
/// ```text
/// one      [replace 1 by 10 ....... told: generation 2]  [read ... told: 10, or later]
/// other       [replace 1 by 20 ... told: it moved]  [replace 2 by 21 ... told: generation 3]
/// reader         [read ... told: 0, 10 or 20]  [read ... told: the same, or later]
/// ```
fn history(careless: bool) -> Verdict {
    let register = VersionRegister::new("v", 0);
    let start = Plain {
        generation: 1,
        value: 0,
    };
    let history = LinearizabilityTester::new(start);
    record(history, &CALLERS, |_, one| ask(&register, one, careless))
}
