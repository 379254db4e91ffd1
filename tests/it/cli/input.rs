//! Names, ids and paths that are hard on a command line.

use super::{Home, joined, read};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

#[test]
fn plan_ids_are_data_whatever_they_look_like() {
    let home = Home::new();
    let real = home.real("real", &[("f", "old")]);
    for plan in [
        "../../etc",
        "--json",
        "-q",
        "a b;$(touch x)",
        "p\u{e4}\u{1f600}",
        "%s",
        "'",
    ] {
        home.ok(&["open", "--dir", "real", "--", plan]);
        let json = home.json(0, &["status", "--", plan]);
        assert_eq!(json["plan"], plan);
        let script = "printf '%s' \"$PLANBOX_PLAN\" >f";
        let option = format!("--plan={plan}");
        home.ok(&["exec", &option, "--", "sh", "-c", script]);
        home.ok(&["commit", "--", plan]);
        assert_eq!(read(real.join("f")), plan);
    }
    assert!(!home.path("x").exists());
    let plans = home.store().join("plans");
    assert!(plans.is_dir() && !home.path("etc").exists());
}

#[test]
fn control_characters_are_refused_and_never_printed() {
    let home = Home::new();
    for plan in ["a\nb", "a\x1b[31mb", "a\rb", "\u{85}"] {
        for arguments in [&["status", plan][..], &["commit", plan], &[plan]] {
            let ended = home.run(arguments);
            assert_eq!(ended.code, Some(2), "{ended:?}");
            let printed = ended.stderr.replace('\n', "") + &ended.stdout;
            assert!(!printed.chars().any(char::is_control), "{ended:?}");
        }
    }
}

#[test]
fn a_path_may_hold_any_bytes_and_an_equals_sign() {
    let home = Home::new();
    let odd = home.path("").join(OsStr::from_bytes(b"odd\xff\x1b=dir"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("f"), "old").unwrap();
    home.real("a=b", &[("f", "old")]);
    let mut command = home.command(&["run", "p", "--dir", "./a=b", "--dir"]);
    command.arg(joined(&[OsStr::new("odd="), odd.as_os_str()]));
    let script = "printf new >\"$PLANBOX_PATH_ODD/f\"; printf new >\"$PLANBOX_PATH_DIR/f\"";
    let output = command.args(["--", "sh", "-c", script]).output().unwrap();
    let ended = super::ended(&output);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains('\x1b'), "{ended:?}");
    assert_eq!(
        (read(odd.join("f")), read(home.path("a=b/f"))),
        ("new".into(), "new".into())
    );
}

#[test]
fn two_names_that_become_one_variable_are_refused_before_anything_runs() {
    let home = Home::new();
    home.real("a", &[]);
    home.real("b", &[]);
    home.ok(&["open", "p", "--dir", "x-y=a"]);
    home.ok(&["open", "p", "--dir", "x.y=b"]);
    let json = home.json(2, &["exec", "p", "--", "touch", "/dev/null"]);
    assert_eq!(
        (&json["error"]["code"], &json["plan"]),
        (&json!("name-clash"), &json!("p"))
    );
}

#[test]
fn the_store_is_found_by_option_variable_and_state_directory() {
    let home = Home::new();
    let mut command = home.command(&["status", "-v"]);
    command
        .env_remove("PLANBOX_STORE")
        .env_remove("XDG_STATE_HOME");
    let ended = super::ended(&command.output().unwrap());
    assert!(
        home.path(".local/state/planbox/format").exists(),
        "{ended:?}"
    );
    assert!(ended.stderr.contains(".local/state/planbox"), "{ended:?}");
    home.real("real", &[]);
    let arguments = ["run", "--store", "mine", "--dir", "real", "--", "sh", "-c"];
    let ended = home.ok(&[&arguments[..], &["printf %s \"$PLANBOX_STORE\" >s"]].concat());
    let named = read(home.path("real/s"));
    assert!(
        named.starts_with('/') && named.ends_with("/mine"),
        "absolute: {named} {ended:?}"
    );
}
