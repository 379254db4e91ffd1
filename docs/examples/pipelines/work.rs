//! The work: stages that make one text out of another, line by line, so that what comes out can be
//! checked against what went in.

use crate::Failure;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One step of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Leaves out about half of the lines.
    Pick,
    /// Puts a digest in front of each line.
    Caption,
    /// Turns each line around.
    Mirror,
    /// Writes each line in capitals.
    Grade,
    /// Puts the length in front of each line.
    Measure,
}

/// The stages of a short-form job.
pub(crate) const SHORT_FORM: &[Stage] = &[Stage::Pick, Stage::Caption, Stage::Mirror];

/// The stages of a restyle job.
pub(crate) const RESTYLE: &[Stage] = &[Stage::Grade, Stage::Measure];

/// Lines of an input.
const INPUT_LINES: usize = 40;

/// What an input cannot hold. A file that holds it came in damaged.
const DAMAGE: char = '\0';

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pick => "pick",
            Self::Caption => "caption",
            Self::Mirror => "mirror",
            Self::Grade => "grade",
            Self::Measure => "measure",
        }
    }

    /// What becomes of a line: nothing, if it is left out.
    ///
    /// # Errors
    /// A reason for people, if the line is damaged.
    pub(crate) fn line(self, line: &str) -> Result<Option<String>, String> {
        if line.contains(DAMAGE) {
            return Err(format!("{}: the input is damaged", self.name()));
        }
        let digest = blake3::hash(line.as_bytes());
        Ok(match self {
            Self::Pick if digest.as_bytes().first().is_some_and(|byte| byte & 1 == 1) => None,
            Self::Pick => Some(line.to_owned()),
            Self::Caption => digest.to_hex().get(..8).map(|hex| format!("{hex} {line}")),
            Self::Mirror => Some(line.chars().rev().collect()),
            Self::Grade => Some(line.to_uppercase()),
            Self::Measure => Some(format!("{} {line}", line.len())),
        })
    }
}

/// The stages of a job of this kind.
pub(crate) fn stages(kind: &str) -> &'static [Stage] {
    if kind == crate::pipeline::SHORT_FORM {
        SHORT_FORM
    } else {
        RESTYLE
    }
}

/// All stages at once: what a pipeline has to come to.
fn expected(stages: &[Stage], input: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in input.lines() {
        let mut now = Some(line.to_owned());
        for stage in stages {
            now = match now {
                Some(line) => stage.line(&line)?,
                None => None,
            };
        }
        if let Some(line) = now {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Where something is, and what is in it: what a job says about an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artefact {
    pub(crate) file: PathBuf,
    pub(crate) bytes: usize,
    pub(crate) blake3: String,
}

/// Writes an artefact and flushes it: a job that is completed names nothing that a power cut takes.
pub(crate) fn publish(file: PathBuf, text: &str) -> Result<Artefact, Failure> {
    let mut out = std::fs::File::create(&file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    if let Some(directory) = file.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(Artefact {
        file,
        bytes: text.len(),
        blake3: blake3::hash(text.as_bytes()).to_hex().to_string(),
    })
}

/// Compares what a job left with what its input says it must be.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn verify(artefact: &Artefact, kind: &str, input: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path);
        text.map_err(|error| format!("{}: {error}", path.display()))
    };
    let text = read(&artefact.file)?;
    let digest = blake3::hash(text.as_bytes()).to_hex();
    if text.len() != artefact.bytes || digest.as_str() != artefact.blake3 {
        return Err(format!("{}: torn", artefact.file.display()));
    }
    if text != expected(stages(kind), &read(input)?)? {
        return Err(format!("{}: not this input's", artefact.file.display()));
    }
    Ok(())
}

/// Writes an input of some lines; a damaged one makes every pipeline fail until it is written anew.
pub(crate) fn make_input(file: &Path, is_damaged: bool) -> Result<(), Failure> {
    make_lines(file, INPUT_LINES)?;
    if is_damaged {
        let mut out = std::fs::File::options().append(true).open(file)?;
        writeln!(out, "no more{DAMAGE}")?;
    }
    Ok(())
}

/// Writes an input of so many lines.
pub(crate) fn make_lines(file: &Path, count: usize) -> Result<(), Failure> {
    let name = file.display();
    let line = |number| {
        let digest = blake3::hash(format!("{name} {number}").as_bytes());
        format!("{number}: {}\n", digest.to_hex())
    };
    let text: String = (1..=count).map(line).collect();
    write_whole(file, text.as_bytes())
}

/// Writes a file beside it and renames it: an attempt that reads meanwhile reads the old one or the
/// new one.
fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let beside = file.with_extension(format!("{:?}", std::thread::current().id()));
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
