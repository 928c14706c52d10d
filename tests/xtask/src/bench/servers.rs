//! Starting and ending a server on free ports of the loopback interface and in a folder of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use super::peer::Peer;

/// A running server; it ends and its folder goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    http: u16,
    opentsdb: u16,
}

/// Starts a peer and waits until it accepts connections.
pub(crate) fn start(peer: &Peer) -> anyhow::Result<Server> {
    let (http, second) = (free_port()?, free_port()?);
    let folder = std::env::temp_dir().join(format!("tidemark-bench-{}-{http}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (mut command, opentsdb) = match peer {
        Peer::Tidemark(binary) => {
            let mut command = Command::new(binary);
            command.args(["serve", "--roles", "api,worker,scheduler"]);
            command.args(["--listen", &format!("127.0.0.1:{http}"), "--data"]).arg(&folder);
            (command, http)
        }
        Peer::VictoriaMetrics => {
            let mut command = Command::new("victoria-metrics");
            command.arg(format!("-storageDataPath={}", folder.display())).arg("-retentionPeriod=5y");
            command.arg(format!("-httpListenAddr=127.0.0.1:{http}"));
            command.arg(format!("-opentsdbListenAddr=127.0.0.1:{second}"));
            (command, second)
        }
    };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut server = Server { child: child.with_context(|| format!("start {}", peer.name()))?, folder, http, opentsdb };
    server.wait_until_ready()?;
    Ok(server)
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where HTTP is spoken.
    pub(crate) fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Where OpenTSDB's writes are taken, by HTTP and by lines.
    pub(crate) fn opentsdb(&self) -> String {
        format!("127.0.0.1:{}", self.opentsdb)
    }

    /// Bytes of the server's folder.
    pub(crate) fn disk_bytes(&self) -> u64 {
        folder_bytes(&self.folder)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for _ in 0..200 {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once with {status}");
            }
            if [self.http, self.opentsdb].iter().all(|&port| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("the server accepts no connection after 10 s")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended.map(|_| ()).and_then(|()| fs::remove_dir_all(&self.folder)) {
            eprintln!("clean up {}: {error}", self.folder.display());
        }
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
