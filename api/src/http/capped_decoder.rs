//! Decompression that stops at a limit.
//!
//! actix decompresses a whole chunk of a body before it looks at any limit, so that 100 KB of gzip become 100 MiB of
//! memory. Here the output grows by 64 KiB at a time and never beyond its limit.

use std::io::Read;

use crate::{error::ApiError, http::body_budget::BodyBytes};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// One or more gzip members.
    Gzip,
    /// A zlib stream, which HTTP calls `deflate`, or the bare stream within, which some clients send under that name.
    Deflate,
    /// One block of snappy, which only what is made for it sends.
    Snappy,
}

/// Bytes that a byte of snappy can become: a copy of 64 takes three.
const SNAPPY_RATIO_MAX: usize = 22;
/// Bytes by which the output grows.
const STEP: usize = 64 << 10;

impl Encoding {
    /// The encoding that a `Content-Encoding` header names.
    ///
    /// # Errors
    /// 415 for all but identity, gzip and deflate, and for several encodings one over the other.
    pub(crate) fn from_header(header: Option<&str>) -> Result<Self, ApiError> {
        match header.map(str::trim).unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            other => Err(ApiError::new(
                actix_web::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("Content-Encoding `{}` is not supported", other.chars().take(64).collect::<String>()),
            )
            .details("send the body as it is, or compressed with gzip")
            .closing()),
        }
    }
}

/// Decompresses bodies up to a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CappedDecoder {
    /// Most bytes that come out.
    pub(crate) bytes_max: usize,
}

impl CappedDecoder {
    /// The decompressed bytes. `held` is charged for them as they come out.
    ///
    /// # Errors
    /// 413 when more than the limit would come out, 400 when the data is damaged or cut off.
    #[expect(clippy::disallowed_methods, reason = "this is the capped decoder that others are told to use")]
    pub(crate) fn decode(self, encoding: Encoding, body: &[u8], held: &mut BodyBytes) -> Result<Vec<u8>, ApiError> {
        match encoding {
            Encoding::Identity => Ok(body.to_vec()),
            Encoding::Gzip => self.drain(flate2::read::MultiGzDecoder::new(body), "gzip", body.len(), held),
            Encoding::Deflate if !is_zlib(body) => {
                self.drain(flate2::read::DeflateDecoder::new(body), "deflate", body.len(), held)
            }
            Encoding::Deflate => self.drain(flate2::read::ZlibDecoder::new(body), "deflate", body.len(), held),
            Encoding::Snappy => self.snappy(body, held),
        }
    }

    /// A block says how long it will be, and that is made ready at once: no more than it can be.
    fn snappy(self, body: &[u8], held: &mut BodyBytes) -> Result<Vec<u8>, ApiError> {
        let damaged = |details: String| ApiError::bad_request("Unable to decode the snappy body").details(details);
        let bytes = snap::raw::decompress_len(body).map_err(|error| damaged(error.to_string()))?;
        if bytes > self.bytes_max {
            return Err(self.too_large());
        }
        if bytes > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(damaged(format!("{} bytes cannot become {bytes}", body.len())));
        }
        held.take(bytes)?;
        snap::raw::Decoder::new().decompress_vec(body).map_err(|error| damaged(error.to_string()))
    }

    fn too_large(self) -> ApiError {
        ApiError::too_large(format!(
            "the body has more than {} bytes after decompression; see `limits.body_bytes_decoded`",
            self.bytes_max
        ))
    }

    fn drain(
        self,
        mut decoder: impl Read,
        name: &str,
        encoded_bytes: usize,
        held: &mut BodyBytes,
    ) -> Result<Vec<u8>, ApiError> {
        let mut out = Vec::new();
        out.reserve_exact((encoded_bytes.saturating_mul(4)).min(self.bytes_max).min(STEP));
        loop {
            let filled = out.len();
            let room = STEP.min(self.bytes_max.saturating_add(1) - filled);
            held.take(room)?;
            let read = decoder.by_ref().take(room as u64).read_to_end(&mut out).map_err(|error| {
                ApiError::bad_request(format!("Unable to decode the {name} body")).details(error.to_string())
            })?;
            if out.len() > self.bytes_max {
                return Err(self.too_large());
            }
            if read == 0 {
                return Ok(out);
            }
        }
    }
}

