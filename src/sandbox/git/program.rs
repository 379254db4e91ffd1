//! The only door to the `git` program.
//!
//! Every call names its git directory, so that nothing is ever discovered from a work tree that a
//! plan writes to, and runs in an environment of our own. Whatever a repository's configuration
//! says, no hook, filter, monitor, pager, helper or transport of it is started: each such setting
//! is overridden on the command line, where it cannot be overridden again.

pub(super) use super::oid::Oid;
use super::pipes;
use crate::error::{Fault, ParticipantError};
use crate::sandbox::{Outcome, Work};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The oldest git that has `merge-tree --write-tree --merge-base`.
const OLDEST: (u32, u32) = (2, 40);

/// Settings that no configuration file can change.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.askPass=",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.symlinks=true",
    "core.fileMode=true",
    "core.ignoreCase=false",
    "core.precomposeUnicode=false",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.quotePath=true",
    "core.fsyncMethod=fsync",
    "core.filesRefLockTimeout=2000",
    "core.packedRefsTimeout=10000",
    "reftable.lockTimeout=10000",
    "credential.helper=",
    "protocol.allow=never",
    "diff.external=",
    "diff.ignoreSubmodules=all",
    "diff.renames=false",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "gpg.program=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "add.ignoreErrors=false",
    "advice.addEmbeddedRepo=false",
    "fetch.unpackLimit=0",
    "transfer.fsckObjects=false",
    "pack.writeReverseIndex=false",
];

/// How firmly git writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fsync {
    /// Nothing is flushed: for what only this machine, still running, will read.
    None,
    /// Objects and references are flushed. Directories are the caller's.
    All,
}

/// A git directory and how git is run on it.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    dir: Option<PathBuf>,
    work_tree: Option<PathBuf>,
    index: Option<PathBuf>,
    objects_of_others: Vec<PathBuf>,
    fsync: Fsync,
}

impl Runner {
    /// Runs on the git directory `dir`.
    pub(super) fn on(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: Some(dir.into()),
            ..Self::nowhere()
        }
    }

    /// Runs without a repository.
    pub(super) fn nowhere() -> Self {
        Self {
            dir: None,
            work_tree: None,
            index: None,
            objects_of_others: Vec::new(),
            fsync: Fsync::None,
        }
    }

    /// The same with a work tree, which is also the current directory of the call.
    pub(super) fn work_tree(mut self, path: impl Into<PathBuf>) -> Self {
        self.work_tree = Some(path.into());
        self
    }

    /// The same with this index file.
    pub(super) fn index(mut self, path: impl Into<PathBuf>) -> Self {
        self.index = Some(path.into());
        self
    }

    /// The same, reading the objects in the object directory `path`, too.
    pub(super) fn borrow(mut self, path: impl Into<PathBuf>) -> Self {
        self.objects_of_others.push(path.into());
        self
    }

    /// The same, writing as firmly as `fsync` says.
    pub(super) fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// A call of `git NAME`.
    pub(super) fn call<'w>(&self, name: &'static str) -> Call<'w> {
        Call {
            runner: self.clone(),
            name,
            args: Vec::new(),
            env: Vec::new(),
            input: Input::Nothing,
            work: None,
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", search_path())
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_CEILING_DIRECTORIES", "/")
            .env("GIT_ADVICE", "0")
            .env("GIT_FLUSH", "0")
            .process_group(0);
        // Without a directory of its own a call must not find one by looking around.
        let dir = self.dir.as_deref().unwrap_or(Path::new("/dev/null"));
        command.env("GIT_DIR", dir);
        command.current_dir(self.work_tree.as_deref().unwrap_or(Path::new("/")));
        if let Some(tree) = &self.work_tree {
            command.env("GIT_WORK_TREE", tree);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        if !self.objects_of_others.is_empty() {
            let quoted: Vec<_> = self
                .objects_of_others
                .iter()
                .map(|path| quote(path))
                .collect();
            let list = quoted.join(OsStr::new(":"));
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", list);
        }
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        let fsync = match self.fsync {
            Fsync::None => "core.fsync=none",
            Fsync::All => "core.fsync=all",
        };
        command.arg("-c").arg(fsync);
        command
    }
}

/// A path as git reads it in a list of object directories: in quotes, with every byte that is not
/// plain as three octal digits.
pub(super) fn quote(path: &Path) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let mut quoted = vec![b'"'];
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'"' | b'\\' | 0..=31 | 127.. => {
                let octal = [byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| b'0' + digit);
                quoted.push(b'\\');
                quoted.extend(octal);
            }
            plain => quoted.push(*plain),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// One call of git.
#[derive(Debug)]
pub(super) struct Call<'a> {
    runner: Runner,
    name: &'static str,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    input: Input,
    work: Option<Work<'a>>,
}

/// What a call reads.
#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// How a call of git ended.
#[derive(Debug)]
pub(super) struct Answer {
    /// The exit status; a call that was killed never becomes an answer.
    pub(super) code: i32,
    /// The beginning of what it wrote.
    pub(super) stdout: Vec<u8>,
    /// The beginning of what it complained about.
    pub(super) stderr: Vec<u8>,
    about: String,
}

impl<'a> Call<'a> {
    /// One more argument.
    pub(super) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub(super) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable.
    pub(super) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// What it reads.
    pub(super) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// The file it reads, from where that stands.
    pub(super) fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// Stops it when `work` is told to stop.
    pub(super) fn stopped_by(mut self, work: &Work<'a>) -> Self {
        self.work = Some(*work);
        self
    }

