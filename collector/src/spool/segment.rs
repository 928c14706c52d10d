//! Segment files: a header and frames, each with its length and a checksum. Byte map:
//! `collector/docs/format/spool.md`.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use tidemark_model::PointBatch;
use xxhash_rust::xxh3::xxh3_64;

use super::batch_codec;

const MAGIC: [u8; 8] = *b"TDMSPL\x00\x01";

/// Bytes before the first frame.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 8;

/// Length, points, checksum.
const FRAME_HEADER_BYTES: usize = 16;

/// Largest payload; a batch of 10 000 points has about 100 KB.
const PAYLOAD_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// What the spool knows of a segment without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentSummary {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// Points of the frames that are still to be sent.
    pub(super) points_left: u64,
}

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.spool"))
}

/// The segments in a folder, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<VecDeque<SegmentSummary>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".spool")).and_then(|number| number.parse().ok());
        if let Some(number) = number {
            segments.push(SegmentSummary { number, bytes: entry.metadata()?.len(), points_left: 0 });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    Ok(segments.into())
}

/// Points that the frame headers from `offset` on state. Damage ends the count.
pub(super) fn count_points(folder: &Path, number: u64, offset: u64) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path(folder, number))?);
    let end = file.get_ref().metadata()?.len();
    let (mut at, mut points) = (offset.max(SEGMENT_HEADER_BYTES), 0_u64);
    while at < end {
        file.seek(SeekFrom::Start(at))?;
        let Some(header) = read_header(&mut file)? else { break };
        points = points.saturating_add(u64::from(header.points));
        at = at.saturating_add(FRAME_HEADER_BYTES as u64 + u64::from(header.payload_bytes));
    }
    Ok(points)
}

/// Header and payload of a batch.
pub(super) fn frame_of(batch: &PointBatch) -> Vec<u8> {
    let payload = batch_codec::encode(batch);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let points = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&points.to_le_bytes());
    frame.extend_from_slice(&checksum(length, points, &payload).to_le_bytes());
    frame.extend_from_slice(&payload);
    frame
}

fn checksum(length: u32, points: u32, payload: &[u8]) -> u64 {
    let seed = xxh3_64(&[length.to_le_bytes(), points.to_le_bytes()].concat());
    xxhash_rust::xxh3::xxh3_64_with_seed(payload, seed)
}

/// Appends frames.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    number: u64,
    file: File,
    bytes: u64,
}

impl SegmentWriter {
    pub(super) fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path(folder, number);
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all(&MAGIC) {
            // A full disk must not fill with empty files.
            fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Self { number, file, bytes: SEGMENT_HEADER_BYTES })
    }

    /// Appends a frame; after a failure the segment ends where it did before.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(frame) {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(frame.len() as u64);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum FrameRead {
    /// A batch; its frame ends at `end`.
    Batch { batch: PointBatch, end: u64, points: u64 },
    /// A frame that does not match its checksum, or an end that no frame can be found in. The reader is past it.
    Damaged,
    /// Nothing more.
    End,
}

/// Reads frames.
#[derive(Debug)]
pub(super) struct SegmentReader {
    number: u64,
    file: File,
    offset: u64,
}

struct FrameHeader {
    payload_bytes: u32,
    points: u32,
    checksum: u64,
}

impl SegmentReader {
    pub(super) fn open(folder: &Path, number: u64, offset: u64) -> io::Result<Self> {
        Ok(Self { number, file: File::open(path(folder, number))?, offset })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn move_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    pub(super) fn next_frame(&mut self) -> io::Result<FrameRead> {
        let end = self.file.metadata()?.len();
        if self.offset == SEGMENT_HEADER_BYTES && !self.has_magic()? {
            return Ok(self.give_up(end));
        }
        if self.offset >= end {
            return Ok(FrameRead::End);
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
        let Some(header) = read_header(&mut self.file)? else { return Ok(self.give_up(end)) };
        let frame_end = self.offset.saturating_add(FRAME_HEADER_BYTES as u64 + u64::from(header.payload_bytes));
        if frame_end > end {
            return Ok(self.give_up(end));
        }
        let mut payload = Vec::with_capacity(header.payload_bytes as usize);
        Read::by_ref(&mut self.file).take(u64::from(header.payload_bytes)).read_to_end(&mut payload)?;
        if checksum(header.payload_bytes, header.points, &payload) != header.checksum {
            self.offset = frame_end;
            return Ok(FrameRead::Damaged);
        }
        match batch_codec::decode(&payload) {
            Some(batch) => Ok(FrameRead::Batch { batch, end: frame_end, points: u64::from(header.points) }),
            None => {
                self.offset = frame_end;
                Ok(FrameRead::Damaged)
            }
        }
    }

    fn has_magic(&mut self) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut magic = Vec::new();
        Read::by_ref(&mut self.file).take(SEGMENT_HEADER_BYTES).read_to_end(&mut magic)?;
        Ok(magic == MAGIC)
    }

    /// No frame can be found in the rest.
    fn give_up(&mut self, end: u64) -> FrameRead {
        if self.offset > end {
            return FrameRead::End;
        }
        self.offset = end.max(self.offset.saturating_add(1));
        FrameRead::Damaged
    }
}

/// A frame's header, or `None` when there are fewer bytes or the length is impossible.
fn read_header(file: &mut impl Read) -> io::Result<Option<FrameHeader>> {
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES);
    file.take(FRAME_HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(parse_header(&bytes).filter(|header| header.payload_bytes <= PAYLOAD_BYTES_MAX))
}

fn parse_header(bytes: &[u8]) -> Option<FrameHeader> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let (points, checksum) = rest.split_at_checked(4)?;
    Some(FrameHeader {
        payload_bytes: u32::from_le_bytes(length.try_into().ok()?),
        points: u32::from_le_bytes(points.try_into().ok()?),
        checksum: u64::from_le_bytes(checksum.try_into().ok()?),
    })
}