/// Whether a body begins as a zlib stream does: the method and a checksum over the first two bytes (RFC 1950, 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;
    use crate::http::body_budget::BodyBudget;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(encoding: Encoding, body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
        let mut held = Arc::new(BodyBudget::new(usize::MAX)).begin();
        CappedDecoder { bytes_max }.decode(encoding, &body, &mut held)
    }

    #[test]
    fn members_of_gzip_are_joined() {
        let body = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(decode(Encoding::Gzip, body, 100).unwrap(), b"one two");
    }

    #[test]
    fn a_block_of_snappy_is_as_long_as_it_says_and_no_longer_than_it_can_be() {
        let block = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        let long = vec![7; 200_000];
        assert_eq!(decode(Encoding::Snappy, block(&long), 200_000).unwrap(), long);
        assert_eq!(decode(Encoding::Snappy, block(&long), 199_999).unwrap_err().status().as_u16(), 413);
        // Five bytes that claim to become 100,000,000.
        let claim = vec![0x80, 0xC2, 0xD7, 0x2F, 0];
        assert_eq!(decode(Encoding::Snappy, claim, usize::MAX).unwrap_err().status().as_u16(), 400);
        for broken in [vec![], vec![0xFF; 3], b"no snappy".to_vec()] {
            assert_eq!(decode(Encoding::Snappy, broken, usize::MAX).unwrap_err().status().as_u16(), 400);
        }
    }

    #[test]
    fn deflate_is_a_zlib_stream() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[7; 200_000]).unwrap();
        assert_eq!(decode(Encoding::Deflate, encoder.finish().unwrap(), 1 << 20).unwrap(), [7; 200_000]);
    }

    #[test]
    fn deflate_may_be_bare() {
        for level in 0..=9 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(br#"[{"metric":"m"}]"#).unwrap();
            assert_eq!(decode(Encoding::Deflate, encoder.finish().unwrap(), 100).unwrap(), br#"[{"metric":"m"}]"#);
        }
        assert_eq!(decode(Encoding::Deflate, vec![0xff; 9], 100).unwrap_err().status(), 400);
        assert_eq!(decode(Encoding::Deflate, Vec::new(), 100).unwrap_err().status(), 400);
    }

    #[test]
    fn a_body_of_exactly_the_limit_is_taken_and_one_more_byte_is_not() {
        assert_eq!(decode(Encoding::Gzip, gzip(&[1; 100_000]), 100_000).unwrap().len(), 100_000);
        let error = decode(Encoding::Gzip, gzip(&[1; 100_001]), 100_000).unwrap_err();
        assert_eq!(error.status(), 413);
        assert!(error.message().contains("100000"), "{error}");
    }

    #[test]
    fn a_bomb_holds_no_more_than_its_limit() {
        let mut budget_of_one_mib = Arc::new(BodyBudget::new(1 << 20)).begin();
        let bomb = gzip(&vec![0; 64 << 20]);
        let decoder = CappedDecoder { bytes_max: 512 << 10 };
        assert_eq!(decoder.decode(Encoding::Gzip, &bomb, &mut budget_of_one_mib).unwrap_err().status(), 413);
    }

    #[test]
    fn damaged_and_cut_off_bodies_are_the_callers_mistake() {
        let mut body = gzip(&[1; 1000]);
        body.truncate(body.len() - 5);
        assert_eq!(decode(Encoding::Gzip, body, 10_000).unwrap_err().status(), 400);
        assert_eq!(decode(Encoding::Gzip, b"no gzip".to_vec(), 10_000).unwrap_err().status(), 400);
    }

    #[test]
    fn only_identity_gzip_and_deflate_are_known() {
        assert_eq!(Encoding::from_header(None), Ok(Encoding::Identity));
        assert_eq!(Encoding::from_header(Some("GZIP")), Ok(Encoding::Gzip));
        for header in ["br", "zstd", "gzip, gzip"] {
            assert_eq!(Encoding::from_header(Some(header)).unwrap_err().status(), 415);
        }
    }
}
