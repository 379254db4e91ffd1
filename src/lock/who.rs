//! Who holds a lock, small enough to be stored by the instruction that takes it.
//!
//! A [`Mark`] is one word: the number of the thread and the number of the operation. Threads and
//! operations are numbered when they are first seen; the names are looked up only when somebody
//! asks, which is when somebody was kept waiting.

use crate::error::Holder;
use crate::sync::global::Mutex;
use crate::sync::{Rank, thread_local};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Thread number (48 bits), operation number (15 bits), and a lowest bit that is always clear here:
/// the lock word uses it. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

const OPERATION_BITS: u32 = 15;
const THREAD_SHIFT: u32 = OPERATION_BITS + 1;
const OPERATION_MASK: u64 = (1 << OPERATION_BITS) - 1;
/// The number of every operation beyond the table.
const OTHER: u64 = 0;
const OTHER_NAME: &str = "another operation";

impl Mark {
    /// The mark in a lock word, if the word names a holder.
    #[inline]
    pub(super) fn in_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word & !1))
    }

    /// The mark as a lock word.
    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// True if both marks are of the same thread.
    #[inline]
    pub(super) fn same_thread(self, other: Self) -> bool {
        self.0 >> THREAD_SHIFT == other.0 >> THREAD_SHIFT
    }

    /// The name of the operation.
    pub(super) fn operation(self) -> &'static str {
        let number = (self.0 >> 1) & OPERATION_MASK;
        let found = OPERATIONS.lock().get(place(number)).copied();
        found.unwrap_or(OTHER_NAME)
    }

    /// The name of the thread, or its number if it has none or has ended.
    pub(super) fn thread(self) -> String {
        let number = self.0 >> THREAD_SHIFT;
        let name = THREADS.lock().get(&number).cloned();
        name.unwrap_or_else(|| format!("thread {number}"))
    }

    /// The holder as an error names it.
    pub(super) fn holder(self, key: String, since_unix_ms: u64) -> Holder {
        let at = (host().to_owned(), since_unix_ms);
        let operation = self.operation();
        Holder::new(key, operation, std::process::id(), self.thread(), at)
    }
}

/// The operations by number; the first place belongs to [`OTHER`].
static OPERATIONS: Mutex<Vec<&'static str>> =
    Mutex::new(Rank::Core, "names of operations", Vec::new());

/// The names of the threads that have one and still run.
static THREADS: Mutex<BTreeMap<u64, String>> =
    Mutex::new(Rank::Core, "names of threads", BTreeMap::new());

static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

/// How many operations a thread remembers.
const RECENT: usize = 8;

/// Address and length of the operation's name, and the mark of this thread doing it.
type Recent = Cell<(usize, usize, u64)>;

struct Me {
    thread: Cell<u64>,
    recent: [Recent; RECENT],
}

thread_local! {
    // Without a destructor, so that reading it costs nothing and works until the very end.
    static ME: Me = const {
        Me {
            thread: Cell::new(0),
            recent: [const { Cell::new((0, 0, 0)) }; RECENT],
        }
    };
    static FAREWELL: Farewell = const { Farewell(Cell::new(0)) };
}

/// Takes the name of a thread out of the table when the thread ends.
struct Farewell(Cell<u64>);

impl Drop for Farewell {
    fn drop(&mut self) {
        drop(THREADS.lock().remove(&self.0.get()));
    }
}

/// The mark of this thread doing `operation`.
#[inline]
pub(super) fn mark(operation: &'static str) -> Mark {
    ME.with(|me| {
        let address = operation.as_ptr().addr();
        #[expect(clippy::indexing_slicing, reason = "the remainder is a place")]
        let place = &me.recent[(address >> 3) % RECENT];
        let (known, length, mark) = place.get();
        // An empty place has the address 0, which no name has.
        if known == address && length == operation.len() {
            return Mark(mark);
        }
        let mark = new_mark(me, operation);
        place.set((address, operation.len(), mark));
        Mark(mark)
    })
}

#[cold]
fn new_mark(me: &Me, operation: &'static str) -> u64 {
    if me.thread.get() == 0 {
        me.thread.set(number_this_thread());
    }
    let number = number_operation(operation, &mut OPERATIONS.lock());
    (me.thread.get() << THREAD_SHIFT) | (number << 1)
}

