//! Telnet where tokens are asked for: the protocol has no place for one.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// What the client is told.
const SENTENCE: &[u8] =
    b"this server asks for tokens, which lines cannot carry: send points to /api/put with `Authorization: Bearer`, or have \
      your network named in `auth.telnet_from`\n";
/// How long it may take to take it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says why lines are not taken, and closes.
pub(crate) async fn refuse(mut stream: TcpStream) {
    let told = async {
        stream.write_all(SENTENCE).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(PATIENCE, told).await, Ok(Ok(()))) {
        tracing::debug!("a telnet client went away before it was refused");
    }
}
