//! What a job carries: one type per kind, as versioned MessagePack.
//!
//! A payload is the MessagePack array `[version, body]`. The version is read before the body, so that a worker which
//! is older than the producer says exactly that. A type that changes its body raises [`Payload::VERSION`] and keeps
//! decoding the versions before it in [`Payload::decode_version`].

mod long;
mod simple;
mod write;

use serde::{Serialize, de::DeserializeOwned};

use crate::JobKind;

pub use long::{BacktestPayload, ExportPayload, ImportPayload};
pub use simple::{CollectPayload, EvaluatePayload, NotifyPayload, RollupPayload, RollupRange, RollupStep, TimeWindow};
pub use write::WritePayload;

/// Largest payload of a job in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the jobs of one kind carry.
pub trait Payload: Serialize + DeserializeOwned {
    /// The kind of job that carries it.
    const KIND: JobKind;
    /// Version of the body that [`Payload::encode`] writes.
    const VERSION: u16;

    /// What the job is about, for rates by key.
    fn rate_key(&self) -> Option<String> {
        None
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// [`PayloadError::TooLarge`] beyond [`PAYLOAD_BYTES_MAX`].
    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        let malformed =
            |error: rmp_serde::encode::Error| PayloadError::Malformed { kind: Self::KIND, reason: error.to_string() };
        let bytes = rmp_serde::to_vec(&(Self::VERSION, self)).map_err(malformed)?;
        check_size(Self::KIND, bytes.len())?;
        Ok(bytes)
    }

    /// What [`Payload::encode`] was given, now or by an earlier release.
    ///
    /// # Errors
    /// Says whether the version is not known or what is wrong with the body. Never panics, whatever the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        check_size(Self::KIND, bytes.len())?;
        let (version, body) = split_version(Self::KIND, bytes)?;
        Self::decode_version(version, body)
    }

    /// Decodes the body of one version.
    ///
    /// # Errors
    /// As [`Payload::decode`].
    fn decode_version(version: u16, body: &[u8]) -> Result<Self, PayloadError> {
        if version != Self::VERSION {
            return Err(PayloadError::UnknownVersion { kind: Self::KIND, version, known: Self::VERSION });
        }
        decode_body(Self::KIND, body)
    }
}

/// Decodes a body that must fill all of `bytes`; for [`Payload::decode_version`] of a type with several versions.
///
/// # Errors
/// [`PayloadError::Malformed`] says what is wrong.
pub fn decode_body<T: DeserializeOwned>(kind: JobKind, bytes: &[u8]) -> Result<T, PayloadError> {
    let mut rest = bytes;
    let malformed = |reason: String| PayloadError::Malformed { kind, reason };
    let body = rmp_serde::from_read(&mut rest).map_err(|error| malformed(error.to_string()))?;
    match rest.len() {
        0 => Ok(body),
        left => Err(malformed(format!("{left} bytes follow its end"))),
    }
}

/// Reads the payload of a job and writes it again.
///
/// # Errors
/// As [`Payload::decode`]; for a batch of points also what is wrong in its columns.
pub(crate) fn rewrite(kind: JobKind, bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
    fn again<P: Payload>(bytes: &[u8]) -> Result<Vec<u8>, PayloadError> {
        P::decode(bytes)?.encode()
    }
    match kind {
        JobKind::Write | JobKind::Relay => {
            WritePayload::from_batch(&WritePayload::decode(bytes)?.into_batch()?).encode()
        }
        JobKind::Rollup => again::<RollupPayload>(bytes),
        JobKind::Collect => again::<CollectPayload>(bytes),
        JobKind::Evaluate => again::<EvaluatePayload>(bytes),
        JobKind::Notify => again::<NotifyPayload>(bytes),
        JobKind::Import => again::<ImportPayload>(bytes),
        JobKind::Export => again::<ExportPayload>(bytes),
        JobKind::Backtest => again::<BacktestPayload>(bytes),
    }
}

/// Why a payload cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The producer is newer than this worker, or the bytes are of something else.
    #[error("payload of a {kind} job has version {version}, this release reads {known}: update the workers first")]
    UnknownVersion {
        /// The kind of job.
        kind: JobKind,
        /// The version found.
        version: u16,
        /// The version known.
        known: u16,
    },
    /// The bytes are no payload of this kind.
    #[error("payload of a {kind} job is malformed: {reason}")]
    Malformed {
        /// The kind of job.
        kind: JobKind,
        /// What is wrong.
        reason: String,
    },
    /// The payload is larger than a job may carry.
    #[error("payload of a {kind} job has {bytes} bytes, at most {PAYLOAD_BYTES_MAX} are allowed: send smaller batches")]
    TooLarge {
        /// The kind of job.
        kind: JobKind,
        /// Bytes of the payload.
        bytes: usize,
    },
}

fn check_size(kind: JobKind, bytes: usize) -> Result<(), PayloadError> {
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(PayloadError::TooLarge { kind, bytes });
    }
    Ok(())
}

/// Reads the array of two and the version in it by hand, so that the body needs no copy.
fn split_version(kind: JobKind, bytes: &[u8]) -> Result<(u16, &[u8]), PayloadError> {
    const ARRAY_OF_TWO: u8 = 0x92;
    let malformed = |reason: &str| PayloadError::Malformed { kind, reason: reason.to_owned() };
    match *bytes {
        [ARRAY_OF_TWO, version @ 0..=0x7F, ref body @ ..] => Ok((u16::from(version), body)),
        [ARRAY_OF_TWO, 0xCC, version, ref body @ ..] => Ok((u16::from(version), body)),
        [ARRAY_OF_TWO, 0xCD, high, low, ref body @ ..] => Ok((u16::from_be_bytes([high, low]), body)),
        _ => Err(malformed("it does not begin with an array of version and body")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note<const VERSION: u16> {
        text: String,
    }

    impl<const VERSION: u16> Payload for Note<VERSION> {
        const KIND: JobKind = JobKind::Notify;
        const VERSION: u16 = VERSION;
    }

    #[test]
    fn a_payload_of_a_newer_version_says_so() {
        let bytes = Note::<2> { text: "hi".to_owned() }.encode().unwrap();
        let expect = PayloadError::UnknownVersion { kind: JobKind::Notify, version: 2, known: 1 };
        assert_eq!(Note::<1>::decode(&bytes), Err(expect));
        assert_eq!(Note::<2>::decode(&bytes), Ok(Note { text: "hi".to_owned() }));
        let wide = Note::<300> { text: String::new() };
        assert_eq!(Note::<300>::decode(&wide.encode().unwrap()), Ok(wide));
    }

    #[test]
    fn bytes_after_the_end_are_an_error() {
        let mut bytes = Note::<1> { text: "hi".to_owned() }.encode().unwrap();
        bytes.push(0);
        let error = Note::<1>::decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, "payload of a notify job is malformed: 1 bytes follow its end");
    }

    #[test]
    fn an_oversized_payload_names_the_limit() {
        let error = Note::<1> { text: "x".repeat(PAYLOAD_BYTES_MAX) }.encode().unwrap_err();
        assert!(matches!(error, PayloadError::TooLarge { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _outcome = Note::<1>::decode(&bytes);
            let _outcome = WritePayload::decode(&bytes);
        }
    }
}
