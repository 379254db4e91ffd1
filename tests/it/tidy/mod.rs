//! House rules as tests: they read the repository and name file, line and rule.
//!
//! Everything here works on text and takes milliseconds. Each rule is a function from a [`Source`]
//! to complaints, so that the tests in [`planted`] can show that it would notice.

mod docs;
mod floors;
mod locks;
mod planted;
mod words;

use std::path::{Path, PathBuf};

/// The longest a source file may be, in lines.
const FILE_MAX_LINES: usize = 500;

/// Everything that may be visible at the top of the repository; tool files are hidden ones.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "benches",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

/// A text file of the repository.
#[derive(Debug)]
struct Source {
    /// Path from the top of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    #[cfg(test)]
    fn planted(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Every line with its number.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// Every line without its comment, with its number. A `//` inside a string ends the line too:
    /// the rules that use this look for code in front of it.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| {
            let end = line.find("//").filter(|at| !line[..*at].ends_with(':'));
            (number, &line[..end.unwrap_or(line.len())])
        })
    }

    /// As [`Source::code`], without the modules that only tests see.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut asked = false;
        let mut inside = false;
        let whole_file = self.path.ends_with("tests.rs") || self.text.starts_with("#![cfg(test)]");
        self.code().filter(move |(_, line)| {
            let opens = !line.starts_with(' ') && module(line, " {").is_some();
            if asked && opens {
                inside = true;
            }
            asked = line.starts_with("#[cfg(") && line.contains("test") || asked && !opens;
            asked &= line.starts_with("#[");
            let hidden = whole_file || inside;
            if *line == "}" {
                inside = false;
            }
            !hidden
        })
    }

    fn complain(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The top of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` whose name ends in `extension`, in the order of paths.
fn files(dir: &str, extension: &str) -> Vec<Source> {
    let mut waiting = vec![PathBuf::from(dir)];
    let mut found = Vec::new();
    while let Some(below) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&below)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != "target" {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(file(path.to_str().unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn file(path: &str) -> Source {
    let text = std::fs::read_to_string(root().join(path));
    let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
    Source {
        path: path.to_owned(),
        text,
    }
}

/// Every Rust file of the package.
fn rust() -> Vec<Source> {
    ["src", "tests", "benches", "docs"]
        .iter()
        .flat_map(|dir| files(dir, "rs"))
        .collect()
}

/// Every page for people.
fn pages() -> Vec<Source> {
    let mut pages = files("docs", "md");
    pages.extend(files("benches", "md"));
    pages.extend([file("README.md"), file("CHANGELOG.md")]);
    pages
}

fn assert_none(complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "house rules:\n{}",
        complaints.join("\n")
    );
}

/// The module that a line declares (`mod name;`) or opens (`mod name {`), by how it ends.
fn module<'a>(line: &'a str, end: &str) -> Option<&'a str> {
    let line = line.trim();
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    rest.strip_prefix("mod ")?.strip_suffix(end)
}

/// True if `source` declares the module `name`.
fn declares(source: &Source, name: &str) -> bool {
    source
        .code()
        .any(|(_, line)| module(line, ";") == Some(name))
}

/// Files that no `mod` line of their parent names: they look alive, but are never compiled.
fn forgotten(sources: &[Source]) -> Vec<String> {
    let find = |path: String| sources.iter().find(|source| source.path == path);
    let mut complaints = Vec::new();
    for source in sources {
        let (dir, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let stem = name.trim_end_matches(".rs");
        let (dir, stem) = match stem {
            "main" | "lib" => continue,
            "mod" => dir.rsplit_once('/').unwrap_or(("", dir)),
            _ => (dir, stem),
        };
        let mut parents = ["mod.rs", "main.rs", "lib.rs"].iter();
        let parent = parents.find_map(|parent| find(format!("{dir}/{parent}")));
        if !parent.is_some_and(|parent| declares(parent, stem)) {
            complaints.push(source.complain(1, "no parent names this file in a `mod` line"));
        }
    }
    complaints
}

#[test]
fn no_source_file_is_forgotten() {
    let mut sources = files("src", "rs");
    sources.extend(files("tests", "rs"));
    sources.extend(files("docs", "rs"));
    let mut complaints = forgotten(&sources);
    // An example that is a program of its own is named there.
    let manifest = file("Cargo.toml").text;
    complaints.retain(|complaint| {
        let path = complaint.split(':').next().unwrap_or_default();
        !manifest.contains(&format!("\"{path}\""))
    });
    assert_none(&complaints);
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE_MAX_LINES).then(|| {
        source.complain(
            lines,
            &format!("more than {FILE_MAX_LINES} lines: split the file"),
        )
    })
}

#[test]
fn no_source_file_is_too_long() {
    let complaints: Vec<_> = files("src", "rs").iter().filter_map(too_long).collect();
    assert_none(&complaints);
}

#[test]
fn the_top_level_holds_nothing_unexpected() {
    let strangers: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .filter(|name| !TOP_LEVEL.contains(&&**name))
        .collect();
    assert_none(&strangers);
    for name in TOP_LEVEL {
        assert!(
            root().join(name).exists(),
            "{name} is missing at the top level"
        );
    }
}
