//! A real Tidemark process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Client, wait_for};

/// How to start a process.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The command and its arguments but for `--listen` and `--data`.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where its data are; a temporary folder of the node's when absent.
    pub data: Option<PathBuf>,
    /// What to start; the binary under test when absent.
    pub binary: Option<PathBuf>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { arguments: vec!["serve".to_owned()], environment: Vec::new(), data: None, binary: None }
    }
}

impl NodeOptions {
    /// A process of one role: `api`, `worker` or `scheduler`.
    #[must_use]
    pub fn role(role: &str) -> Self {
        Self { arguments: vec![role.to_owned()], ..Self::default() }
    }

    /// `serve` without the roles that make load of their own.
    #[must_use]
    pub fn without_agent() -> Self {
        Self::default().arguments(&["--roles", "api,worker,scheduler"])
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts another binary than the one under test.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_path_buf());
        self
    }

    /// Puts the data somewhere.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_path_buf());
        self
    }
}

/// A running process; killed and cleaned up when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Absent for a process that serves no requests.
    address: Option<SocketAddr>,
    data: PathBuf,
    log: PathBuf,
    _folder: TempDir,
}

impl Node {
    /// Starts a process and waits for its ready line.
    ///
    /// # Panics
    /// Shows the log when no ready line comes.
    #[must_use]
    pub fn start(options: &NodeOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = options.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let log = folder.path().join("log");
        let mut child = command(options, &data, &log).spawn().expect("start tidemark");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = match ready.trim().strip_prefix("tidemark ready ") {
            Some(place) => place.strip_prefix("on http://").map(|address| address.parse().unwrap()),
            None => {
                let status = child.kill().and_then(|()| child.wait());
                panic!(
                    "no ready line but {ready:?}, {status:?}, log:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
        };
        Self { address, child, data, log, _folder: folder }
    }

    /// Runs a process that is expected to end at once; its status, standard output and log.
    #[must_use]
    pub fn run_to_end(options: &NodeOptions, data: &Path) -> (ExitStatus, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = command(options, data, &log).output().expect("start tidemark");
        (output.status, String::from_utf8_lossy(&output.stdout).into_owned(), fs::read_to_string(log).unwrap())
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When it serves no requests.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a process that listens")
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Runs a command against it; its exit code, and what it said on both ways.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://{}", self.address());
        let Output { status, stdout, stderr } = tidemark().args(arguments).env("TIDEMARK_URL", url).output().unwrap();
        (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
    }

    /// What a command says that does what it should.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
        out
    }

    /// Where its data are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it without warning, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and waits for that.
    ///
    /// # Panics
    /// When it has not ended after 30 s.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait_for("the process ends after SIGTERM", Duration::from_secs(30), || self.child.try_wait().unwrap())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill();
        }
        if std::thread::panicking() {
            let roles =
                self.address.map_or_else(|| "that listens nowhere".to_owned(), |address| format!("on {address}"));
            eprintln!("log of the process {roles}:\n{}", self.log());
        }
    }
}

/// The binary under test as a command, without the settings of whoever runs the tests.
#[must_use]
pub fn tidemark() -> Command {
    tidemark_at(binary())
}

/// Another binary as a command, likewise.
#[must_use]
pub fn tidemark_at(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_string_lossy().starts_with("TIDEMARK_")) {
        command.env_remove(name);
    }
    command
}

fn command(options: &NodeOptions, data: &Path, log: &Path) -> Command {
    let mut command = options.binary.as_deref().map_or_else(tidemark, tidemark_at);
    command.args(&options.arguments);
    let takes_listen = options.arguments.first().is_some_and(|first| first == "serve" || first == "api");
    if takes_listen && !options.arguments.iter().any(|argument| argument == "--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.arg("--data").arg(data);
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(log).unwrap());
    command
}

/// The binary under test: `TEST_BINARY`, or the debug build of this tree, which is brought up to date first.
///
/// # Panics
/// When it cannot be built.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the test runner names the binary in the environment")]
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Ok(path) = std::env::var("TEST_BINARY") {
            return path.into();
        }
        let build = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "tidemark"]).status().unwrap();
        assert!(build.success(), "building tidemark failed");
        let this = std::env::current_exe().unwrap();
        this.ancestors().nth(2).unwrap().join("tidemark")
    })
}
