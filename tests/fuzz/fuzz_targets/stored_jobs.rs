//! What brokers store about jobs and workflows: any bytes are read or refused, and what was read once is written and read
//! the same way ever after.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_queue::Stored;

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let stored = Stored::ALL[usize::from(*first) % Stored::ALL.len()];
    if let Ok(written) = stored.rewrite(bytes) {
        assert_eq!(stored.rewrite(&written).as_ref(), Ok(&written), "{stored:?}");
    }
});
