//! Which protocol a connection speaks.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// What the first byte of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// `A` to `Z`: HTTP, for the life of the connection.
    Http,
    /// Anything else: OpenTSDB's telnet protocol.
    Telnet,
    /// The connection was closed, or stayed silent for too long.
    Nothing,
}

/// Waits for the first byte and leaves it where it is. An agent may connect long before it has something to send, so
/// `patience` is long; the head of an HTTP request has a deadline of its own that begins with this byte.
pub(crate) async fn protocol(stream: &TcpStream, patience: Duration, shutdown: &CancellationToken) -> Spoken {
    let mut first = [0];
    let peeked = tokio::select! {
        () = shutdown.cancelled() => return Spoken::Nothing,
        peeked = tokio::time::timeout(patience, stream.peek(&mut first)) => peeked,
    };
    match (peeked, first) {
        (Ok(Ok(1..)), [b'A'..=b'Z']) => Spoken::Http,
        (Ok(Ok(1..)), _) => Spoken::Telnet,
        _ => Spoken::Nothing,
    }
}
