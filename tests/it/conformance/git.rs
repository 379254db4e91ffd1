//! The kind `git`: each spot is a file of a branch, which nobody has checked out, or which a work
//! tree that moves along has.

use planbox::Git;
use planbox::conformance::{Spot, Subject, Tried, View};
use planbox::sandbox::git::GitKind;
use planbox::sandbox::{Kind, Resource};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

#[derive(Debug)]
struct Branch {
    home: PathBuf,
    checked_out: bool,
}

/// A repository with a branch `main`, and `trunk`, which is its `HEAD`.
pub(crate) fn git(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, false)
}

/// The same with `main` checked out.
pub(crate) fn checked_out(home: &Path) -> Tried<Box<dyn Subject>> {
    lay_out(home, true)
}

fn lay_out(home: &Path, checked_out: bool) -> Tried<Box<dyn Subject>> {
    let subject = Branch {
        home: home.to_owned(),
        checked_out,
    };
    let repository = subject.repository();
    std::fs::create_dir(&repository)?;
    if checked_out {
        subject.run(&["init", "-q", "-b", "main", "."], "")?;
    } else {
        subject.run(&["init", "-q", "--bare", "-b", "trunk", "."], "")?;
    }
    let mut story = "commit refs/heads/main\n".to_owned() + COMMITTER;
    for spot in Spot::ALL {
        story.push_str(&file(spot, 0));
    }
    story.push_str("\nreset refs/heads/trunk\nfrom refs/heads/main\n");
    subject.run(&["fast-import", "--quiet"], &story)?;
    if checked_out {
        subject.run(&["reset", "-q", "--hard"], "")?;
    }
    Ok(Box::new(subject))
}

/// Who commits, when, and the message.
const COMMITTER: &str = "committer Ann <ann@example.org> 1700000000 +0000\ndata 1\nm\n";

fn name(spot: Spot) -> &'static str {
    match spot {
        Spot::A => "a",
        Spot::B => "below/b",
        Spot::C => "c",
    }
}

fn content(version: u32) -> String {
    format!("version {version}\n")
}

/// A file in the language of `git fast-import`.
fn file(spot: Spot, version: u32) -> String {
    let text = content(version);
    format!(
        "M 100644 inline {}\ndata {}\n{text}\n",
        name(spot),
        text.len()
    )
}

impl Branch {
    fn repository(&self) -> PathBuf {
        self.home.join("real.git")
    }

    fn git_dir(&self) -> PathBuf {
        let root = self.repository();
        if self.checked_out {
            root.join(".git")
        } else {
            root
        }
    }

    /// Runs git as a person would, far from the settings of the machine.
    fn run(&self, args: &[&str], input: &str) -> Tried<String> {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.repository());
        command.env_clear().env("HOME", &self.home);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("git {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Every file of a work tree, in git's order.
fn files(root: &Path, below: &Path, found: &mut Vec<String>) -> Tried<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files(root, &path, found)?;
        } else if path != Path::new(".git") {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(())
}

impl Subject for Branch {
    fn resource(&self) -> Box<dyn Resource> {
        Box::new(Git::at(self.repository()).branch("main"))
    }

    fn kind(&self) -> Option<Arc<dyn Kind>> {
        Some(Arc::new(GitKind))
    }

    fn name_of(&self, spot: Spot) -> String {
        name(spot).to_owned()
    }

    fn change(&self, view: View<'_>, spot: Spot, version: u32) -> Tried<()> {
        let root = view.path.ok_or("a view of a branch has a path")?;
        let mut file = File::create(root.join(name(spot)))?;
        Ok(file.write_all(content(version).as_bytes())?)
    }

    fn meddle(&self, spot: Spot, version: u32) -> Tried<()> {
        if self.checked_out {
            let mut file = File::create(self.repository().join(name(spot)))?;
            file.write_all(content(version).as_bytes())?;
            drop(file);
            self.run(&["add", "-A"], "")?;
            let who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"];
            let what = ["commit", "-q", "--allow-empty", "-m", "m"];
            drop(self.run(&[&who[..], &what[..]].concat(), "")?);
            return Ok(());
        }
        let mut story = "commit refs/heads/main\n".to_owned() + COMMITTER;
        story.push_str("from refs/heads/main^0\n");
        story.push_str(&file(spot, version));
        drop(self.run(&["fast-import", "--quiet"], &story)?);
        Ok(())
    }

    fn manifest(&self) -> Tried<String> {
        let listed = self.run(&["ls-tree", "-r", "main"], "")?;
        let mut text = String::new();
        for line in listed.lines() {
            let (what, name) = line.split_once('\t').ok_or("no tab")?;
            let id = what.rsplit(' ').next().unwrap_or_default();
            writeln!(text, "{name} {id}")?;
            if self.checked_out {
                // What a person sees there is what the branch says.
                let path = self.repository().join(name);
                let there = self.run(&["hash-object", "--stdin-paths"], &path.to_string_lossy())?;
                let there = there.trim_end();
                if there != id {
                    writeln!(text, "but {there} in the work tree")?;
                }
            }
        }
        if self.checked_out {
            text.push_str(&self.run(&["status", "--porcelain"], "")?);
        }
        Ok(text)
    }

    fn seen(&self, view: View<'_>) -> Tried<String> {
        let root = view.path.ok_or("a view of a branch has a path")?;
        let mut names = Vec::new();
        files(root, Path::new(""), &mut names)?;
        names.retain(|name| !name.starts_with(".git/"));
        let mut paths = String::new();
        for name in &names {
            writeln!(paths, "{}", root.join(name).display())?;
        }
        let ids = self.run(&["hash-object", "--no-filters", "--stdin-paths"], &paths)?;
        let mut text = String::new();
        for (name, id) in names.iter().zip(ids.lines()) {
            writeln!(text, "{name} {id}")?;
        }
        Ok(text)
    }

    fn surroundings(&self) -> Tried<String> {
        let trunk = self.run(&["rev-parse", "trunk"], "")?;
        let config = std::fs::read_to_string(self.git_dir().join("config"))?;
        Ok(trunk + &config)
    }

    /// The names of all references, and work trees that are not there.
    fn leftovers(&self) -> Tried<String> {
        let refs = self.run(&["for-each-ref", "--format=%(refname)"], "")?;
        let trees = self.git_dir().join("worktrees").exists();
        let mut names = Vec::new();
        for dir in [self.git_dir(), self.repository()] {
            for entry in std::fs::read_dir(dir)? {
                names.push(entry?.file_name());
            }
        }
        // Git's own notes come with its first commit, and stay.
        names.retain(|name| {
            !["COMMIT_EDITMSG", "logs", "ORIG_HEAD"]
                .iter()
                .any(|own| name == *own)
        });
        names.sort_unstable();
        Ok(format!("{refs}{trees}{names:?}"))
    }

    fn examine(&self) -> Tried<()> {
        drop(self.run(&["fsck", "--strict", "--full"], "")?);
        Ok(())
    }
}

mod bare {
    planbox::conformance_tests!(super::git);
}

mod with_a_work_tree {
    planbox::conformance_tests!(super::checked_out);
}
