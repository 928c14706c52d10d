//! What handlers tell about their jobs while they work.
//!
//! A job that tells something has a list, which its end deletes: the finished job has it then. Only the worker that told
//! it knows that there is a list; what an earlier worker left behind is found by whoever looks at the job, and expires.

use std::{collections::BTreeMap, time::Duration};

use redis::Value;

use super::{FrameKey, RedisBroker};
use crate::{
    BrokerError, JobId, JobNote, JobState, JobView, LOG_LINES_MAX, QueueName, Receipt, delivery::Place, job_note,
    record_codec::millis,
};

/// How long it is kept after the last note, unless the job ends.
const TOLD_KEPT: Duration = Duration::from_secs(48 * 3_600);
/// Most notes of one call.
const NOTES_MAX: usize = 256;

/// A note on its way.
struct Note {
    /// Its place in the call.
    place: usize,
    frame: FrameKey,
    position: usize,
    job: JobId,
    /// Whether this process does not know yet what was told before.
    is_first: bool,
    told: JobNote,
}

impl RedisBroker {
    pub(super) async fn note_all(&self, notes: Vec<(Receipt, JobNote)>) -> Result<Vec<bool>, BrokerError> {
        let mut answers = vec![false; notes.len()];
        let mut by_queue: BTreeMap<QueueName, Vec<Note>> = BTreeMap::new();
        for (place, (receipt, told)) in notes.into_iter().enumerate() {
            if let Some(note) = self.note_of(place, receipt, told) {
                by_queue.entry(note.frame.queue.clone()).or_default().push(note);
            }
        }
        for (queue, mut notes) in by_queue {
            while !notes.is_empty() {
                let rest = notes.split_off(notes.len().min(NOTES_MAX));
                for place in self.note_queue(&queue, notes).await? {
                    if let Some(answer) = answers.get_mut(place) {
                        *answer = true;
                    }
                }
                notes = rest;
            }
        }
        Ok(answers)
    }

    /// `None` when this process does not hold the job.
    fn note_of(&self, place: usize, receipt: Receipt, told: JobNote) -> Option<Note> {
        let Place::Frame { level, entry, position } = receipt.place else { return None };
        let frame = FrameKey { queue: receipt.queue, level, entry };
        let position = usize::from(position);
        let state = self.shared.state.lock();
        let held = state.frames.get(&frame)?;
        let is_first = !held.told.contains_key(&position);
        Some(Note { place, frame, position, job: receipt.job, is_first, told })
    }

    /// Sends notes of one queue; the places of those that were not refused.
    async fn note_queue(&self, queue: &QueueName, notes: Vec<Note>) -> Result<Vec<usize>, BrokerError> {
        let shared = &self.shared;
        let keys = shared.keys.queue(queue);
        let mut call = shared.scripts.note.prepare_invoke();
        keys.streams.iter().for_each(|stream| {
            call.key(stream);
        });
        call.arg(millis(TOLD_KEPT)).arg(LOG_LINES_MAX);
        for note in &notes {
            call.key(keys.told(note.job));
            let progress = note.told.progress.as_ref().map(job_note::encode_progress).unwrap_or_default();
            let entry = super::transition::entry_text(note.frame.entry);
            call.arg(note.frame.level).arg(entry).arg(u8::from(note.is_first)).arg(progress);
            call.arg(note.told.lines.len());
            note.told.lines.iter().for_each(|line| {
                call.arg(job_note::encode_line(line));
            });
        }
        let answers: Vec<Value> = shared.run(&call).await?;
        let mut taken = Vec::with_capacity(notes.len());
        let mut state = shared.state.lock();
        for (note, answer) in notes.into_iter().zip(answers) {
            if matches!(answer, Value::Int(0)) {
                continue;
            }
            taken.push(note.place);
            let Some(held) = state.frames.get_mut(&note.frame) else { continue };
            match redis::from_redis_value::<Vec<Vec<u8>>>(answer) {
                Ok(list) if note.is_first => drop(held.told.insert(note.position, read_told(&list))),
                _ => held.told.entry(note.position).or_default().append(note.told),
            }
        }
        Ok(taken)
    }

    /// Adds to a view what was told about its job and is not kept with it.
    pub(super) async fn add_told(&self, queue: &QueueName, mut view: JobView) -> Result<JobView, BrokerError> {
        if view.progress.is_none() && view.log.is_empty() {
            let key = self.shared.keys.queue(queue).told(view.id);
            let list: Vec<Vec<u8>> = self.shared.run(redis::cmd("LRANGE").arg(key).arg(0).arg(-1)).await?;
            let told = read_told(&list);
            view.progress = told.progress;
            view.log = told.lines.into();
        }
        Ok(view)
    }

    /// Adds their progress to the views of running jobs.
    pub(super) async fn add_progress(&self, mut views: Vec<JobView>) -> Result<Vec<JobView>, BrokerError> {
        let mut by_queue: BTreeMap<QueueName, Vec<&mut JobView>> = BTreeMap::new();
        for view in views.iter_mut().filter(|view| view.state == JobState::Running) {
            by_queue.entry(view.queue.clone()).or_default().push(view);
        }
        // Queue by queue: in a cluster they are on different nodes.
        for (queue, views) in by_queue {
            let keys = self.shared.keys.queue(&queue);
            let mut pipeline = redis::pipe();
            for view in &views {
                pipeline.cmd("LINDEX").arg(keys.told(view.id)).arg(0);
            }
            let told: Vec<Option<Vec<u8>>> = self.shared.run(&pipeline).await?;
            for (view, told) in views.into_iter().zip(told) {
                view.progress = told.as_deref().and_then(job_note::decode_progress);
            }
        }
        Ok(views)
    }
}

fn read_told(list: &[Vec<u8>]) -> JobNote {
    let (progress, lines) = list.split_first().map_or((None, list), |(first, lines)| (Some(first), lines));
    JobNote {
        progress: progress.and_then(|progress| job_note::decode_progress(progress)),
        lines: lines.iter().filter_map(|line| job_note::decode_line(line)).collect(),
    }
}
