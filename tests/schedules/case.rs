//! What is explored: bodies, and the controls that have to fail.

/// A guarantee that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// One word for what went wrong.
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

pub(crate) type Verdict = Result<(), Wrong>;

/// Says that something went wrong, unless `holds`.
pub(crate) fn check(holds: bool, kind: &'static str, text: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    let text = text();
    Err(Wrong { kind, text })
}

/// The same body with a mechanism taken out or a fault planted: the exploration has to notice.
#[derive(Debug)]
pub(crate) struct Control {
    /// What was taken out or planted.
    pub(crate) without: &'static str,
    pub(crate) body: fn() -> Verdict,
    /// What may be found; anything else is a fault of the test.
    pub(crate) kinds: &'static [&'static str],
    /// Real threads meet the fault too rarely: only an explorer can be held to it.
    #[cfg_attr(shuttle, expect(dead_code, reason = "for real threads"))]
    pub(crate) only_explored: bool,
}

/// How a body is explored exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Not at all: there are too many threads.
    No,
    /// Every schedule with so many preemptions at the most.
    Preemptions(usize),
}

/// One body.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: fn() -> Verdict,
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) depth: Depth,
    /// How many times as many schedules as others it gets: without a manager they cost little.
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) weight: usize,
    pub(crate) controls: &'static [Control],
}

/// What an exploration came to.
#[derive(Debug)]
pub(crate) struct Explored {
    /// How many schedules ran.
    pub(crate) schedules: usize,
    /// The tree was seen to its end.
    #[cfg_attr(not(shuttle), expect(dead_code, reason = "for an explorer"))]
    pub(crate) exhausted: bool,
    pub(crate) wrong: Option<Wrong>,
}
