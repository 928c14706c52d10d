//! The disk buffer of an agent whose sink does not take points.
//!
//! Batches are appended to segment files of bounded size and read back oldest first; the byte maps are in
//! `collector/docs/format/spool.md`. A segment is never appended to after a restart, so a torn end needs no repair: a
//! reader skips what does not match its checksum and counts it. When the spool is full its oldest segment is dropped
//! and its points counted. A frame is in the kernel's hands when `append` returns, which a killed process survives; a
//! segment is synced to the disk when it is complete. Turned down: a sync per frame, which would wear small flash
//! disks for the sake of a power cut within an outage; and an embedded database, whose file does not shrink.

mod batch_codec;
mod cursor;
mod segment;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::PathBuf,
};

use thiserror::Error;
use tidemark_model::PointBatch;

use self::{
    cursor::Cursor,
    segment::{FrameRead, SegmentReader, SegmentSummary, SegmentWriter},
};

/// Where a spool is and how large it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Its folder, which belongs to one agent. It is created when absent.
    pub folder: PathBuf,
    /// Most bytes of all its files together. Default 256 MiB.
    pub bytes_max: u64,
    /// Bytes after which a segment is complete. Default 8 MiB; at most a quarter of `bytes_max` is used.
    pub segment_bytes: u64,
}

impl SpoolOptions {
    /// A spool in `folder` with the default limits.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), bytes_max: 256 * 1024 * 1024, segment_bytes: 8 * 1024 * 1024 }
    }
}