fn number_this_thread() -> u64 {
    let number = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    // A thread that is already ending stays without a name: nobody would remove it.
    let stays = FAREWELL.try_with(|farewell| farewell.0.set(number)).is_ok();
    if stays && let Some(name) = crate::sync::thread::current().name() {
        THREADS.lock().insert(number, name.to_owned());
    }
    number
}

fn number_operation(operation: &'static str, table: &mut Vec<&'static str>) -> u64 {
    if table.is_empty() {
        table.push(OTHER_NAME);
    }
    let place = table.iter().position(|known| *known == operation);
    let place = place.unwrap_or_else(|| {
        table.push(operation);
        table.len() - 1
    });
    let number = u64::try_from(place).unwrap_or(OTHER);
    if number <= OPERATION_MASK {
        return number;
    }
    table.pop();
    OTHER
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The name of this host.
pub(super) fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let system = rustix::system::uname();
        system.nodename().to_string_lossy().into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::thread;

    #[test]
    fn a_mark_tells_threads_and_operations_apart() {
        let (one, two) = (mark("one"), mark("two"));
        assert_eq!(one, mark("one"));
        assert_ne!(one, two);
        assert!(one.same_thread(two));
        assert_eq!((one.operation(), two.operation()), ("one", "two"));
        let elsewhere = thread::scope(|scope| scope.spawn(|| mark("one")).join());
        assert!(!elsewhere.expect("a mark").same_thread(one));
    }

    #[test]
    fn names_that_share_memory_or_a_place_in_the_cache_are_told_apart() {
        // Slices 64 bytes apart have the same place among the recent ones.
        let names: &'static str = Box::leak(
            ["n", "m"]
                .map(|name| name.repeat(64))
                .concat()
                .into_boxed_str(),
        );
        let (here, far, short) = (&names[..9], &names[64..74], &names[..8]);
        let same_length = &names[64..73];
        for name in [here, far, here, short, here, same_length, far] {
            assert_eq!(mark(name).operation(), name);
        }
        assert_eq!(mark(here), mark(&names[9..18]), "the text counts");
    }

    #[test]
    fn the_parts_of_a_mark_are_as_wide_as_they_are_said_to_be() {
        assert_eq!((OPERATION_MASK, THREAD_SHIFT), (0x7FFF, 16));
        let mark = mark("one");
        assert_eq!(mark.word() & 1, 0);
        assert_eq!(mark.word() >> 16, ME.with(|me| me.thread.get()));
        let nobody = Mark(1 << 60);
        assert_eq!(
            nobody.thread(),
            format!("thread {}", 1_u64 << 44),
            "it never was"
        );
    }

    #[test]
    fn the_host_is_the_one_that_the_system_names() {
        let named = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        assert_eq!(host(), named.trim_end());
        let holder = mark("one").holder("key".to_owned(), 5);
        assert_eq!(holder.host, host());
        assert_eq!((&*holder.key, holder.since_unix_ms), ("key", 5));
    }

    #[test]
    fn a_thread_is_named_while_it_runs_and_numbered_afterwards() {
        let named = thread::spawn("the-committer", || {
            let mark = mark("commit");
            assert_eq!(mark.thread(), "the-committer");
            mark
        });
        let mark = named.expect("a thread").join().expect("a mark");
        assert!(mark.thread().starts_with("thread "), "{}", mark.thread());
    }

    #[test]
    fn operations_beyond_the_table_share_one_name() {
        let mut table = vec!["x"; place(OPERATION_MASK) + 1];
        assert_eq!(number_operation("late", &mut table), OTHER);
        assert_eq!(table.len(), place(OPERATION_MASK) + 1);
        table.pop();
        assert_eq!(number_operation("in time", &mut table), OPERATION_MASK);
    }

    #[test]
    fn a_word_without_a_holder_has_no_mark() {
        assert_eq!(Mark::in_word(0), None);
        let mark = mark("one");
        assert_eq!(Mark::in_word(mark.word() | 1), Some(mark));
    }
}
