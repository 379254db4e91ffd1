//! Reading the command line.

use super::*;
use clap::CommandFactory as _;

#[test]
fn the_declaration_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn durations_are_read() {
    let cases = [
        ("0", 0),
        ("500ms", 500),
        ("10s", 10_000),
        ("7", 7_000),
        ("2m", 120_000),
    ];
    for (text, milliseconds) in cases {
        assert_eq!(
            parse_duration(text),
            Ok(Duration::from_millis(milliseconds)),
            "{text}"
        );
    }
    assert_eq!(parse_duration("1d"), Ok(Duration::from_secs(86_400)));
    for text in [
        "",
        "s",
        "1w",
        "-1s",
        "1.5s",
        "99999999999999999999",
        "18446744073709551615h",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn an_author_is_one_line_with_a_name_and_an_address() {
    let author = parse_author(" Ada L. <ada@example.org> ").unwrap();
    assert_eq!(
        (author.name.as_str(), author.email.as_str()),
        ("Ada L.", "ada@example.org")
    );
    for text in [
        "",
        "Ada",
        "<ada@example.org>",
        "Ada <>",
        "Ada <a@b> x",
        "Ada <a@b>\nx <c@d>",
        "A\nda <a@b>",
        "Ada\n<a@b>",
        "Ada <a@b>\n",
        "Ada <a\n@b>",
        "Ada <<a@b>>",
    ] {
        assert!(parse_author(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_message_is_data_even_if_it_looks_like_an_option() {
    let line = ["planbox", "open", "p", "--git", "r", "-m", "--amend"];
    let Command::Open(open) = Cli::try_parse_from(line).unwrap().command else {
        panic!("not open")
    };
    assert_eq!(open.resources.message.as_deref(), Some("--amend"));
    for line in [
        &["planbox", "open", "p", "--git", "r", "-m", " \n"][..],
        &["planbox", "open", "p", "--dir", "d", "-m", "x"],
        &["planbox", "open", "p", "--dir", "d", "--decide-in", "x"],
        &[
            "planbox", "open", "p", "--sqlite", "d", "--author", "A <a@b>",
        ],
    ] {
        assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
    }
}

#[test]
fn global_options_go_before_and_after_the_command() {
    for line in ["planbox --json -q status", "planbox status --json -q"] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(cli.global.json && cli.global.quiet, "{line}");
    }
}

#[test]
fn the_plan_of_run_is_optional_and_the_command_is_kept_as_it_is() {
    let line = ["planbox", "run", "--dir", "a=x", "--", "sh", "-c", "--json"];
    let cli = Cli::try_parse_from(line).unwrap();
    let Command::Run(run) = cli.command else {
        panic!("not run")
    };
    assert_eq!((run.plan, run.cmd.len(), cli.global.json), (None, 3, false));
    let line = ["planbox", "run", "--plan", "-p", "--dir", "x", "--", "true"];
    let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else {
        panic!()
    };
    assert_eq!(run.dashed.as_deref(), Some("-p"));
    assert!(Cli::try_parse_from(["planbox", "run", "p", "--dir", "x", "true"]).is_err());
    assert!(Cli::try_parse_from(["planbox", "exec", "--", "true"]).is_err());
}
