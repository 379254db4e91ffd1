//! The picture of the lock order: what is declared in the sources and what the last recorded run saw.

use super::docs::BLESS;
use super::{file, root};
use planbox::sync::analysis::{Dump, Format};

const PICTURE: &str = "docs/lock-order.svg";

/// What `.ci/locks` saw when it was last told to write it down.
const SEEN: &str = "docs/lock-order.pairs";

fn recorded() -> Dump {
    let mut dump = Dump::of_planbox();
    dump.read_pairs(&file(SEEN).text).unwrap();
    dump
}

#[test]
fn the_picture_of_the_lock_order_is_up_to_date() {
    let wanted = recorded().draw(Format::Svg);
    if std::env::var_os(BLESS).is_some() {
        let mut out = std::fs::File::create(root().join(PICTURE)).unwrap();
        std::io::Write::write_all(&mut out, wanted.as_bytes()).unwrap();
        return;
    }
    assert_eq!(
        file(PICTURE).text,
        wanted,
        "{PICTURE} is out of date; run this test with {BLESS}=1"
    );
}

#[test]
fn what_was_seen_is_allowed_by_what_is_declared() {
    let dump = recorded();
    assert!(dump.nestings.len() >= 15, "{SEEN} is nearly empty");
    assert_eq!(dump.check(), []);
    let text = file(SEEN).text;
    assert_eq!(dump.draw(Format::Pairs), text, "sorted, and each pair once");
}
