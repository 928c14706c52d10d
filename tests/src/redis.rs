//! A real Redis server.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait_for;

/// A Redis server with its append-only file on, as the broker needs it; ends when dropped. `TIDEMARK_REDIS_SERVER` names
/// another program than the installed `redis-server`.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
}

impl RedisServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Panics
    /// When `redis-server` is not installed: `cargo xtask test` installs it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Likewise, with further settings such as `--requirepass`.
    ///
    /// # Panics
    /// When `redis-server` is not installed.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let child = launch(port, &folder, &settings);
        let server = Self { child, port, folder, settings };
        server.wait_until_ready();
        server
    }

    /// Starts a killed server again on the same port and files.
    pub fn restart(&mut self) {
        self.child = launch(self.port, &self.folder, &self.settings);
        self.wait_until_ready();
    }

    /// Ends the server without warning.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it, or lets it go on: meanwhile it takes connections and answers nothing.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says a command to it that is answered by `OK`.
    ///
    /// # Panics
    /// When it is answered by something else.
    pub fn command(&self, words: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{words}\r\n").as_bytes()).unwrap();
        let mut answer = [0; 16];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer.get(..read).is_some_and(|answer| answer.starts_with(b"+OK")), "{words}");
    }

    /// Says a command to it that is answered by a short text; that text, or nothing.
    #[must_use]
    pub fn ask(&self, words: &str) -> String {
        let answer = || -> io::Result<String> {
            let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", self.port))?);
            reader.get_mut().write_all(format!("{words}\r\n").as_bytes())?;
            let (mut length, mut text) = (String::new(), String::new());
            reader.read_line(&mut length)?;
            if length.starts_with('$') && !length.starts_with("$-") {
                reader.read_line(&mut text)?;
            }
            Ok(text)
        };
        answer().unwrap_or_default()
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

fn launch(port: u16, folder: &TempDir, settings: &[String]) -> Child {
    Command::new(std::env::var_os("TIDEMARK_REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--maxmemory-policy", "noeviction", "--dir"])
        .arg(folder.path())
        .args(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start redis-server; `cargo xtask test` installs it")
}
