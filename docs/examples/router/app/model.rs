//! The loadable artefact: a file that says its own version and ends in a checksum.

use super::Refusal;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// How many weights a file has: loading takes a few milliseconds.
const WEIGHTS: usize = 50_000;
/// How many of them one prediction uses.
const USED: usize = 16;

/// A model in memory.
#[derive(Debug)]
pub(crate) struct Model {
    /// The version that the file itself names.
    tag: String,
    weights: Vec<u32>,
}

/// The weight at `index` of the model that is known as `version`.
fn weight(version: &str, index: usize) -> u32 {
    let mut state = 0x811c_9dc5_u32;
    for byte in version.bytes().chain(index.to_le_bytes()) {
        state = (state ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    state % 1_000
}

fn predict(weights: impl Iterator<Item = u32>, x: u32) -> u32 {
    weights.take(USED).fold(0_u32, |sum, weight| {
        sum.wrapping_mul(31)
            .wrapping_add(weight.wrapping_mul(x | 1))
    })
}

/// What the model `version` must answer: how a client checks an answer against its version.
pub(crate) fn expected(version: &str, x: u32) -> u32 {
    predict((0..USED).map(|index| weight(version, index)), x)
}

/// The numbers in `lines`, one in each.
fn numbers(lines: &str) -> Option<Vec<u32>> {
    let (mut found, mut number) = (Vec::with_capacity(WEIGHTS), 0_u32);
    for byte in lines.bytes() {
        if byte == b'\n' {
            found.push(std::mem::take(&mut number));
        } else {
            let digit = char::from(byte).to_digit(10)?;
            number = number.checked_mul(10)?.checked_add(digit)?;
        }
    }
    Some(found)
}

impl Model {
    /// Writes the artefact of `version`.
    pub(crate) fn write(path: &Path, version: &str) -> std::io::Result<()> {
        let mut text = format!("planbox-model {version}\n");
        let mut sum = 0_u32;
        for index in 0..WEIGHTS {
            let weight = weight(version, index);
            sum = sum.wrapping_add(weight);
            let _infallible = writeln!(text, "{weight}");
        }
        let _infallible = writeln!(text, "end {sum}");
        std::fs::File::create(path)?.write_all(text.as_bytes())
    }

    /// Reads and checks an artefact. Takes milliseconds and can fail.
    pub(crate) fn load(path: &Path) -> Result<Self, Refusal> {
        let bad = |what: &str| Refusal::new(500, "load-failed", format!("the artefact {what}"));
        let text = std::fs::read_to_string(path).map_err(|error| bad(&error.to_string()))?;
        let (head, rest) = text.split_once('\n').ok_or_else(|| bad("is empty"))?;
        let tag = head.strip_prefix("planbox-model ");
        let tag = tag.ok_or_else(|| bad("is no model"))?.to_owned();
        let (body, end) = rest.rsplit_once("end ").ok_or_else(|| bad("is cut off"))?;
        let weights = numbers(body).ok_or_else(|| bad("holds no numbers"))?;
        let sum = weights.iter().fold(0_u32, |sum, w| sum.wrapping_add(*w));
        if end.trim().parse() != Ok(sum) || weights.len() != WEIGHTS {
            return Err(bad("is damaged"));
        }
        Ok(Self { tag, weights })
    }

    /// The version that the artefact names.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// One prediction.
    pub(crate) fn predict(&self, x: u32) -> u32 {
        predict(self.weights.iter().copied(), x)
    }
}