    /// Runs it and hands what it writes to `each`, piece by piece; any exit status is an answer.
    ///
    /// # Errors
    /// If git is missing or too old, if it was killed ([`Fault::Interrupted`]), or what `each`
    /// says.
    pub(super) fn stream(
        self,
        each: &mut (dyn FnMut(&[u8]) -> Outcome<()> + Send),
    ) -> Outcome<Answer> {
        let program = program()?;
        let mut command = self.runner.command(program);
        if !self.name.is_empty() {
            command.arg(self.name);
        }
        let about = match self.args.first() {
            Some(first) if self.name.is_empty() => first.to_string_lossy().into_owned(),
            _ => self.name.to_owned(),
        };
        command.args(&self.args).envs(self.env);
        let bytes = match self.input {
            Input::Bytes(bytes) if !bytes.is_empty() => {
                command.stdin(Stdio::piped());
                bytes
            }
            Input::File(file) => {
                command.stdin(file);
                Vec::new()
            }
            _ => {
                command.stdin(Stdio::null());
                Vec::new()
            }
        };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|error| ParticipantError::io("start git", program, error))?;
        let ended = pipes::attend(child, &bytes, self.work, each)?;
        let Some(code) = ended.status.code() else {
            let why = format!("git {about} was killed ({})", ended.status);
            return Err(ParticipantError::new(Fault::Interrupted, why));
        };
        Ok(Answer {
            code,
            stdout: Vec::new(),
            stderr: ended.stderr,
            about,
        })
    }

    /// Runs it and collects what it writes; any exit status is an answer.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); [`Fault::Refused`] if it writes more than
    /// [`pipes::COLLECT_MAX`] bytes.
    pub(super) fn answer(self) -> Outcome<Answer> {
        let mut stdout = Vec::new();
        let mut answer = self.stream(&mut |piece| {
            if stdout.len() + piece.len() > pipes::COLLECT_MAX {
                let why = "git wrote more than fits the limit of one answer";
                return Err(ParticipantError::new(Fault::Refused, why));
            }
            stdout.extend_from_slice(piece);
            Ok(())
        })?;
        answer.stdout = stdout;
        Ok(answer)
    }

    /// Runs it; it must succeed.
    ///
    /// # Errors
    /// As [`answer`](Self::answer), and [`Answer::failure`] if it fails.
    pub(super) fn bytes(self) -> Outcome<Vec<u8>> {
        let answer = self.answer()?;
        if answer.code != 0 {
            return Err(answer.failure());
        }
        Ok(answer.stdout)
    }

    /// Runs it; it must succeed and write one line of text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(super) fn line(self) -> Outcome<String> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Runs it; it must succeed and write the id of an object.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); [`Fault::Corrupt`] if it writes something else.
    pub(super) fn oid(self) -> Outcome<Oid> {
        let line = self.line()?;
        Oid::parse(&line).ok_or_else(|| {
            let why = format!("git answered {line:?} where the id of an object was expected");
            ParticipantError::new(Fault::Corrupt, why)
        })
    }
}

impl Answer {
    /// What it complained about, in one escaped line.
    pub(super) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let chosen = lines
            .iter()
            .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
            .or(lines.last());
        let line = chosen.copied().unwrap_or("it said nothing");
        line.escape_debug().to_string()
    }

    /// The failure that this answer is.
    pub(super) fn failure(&self) -> ParticipantError {
        let said = self.complaint();
        let fault = if said.contains("No space left") || said.contains("quota exceeded") {
            Fault::NoSpace
        } else if said.contains("Permission denied") || said.contains("Read-only file system") {
            Fault::Denied
        } else {
            Fault::Io
        };
        let (about, code) = (&self.about, self.code);
        ParticipantError::new(fault, format!("git {about} failed with {code}: {said}"))
    }
}

/// The absolute directories of PATH; a relative one would depend on where we stand.
fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let absolute = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    std::env::join_paths(absolute).unwrap_or_default()
}

/// The git program, looked for and asked for its version once in the life of the process.
fn program() -> Outcome<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let path = std::env::split_paths(&search_path())
            .map(|dir| dir.join("git"))
            .find(|path| path.is_file())
            .ok_or_else(|| "there is no `git` program on PATH; install it".to_owned())?;
        check_version(&path)?;
        Ok(path)
    });
    found
        .as_deref()
        .map_err(|why| ParticipantError::new(Fault::Unsupported, why.clone()))
}

fn check_version(path: &Path) -> Result<(), String> {
    let asked = Runner::nowhere().command(path).arg("--version").output();
    let asked = asked.map_err(|error| format!("git cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    match version(&text) {
        Some(found) if found >= OLDEST => Ok(()),
        _ => Err(format!(
            "git {}.{} or newer is needed, and this is {:?}",
            OLDEST.0, OLDEST.1, text
        )),
    }
}

/// The first two numbers of `git version 2.47.3`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(version("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version("git version 2.50.GIT"), Some((2, 50)));
        assert_eq!(version("tig 1"), None);
        assert!((2, 100) > OLDEST && (2, 39) < OLDEST && (10, 0) > OLDEST);
    }

    #[test]
    fn a_path_is_quoted_for_a_list_of_paths() {
        assert_eq!(quote(Path::new("/a b:c")), "\"/a b:c\"");
        assert_eq!(quote(Path::new("/\"\n")), "\"/\\042\\012\"");
    }

    #[test]
    fn a_failure_says_what_git_said() {
        let failed = Runner::nowhere().call("cat-file").arg("-e").arg("x");
        let failed = failed.bytes().unwrap_err();
        assert_eq!(failed.fault, Fault::Io);
        assert!(
            failed.to_string().contains("git cat-file failed"),
            "{failed}"
        );
    }
}
