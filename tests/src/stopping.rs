//! The end of a load.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tells the threads of a load to stop when dropped, also when the test fails: their scope would wait for them for ever.
#[derive(Debug)]
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
