//! A layered picture without tools: one row for each rank, outermost at the top, edges as arcs at
//! the right. What goes upwards is at the left, and wrong.

use super::draw::{Standing, line};
use super::dump::Dump;
use std::collections::BTreeMap;

/// Sizes in pixels. The fonts have a fixed width, so that a box fits its text everywhere.
const CHAR: usize = 8;
const LINE: usize = 18;
const PAD: usize = 10;
const GAP: usize = 22;
const MARGIN: usize = 16;
/// How far an arc to the next row swings, and how much further one to each row after that.
const SWING: usize = 34;
const SWING_MORE: usize = 26;
/// The widest line of text in a box, in characters.
const WIDEST: usize = 46;

/// Plain rules, no variables: not everything that shows pictures is a browser.
const STYLE: &str = "\
<style>
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #1f2328; }
text.name { font-weight: 700; }
text.note { fill: #59636e; }
rect { fill: #f6f8fa; stroke: #d0d7de; }
path { fill: none; stroke-width: 1.5; }
path.declared { stroke: #8c959f; stroke-dasharray: 2 4; }
path.seen { stroke: #0969da; }
path.forbidden { stroke: #cf222e; stroke-width: 2.5; }
#declared path { fill: #8c959f; }
#seen path { fill: #0969da; }
#forbidden path { fill: #cf222e; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
text.note { fill: #9198a1; }
rect { fill: #161b22; stroke: #3d444d; }
path.declared { stroke: #848d97; }
path.seen { stroke: #4493f8; }
path.forbidden { stroke: #f85149; }
#declared path { fill: #848d97; }
#seen path { fill: #4493f8; }
#forbidden path { fill: #f85149; }
}
</style>
";

/// One rank in the picture.
struct Row<'a> {
    name: &'a str,
    notes: Vec<String>,
    top: usize,
    height: usize,
}

pub(super) fn draw(dump: &Dump) -> String {
    let rows = rows(dump);
    let places: BTreeMap<&str, usize> = rows
        .iter()
        .enumerate()
        .map(|(place, row)| (row.name, place))
        .collect();
    let edges: Vec<(usize, usize, Standing)> = dump
        .edges()
        .into_iter()
        .filter_map(|((held, taken), standing)| {
            Some((*places.get(held)?, *places.get(taken)?, standing))
        })
        // A rank under itself in key order is said in words.
        .filter(|(from, to, standing)| from != to || *standing == Standing::Forbidden)
        .collect();
    let reach = |upwards: bool| {
        let swings = edges.iter().filter(|(from, to, _)| (to <= from) == upwards);
        swings
            .map(|(from, to, _)| swing(*from, *to))
            .max()
            .unwrap_or(0)
    };
    let left = MARGIN + reach(true) * 3 / 4;
    let widest = rows.iter().flat_map(|row| {
        let notes = row.notes.iter().map(|note| note.chars().count());
        notes.chain([row.name.chars().count()])
    });
    let width = widest.max().unwrap_or(0) * CHAR + 2 * PAD;
    let bottom = rows.last().map_or(MARGIN, |row| row.top + row.height);
    let (total, height) = (
        (left + width + reach(false) * 3 / 4 + MARGIN).max(LEGEND_WIDTH),
        bottom + GAP + 4 * LINE,
    );
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {height}\" width=\"{total}\" height=\"{height}\" role=\"img\" aria-label=\"lock order\">\n"
        ),
    );
    text.push_str(STYLE);
    markers(&mut text);
    for (from, to, standing) in &edges {
        if let (Some(from_row), Some(to_row)) = (rows.get(*from), rows.get(*to)) {
            let swing = swing(*from, *to);
            let upwards = to <= from;
            let x = if upwards { left } else { left + width };
            arc(
                &mut text,
                (x, upwards, swing),
                (from_row, to_row),
                *standing,
            );
        }
    }
    for row in &rows {
        boxed(&mut text, (left, width), row);
    }
    legend(&mut text, bottom + GAP);
    text.push_str("</svg>\n");
    text
}

const LEGEND_WIDTH: usize = 400;

fn rows(dump: &Dump) -> Vec<Row<'_>> {
    let locks = dump.locks();
    let mut top = MARGIN;
    let mut rows = Vec::new();
    for name in dump.rows() {
        let mut notes = Vec::new();
        match dump.rank(name) {
            Some(rank) => {
                let io = if rank.across_io {
                    "held across I/O"
                } else {
                    "never across I/O"
                };
                let several = if rank.several {
                    "several in key order"
                } else {
                    "one at a time"
                };
                notes.push(format!("{io}, {several}"));
            }
            None => notes.push("not declared".to_owned()),
        }
        let seen = locks.get(name).into_iter().flatten().copied();
        notes.extend(wrapped(seen.filter(|lock| *lock != name)));
        let height = (notes.len() + 1) * LINE + 2 * PAD;
        rows.push(Row {
            name,
            notes,
            top,
            height,
        });
        top += height + GAP;
    }
    rows
}

/// The words with commas, in lines that fit.
fn wrapped<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if last.chars().count() + word.chars().count() + 2 <= WIDEST => {
                last.push_str(", ");
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn swing(from: usize, to: usize) -> usize {
    SWING + SWING_MORE * from.abs_diff(to).saturating_sub(1)
}

fn markers(text: &mut String) {
    text.push_str("<defs>\n");
    for name in ["seen", "declared", "forbidden"] {
        line(
            text,
            format_args!(
                "<marker id=\"{name}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\"/></marker>\n"
            ),
        );
    }
    text.push_str("</defs>\n");
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Declared => "declared",
        Standing::Seen => "seen",
        Standing::Forbidden => "forbidden",
    }
}

/// An arc beside the boxes, from the lower part of one to the upper part of another.
fn arc(
    text: &mut String,
    (x, upwards, swing): (usize, bool, usize),
    (from, to): (&Row<'_>, &Row<'_>),
    standing: Standing,
) {
    let start = from.top + from.height * 2 / 3;
    let end = to.top + to.height / 3;
    let out = if upwards {
        x.saturating_sub(swing)
    } else {
        x + swing
    };
    let class = class(standing);
    line(
        text,
        format_args!(
            "<path class=\"{class}\" marker-end=\"url(#{class})\" d=\"M{x} {start} C{out} {start} {out} {end} {x} {end}\"><title>{} then {}</title></path>\n",
            escaped(from.name),
            escaped(to.name)
        ),
    );
}

fn boxed(text: &mut String, (x, width): (usize, usize), row: &Row<'_>) {
    let Row {
        name,
        notes,
        top,
        height,
    } = row;
    line(
        text,
        format_args!(
            "<rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n"
        ),
    );
    let x = x + PAD;
    let mut y = top + PAD + LINE - 5;
    line(
        text,
        format_args!(
            "<text class=\"name\" x=\"{x}\" y=\"{y}\">{}</text>\n",
            escaped(name)
        ),
    );
    for note in notes {
        y += LINE;
        line(
            text,
            format_args!(
                "<text class=\"note\" x=\"{x}\" y=\"{y}\">{}</text>\n",
                escaped(note)
            ),
        );
    }
}

fn legend(text: &mut String, top: usize) {
    let entries = [
        ("seen", "declared, and seen in a run"),
        ("declared", "declared, not seen"),
        ("forbidden", "seen, not allowed"),
    ];
    for (number, (class, words)) in entries.into_iter().enumerate() {
        let y = top + number * LINE;
        let (from, to, at, base) = (MARGIN, MARGIN + 44, MARGIN + 56, y + 4);
        line(
            text,
            format_args!(
                "<path class=\"{class}\" marker-end=\"url(#{class})\" d=\"M{from} {y} H{to}\"/>\n<text class=\"note\" x=\"{at}\" y=\"{base}\">{words}</text>\n"
            ),
        );
    }
}

/// Text as XML has it; what XML cannot have becomes a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ if char.is_control() => escaped.push('?'),
            _ => escaped.push(char),
        }
    }
    escaped
}
