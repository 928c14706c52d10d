//! How records are stored: a version byte, then a MessagePack map.
//!
//! A map rather than an array, so that a field can be added with a default and older records still read.

use serde::{Serialize, de::DeserializeOwned};

use crate::book::BookError;

/// Version of what [`encode`] writes.
const VERSION: u8 = 1;

pub(crate) fn encode(record: &impl Serialize) -> Result<Vec<u8>, BookError> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, record).map_err(|error| BookError::Damaged(error.to_string()))?;
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BookError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => rmp_serde::from_slice(body).map_err(|error| BookError::Damaged(error.to_string())),
        Some((version, _)) => Err(BookError::Damaged(format!("version {version} is not known, only {VERSION}"))),
        None => Err(BookError::Damaged("the record is empty".to_owned())),
    }
}
