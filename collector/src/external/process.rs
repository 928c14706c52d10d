//! A program and the processes that it starts.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, ChildStderr, ChildStdout, Command},
    time,
};

use super::{ExternalOptions, environment::python_path};

/// A running program, the leader of a process group.
pub(super) struct ProcessGroup {
    leader: Child,
    id: Option<Pid>,
}

impl ProcessGroup {
    /// Starts a program with its input closed and its output and messages in pipes.
    pub(super) fn start(path: &Path, options: &ExternalOptions) -> io::Result<(Self, ChildStdout, ChildStderr)> {
        let inherited = options.environment.iter().find(|(name, _)| name == "PYTHONPATH").map(|(_, value)| value);
        let python: OsString = python_path(&options.directory, inherited.map(OsString::as_os_str));
        let mut leader = Command::new(path)
            .env_clear()
            .envs(options.environment.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
            .env(OsStr::new("PYTHONPATH"), python)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = leader.stdout.take().zip(leader.stderr.take());
        let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("the program has no pipes"))?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok((Self { leader, id }, stdout, stderr))
    }

    /// Waits for the leader.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait().await
    }

    /// Ends the leader and everything in its group: politely, and after `grace` for good.
    pub(super) async fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let ended = time::timeout(grace, self.leader.wait()).await;
        // What the leader started may still be there, whether it ended or not.
        self.signal(Signal::KILL);
        if ended.is_err()
            && let Err(error) = self.leader.wait().await
        {
            tracing::error!(%error, "a collector that was killed could not be waited for");
        }
    }

    /// Ends what is left of the group after its leader.
    pub(super) fn kill_rest(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // The only other answer than success is that nobody is there any more.
        if let Some(group) = self.id
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "a process group is gone already");
        }
    }
}
