//! What handlers tell about their jobs, until the broker has heard it.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use parking_lot::Mutex;
use tidemark_model::Clock;
use tidemark_queue::{JobNote, Progress};
use tokio::sync::{MutexGuard, Notify};

use super::HeldJob;

/// Notes by the token of their job. A job that tells nothing has no page and costs nothing.
pub(crate) struct NoteBook {
    clock: Arc<dyn Clock>,
    state: Mutex<Pages>,
    /// Fired when the first note was written.
    pub(super) written: Notify,
    /// Held by whoever tells the broker, so that the last notes of a job are not overtaken by its end.
    sending: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Pages {
    notes: HashMap<u64, JobNote>,
    on_their_way: bool,
}

impl std::fmt::Debug for NoteBook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NoteBook").field("state", &self.state).finish_non_exhaustive()
    }
}

impl NoteBook {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::new(Pages { notes: HashMap::new(), on_their_way: false }),
            written: Notify::new(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn write(&self, token: u64, note: JobNote) {
        let mut state = self.state.lock();
        let was_empty = state.notes.is_empty();
        state.notes.entry(token).or_default().append(note);
        drop(state);
        if was_empty {
            self.written.notify_one();
        }
    }

    /// Takes all notes to send them; they are on their way until the answer is dropped.
    pub(super) async fn take_all(&self) -> OnTheirWay<'_> {
        let sending = self.sending.lock().await;
        let mut state = self.state.lock();
        state.on_their_way = true;
        OnTheirWay { notes: std::mem::take(&mut state.notes), book: self, _sending: sending }
    }

    /// Takes the last notes of jobs that have ended, once nothing of theirs is on its way.
    pub(super) async fn take_last(&self, tokens: impl Iterator<Item = u64>) -> Vec<(u64, JobNote)> {
        {
            let state = self.state.lock();
            if state.notes.is_empty() && !state.on_their_way {
                return Vec::new();
            }
        }
        let _sending = self.sending.lock().await;
        let mut state = self.state.lock();
        tokens.filter_map(|token| Some((token, state.notes.remove(&token)?))).collect()
    }
}

/// Notes that the broker is being told.
pub(super) struct OnTheirWay<'a> {
    pub(super) notes: HashMap<u64, JobNote>,
    book: &'a NoteBook,
    _sending: MutexGuard<'a, ()>,
}

impl OnTheirWay<'_> {
    /// Puts notes back that did not arrive, before those that were written meanwhile.
    pub(super) fn put_back(&self, notes: Vec<(u64, JobNote)>) {
        let mut state = self.book.state.lock();
        for (token, mut note) in notes {
            note.append(state.notes.remove(&token).unwrap_or_default());
            state.notes.insert(token, note);
        }
        drop(state);
        self.book.written.notify_one();
    }
}

impl Drop for OnTheirWay<'_> {
    fn drop(&mut self) {
        self.book.state.lock().on_their_way = false;
    }
}

/// Writes notes about one job. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct NoteWriter(HeldJob);

impl NoteWriter {
    pub(super) fn new(job: HeldJob) -> Self {
        Self(job)
    }

    pub(crate) fn progress(&self, progress: Progress) {
        let (token, book) = self.0.notes();
        book.write(token, JobNote { progress: Some(progress), ..JobNote::default() });
    }

    pub(crate) fn log(&self, text: String) {
        let (token, book) = self.0.notes();
        let mut note = JobNote::default();
        note.log(book.clock.now_ms(), text);
        book.write(token, note);
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;

    fn texts(note: &JobNote) -> Vec<&str> {
        note.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn the_last_notes_of_a_job_wait_for_those_on_their_way() {
        let book = NoteBook::new(Arc::new(ManualClock::new(7)));
        let log = |text: &str| {
            let mut note = JobNote::default();
            note.log(7, text);
            book.write(1, note);
        };
        assert!(book.take_last([1].into_iter()).await.is_empty());
        log("first");
        let on_their_way = book.take_all().await;
        log("second");
        let mut last = Box::pin(book.take_last([1, 2].into_iter()));
        assert!(futures_util::poll!(&mut last).is_pending());
        on_their_way.put_back(vec![(1, on_their_way.notes[&1].clone())]);
        drop(on_their_way);
        let last = last.await;
        assert_eq!((last.len(), last[0].0, texts(&last[0].1)), (1, 1, vec!["first", "second"]));
        assert!(book.take_last([1].into_iter()).await.is_empty());
    }
}
