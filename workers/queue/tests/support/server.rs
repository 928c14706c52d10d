//! A Redis server of our own, reached in one of several ways.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tidemark_model::SystemClock;
use tidemark_queue::{Broker, BrokerOptions, RedisBroker, RedisOptions};

use super::certificates::Certificates;

/// What a user of the broker must be allowed, as `docs/redis-layout.md` says.
pub(crate) const ACL: &str = "~tidemark:* -@all +@read +@write +@connection +@transaction +evalsha +script|load \
                              +info +time +role +wait +cluster|slots";

/// A server of our own, ended when it is dropped.
pub(crate) struct RedisServer {
    child: Child,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    settings: Vec<String>,
    /// How a broker reaches it.
    pub(crate) options: RedisOptions,
}

impl RedisServer {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// With further settings, the last of which wins.
    pub(crate) async fn start_with(settings: &[&str]) -> Option<Self> {
        let port = free_port();
        let options = RedisOptions::new(&format!("redis://127.0.0.1:{port}"));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let server = Self::spawn(port, tempfile::tempdir().unwrap(), settings, options)?;
        server.wait_until_up().await;
        Some(server)
    }

    /// One that makes its file durable once a second, as the one of the deployment does.
    ///
    /// Its file lies in memory where there is such a folder: while an `fsync` of a busy disk takes long, Redis answers
    /// before it has written anything down, for up to two seconds, and what a kill leaves depends on what else the disk
    /// does. There an `fsync` takes no time, so that only what the kill does is tested.
    pub(crate) async fn start_with_an_fsync_a_second() -> Option<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let settings = ["--appendfsync".to_owned(), "everysec".to_owned()];
        let port = free_port();
        let options = RedisOptions::new(&format!("redis://127.0.0.1:{port}"));
        let server = Self::spawn(port, folder.unwrap(), settings.to_vec(), options)?;
        server.wait_until_up().await;
        Some(server)
    }

    /// One that speaks TLS only, with a certificate for `redis.test`, to those who have a certificate of the same CA.
    pub(crate) async fn start_tls(certificates: &Certificates) -> Option<Self> {
        let port = free_port();
        let mut settings = vec!["--port".to_owned(), "0".to_owned(), "--tls-port".to_owned(), port.to_string()];
        settings.extend(certificates.server_settings());
        let tls = certificates.client();
        let options = RedisOptions { tls, ..RedisOptions::new(&format!("rediss://127.0.0.1:{port}")) };
        let server = Self::spawn(port, tempfile::tempdir().unwrap(), settings, options)?;
        server.wait_until_up().await;
        Some(server)
    }

    /// One that listens on a socket and knows one user, who may do what the broker needs.
    pub(crate) async fn start_on_a_socket() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (socket, users) = (folder.path().join("redis.sock"), folder.path().join("users.acl"));
        std::fs::write(&users, format!("user default off\nuser tidemark on >hunter2 {ACL}\n")).unwrap();
        let settings = [
            ("--port", "0".to_owned()),
            ("--unixsocket", socket.display().to_string()),
            ("--aclfile", users.display().to_string()),
        ];
        let settings = settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let options = RedisOptions {
            username: Some("tidemark".to_owned()),
            password: Some("hunter2".to_owned()),
            ..RedisOptions::new(&format!("unix:{}", socket.display()))
        };
        let server = Self::spawn(0, folder, settings, options)?;
        server.wait_until_up().await;
        Some(server)
    }

    /// One that nobody waits for. Its settings win over ours.
    pub(crate) fn spawn(
        port: u16,
        folder: tempfile::TempDir,
        settings: Vec<String>,
        options: RedisOptions,
    ) -> Option<Self> {
        let Some(child) = spawn(port, folder.path(), &settings) else {
            eprintln!("SKIPPED: redis-server is not installed, so nothing was tested on Redis");
            return None;
        };
        Some(Self { child, port, folder, settings, options })
    }

    /// Waits until it answers, whatever else it may do.
    pub(crate) async fn answers(&self) {
        super::cluster::wait_for("the server answers", || self.ask(&["PING"]) == "PONG").await;
    }

    pub(crate) fn broker(&self, options: BrokerOptions) -> RedisBroker {
        RedisBroker::new(self.options.clone(), options, Arc::new(SystemClock::new())).unwrap()
    }

    async fn wait_until_up(&self) {
        for _ in 0..1_000 {
            // A new one each time: a broker leaves a server alone for a second that did not answer.
            if self.broker(BrokerOptions::default()).health().await.reachable {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer at {:?}", self.options);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Says a command to it that succeeds, as an operator does.
    pub(crate) fn command(&self, words: &[&str]) {
        let answer = self.ask(words);
        assert!(answer.starts_with("OK"), "{words:?}: {answer}");
    }

    /// Says a command to it; its answer, which is a line or a text.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words)
    }

    /// Says a command to it that is answered by a list of texts.
    pub(crate) fn ask_list(&self, words: &[&str]) -> Vec<String> {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        let length: usize = say(&mut reader, &words.join(" ")).unwrap().parse().unwrap();
        (0..length).map(|_| read_answer(&mut reader).unwrap()).collect()
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it without ending it.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let mut command = Command::new("kill");
        assert!(command.args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Starts it again on the same port with the data it had.
    pub(crate) async fn restart(&mut self) {
        self.respawn();
        self.wait_until_up().await;
    }

    /// Starts it again and waits for nothing.
    pub(crate) fn respawn(&mut self) {
        self.child = spawn(self.port, self.folder.path(), &self.settings).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says a command to the server on a port; empty when it does not answer.
pub(crate) fn ask(port: u16, words: &[&str]) -> String {
    let answer = || {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
        say(&mut reader, &words.join(" "))
    };
    answer().unwrap_or_default()
}

/// Likewise, with a password.
pub(crate) fn ask_after_login(port: u16, password: &str, words: &str) -> String {
    let answer = || {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
        say(&mut reader, &format!("AUTH {password}"))?;
        say(&mut reader, words)
    };
    answer().unwrap_or_default()
}

fn say(reader: &mut BufReader<TcpStream>, words: &str) -> std::io::Result<String> {
    reader.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
    reader.get_mut().write_all(format!("{words}\r\n").as_bytes())?;
    read_answer(reader)
}

/// A line, or a text with its length before it.
fn read_answer(reader: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
    let Some(length) = rest.trim_end().parse().ok().filter(|_| kind == "$") else {
        return Ok(rest.trim_end().to_owned());
    };
    let mut text = vec![0; length + 2];
    reader.read_exact(&mut text)?;
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The server that the tests start: `TIDEMARK_REDIS_SERVER` names another program than the installed `redis-server`.
pub(crate) fn server_command() -> Command {
    Command::new(std::env::var_os("TIDEMARK_REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
}

fn spawn(port: u16, folder: &Path, settings: &[String]) -> Option<Child> {
    let mut command = server_command();
    // With `everysec` Redis answers before it has written anything down while an `fsync` takes long, so that what it
    // keeps of a kill depends on what else the disk does.
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
    command.args(["--maxmemory-policy", "noeviction"]).args(settings).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}
