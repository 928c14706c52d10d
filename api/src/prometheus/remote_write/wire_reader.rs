//! The fields of a protobuf message, one after the other, without a copy.

use thiserror::Error;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the message is damaged at {left} bytes before its end: {reason}")]
pub(crate) struct WireError {
    /// Bytes that were left of the part that was being read.
    left: usize,
    reason: &'static str,
}

/// Reads the fields of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct WireReader<'a>(&'a [u8]);

impl<'a> WireReader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The number of the next field and what it holds; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed()?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
                let (bytes, rest) = length.ok_or_else(|| self.damaged("a field is longer than what is left"))?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(self.fixed()?),
            _ => return Err(self.damaged("no field is of this type")),
        };
        Ok(Some((tag >> 3, field)))
    }

    fn fixed<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], WireError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(|| self.damaged("a number is cut off"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Seven bits a byte, low bits first; bits beyond 64 are dropped, as everybody does.
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for position in 0..10 {
            let [byte] = self.fixed()?;
            value |= u64::from(byte & 0x7F).checked_shl(7 * position).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number has more than ten bytes"))
    }

    fn damaged(&self, reason: &'static str) -> WireError {
        WireError { left: self.0.len(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u64, Field<'_>)>, WireError> {
        let (mut reader, mut fields) = (WireReader::new(message), Vec::new());
        while let Some(field) = reader.next()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn fields_of_all_types_are_read() {
        // Worked out by hand from the encoding: tag = number << 3 | type.
        let message = [0x08, 0xAC, 0x02, 0x12, 2, b'a', b'b', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 1, 0, 0, 0];
        let expect = [
            (1, Field::Varint(300)),
            (2, Field::Bytes(b"ab")),
            (3, Field::Fixed64([1, 0, 0, 0, 0, 0, 0, 0])),
            (4, Field::Fixed32([1, 0, 0, 0])),
        ];
        assert_eq!(all(&message).unwrap(), expect);
        // -1 as ten bytes.
        let minus_one = [0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(all(&minus_one).unwrap(), [(2, Field::Varint(u64::MAX))]);
    }

    #[test]
    fn what_is_damaged_is_told_and_nothing_is_made_ready_for_what_it_claims() {
        let reason = |message: &[u8]| all(message).unwrap_err().reason;
        assert_eq!(reason(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]), "a field is longer than what is left");
        assert_eq!(reason(&[0x09, 1, 2]), "a number is cut off");
        assert_eq!(reason(&[0x08]), "a number is cut off");
        assert_eq!(reason(&[0x0B]), "no field is of this type");
        assert_eq!(reason(&[0xFF; 11]), "a number has more than ten bytes");
    }
}
