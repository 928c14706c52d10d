//! A range of keys, page by page.

use bytes::{BufMut, Bytes, BytesMut};
use tidemark_kv::{KeyRange, KvError, KvSnapshot, RangeLimit};

/// What is left to read of a range.
#[derive(Debug)]
pub(crate) struct Scan {
    rest: Option<KeyRange>,
}

impl Scan {
    pub(crate) fn new(range: KeyRange) -> Self {
        Self { rest: Some(range) }
    }

    /// The next entries; `None` when there are no more.
    pub(crate) async fn next(&mut self, snapshot: &dyn KvSnapshot) -> Result<Option<Vec<(Bytes, Bytes)>>, KvError> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let end = range.end.clone();
        let page = snapshot.range(range, RangeLimit::PAGE).await?;
        if let (true, Some((last, _))) = (page.more, page.entries.last()) {
            self.rest = Some(KeyRange::new(after(last), end));
        }
        Ok((!page.entries.is_empty()).then_some(page.entries))
    }
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
