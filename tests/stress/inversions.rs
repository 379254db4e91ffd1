//! The controls of the oracle: two locks of one class, taken in both orders by threads that never meet,
//! and three in a circle. The witness lets them pass, because the keys say that each order ascends; so
//! does the graph of classes, which has one node for all of them.

use crate::oracle::ORACLE;
use planbox::lock::{LockTable, LockWait};
use planbox::sync::order::{Class, Order, Rank};
use planbox::sync::witness;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

const TICKETS: Rank =
    Order::new(&[Class::around("tickets", "a class of these controls").keyed()]).rank("tickets");

/// A key whose order is not that of what it names: who was asked for first comes first.
#[derive(Debug, Clone)]
struct Ticket {
    asked: u64,
    name: &'static str,
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Ticket {}

impl Hash for Ticket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ticket {
    fn cmp(&self, other: &Self) -> Ordering {
        self.asked.cmp(&other.asked)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Has one thread after the other take two locks of the table. True if tracing-mutex objected.
fn noticed(pairs: &[[&'static str; 2]]) -> bool {
    let table = LockTable::new(TICKETS);
    for pair in pairs {
        let both = || {
            let held = (0..).zip(pair).map(|(asked, name)| {
                let ticket = Ticket { asked, name };
                table.lock(&ticket, LockWait::Try, "control").unwrap()
            });
            drop(held.collect::<Vec<_>>());
        };
        // A panic would be the witness, which is not to see this.
        std::thread::scope(|scope| scope.spawn(both).join().unwrap());
    }
    let circles = ORACLE.circles();
    let named = circles.iter().any(|circle| circle.contains("tickets/"));
    assert!(named || circles.is_empty(), "{circles:?}");
    named
}

/// Every control, after the run that it is the control of.
pub(crate) fn controls() {
    ORACLE.look();
    std::panic::set_hook(Box::new(|_| ()));
    let straight = noticed(&[["a", "b"], ["b", "c"], ["a", "c"]]);
    let inverted = noticed(&[["d", "e"], ["e", "d"]]);
    let circle = noticed(&[["f", "g"], ["g", "h"], ["h", "f"]]);
    drop(std::panic::take_hook());
    ORACLE.look_away();
    assert!(!straight, "locks in one order are no circle");
    assert!(inverted, "two locks in both orders go unnoticed");
    assert!(circle, "a circle of three locks goes unnoticed");
    let findings = witness::dump().check();
    assert!(
        findings.is_empty(),
        "the classes are in order: {findings:?}"
    );
    println!(
        "| control: two locks of one class in both orders | noticed by tracing-mutex, not by classes |"
    );
    println!(
        "| control: three locks of one class in a circle | noticed by tracing-mutex, not by classes |"
    );
}
