//! Random choices that can be made again.

use std::hash::{BuildHasher as _, RandomState};

/// Numbers from a seed (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        of.get(usize::try_from(at).unwrap()).unwrap()
    }
}

/// The number in the variable `name`, if it is set.
pub(crate) fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
    )
}

/// The first seed of this run and how many there are: `PLANBOX_SEED`, `PLANBOX_CASES`, else a fresh
/// one and `cases`. Both are printed.
pub(crate) fn of_this_run(cases: u64) -> (u64, u64) {
    let fresh = || RandomState::new().hash_one("a fresh one") >> 1;
    let seed = from_environment("PLANBOX_SEED").unwrap_or_else(fresh);
    let cases = from_environment("PLANBOX_CASES").unwrap_or(cases);
    println!("PLANBOX_SEED={seed} PLANBOX_CASES={cases}");
    (seed, cases)
}
