//! One test per rule, for whoever writes a participant.

/// Makes one `#[test]` per rule of [`conformance`](crate::conformance) for the participant whose
/// real things `$make` makes: a path to a `fn(&Path) -> Tried<Box<dyn Subject>>`.
///
/// ```ignore
/// mod my_participant {
///     planbox::conformance_tests!(super::my_subject);
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($make:path) => {
        $crate::conformance_tests!(@each $make;
            rule_01_nothing_real_changes_before_apply 1
            rule_02_the_view_starts_equal 2
            rule_03_diff_tells_what_changed 3
            rule_04_seal_freezes 4
            rule_05_nothing_changed_is_read_only 5
            rule_06_a_conflict_is_named_and_overwrites_nothing 6
            rule_07_a_disjoint_foreign_change_is_kept 7
            rule_08_apply_makes_exactly_the_change 8
            rule_09_applied_twice_is_applied_once 9
            rule_10_whatever_is_given_up_leaves_nothing 10
            rule_11_take_back_restores 11
            rule_12_a_crash_leaves_all_or_nothing 12
            rule_13_a_foreign_change_on_top_is_kept 13
            rule_14_the_ends_are_idempotent_and_drop_keeps_the_work 14
            rule_15_nothing_outside_is_touched 15
            rule_16_a_plan_is_all_or_none 16
            rule_17_records_are_json_and_damage_is_an_error 17
        );
    };
    (@each $make:path; $($name:ident $number:literal)*) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::assert_rule($number, &$make);
            }
        )*
    };
}
