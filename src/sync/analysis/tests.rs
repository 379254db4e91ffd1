use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;

fn site(rank: &str, line: u32) -> Site {
    Site::new(rank, rank, format!("x.rs:{line}:1"))
}

fn edge(held: &str, taken: &str, line: u32) -> Nesting {
    Nesting::new(site(held, line), site(taken, line + 1))
}

/// A dump of ranks `a` to `c`, in this order; `c` is never held across I/O.
fn dump(nestings: impl IntoIterator<Item = Nesting>) -> Dump {
    let mut text =
        String::from("{\"planbox-locks\":{\"version\":1,\"pid\":1,\"program\":\"x\"}}\n");
    for (name, io, then) in [
        ("a", true, r#"["b","c"]"#),
        ("b", true, r#"["c"]"#),
        ("c", false, "[]"),
    ] {
        let several = name == "a";
        writeln!(
            text,
            r#"{{"rank":{{"name":"{name}","kind":"{name}","protects":"","across_io":{io},"several":{several},"then":{then}}}}}"#
        )
        .unwrap();
    }
    let mut dump = Dump::default();
    dump.read(&text).unwrap();
    dump.nestings.extend(nestings);
    dump
}

fn codes(dump: &Dump) -> Vec<&'static str> {
    dump.check().iter().map(Finding::code).collect()
}

#[test]
fn a_clean_run_has_no_findings() {
    let mut dump = dump([edge("a", "b", 1), edge("b", "c", 3), edge("a", "c", 5)]);
    dump.holds
        .insert(Hold::new(site("b", 1), "fs.sync", "y.rs:1:1"));
    assert_eq!(codes(&dump), Vec::<&str>::new());
    assert_eq!(codes(&Dump::of_planbox()), Vec::<&str>::new());
}

#[test]
fn a_cycle_through_three_threads_is_found_and_every_call_site_is_named() {
    let dump = dump([edge("a", "b", 10), edge("b", "c", 20), edge("c", "a", 30)]);
    assert_eq!(codes(&dump), ["cycle", "undeclared"]);
    let said = dump.check()[0].to_string();
    for line in [10, 11, 20, 21, 30, 31] {
        assert!(said.contains(&format!("x.rs:{line}:1")), "{said}");
    }
}

#[test]
fn an_edge_that_is_not_declared_is_found_without_a_cycle() {
    assert_eq!(codes(&dump([edge("b", "a", 1)])), ["undeclared"]);
    assert_eq!(codes(&dump([edge("a", "nobody", 1)])), ["undeclared"]);
    assert_eq!(codes(&dump([edge("nobody", "c", 1)])), ["undeclared"]);
}

#[test]
fn locks_of_one_rank_are_judged_by_their_keys() {
    let keyed = |rank: &str, keys| {
        let mut nesting = edge(rank, rank, 1);
        nesting.keys = keys;
        codes(&dump([nesting]))
    };
    assert_eq!(keyed("a", Some(Keys::Ascending)), Vec::<&str>::new());
    assert_eq!(
        keyed("a", Some(Keys::NotAscending)),
        ["cycle", "undeclared"]
    );
    assert_eq!(keyed("a", None), ["cycle", "undeclared"]);
    assert_eq!(
        keyed("b", Some(Keys::Ascending)),
        ["undeclared"],
        "one at a time"
    );
}

#[test]
fn a_latch_that_is_held_across_io_is_found() {
    let mut dump = dump([]);
    dump.holds
        .insert(Hold::new(site("c", 7), "fs.sync", "y.rs:8:1"));
    assert_eq!(codes(&dump), ["held-across-io"]);
    let said = dump.check()[0].to_string();
    assert!(
        said.contains("x.rs:7:1") && said.contains("y.rs:8:1"),
        "{said}"
    );
}

#[test]
fn one_rank_with_two_meanings_is_found() {
    let mut dump = dump([]);
    let mut other = dump.rank("a").unwrap().clone();
    other.across_io = false;
    dump.declare([other]);
    assert_eq!(codes(&dump), ["contradiction"]);
}

#[test]
fn what_is_not_a_dump_is_refused_and_adds_nothing() {
    let before = dump([edge("a", "b", 1)]);
    let mut dump = before.clone();
    let newer = r#"{"planbox-locks":{"version":2,"pid":1,"program":"x"}}"#;
    assert_eq!(dump.read(newer), Err(DumpError::Newer { found: 2 }));
    assert_eq!(dump.read(""), Err(DumpError::NoDump));
    for text in ["hello", "{}", "[1]", r#"{"edge":{}}"#, r#"{"other":1}"#] {
        assert!(
            matches!(dump.read(text), Err(DumpError::Line { line: 1, .. })),
            "{text}"
        );
    }
    assert_eq!(dump, before);
}

#[test]
fn pairs_are_read_as_they_are_written() {
    let first = dump([edge("a", "b", 1), edge("a", "b", 9), edge("b", "c", 3)]);
    let pairs = first.draw(Format::Pairs);
    assert_eq!(pairs, "a/a b/b\nb/b c/c\n");
    let mut second = dump([]);
    second.read_pairs(&pairs).unwrap();
    assert_eq!(second.draw(Format::Pairs), pairs);
    assert_eq!(second.draw(Format::Svg), first.draw(Format::Svg));
    assert!(second.read_pairs("a b").is_err() && second.read_pairs("a/a").is_err());
}

#[test]
fn pictures_show_ranks_in_order_and_what_is_wrong() {
    let dump = dump([edge("a", "b", 1), edge("c", "a", 3)]);
    assert_eq!(dump.rows(), ["a", "b", "c"]);
    let dot = dump.draw(Format::Dot);
    assert!(
        dot.contains("\"a\" -> \"b\" [style=solid]")
            && dot.contains("\"b\" -> \"c\" [style=dotted]")
    );
    assert!(
        dot.contains("\"c\" -> \"a\" [style=bold, color=red]"),
        "{dot}"
    );
    let mermaid = dump.draw(Format::Mermaid);
    assert!(mermaid.contains("r0 --> r1\n") && mermaid.contains("r2 ==>|forbidden| r0"));
    let svg = dump.draw(Format::Svg);
    assert!(svg.contains("<title>c then a</title>") && svg.contains("prefers-color-scheme: dark"));
    assert_eq!(svg.matches("<rect").count(), 3);
    let names: Vec<_> = Dump::of_planbox()
        .rows()
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        names,
        ["plan", "resource", "job", "registry", "leaf", "core"]
    );
}

