//! This test program once more, as a process of its own that can be killed.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio_util::sync::CancellationToken;

/// A process that ends with the test.
pub(crate) struct TestProcess(Child);

impl TestProcess {
    /// Runs the ignored test of this name, which is told by a variable what to be.
    pub(crate) fn start(test: &str, variable: &str, told: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(variable, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops all its threads, and comes back when they are.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(Pid::from_child(&self.0)), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Lets a process that was stopped go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        // It may have ended already; one that is stopped ends, too.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// In such a process: is cancelled when its standard input ends. Then the test has ended, however it did.
pub(crate) fn with_the_test() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let _parent = std::thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        stopping.cancel();
    });
    stop
}

/// Asks until it is so, for at most a minute.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for: {what}");
}
