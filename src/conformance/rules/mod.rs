//! The rules, one function each, in the order of their numbers.

use super::report::Rule;

mod apply;
mod crash;
mod ends;
mod give_up;
mod manager;
mod marker;
mod record;
mod seal;
mod undo;
mod view;
mod vote;

/// Every rule, in the order of numbers.
pub static RULES: [Rule; 17] = [
    Rule {
        number: 1,
        sentence: "Nothing real changes before the decision: not by open, diff, seal or prepare.",
        run: view::nothing_real_changes,
    },
    Rule {
        number: 2,
        sentence: "The view starts equal to the real thing, and does not follow it afterwards.",
        run: view::starts_equal,
    },
    Rule {
        number: 3,
        sentence: "The diff of nothing is empty, and a change in the view is in the diff.",
        run: view::diff_tells,
    },
    Rule {
        number: 4,
        sentence: "Seal freezes: what is written into the view afterwards is not committed, a \
                   second seal equals the first, and unseal lets the plan go on.",
        run: seal::freezes,
    },
    Rule {
        number: 5,
        sentence: "Where nothing changed, prepare answers ReadOnly and leaves nothing.",
        run: vote::read_only,
    },
    Rule {
        number: 6,
        sentence: "A foreign change of what the plan touched is a conflict that names the place, \
                   and is not overwritten: neither when prepare finds it nor when apply does.",
        run: vote::conflict,
    },
    Rule {
        number: 7,
        sentence: "A foreign change of something else is kept beside the plan's.",
        run: vote::disjoint,
    },
    Rule {
        number: 8,
        sentence: "Apply makes exactly the change, whatever the plan changed.",
        run: apply::exactly,
    },
    Rule {
        number: 9,
        sentence: "Applied twice is applied once, also by a sandbox that was opened again from \
                   its record, and also where others changed it since: theirs is kept.",
        run: apply::once,
    },
    Rule {
        number: 10,
        sentence: "A plan that ends after open, seal or prepare leaves the real thing as it was, \
                   its work until it is discarded, and nothing afterwards.",
        run: give_up::leaves_nothing,
    },
    Rule {
        number: 11,
        sentence: "Take-back restores what was there, after all of apply, a part or none of it, \
                   any number of times, and the plan can be committed afterwards.",
        run: undo::restores,
    },
    Rule {
        number: 12,
        sentence: "After a crash at any step, the redo carried out gives all of the change and \
                   the redo taken back gives none of it.",
        run: crash::all_or_nothing,
    },
    Rule {
        number: 13,
        sentence: "A take-back that meets a foreign change keeps it and answers Hazard, and ends \
                   once the caller lets theirs stand.",
        run: undo::keeps_theirs,
    },
    Rule {
        number: 14,
        sentence: "Settle and discard are idempotent, discard leaves nothing but the change, and \
                   dropping a sandbox removes nothing.",
        run: ends::idempotent,
    },
    Rule {
        number: 15,
        sentence: "Nothing outside of the real thing and the participant's own staging is \
                   touched at any step.",
        run: ends::confined,
    },
    Rule {
        number: 16,
        sentence: "In a plan with a failing partner all is old, without one all is new, a second \
                   commit gives the same receipt, and a superseded executor decides nothing.",
        run: manager::all_or_none,
    },
    Rule {
        number: 17,
        sentence: "Records and redos are JSON, and damaged ones are an error, never a panic and \
                   never a change.",
        run: record::damage_is_an_error,
    },
];
