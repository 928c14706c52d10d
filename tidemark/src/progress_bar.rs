//! How far long work is, for the person who waits.

use std::{
    io::{IsTerminal, Stderr, Write},
    sync::Arc,
    time::Duration,
};

use tidemark_model::Clock;

/// Characters between the brackets.
const WIDTH: u64 = 30;

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What is done.
    pub(crate) done: u64,
    /// What there is in all.
    pub(crate) total: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Points, in millions.
    Points,
    /// Bytes, in megabytes.
    Bytes,
}

/// Draws progress: in place on a terminal, in lines elsewhere. Output that nobody takes is no reason to stop.
pub(crate) struct ProgressBar<W: Write = Stderr> {
    clock: Arc<dyn Clock>,
    out: W,
    place: Place,
    /// What is done, in a word.
    work: &'static str,
    counted: Counted,
    started: Duration,
    drawn: Option<Duration>,
    is_complete: bool,
}

/// Where the bar is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Terminal,
    Lines,
}

impl Place {
    /// Time between two drawings.
    fn interval(self) -> Duration {
        match self {
            Self::Terminal => Duration::from_millis(200),
            Self::Lines => Duration::from_secs(2),
        }
    }
}

impl ProgressBar<Stderr> {
    /// A bar on standard error for `work`, a word; its time starts now.
    pub(crate) fn on_stderr(clock: Arc<dyn Clock>, work: &'static str, counted: Counted) -> Self {
        let out = std::io::stderr();
        let place = if out.is_terminal() { Place::Terminal } else { Place::Lines };
        Self::new(clock, out, place, work, counted)
    }
}

impl<W: Write> ProgressBar<W> {
    fn new(clock: Arc<dyn Clock>, out: W, place: Place, work: &'static str, counted: Counted) -> Self {
        let started = clock.monotonic();
        Self { clock, out, place, work, counted, started, drawn: None, is_complete: false }
    }

    /// Draws the progress, unless it did so a moment ago. The end is always drawn, once.
    pub(crate) fn show(&mut self, progress: Progress) {
        let now = self.clock.monotonic();
        let completes = progress.done >= progress.total && !self.is_complete;
        let is_due = self.drawn.is_none_or(|drawn| now.saturating_sub(drawn) >= self.place.interval());
        if self.is_complete || !(completes || is_due) {
            return;
        }
        self.drawn = Some(now);
        self.is_complete = completes;
        let text = describe(self.work, self.counted, progress, now.saturating_sub(self.started));
        let _written = match (self.place, completes) {
            (Place::Terminal, false) => write!(self.out, "\r\x1b[K{}  {text}", bar(progress)),
            (Place::Terminal, true) => writeln!(self.out, "\r\x1b[K{}  {text}", bar(progress)),
            (Place::Lines, _) => writeln!(self.out, "{text}"),
        };
        let _flushed = self.out.flush();
    }
}

impl<W: Write> Drop for ProgressBar<W> {
    /// What is printed after a bar that did not reach its end begins on a line of its own.
    fn drop(&mut self) {
        if self.place == Place::Terminal && self.drawn.is_some() && !self.is_complete {
            let _written = writeln!(self.out);
        }
    }
}

fn bar(progress: Progress) -> String {
    let filled = progress.done.min(progress.total) * WIDTH / progress.total.max(1);
    (0..WIDTH).map(|position| if position < filled { '█' } else { '░' }).collect()
}

fn describe(work: &str, counted: Counted, progress: Progress, elapsed: Duration) -> String {
    let percent = progress.done.min(progress.total) * 100 / progress.total.max(1);
    let million = |count: u64| count as f64 / 1e6;
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { progress.done as f64 / seconds } else { 0.0 };
    let (done, total) = (million(progress.done), million(progress.total));
    let mut text = match counted {
        Counted::Points => {
            format!("{work}: {percent} %, {done:.1} of {total:.1} million points, {:.0} thousand a second", rate / 1e3)
        }
        Counted::Bytes => format!("{work}: {percent} %, {done:.1} of {total:.1} MB, {:.1} MB a second", rate / 1e6),
    };
    if progress.done >= progress.total {
        text.push_str(&format!(", took {seconds:.1} s"));
    } else if rate > 0.0 {
        text.push_str(&format!(", {:.0} s left", ((progress.total - progress.done) as f64 / rate).ceil()));
    }
    text
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;

    const TOTAL: u64 = 4_000_000;

    /// Shows a progress every 100 ms, at 1 million points a second.
    fn show(place: Place) -> String {
        let clock = Arc::new(ManualClock::new(0));
        let mut out = Vec::new();
        let mut bar = ProgressBar::new(clock.clone(), &mut out, place, "demo", Counted::Points);
        for step in 0..=40 {
            bar.show(Progress { done: step * 100_000, total: TOTAL });
            clock.advance(Duration::from_millis(100));
        }
        bar.show(Progress { done: TOTAL, total: TOTAL });
        drop(bar);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_a_terminal_there_is_a_line_every_two_seconds_and_one_at_the_end() {
        let expected = "demo: 0 %, 0.0 of 4.0 million points, 0 thousand a second\n\
            demo: 50 %, 2.0 of 4.0 million points, 1000 thousand a second, 2 s left\n\
            demo: 100 %, 4.0 of 4.0 million points, 1000 thousand a second, took 4.0 s\n";
        assert_eq!(show(Place::Lines), expected);
    }

    #[test]
    fn a_terminal_is_drawn_on_five_times_a_second_at_most_and_left_on_a_new_line() {
        let text = show(Place::Terminal);
        assert_eq!(text.matches('\r').count(), 21);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(&format!("{}{}  demo: 50 %", "█".repeat(15), "░".repeat(15))), "{text}");
        assert!(text.ends_with("took 4.0 s\n"), "{text}");
    }

    #[test]
    fn a_bar_that_is_given_up_leaves_the_line() {
        let mut out = Vec::new();
        let mut bar =
            ProgressBar::new(Arc::new(ManualClock::new(0)), &mut out, Place::Terminal, "demo", Counted::Points);
        bar.show(Progress { done: 1, total: TOTAL });
        drop(bar);
        assert!(out.ends_with(b"\n"));
    }

    #[test]
    fn nothing_to_do_is_complete() {
        assert_eq!(bar(Progress { done: 0, total: 0 }), "░".repeat(30));
        let text = describe("demo", Counted::Points, Progress { done: 0, total: 0 }, Duration::ZERO);
        assert_eq!(text, "demo: 0 %, 0.0 of 0.0 million points, 0 thousand a second, took 0.0 s");
    }

    #[test]
    fn bytes_are_told_in_megabytes() {
        let progress = Progress { done: 5_000_000, total: 20_000_000 };
        let text = describe("backup", Counted::Bytes, progress, Duration::from_secs(2));
        assert_eq!(text, "backup: 25 %, 5.0 of 20.0 MB, 2.5 MB a second, 6 s left");
    }
}
