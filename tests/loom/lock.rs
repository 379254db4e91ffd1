//! What the gate needs beside it.

#[path = "../../src/lock/gate.rs"]
#[expect(dead_code, reason = "not all of it is asked here")]
pub(crate) mod gate;
#[path = "../../src/lock/planted.rs"]
pub(crate) mod planted;

pub(crate) mod wait {
    use crate::clock::Deadline;
    use std::time::Duration;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum LockWait {
        Block,
        Try,
        /// Gives up at once when it is in the queue.
        For(Duration),
    }

    impl LockWait {
        pub(crate) fn deadline(self) -> Option<Deadline> {
            matches!(self, Self::For(_)).then_some(Deadline)
        }
    }

    pub(crate) fn millis(_time: Duration) -> u64 {
        0
    }
}

pub(crate) mod who {
    /// The number of the thread, above the bit of the word.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Mark(pub(crate) u64);

    impl Mark {
        pub(crate) fn in_word(word: u64) -> Option<Self> {
            (word != 0).then_some(Self(word >> 1))
        }

        pub(crate) fn word(self) -> u64 {
            self.0 << 1
        }

        pub(crate) fn same_thread(self, other: Self) -> bool {
            self == other
        }
    }
}
