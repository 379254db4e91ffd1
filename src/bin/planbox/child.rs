//! CMD: found, started in the sandbox, waited for.

use crate::exit::{Exit, Failure, Own, command_failed, interrupted};
use crate::resources::variables;
use crate::session::Session;
use crate::text::shown;
use planbox::{PlanId, SandboxStatus};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The code of a CMD that could not be started.
pub(crate) const NOT_STARTED: &str = "cmd-not-started";

/// Refuses a CMD that is surely not there, before anything is made for it.
pub(crate) fn check_found(cmd: &[OsString]) -> Result<(), Failure> {
    let Some(program) = cmd.first() else {
        return Ok(());
    };
    let path = Path::new(program);
    if path.is_absolute() {
        return if path.exists() {
            Ok(())
        } else {
            Err(not_found(program).into())
        };
    }
    if path.components().count() != 1 || program.as_encoded_bytes().contains(&b'/') {
        // Relative to the sandbox, which is not there yet.
        return Ok(());
    }
    let Some(list) = std::env::var_os("PATH") else {
        return Ok(());
    };
    let found = std::env::split_paths(&list).any(|dir| {
        let entry = std::fs::metadata(dir.join(program));
        !dir.is_absolute() || entry.is_ok_and(|entry| entry.permissions().mode() & 0o111 != 0)
    });
    if found {
        Ok(())
    } else {
        Err(not_found(program).into())
    }
}

fn not_found(program: &OsStr) -> Own {
    Own {
        exit: Exit::CommandFailed,
        code: NOT_STARTED,
        message: format!(
            "{} was not found; nothing was changed",
            shown(Path::new(program))
        ),
        next: "check the spelling of CMD and the variable PATH".to_owned(),
        source: None,
    }
}

/// What points git at a repository whatever directory it runs in: set, for example, in a hook.
const GIT_VARIABLES: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
];

/// A CMD that is ready to be started in a plan.
#[derive(Debug)]
pub(crate) struct Job {
    plan: PlanId,
    command: Command,
    shown: String,
}

impl Job {
    /// Prepares CMD for the sandboxes of a plan.
    pub(crate) fn new(
        session: &Session<'_>,
        plan: &PlanId,
        sandboxes: &[SandboxStatus],
        cmd: &[OsString],
    ) -> Result<Self, Failure> {
        let program = cmd.first().map(OsString::as_os_str).unwrap_or_default();
        let mut command = Command::new(program);
        command.args(cmd.get(1..).unwrap_or_default());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PLANBOX_PATH_") {
                command.env_remove(name);
            }
        }
        command
            .env("PLANBOX_PLAN", plan.as_str())
            .env("PLANBOX_STORE", &session.store);
        let names = variables(sandboxes.iter().map(|sandbox| &sandbox.name));
        for (variable, name) in names.map_err(|failure| failure.of(Some(plan)))? {
            let sandbox = sandboxes.iter().find(|sandbox| sandbox.name == *name);
            if let Some(path) = sandbox.and_then(|sandbox| sandbox.path.as_ref()) {
                command.env(variable, path);
            }
        }
        let is_tree = |sandbox: &&SandboxStatus| matches!(&*sandbox.kind, "dir" | "git");
        let mut trees = sandboxes.iter().filter(is_tree);
        if let (Some(only), None) = (trees.next(), trees.next())
            && let Some(path) = &only.path
        {
            command.current_dir(path).env("PWD", path);
        }
        if sandboxes.iter().any(|sandbox| sandbox.kind == "git") {
            // Otherwise a git that CMD runs in its sandbox would change the real repository.
            for variable in GIT_VARIABLES {
                command.env_remove(variable);
            }
        }
        if session.context.out.is_json() {
            let stderr = io::stderr().as_fd().try_clone_to_owned();
            command.stdout(stderr.map_or_else(|_| Stdio::null(), Stdio::from));
        }
        Ok(Self {
            plan: plan.clone(),
            command,
            shown: shown(Path::new(program)),
        })
    }

    /// Starts it. From then on signals are passed on to it.
    pub(crate) fn start(mut self, session: &Session<'_>) -> Result<Running, Failure> {
        let signals = &session.context.signals;
        if signals.is_cancelled() {
            return Err(interrupted(Some(&self.plan)));
        }
        let child = self.command.spawn().map_err(|error| {
            let message = format!("{} could not be started; nothing was changed", self.shown);
            let own = not_found(OsStr::new(""));
            Failure::from(Own {
                message,
                source: Some(error),
                ..own
            })
            .of(Some(&self.plan))
        })?;
        signals.forward_to(child.id());
        Ok(Running {
            plan: self.plan,
            child,
            shown: self.shown,
        })
    }
}

/// A CMD that runs.
#[derive(Debug)]
#[must_use = "somebody has to wait for it"]
pub(crate) struct Running {
    plan: PlanId,
    child: Child,
    shown: String,
}

impl Running {
    /// Waits until it ends.
    pub(crate) fn wait(mut self, session: &Session<'_>) -> Result<(), Failure> {
        let failed = |how: &str| command_failed(&self.plan, how, "cmd-failed");
        let of = |own: Own| Failure::from(own).of(Some(&self.plan));
        let status = self.child.wait().map_err(|error| {
            let own = failed(&format!("{} could not be waited for", self.shown));
            of(Own {
                source: Some(error),
                ..own
            })
        })?;
        let how = format!("{} {}", self.shown, in_words(status));
        let ended = json!({ "status": status.code(), "signal": status.signal() });
        let own = failed(&how);
        if session.context.signals.is_cancelled() {
            let message = format!("stopped by a signal; {}", own.message);
            let (exit, code) = (Exit::Interrupted, "interrupted");
            return Err(of(Own {
                exit,
                code,
                message,
                ..own
            })
            .with("command", ended));
        }
        if status.success() {
            return Ok(());
        }
        Err(of(own).with("command", ended))
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
