//! Seeds of random histories: a few hundred in every run, many more in `cargo xtask nightly`.

use std::ops::Range;

/// How many seeds each test with random histories takes, instead of its own number.
const COUNT: &str = "TIDEMARK_MODEL_SEEDS";
/// The first of them.
const FIRST: &str = "TIDEMARK_MODEL_FIRST_SEED";

/// The seeds of a test one after the other. When the test fails, the one at which it did is printed.
pub(crate) struct Seeds {
    left: Range<u64>,
    now: Option<u64>,
}

/// `count` seeds from `first` on, unless the environment says otherwise.
pub(crate) fn seeds(first: u64, count: u64) -> Seeds {
    let first = variable(FIRST).unwrap_or(first);
    let count = variable(COUNT).unwrap_or(count);
    Seeds { left: first..first.saturating_add(count), now: None }
}

impl Seeds {
    /// How many seeds are left.
    pub(crate) fn len(&self) -> u64 {
        self.left.end - self.left.start
    }
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.now = self.left.next();
        self.now
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let Some(seed) = self.now.filter(|_| std::thread::panicking()) {
            eprintln!("failed at seed {seed}; it alone: {FIRST}={seed} {COUNT}=1");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a nightly run says in the environment how many seeds it wants")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
