//! Pictures of a dump.

use super::dump::{Dump, Nesting};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// For graphviz.
    Dot,
    /// For pages that draw mermaid.
    Mermaid,
    /// A picture, for anything that shows pictures.
    Svg,
    /// `RANK/LOCK RANK/LOCK` lines without call sites, sorted: to compare two runs, or for tsort(1).
    Pairs,
}

/// What an edge between two ranks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Declared, and never seen.
    Declared,
    /// Declared and seen.
    Seen,
    /// Seen, and not allowed.
    Forbidden,
}

impl Dump {
    /// A picture of what was declared and seen. Edges between ranks; [`Format::Pairs`] between locks.
    #[must_use]
    pub fn draw(&self, format: Format) -> String {
        match format {
            Format::Dot => self.dot(),
            Format::Mermaid => self.mermaid(),
            Format::Svg => super::svg::draw(self),
            Format::Pairs => self.pairs(),
        }
    }

    /// The ranks that are worth a place in a picture: outermost first as far as they are declared. The general
    /// ranks of hosts are left out unless a lock of theirs was seen.
    pub(super) fn rows(&self) -> Vec<&str> {
        let sites = self
            .nestings
            .iter()
            .flat_map(|edge| [&edge.held, &edge.taken]);
        let seen: BTreeSet<&str> = sites
            .chain(self.holds.iter().map(|hold| &hold.held))
            .map(|site| site.rank.as_str())
            .collect();
        let declared = self.ranks.keys().map(String::as_str);
        let shown = declared.filter(|name| !name.starts_with("host-") || seen.contains(name));
        let mut left: BTreeSet<&str> = shown.chain(seen.iter().copied()).collect();
        let mut rows = Vec::new();
        // The one with the most ranks after it comes first: in a declared order that is the order.
        while let Some(first) = left.iter().copied().max_by_key(|name| {
            let after = left
                .iter()
                .filter(|other| self.declares(name, other))
                .count();
            (after, std::cmp::Reverse(*name))
        }) {
            left.remove(first);
            rows.push(first);
        }
        rows
    }

    fn declares(&self, held: &str, taken: &str) -> bool {
        match (self.rank(held), self.rank(taken)) {
            (Some(held), Some(taken)) => held.allows(taken),
            _ => false,
        }
    }

    /// Every edge between two different ranks, or one rank and itself, and what it is.
    pub(super) fn edges(&self) -> BTreeMap<(&str, &str), Standing> {
        let rows = self.rows();
        let mut edges = BTreeMap::new();
        for held in &rows {
            for taken in &rows {
                if self.declares(held, taken) {
                    edges.insert((*held, *taken), Standing::Declared);
                }
            }
        }
        for nesting in &self.nestings {
            let standing = if self.allows(nesting) {
                Standing::Seen
            } else {
                Standing::Forbidden
            };
            let edge = (nesting.held.rank.as_str(), nesting.taken.rank.as_str());
            let known = edges.entry(edge).or_insert(standing);
            *known = (*known).max(standing);
        }
        edges
    }

    /// The names of the locks that were seen, by rank.
    pub(super) fn locks(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut locks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let sites = self
            .nestings
            .iter()
            .flat_map(|edge| [&edge.held, &edge.taken]);
        for site in sites.chain(self.holds.iter().map(|hold| &hold.held)) {
            locks.entry(&site.rank).or_default().insert(&site.lock);
        }
        locks
    }

    fn dot(&self) -> String {
        let mut text = String::from("digraph locks {\n    rankdir=TB;\n    node [shape=box];\n");
        for name in self.rows() {
            line(&mut text, format_args!("    {};\n", quoted(name)));
        }
        for ((held, taken), standing) in self.edges() {
            let style = match standing {
                Standing::Declared => "style=dotted",
                Standing::Seen => "style=solid",
                Standing::Forbidden => "style=bold, color=red",
            };
            let (held, taken) = (quoted(held), quoted(taken));
            line(
                &mut text,
                format_args!("    {held} -> {taken} [{style}];\n"),
            );
        }
        text.push_str("}\n");
        text
    }

    fn mermaid(&self) -> String {
        let mut text = String::from("graph TB\n");
        let rows = self.rows();
        for (number, name) in rows.iter().enumerate() {
            let name = name.replace('"', "#quot;");
            line(&mut text, format_args!("    r{number}[\"{name}\"]\n"));
        }
        let number = |name: &str| rows.iter().position(|row| *row == name).unwrap_or_default();
        for ((held, taken), standing) in self.edges() {
            let arrow = match standing {
                Standing::Declared => "-.->",
                Standing::Seen => "-->",
                Standing::Forbidden => "==>|forbidden|",
            };
            let (held, taken) = (number(held), number(taken));
            line(&mut text, format_args!("    r{held} {arrow} r{taken}\n"));
        }
        text
    }

    fn pairs(&self) -> String {
        let lines: BTreeSet<String> = self.nestings.iter().map(pair).collect();
        lines.into_iter().collect()
    }
}

fn pair(nesting: &Nesting) -> String {
    let node = |(rank, lock): (&str, &str)| {
        format!("{rank}/{lock}").replace(|c: char| c.is_whitespace() || c.is_control(), "_")
    };
    format!(
        "{} {}\n",
        node(nesting.held.node()),
        node(nesting.taken.node())
    )
}

/// Text as one word of graphviz.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}

pub(super) fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _: std::fmt::Result = text.write_fmt(arguments);
}
