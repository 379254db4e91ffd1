//! The register: no torn pair, no lost swap, nothing dropped under the latch.

use super::*;
use crate::sync::thread;
use std::sync::atomic::{AtomicBool, Ordering};

mod history;
mod loading;

impl<T> fmt::Debug for DraftError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Sealed => "Sealed",
            Self::Moved(_) => "Moved",
            Self::Promised => "Promised",
        })
    }
}

impl<T> fmt::Debug for Draft<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draft")
    }
}

#[test]
fn only_the_newest_generation_can_be_replaced() {
    let register = VersionRegister::new("v1", 1);
    let first = register.snapshot();
    assert_eq!(
        (first.version(), *first.value().unwrap(), first.generation()),
        ("v1", 1, 1)
    );
    assert_eq!(register.activate(1, "v2", Arc::new(2)), Ok(2));
    let late = register.clone().activate(1, "v3", Arc::new(3));
    let error = late.expect_err("the generation moved");
    assert_eq!(
        error,
        RegisterError::Moved {
            expected: 1,
            found: 2,
            version: "v2".to_owned()
        }
    );
    assert_eq!(
        (error.code(), error.is_retryable()),
        ("register-moved", false)
    );
    assert_eq!(
        *register.snapshot().value().unwrap(),
        2,
        "a refusal changes nothing"
    );
    assert_eq!(*first.value().unwrap(), 1, "a snapshot stays");
    assert_ne!(register.id(), VersionRegister::new("v1", 1).id());
}

#[test]
fn readers_never_see_a_torn_pair() {
    let register = VersionRegister::new("0", 0_u64);
    let over = AtomicBool::new(false);
    let read = || {
        let mut last = 0;
        while !over.load(Ordering::Acquire) {
            let seen = register.snapshot();
            assert_eq!(seen.version(), seen.value().unwrap().to_string());
            assert_eq!(seen.generation(), *seen.value().unwrap() + 1);
            assert!(seen.generation() >= last, "generations never go back");
            last = seen.generation();
        }
    };
    let write = || {
        let mut won = 0;
        while won < 500 {
            let seen = register.snapshot();
            let next = seen.value().unwrap() + 1;
            let outcome = register.activate(seen.generation(), next.to_string(), Arc::new(next));
            won += u64::from(outcome.is_ok());
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(read)).collect();
        let writers: Vec<_> = (0..3).map(|_| scope.spawn(write)).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        over.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(register.snapshot().generation(), 1501, "no swap was lost");
}

#[test]
fn a_promise_keeps_everybody_else_out_until_it_is_kept_or_given_back() {
    let register = VersionRegister::new("v1", 1);
    register.begin_draft("a");
    register.begin_draft("b");
    register.promise("a").unwrap();
    register.promise("a").unwrap();
    assert!(matches!(register.promise("b"), Err(DraftError::Promised)));
    let refused = register.activate(1, "v2", Arc::new(2));
    assert_eq!(refused, Err(RegisterError::Promised));
    register.withdraw("b");
    assert!(
        register.activate(1, "v2", Arc::new(2)).is_err(),
        "not theirs to withdraw"
    );
    register.end_draft("a");
    assert_eq!(register.activate(1, "v2", Arc::new(2)), Ok(2));
    assert!(matches!(register.promise("b"), Err(DraftError::Moved(_))));
    assert!(matches!(register.promise("a"), Err(DraftError::Unknown)));
}

/// A value that looks into its register while it goes.
struct Nosy(Option<VersionRegister<Nosy>>);

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(register) = &self.0 {
            assert!(register.snapshot().generation() > 1);
        }
    }
}

#[test]
fn no_value_is_dropped_under_the_latch() {
    let register = VersionRegister::new("v1", Nosy(None));
    let nosy = || Nosy(Some(register.clone()));
    register.activate(1, "v2", Arc::new(nosy())).unwrap();
    register.activate(2, "v3", Arc::new(nosy())).unwrap();
    register.begin_draft("t");
    let wish = |version: &str| Wish {
        version: Some(version.to_owned()),
        stored: None,
        value: Some(Arc::new(nosy())),
    };
    register.wish("t", wish("v4")).unwrap();
    register.wish("t", wish("v5")).unwrap();
    register.seal_draft("t").unwrap();
    let late = register.wish("t", wish("v6"));
    assert!(matches!(late, Err(DraftError::Sealed)));
    register.carry_out("t").unwrap();
    register.restore("t").unwrap();
    register.end_draft("t");
    register.activate(5, "end", Arc::new(Nosy(None))).unwrap();
}