/// Why the spool cannot be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error("open spool `{folder}`: another process uses it")]
    InUse {
        /// Its folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("{action} spool `{folder}`: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Its folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A single batch is larger than the spool may be.
    #[error("write to spool `{folder}`: a batch has {bytes} bytes, and the spool may have {limit}")]
    BatchTooLarge {
        /// Its folder.
        folder: PathBuf,
        /// Bytes of the batch.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// The disk buffer. All calls block.
#[derive(Debug)]
pub(crate) struct Spool {
    options: SpoolOptions,
    /// Oldest first; the one that is written to, if any, comes last.
    segments: VecDeque<SegmentSummary>,
    writer: Option<SegmentWriter>,
    reader: Option<SegmentReader>,
    cursor: Cursor,
    next_number: u64,
    frames_damaged: u64,
    points_dropped: u64,
    /// Held as long as the spool is open.
    _lock: File,
}

/// A batch at the head of the spool.
#[derive(Debug)]
pub(crate) struct Oldest {
    pub(crate) batch: PointBatch,
    end: u64,
    segment: u64,
    points: u64,
}

impl Spool {
    pub(crate) fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        let failed = |action| {
            let folder = options.folder.clone();
            move |source| SpoolError::Io { action, folder, source }
        };
        fs::create_dir_all(&options.folder).map_err(failed("create"))?;
        let lock = File::create(options.folder.join("lock")).map_err(failed("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::InUse { folder: options.folder.clone() })?;
        let mut segments = segment::list(&options.folder).map_err(failed("list"))?;
        let mut cursor = Cursor::open(&options.folder).map_err(failed("open the cursor of"))?;
        // IMPORTANT: beyond the cursor, too, or it would call segments read that were written after it.
        let newest = segments.back().map_or(0, |segment| segment.number).max(cursor.segment());
        let next_number = newest.saturating_add(1);
        cursor.limit_to(&segments);
        for segment in &mut segments {
            segment.points_left =
                segment::count_points(&options.folder, segment.number, cursor.offset_in(segment.number))
                    .map_err(failed("read"))?;
        }
        let mut spool = Self {
            options,
            segments,
            writer: None,
            reader: None,
            cursor,
            next_number,
            frames_damaged: 0,
            points_dropped: 0,
            _lock: lock,
        };
        spool.drop_read_segments()?;
        Ok(spool)
    }

    /// Appends a batch; drops the oldest segments when there is no room.
    pub(crate) fn append(&mut self, batch: &PointBatch) -> Result<(), SpoolError> {
        let frame = segment::frame_of(batch);
        let bytes = frame.len() as u64;
        if bytes > self.options.bytes_max / 2 {
            let (folder, limit) = (self.options.folder.clone(), self.options.bytes_max);
            return Err(SpoolError::BatchTooLarge { folder, bytes, limit });
        }
        while self.bytes().saturating_add(bytes) > self.options.bytes_max && !self.segments.is_empty() {
            self.drop_oldest_segment()?;
        }
        let mut writer = self.take_writer(bytes)?;
        let written = writer.append(&frame);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = writer.bytes();
            if written.is_ok() {
                segment.points_left = segment.points_left.saturating_add(batch.len() as u64);
            }
        }
        self.writer = Some(writer);
        written.map_err(|source| self.failed("write to", source))
    }

    /// The oldest batch that was not forgotten, if there is one.
    pub(crate) fn oldest(&mut self) -> Result<Option<Oldest>, SpoolError> {
        while let Some(number) = self.segments.front().map(|segment| segment.number) {
            let mut reader = self.take_reader(number)?;
            match reader.next_frame().map_err(|source| self.failed("read", source))? {
                FrameRead::Batch { batch, end, points } => {
                    self.reader = Some(reader);
                    return Ok(Some(Oldest { batch, end, segment: number, points }));
                }
                FrameRead::Damaged => {
                    self.frames_damaged += 1;
                    self.cursor.move_to(number, reader.offset());
                    self.reader = Some(reader);
                }
                FrameRead::End => {
                    // Also of the one that is written to: a spool that was read takes no space.
                    if self.is_written_to(number) {
                        self.writer = None;
                    }
                    self.remove_front()?;
                }
            }
        }
        Ok(None)
    }

    /// Forgets a batch that [`Spool::oldest`] returned and the sink took.
    pub(crate) fn forget(&mut self, oldest: &Oldest) -> Result<(), SpoolError> {
        if let Some(front) = self.segments.front_mut()
            && front.number == oldest.segment
        {
            front.points_left = front.points_left.saturating_sub(oldest.points);
        }
        self.cursor.move_to(oldest.segment, oldest.end);
        if let Some(reader) = self.reader.as_mut().filter(|reader| reader.number() == oldest.segment) {
            reader.move_to(oldest.end);
        }
        self.cursor.save().map_err(|source| self.failed("move the cursor of", source))?;
        self.drop_read_segments()
    }

    /// Puts everything on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), SpoolError> {
        match &self.writer {
            Some(writer) => writer.sync().map_err(|source| self.failed("sync", source)),
            None => Ok(()),
        }
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Points that are still to be sent.
    pub(crate) fn points(&self) -> u64 {
        self.segments.iter().map(|segment| segment.points_left).sum()
    }

    /// Frames found damaged since the last call.
    pub(crate) fn take_frames_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.frames_damaged)
    }

    /// Points dropped for lack of room since the last call.
    pub(crate) fn take_points_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.points_dropped)
    }

    fn is_written_to(&self, number: u64) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.number() == number)
    }

    fn segment_bytes(&self) -> u64 {
        self.options.segment_bytes.min(self.options.bytes_max / 4)
    }

    /// A writer with room for `bytes`, unless the frame alone is larger than a segment.
    fn take_writer(&mut self, bytes: u64) -> Result<SegmentWriter, SpoolError> {
        match self.writer.take() {
            Some(writer) if writer.bytes().saturating_add(bytes) <= self.segment_bytes() => return Ok(writer),
            Some(full) => full.sync().map_err(|source| self.failed("sync", source))?,
            None => {}
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let writer =
            SegmentWriter::create(&self.options.folder, number).map_err(|source| self.failed("extend", source))?;
        self.segments.push_back(SegmentSummary { number, bytes: writer.bytes(), points_left: 0 });
        Ok(writer)
    }

    fn take_reader(&mut self, number: u64) -> Result<SegmentReader, SpoolError> {
        let offset = self.cursor.offset_in(number);
        match self.reader.take() {
            Some(reader) if reader.number() == number && reader.offset() == offset => Ok(reader),
            _ => {
                SegmentReader::open(&self.options.folder, number, offset).map_err(|source| self.failed("read", source))
            }
        }
    }

    /// Removes segments of which every frame was read.
    fn drop_read_segments(&mut self) -> Result<(), SpoolError> {
        while let Some(front) = self.segments.front().copied()
            && self.cursor.offset_in(front.number) >= front.bytes
            && !self.is_written_to(front.number)
        {
            self.remove_front()?;
        }
        Ok(())
    }

    fn drop_oldest_segment(&mut self) -> Result<(), SpoolError> {
        if let Some(front) = self.segments.front().copied() {
            self.points_dropped = self.points_dropped.saturating_add(front.points_left);
            if self.is_written_to(front.number) {
                self.writer = None;
            }
            self.remove_front()?;
        }
        Ok(())
    }

    fn remove_front(&mut self) -> Result<(), SpoolError> {
        if let Some(front) = self.segments.pop_front() {
            self.reader = None;
            fs::remove_file(segment::path(&self.options.folder, front.number))
                .map_err(|source| self.failed("remove a segment of", source))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> SpoolError {
        SpoolError::Io { action, folder: self.options.folder.clone(), source }
    }
}

#[cfg(test)]
mod tests;