#[test]
fn names_do_no_harm_to_a_picture() {
    let dump = dump([Nesting::new(Site::new("a", "<&\">\u{7}", ""), site("b", 1))]);
    let svg = dump.draw(Format::Svg);
    assert!(
        svg.contains("&lt;&amp;&quot;&gt;?") && !svg.contains("<&"),
        "{svg}"
    );
    assert_eq!(dump.draw(Format::Pairs).lines().count(), 1);
}

/// The reference: a graph has a cycle iff some node reaches itself in the transitive closure.
fn reaches_itself(edges: &[(u8, u8)], nodes: usize) -> Vec<bool> {
    let mut reach = vec![vec![false; nodes]; nodes];
    for (from, to) in edges {
        reach[usize::from(*from)][usize::from(*to)] = true;
    }
    for via in 0..nodes {
        for from in 0..nodes {
            for to in 0..nodes {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }
        }
    }
    (0..nodes).map(|node| reach[node][node]).collect()
}

proptest! {
    #[test]
    fn a_cycle_is_told_iff_there_is_one(edges in prop::collection::vec((0_u8..12, 0_u8..12), 0..24)) {
        let name = |node: u8| format!("n{node:02}");
        let nestings: BTreeSet<Nesting> = edges
            .iter()
            .map(|(from, to)| edge(&name(*from), &name(*to), 1))
            .collect();
        let found = cycles(&nestings);
        let wanted = reaches_itself(&edges, 12);
        prop_assert_eq!(!found.is_empty(), wanted.contains(&true));
        for cycle in &found {
            // Each edge takes what the next one holds, and all of them were seen.
            for (number, edge) in cycle.iter().enumerate() {
                let next = &cycle[(number + 1) % cycle.len()];
                prop_assert_eq!(edge.taken.node(), next.held.node());
                prop_assert!(nestings.contains(edge));
            }
        }
        let told: BTreeSet<String> = found
            .iter()
            .flatten()
            .map(|edge| edge.held.rank.clone())
            .collect();
        for node in 0..12_u8 {
            prop_assert_eq!(told.contains(&name(node)), wanted[usize::from(node)]);
        }
    }
}
