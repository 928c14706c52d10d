//! A FoundationDB cluster of this test's own, whose processes it can kill and start again. Tests of whole processes take
//! this file in by its path.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Processes of the cluster; with two copies of everything, any one of them may be missing.
pub const PROCESSES: usize = 3;
/// How long a cluster may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Three processes on this machine, in a folder that goes with them.
pub struct FdbProcesses {
    folder: tempfile::TempDir,
    server: PathBuf,
    addresses: Vec<String>,
    running: Vec<Child>,
}

impl FdbProcesses {
    /// Starts a new cluster of the program `fdbserver`, beside which `fdbcli` lies, on free ports of the loopback interface.
    ///
    /// # Panics
    /// When the cluster does not come up.
    pub fn start(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Held all at once, so that they are three.
        let ports: Vec<_> = (0..PROCESSES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = ports.iter().map(|port| port.local_addr().unwrap().to_string()).collect();
        drop(ports);
        fs::write(folder.path().join("fdb.cluster"), format!("test:test@{}", addresses.join(","))).unwrap();
        let mut processes = Self { folder, server, addresses, running: Vec::new() };
        processes.running = (0..PROCESSES).map(|number| processes.launch(number)).collect();
        processes.wait_for_answer("configure new double memory", "Database created");
        processes.wait_for_answer("status minimal", "is available");
        processes
    }

    /// Its cluster file.
    pub fn cluster_file(&self) -> PathBuf {
        self.folder.path().join("fdb.cluster")
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        self.running[number].kill().unwrap();
        self.running[number].wait().unwrap();
    }

    /// Starts a process that was killed on its old address and files.
    pub fn start_again(&mut self, number: usize) {
        self.running[number] = self.launch(number);
    }

    fn launch(&self, number: usize) -> Child {
        let folder = self.folder.path().join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        let address = &self.addresses[number];
        Command::new(&self.server)
            .args(["--public-address", address, "--listen-address", address])
            // A machine of its own, or two copies could be on the same.
            .args(["--machine-id", &number.to_string()])
            .args([Path::new("--cluster-file"), &self.cluster_file(), Path::new("--datadir"), &folder])
            .args([Path::new("--logdir"), self.folder.path()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a cluster comes up in real time")]
    fn wait_for_answer(&self, command: &str, expect: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ask(command).contains(expect) {
            assert!(Instant::now() < deadline, "the cluster did not come up");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn ask(&self, command: &str) -> String {
        let cli = self.server.with_file_name("fdbcli");
        let asked = Command::new(cli)
            .arg("-C")
            .arg(self.cluster_file())
            .args(["--timeout", "10", "--exec", command])
            .output()
            .unwrap();
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }
}

impl Drop for FdbProcesses {
    fn drop(&mut self) {
        (0..self.running.len()).for_each(|number| self.kill(number));
    }
}
