//! Brings a file to a server, for an `import` job.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use tidemark_egress::{Method, UploadBody};
use tidemark_model::SystemClock;
use tokio::sync::mpsc;

use super::{client::Server, offline};
use crate::{
    progress_bar::{Counted, Progress, ProgressBar},
    usage::UsageError,
};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait to be sent.
const PIECES: usize = 4;

/// The name that a file gets on the server unless somebody says another one.
pub(super) fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| UsageError(format!("option --file `{}`: it has no name", path.display())))?;
    Ok(name.to_owned())
}

/// Sends a file, which takes the place of the one of that name once all of it is there.
pub(super) fn upload(server: &Server, path: &Path, name: &str) -> anyhow::Result<()> {
    let shown = path.display();
    let file = File::open(path).with_context(|| UsageError(format!("option --file: read {shown}")))?;
    let metadata = file.metadata().with_context(|| format!("read {shown}"))?;
    if !metadata.is_file() {
        bail!(UsageError(format!("option --file: {shown} is no file; its length must be known before it is sent")));
    }
    let bytes = metadata.len();
    let (sender, pieces) = mpsc::channel(PIECES);
    offline::runtime()?.block_on(async {
        let reading = tokio::task::spawn_blocking(move || read(file, bytes, &sender));
        let sent = server.own(Method::PUT, &["uploads", name]).upload(UploadBody::new(bytes, pieces)).await;
        // The request fails, too, when the file could not be read to its end, but only this says why.
        reading.await?.with_context(|| format!("read {shown}"))?;
        sent.map(drop)
    })
}

/// Reads as much of a file as there was at the beginning; stops when nobody takes it.
fn read(mut file: File, bytes: u64, sender: &mpsc::Sender<Bytes>) -> anyhow::Result<()> {
    let mut bar = ProgressBar::on_stderr(Arc::new(SystemClock::new()), "upload", Counted::Bytes);
    let mut done = 0;
    while done < bytes {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let wanted = (PIECE_BYTES as u64).min(bytes - done);
        let read = Read::take(&mut file, wanted).read_to_end(&mut piece)? as u64;
        if read == 0 {
            bail!("it had {bytes} bytes and has {done} now");
        }
        if sender.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
        done += read;
        bar.show(Progress { done, total: bytes });
    }
    Ok(())
}
