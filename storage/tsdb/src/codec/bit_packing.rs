//! Numbers of a fixed width in bits, one after the other, lowest bit first.

/// Numbers in a full run.
pub(super) const RUN: usize = 64;

/// A full run of the greatest width, and the bytes that an unaligned load may touch after it.
const BUFFER_BYTES: usize = RUN * 8 + 16;

/// Appends `values`, each of which fits into `width` bits; the last byte is filled up with zeros.
#[inline]
pub(super) fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mut word = 0_u64;
    let mut filled = 0;
    for &value in values {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    let rest = word.to_le_bytes();
    out.extend(rest.iter().take(filled.div_ceil(8) as usize));
}

/// Bytes that [`pack`] appends.
#[inline]
pub(super) fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Takes numbers apart that [`pack`] put together. `bytes` hold at most a run; what they do not hold is undefined.
#[inline]
pub(super) fn unpack(bytes: &[u8], width: u32, out: &mut [u64; RUN]) {
    if width == 0 {
        out.fill(0);
        return;
    }
    let mut buffer = [0; BUFFER_BYTES];
    if let Some(start) = buffer.get_mut(..bytes.len()) {
        start.copy_from_slice(bytes);
    }
    match width {
        1 => unpack_width::<1>(&buffer, out),
        2 => unpack_width::<2>(&buffer, out),
        3 => unpack_width::<3>(&buffer, out),
        4 => unpack_width::<4>(&buffer, out),
        5 => unpack_width::<5>(&buffer, out),
        6 => unpack_width::<6>(&buffer, out),
        7 => unpack_width::<7>(&buffer, out),
        8 => unpack_width::<8>(&buffer, out),
        9 => unpack_width::<9>(&buffer, out),
        10 => unpack_width::<10>(&buffer, out),
        11 => unpack_width::<11>(&buffer, out),
        12 => unpack_width::<12>(&buffer, out),
        13 => unpack_width::<13>(&buffer, out),
        14 => unpack_width::<14>(&buffer, out),
        15 => unpack_width::<15>(&buffer, out),
        16 => unpack_width::<16>(&buffer, out),
        17 => unpack_width::<17>(&buffer, out),
        18 => unpack_width::<18>(&buffer, out),
        19 => unpack_width::<19>(&buffer, out),
        20 => unpack_width::<20>(&buffer, out),
        21 => unpack_width::<21>(&buffer, out),
        22 => unpack_width::<22>(&buffer, out),
        23 => unpack_width::<23>(&buffer, out),
        24 => unpack_width::<24>(&buffer, out),
        25 => unpack_width::<25>(&buffer, out),
        26 => unpack_width::<26>(&buffer, out),
        27 => unpack_width::<27>(&buffer, out),
        28 => unpack_width::<28>(&buffer, out),
        29 => unpack_width::<29>(&buffer, out),
        30 => unpack_width::<30>(&buffer, out),
        31 => unpack_width::<31>(&buffer, out),
        32 => unpack_width::<32>(&buffer, out),
        33 => unpack_width::<33>(&buffer, out),
        34 => unpack_width::<34>(&buffer, out),
        35 => unpack_width::<35>(&buffer, out),
        36 => unpack_width::<36>(&buffer, out),
        37 => unpack_width::<37>(&buffer, out),
        38 => unpack_width::<38>(&buffer, out),
        39 => unpack_width::<39>(&buffer, out),
        40 => unpack_width::<40>(&buffer, out),
        41 => unpack_width::<41>(&buffer, out),
        42 => unpack_width::<42>(&buffer, out),
        43 => unpack_width::<43>(&buffer, out),
        44 => unpack_width::<44>(&buffer, out),
        45 => unpack_width::<45>(&buffer, out),
        46 => unpack_width::<46>(&buffer, out),
        47 => unpack_width::<47>(&buffer, out),
        48 => unpack_width::<48>(&buffer, out),
        49 => unpack_width::<49>(&buffer, out),
        50 => unpack_width::<50>(&buffer, out),
        51 => unpack_width::<51>(&buffer, out),
        52 => unpack_width::<52>(&buffer, out),
        53 => unpack_width::<53>(&buffer, out),
        54 => unpack_width::<54>(&buffer, out),
        55 => unpack_width::<55>(&buffer, out),
        56 => unpack_width::<56>(&buffer, out),
        57 => unpack_width::<57>(&buffer, out),
        58 => unpack_width::<58>(&buffer, out),
        59 => unpack_width::<59>(&buffer, out),
        60 => unpack_width::<60>(&buffer, out),
        61 => unpack_width::<61>(&buffer, out),
        62 => unpack_width::<62>(&buffer, out),
        63 => unpack_width::<63>(&buffer, out),
        64 => unpack_width::<64>(&buffer, out),
        _ => out.fill(0),
    }
}

/// Eight numbers of `WIDTH` bits are `WIDTH` bytes, so that every offset in a group of eight is known to the compiler.
#[expect(clippy::indexing_slicing, reason = "the offsets are constants below the size of the buffer")]
fn unpack_width<const WIDTH: usize>(buffer: &[u8; BUFFER_BYTES], out: &mut [u64; RUN]) {
    let mask = if WIDTH == 64 { u64::MAX } else { (1 << WIDTH) - 1 };
    for (group, eight) in out.chunks_exact_mut(8).enumerate() {
        let start = group * WIDTH;
        let bytes = &buffer[start..start + WIDTH + 9];
        for (index, number) in eight.iter_mut().enumerate() {
            let (byte, shift) = (index * WIDTH / 8, index * WIDTH % 8);
            let low = u64::from_le_bytes([
                bytes[byte],
                bytes[byte + 1],
                bytes[byte + 2],
                bytes[byte + 3],
                bytes[byte + 4],
                bytes[byte + 5],
                bytes[byte + 6],
                bytes[byte + 7],
            ]) >> shift;
            // Beyond 57 bits a number can reach into a ninth byte.
            let high = if WIDTH > 57 && shift > 0 { u64::from(bytes[byte + 8]) << (64 - shift) } else { 0 };
            *number = (low | high) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_count_comes_back() {
        for width in 0..=64_u32 {
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            for count in [0, 1, 7, 8, 9, 63, 64] {
                let values: Vec<_> =
                    (1..=count as u64).map(|index| index.wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask).collect();
                let mut bytes = Vec::new();
                pack(&values, width, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(count, width));
                let mut out = [1; RUN];
                unpack(&bytes, width, &mut out);
                assert_eq!(out[..count], values, "width {width}, count {count}");
            }
        }
    }
}
