//! A telnet connection from its first byte to its last.

use std::{future::ready, pin::Pin, sync::Arc};

use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use super::{
    line_buffer::{LINE_BYTES_MAX, LineBuffer, Lines},
    session::{Step, read_lines},
    write::{Written, write},
};
use crate::state::AppState;

/// Replies in the order of the lines that they answer, some of them still to come.
type Replies<'a> = FuturesOrdered<Pin<Box<dyn Future<Output = Written> + 'a>>>;

/// Serves a connection until it is closed or the server stops.
///
/// What was read at once is written as one batch. While several batches are being written, nothing more is read, so
/// that TCP slows the client down. When the client closes its side, or the server stops, what was read is written and
/// answered before the connection is closed.
///
/// Most clients never read: collectd and Telegraf only send, and Telegraf closes as soon as it has sent, which resets a
/// connection with an unread reply. So replies that nobody takes end the replies, never the points.
pub(crate) async fn serve(mut stream: TcpStream, state: &Arc<AppState>) {
    let (mut reader, mut writer) = stream.split();
    let mut replies = Replies::new();
    let mut buffer = LineBuffer::new();
    let (mut open, mut replying) = (true, true);
    while open || !replies.is_empty() {
        let room = replies.len() < state.options.limits.telnet_writes_in_flight;
        tokio::select! {
            biased;
            Some(written) = replies.next() => {
                // Once a reply was cut off, the next would begin in the middle of it.
                replying = replying && send(&mut writer, &written, state).await.is_ok();
                if written.close {
                    break;
                }
            }
            () = state.shutdown.cancelled(), if open => open = false,
            read = reader.read_buf(buffer.spare()), if open && room => {
                let more = matches!(read, Ok(1..)) && read_what_is_there(&reader, &mut buffer);
                open = take_lines(&mut buffer, &mut replies, state) && more;
            }
        }
    }
    if let Err(error) = writer.shutdown().await {
        tracing::debug!(%error, "closing a telnet connection failed");
    }
}

/// Reads on without waiting, up to a batch: a client that sends quickly gets few large batches instead of many small ones.
/// False when the client has closed its side.
fn read_what_is_there(reader: &ReadHalf<'_>, buffer: &mut LineBuffer) -> bool {
    while !buffer.is_full() {
        match reader.try_read_buf(buffer.spare()) {
            Ok(0) => return false,
            Ok(_) => {}
            // Nothing is there now; any other error shows itself at the next read.
            Err(_) => return true,
        }
    }
    true
}

/// Reads the whole lines of the buffer. False when the connection is to be closed after the replies so far.
fn take_lines<'a>(buffer: &mut LineBuffer, replies: &mut Replies<'a>, state: &'a AppState) -> bool {
    let (lines, too_long) = match buffer.take_lines() {
        Lines::Whole(lines) => (lines, false),
        Lines::ThenTooLong(lines) => (lines, true),
    };
    for step in read_lines(&lines, state) {
        match step {
            Step::Write(batch) => replies.push_back(Box::pin(write(batch, state))),
            Step::Reply(reply) => replies.push_back(Box::pin(ready(Written { reply, close: false }))),
            Step::Close => {
                replies.push_back(Box::pin(ready(Written { reply: String::new(), close: true })));
                return false;
            }
        }
    }
    if too_long {
        let reply = match state.options.opentsdb.telnet_errors {
            true => format!("put: illegal argument: a line is longer than {LINE_BYTES_MAX} bytes\n"),
            false => String::new(),
        };
        replies.push_back(Box::pin(ready(Written { reply, close: true })));
    }
    !too_long
}

/// # Errors
/// When the client is gone, or does not read.
async fn send(writer: &mut WriteHalf<'_>, written: &Written, state: &AppState) -> Result<(), ()> {
    if written.reply.is_empty() {
        return Ok(());
    }
    let sent = tokio::time::timeout(state.options.limits.response_timeout, writer.write_all(written.reply.as_bytes()));
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a telnet client is gone");
            Err(())
        }
        Err(_) => {
            tracing::debug!("a telnet client does not read its replies");
            Err(())
        }
    }
}
