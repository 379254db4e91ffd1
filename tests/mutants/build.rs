//! Builds all mutants together, without those that do not compile.

use super::list::Mutant;
use super::rewrite::{Rewritten, SWITCH_MODULE, rewrite};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The copy of the sources, and what is built of it.
#[derive(Debug)]
pub(crate) struct Build<'a> {
    copy: &'a Path,
    profile: &'static str,
    /// Original text of each file with mutants.
    originals: BTreeMap<String, String>,
    /// Original text of the other files that are changed.
    others: BTreeMap<PathBuf, String>,
    written: BTreeMap<String, Rewritten>,
    /// In the binaries now.
    living: BTreeMap<u32, &'a Mutant>,
    /// What the compiler says of the others.
    refused: BTreeMap<u32, String>,
}

impl<'a> Build<'a> {
    /// Puts the switch and all of `mutants` into the copy.
    pub(crate) fn new(
        copy: &'a Path,
        profile: &'static str,
        mutants: BTreeMap<u32, &'a Mutant>,
    ) -> Self {
        let originals = mutants
            .values()
            .map(|mutant| {
                let text = fs::read_to_string(copy.join(&mutant.file)).unwrap();
                (mutant.file.clone(), text)
            })
            .collect();
        fs::write(copy.join("src/mutant_switch.rs"), SWITCH_MODULE).unwrap();
        let mut others = BTreeMap::new();
        let mut change = |file: &str, with: fn(&str) -> String| {
            let path = copy.join(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, with(&text)).unwrap();
            others.insert(path, text);
        };
        change("src/lib.rs", |text| {
            text.to_owned() + "\nmod mutant_switch;\n"
        });
        // A mutant may do what a lint refuses.
        change("Cargo.toml", without_lints);
        Self {
            copy,
            profile,
            originals,
            others,
            written: BTreeMap::new(),
            living: mutants,
            refused: BTreeMap::new(),
        }
    }

    /// Builds the test binary of `target` (`--lib`, `--test=it`), as often as the compiler refuses a
    /// mutant: each round takes one out, or is the last.
    pub(crate) fn binary(&mut self, target: &str) -> PathBuf {
        loop {
            self.write();
            let output = Command::new("cargo")
                .args([
                    "test",
                    "--locked",
                    "--no-run",
                    "--message-format=json",
                    "--profile",
                ])
                .args([self.profile, target])
                .current_dir(self.copy)
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            let messages: Vec<Value> = String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if output.status.success() {
                return executable(&messages, target);
            }
            let before = self.living.len();
            let mut others = String::new();
            for message in messages.iter().map(|line| &line["message"]) {
                if message["level"] != "error" {
                    continue;
                }
                let text = message["message"].as_str().unwrap_or("");
                let numbers = self.blamed(message);
                if numbers.is_empty() && !text.starts_with("aborting") {
                    others.push_str(message["rendered"].as_str().unwrap_or(text));
                }
                for number in numbers {
                    self.living.remove(&number);
                    self.refused.insert(number, text.to_owned());
                }
            }
            assert!(
                self.living.len() < before,
                "the build fails, and not for a mutant:\n{others}"
            );
            println!("mutants: {} do not compile", self.refused.len());
        }
    }

    /// The copy is as it was; the binaries stay.
    pub(crate) fn restore(&self) {
        for (file, text) in &self.originals {
            fs::write(self.copy.join(file), text).unwrap();
        }
        for (path, text) in &self.others {
            fs::write(path, text).unwrap();
        }
        fs::remove_file(self.copy.join("src/mutant_switch.rs")).unwrap();
    }

    /// The mutants in the binaries.
    pub(crate) fn living(&self) -> &BTreeMap<u32, &'a Mutant> {
        &self.living
    }

    /// Those that do not compile, each with what the compiler says.
    pub(crate) fn refused(&self) -> &BTreeMap<u32, String> {
        &self.refused
    }

    fn write(&mut self) {
        for (file, text) in &self.originals {
            let mutants: Vec<(u32, &Mutant)> = self
                .living
                .iter()
                .filter(|(_, mutant)| mutant.file == *file)
                .map(|(number, mutant)| (*number, *mutant))
                .collect();
            let new = rewrite(text, &mutants);
            let old = self.written.get(file);
            if old.is_none_or(|old| old.text != new.text) {
                fs::write(self.copy.join(file), &new.text).unwrap();
            }
            self.written.insert(file.clone(), new);
        }
    }

    /// The mutants that an error of the compiler points to.
    fn blamed(&self, message: &Value) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let spans = message["spans"].as_array().into_iter().flatten();
        for span in spans.filter(|span| span["is_primary"] == true) {
            let mut span = span;
            // In a macro: where it is called.
            while !span["expansion"].is_null() {
                span = &span["expansion"]["span"];
            }
            let file = self.written.get(span["file_name"].as_str().unwrap_or(""));
            let line = span["line_start"]
                .as_u64()
                .and_then(|line| usize::try_from(line).ok());
            if let (Some(file), Some(line)) = (file, line) {
                let hit = file.arms.iter().find(|(_, lines)| lines.contains(&line));
                found.extend(hit.map(|(number, _)| *number));
            }
        }
        found
    }
}

/// The manifest without its tables of lints.
fn without_lints(manifest: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[lints");
        }
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn executable(messages: &[Value], target: &str) -> PathBuf {
    let name = target.strip_prefix("--test=").unwrap_or("planbox");
    messages
        .iter()
        .filter(|line| line["target"]["name"] == name && line["profile"]["test"] == true)
        .find_map(|line| line["executable"].as_str())
        .map(PathBuf::from)
        .expect("a test binary")
}
