//! Numbers in bytes: little-endian, and varints of seven bits a byte, lowest first.

use super::CodecError;

/// Most bytes of a varint.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// Appends a varint.
#[inline]
pub(super) fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a varint of a signed number, small in magnitude, small in bytes.
#[inline]
pub(super) fn write_signed_varint(number: i64, out: &mut Vec<u8>) {
    write_varint(zigzag(number), out);
}

/// Bytes of the varint of a signed number.
#[inline]
pub(super) fn signed_varint_bytes(number: i64) -> u32 {
    (64 - (zigzag(number) | 1).leading_zeros()).div_ceil(7)
}

#[inline]
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[inline]
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Takes numbers from the front of bytes.
#[derive(Clone, Debug)]
pub(super) struct ByteReader<'a> {
    bytes: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        let (&first, rest) = self.bytes.split_first().ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, CodecError> {
        let mut number = 0;
        for (index, &byte) in self.bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
            let shift = 7 * index as u32;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return Err(CodecError::Damaged("a varint exceeds 64 bits"));
            }
            number |= part << shift;
            if byte < 0x80 {
                self.bytes = self.bytes.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        if self.bytes.len() < VARINT_BYTES_MAX {
            Err(CodecError::Truncated)
        } else {
            Err(CodecError::Damaged("a varint does not end"))
        }
    }

    #[inline]
    pub(super) fn signed_varint(&mut self) -> Result<i64, CodecError> {
        Ok(unzigzag(self.varint()?))
    }

    /// Insists that nothing is left.
    pub(super) fn finish(&self) -> Result<(), CodecError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(CodecError::Damaged("bytes follow the last point")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_take_the_bytes_they_should() {
        for number in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_signed_varint(number, &mut bytes);
            assert_eq!(bytes.len() as u32, signed_varint_bytes(number));
            let mut reader = ByteReader::new(&bytes);
            assert_eq!(reader.signed_varint(), Ok(number));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn varints_that_are_cut_or_too_long_are_refused() {
        assert_eq!(ByteReader::new(&[0x80]).varint(), Err(CodecError::Truncated));
        assert_eq!(ByteReader::new(&[]).varint(), Err(CodecError::Truncated));
        assert!(matches!(ByteReader::new(&[0xFF; 12]).varint(), Err(CodecError::Damaged(_))));
        assert!(matches!(ByteReader::new(&[0x80; 12]).varint(), Err(CodecError::Damaged(_))));
    }
}
