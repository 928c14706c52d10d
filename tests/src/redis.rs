//! A real Redis server.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::wait_for;

/// A Redis server with its append-only file on, as the broker needs it; ends when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Panics
    /// When `redis-server` is not installed: `cargo xtask test` installs it.
    #[must_use]
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = launch(port, &folder);
        let server = Self { child, port, folder };
        server.wait_until_ready();
        server
    }

    /// Starts a killed server again on the same port and files.
    pub fn restart(&mut self) {
        self.child = launch(self.port, &self.folder);
        self.wait_until_ready();
    }

    /// Ends the server without warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait_until_ready(&self) {
        wait_for("redis accepts connections", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill();
        }
    }
}

fn launch(port: u16, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--maxmemory-policy", "noeviction", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start redis-server; `cargo xtask test` installs it")
}
