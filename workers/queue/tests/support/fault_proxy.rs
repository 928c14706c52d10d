//! Stands between a broker and its server and makes trouble.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidemark_queue::RedisOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every answer comes so much later.
    Slow(Duration),
    /// Answers are held back until there is another fault, or none.
    Held,
    /// Connections stay open and nothing goes through.
    Silent,
    /// New connections are taken and ended at once, old ones are ended.
    Away,
}

pub(crate) struct FaultProxy {
    port: u16,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl FaultProxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let (fault, seen) = watch::channel(Fault::None);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (tasks, counter) = (TaskTracker::new(), Arc::clone(&accepted));
        let accepting = tasks.clone().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(carry(client, port, seen.clone()));
            }
        });
        Self { port: own_port, fault, accepted, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        RedisOptions::new(&format!("redis://127.0.0.1:{}", self.port))
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Connections since the start.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, port: u16, fault: watch::Receiver<Fault>) {
    if *fault.borrow() == Fault::Away {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut ended = fault.clone();
    tokio::select! {
        () = copy(from_client, to_server, fault.clone(), false) => {}
        () = copy(from_server, to_client, fault, true) => {}
        _ = ended.wait_for(|fault| *fault == Fault::Away) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    are_answers: bool,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let now = *fault.borrow();
        if let Fault::Slow(delay) = now
            && are_answers
        {
            tokio::time::sleep(delay).await;
        }
        if now == Fault::Held && are_answers && fault.wait_for(|fault| *fault != Fault::Held).await.is_err() {
            return;
        }
        // What is swallowed never comes, also not later.
        if now == Fault::Silent {
            if fault.wait_for(|fault| *fault == Fault::Away).await.is_err() {
                return;
            }
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
