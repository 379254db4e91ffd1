//! One test per rule, for whoever writes a participant.

/// Makes one `#[test]` per rule of [`conformance`](crate::conformance) for the participant whose
/// real things `$make` makes: a path to a `fn(&Path) -> Tried<Box<dyn Subject>>`.
///
/// ```
/// use planbox::conformance::{Subject, Tried};
/// use std::path::Path;
///
/// pub fn my_subject(_home: &Path) -> Tried<Box<dyn Subject>> {
///     Err("make a real thing here".into())
/// }
///
/// mod my_participant {
///     planbox::conformance_tests!(super::my_subject);
/// }
/// # fn main() { assert!(my_subject(Path::new(".")).is_err()) }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($make:path) => {
        #[test]
        fn rule_01_nothing_real_changes_before_apply() {
            $crate::conformance::assert_rule(1, &$make);
        }
        #[test]
        fn rule_02_the_view_starts_equal() {
            $crate::conformance::assert_rule(2, &$make);
        }
        #[test]
        fn rule_03_diff_tells_what_changed() {
            $crate::conformance::assert_rule(3, &$make);
        }
        #[test]
        fn rule_04_seal_freezes() {
            $crate::conformance::assert_rule(4, &$make);
        }
        #[test]
        fn rule_05_nothing_changed_is_read_only() {
            $crate::conformance::assert_rule(5, &$make);
        }
        #[test]
        fn rule_06_a_conflict_is_named_and_overwrites_nothing() {
            $crate::conformance::assert_rule(6, &$make);
        }
        #[test]
        fn rule_07_a_disjoint_foreign_change_is_kept() {
            $crate::conformance::assert_rule(7, &$make);
        }
        #[test]
        fn rule_08_apply_makes_exactly_the_change() {
            $crate::conformance::assert_rule(8, &$make);
        }
        #[test]
        fn rule_09_applied_twice_is_applied_once() {
            $crate::conformance::assert_rule(9, &$make);
        }
        #[test]
        fn rule_10_whatever_is_given_up_leaves_nothing() {
            $crate::conformance::assert_rule(10, &$make);
        }
        #[test]
        fn rule_11_take_back_restores() {
            $crate::conformance::assert_rule(11, &$make);
        }
        #[test]
        fn rule_12_a_crash_leaves_all_or_nothing() {
            $crate::conformance::assert_rule(12, &$make);
        }
        #[test]
        fn rule_13_a_foreign_change_on_top_is_kept() {
            $crate::conformance::assert_rule(13, &$make);
        }
        #[test]
        fn rule_14_the_ends_are_idempotent_and_drop_keeps_the_work() {
            $crate::conformance::assert_rule(14, &$make);
        }
        #[test]
        fn rule_15_nothing_outside_is_touched() {
            $crate::conformance::assert_rule(15, &$make);
        }
        #[test]
        fn rule_16_a_plan_is_all_or_none() {
            $crate::conformance::assert_rule(16, &$make);
        }
        #[test]
        fn rule_17_records_are_json_and_damage_is_an_error() {
            $crate::conformance::assert_rule(17, &$make);
        }
    };
}
