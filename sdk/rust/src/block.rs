//! Sixteen bytes at once, and a bit for each.
//!
//! In a component this is SIMD, and so it is where a function is compiled for an author's machine
//! that has it. Elsewhere it goes byte by byte; the tests compare the two.

#[cfg(not(any(target_arch = "x86_64", target_feature = "simd128")))]
use plain::Bytes;
#[cfg(target_feature = "simd128")]
use simd::Bytes;
#[cfg(target_arch = "x86_64")]
use sse2::Bytes;

use crate::words::words;

/// How many bytes are in a block.
pub(crate) const BYTES: usize = 16;

/// How many bytes [`for_each`] goes over: what has a bit each in a word.
pub(crate) const CHUNK: usize = 64;

/// Calls `each` with blocks that hold all of up to [`CHUNK`] bytes, and with the place where each
/// lies. The last may overlap the one before it; fewer than sixteen bytes are one block, with zeros
/// behind them.
#[inline(always)]
pub(crate) fn for_each(bytes: &[u8], mut each: impl FnMut(usize, Block)) {
    let Some(last) = bytes.last_chunk() else {
        return each(0, short(bytes));
    };
    let end = bytes.len() - BYTES;
    // No loop, whose every turn would look at the clock.
    for_block(bytes, 0, end, &mut each);
    for_block(bytes, BYTES, end, &mut each);
    for_block(bytes, 2 * BYTES, end, &mut each);
    each(end, Block::of(last));
}

/// Calls `each` with the block at `place` if that is before `end`, where the last one begins.
#[inline(always)]
fn for_block(bytes: &[u8], place: usize, end: usize, each: &mut impl FnMut(usize, Block)) {
    if place < end
        && let Some(block) = bytes[place..].first_chunk()
    {
        each(place, Block::of(block));
    }
}

/// Fewer than sixteen bytes, with zeros behind them.
#[inline]
fn short(bytes: &[u8]) -> Block {
    let mut words = words(bytes);
    let [first, last] = [words.next(), words.next()].map(Option::unwrap_or_default);
    Block::of_words(first, last)
}

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Block(Bytes);

/// An answer for each byte of a block: all bits, or none.
#[derive(Clone, Copy)]
pub(crate) struct Answers(Bytes);

impl Block {
    #[inline(always)]
    fn of(bytes: &[u8; BYTES]) -> Self {
        Self(Bytes::of(bytes))
    }

    #[inline(always)]
    fn of_words(first: u64, last: u64) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&last.to_le_bytes());
        Self::of(&bytes)
    }

    /// Which bytes are no ASCII.
    #[inline(always)]
    pub(crate) fn beyond_ascii(self) -> Answers {
        self.within(0x80, 0xff)
    }

    /// Which bytes are from `first` to `last`.
    #[inline(always)]
    pub(crate) fn within(self, first: u8, last: u8) -> Answers {
        Answers(self.0.minus(first).at_most(last - first))
    }

    /// Which bytes are ASCII letters or digits.
    #[inline(always)]
    pub(crate) fn alphanumeric(self) -> Answers {
        // The bit that lower case has and upper case has not.
        let lower = Self(self.0.or(Bytes::all(0x20)));
        lower.within(b'a', b'z').or(self.within(b'0', b'9'))
    }

    /// The bytes with ASCII letters in lower case.
    #[inline(always)]
    pub(crate) fn lower(self) -> [u8; BYTES] {
        let Answers(capital) = self.within(b'A', b'Z');
        self.0.or(capital.and(Bytes::all(0x20))).bytes()
    }
}

impl Answers {
    /// No for each byte.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self(Bytes::all(0))
    }

    #[inline(always)]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    /// A bit for each byte, that of the first being the lowest.
    #[inline(always)]
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.0.high_bits())
    }
}

#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{
        u8x16_bitmask, u8x16_le, u8x16_splat, u8x16_sub, v128, v128_and, v128_or,
    };
    use core::mem::transmute;

    use super::BYTES;

    #[derive(Clone, Copy)]
    pub(super) struct Bytes(v128);

    impl Bytes {
        #[inline(always)]
        pub(super) fn of(bytes: &[u8; BYTES]) -> Self {
            // SAFETY: both are sixteen bytes, of any value.
            Self(unsafe { transmute::<[u8; BYTES], v128>(*bytes) })
        }

        #[inline(always)]
        pub(super) fn bytes(self) -> [u8; BYTES] {
            // SAFETY: as in `of`.
            unsafe { transmute::<v128, [u8; BYTES]>(self.0) }
        }

        #[inline(always)]
        pub(super) fn all(byte: u8) -> Self {
            Self(u8x16_splat(byte))
        }

        #[inline(always)]
        pub(super) fn and(self, other: Self) -> Self {
            Self(v128_and(self.0, other.0))
        }

        #[inline(always)]
        pub(super) fn or(self, other: Self) -> Self {
            Self(v128_or(self.0, other.0))
        }

        /// Wraps.
        #[inline(always)]
        pub(super) fn minus(self, byte: u8) -> Self {
            Self(u8x16_sub(self.0, u8x16_splat(byte)))
        }

        #[inline(always)]
        pub(super) fn at_most(self, byte: u8) -> Self {
            Self(u8x16_le(self.0, u8x16_splat(byte)))
        }

        #[inline(always)]
        pub(super) fn high_bits(self) -> u16 {
            u8x16_bitmask(self.0)
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };
    use core::mem::transmute;

    use super::BYTES;

    #[derive(Clone, Copy)]
    pub(super) struct Bytes(__m128i);

    impl Bytes {
        #[inline(always)]
        pub(super) fn of(bytes: &[u8; BYTES]) -> Self {
            // SAFETY: both are sixteen bytes, of any value.
            Self(unsafe { transmute::<[u8; BYTES], __m128i>(*bytes) })
        }

        #[inline(always)]
        pub(super) fn bytes(self) -> [u8; BYTES] {
            // SAFETY: as in `of`.
            unsafe { transmute::<__m128i, [u8; BYTES]>(self.0) }
        }

        #[inline(always)]
        pub(super) fn all(byte: u8) -> Self {
            // SAFETY: every processor of this architecture has SSE2, here and below.
            Self(unsafe { _mm_set1_epi8(byte.cast_signed()) })
        }

        #[inline(always)]
        pub(super) fn and(self, other: Self) -> Self {
            // SAFETY: as in `all`.
            Self(unsafe { _mm_and_si128(self.0, other.0) })
        }

        #[inline(always)]
        pub(super) fn or(self, other: Self) -> Self {
            // SAFETY: as in `all`.
            Self(unsafe { _mm_or_si128(self.0, other.0) })
        }

        /// Wraps.
        #[inline(always)]
        pub(super) fn minus(self, byte: u8) -> Self {
            // SAFETY: as in `all`.
            Self(unsafe { _mm_sub_epi8(self.0, Self::all(byte).0) })
        }

        #[inline(always)]
        pub(super) fn at_most(self, byte: u8) -> Self {
            // SAFETY: as in `all`.
            Self(unsafe { _mm_cmpeq_epi8(_mm_min_epu8(self.0, Self::all(byte).0), self.0) })
        }

        #[inline(always)]
        pub(super) fn high_bits(self) -> u16 {
            // SAFETY: as in `all`.
            unsafe { _mm_movemask_epi8(self.0) as u16 }
        }
    }
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_feature = "simd128"))))]
mod plain {
    use super::BYTES;

    #[derive(Clone, Copy)]
    pub(super) struct Bytes([u8; BYTES]);

    impl Bytes {
        pub(super) fn of(bytes: &[u8; BYTES]) -> Self {
            Self(*bytes)
        }

        pub(super) fn bytes(self) -> [u8; BYTES] {
            self.0
        }

        pub(super) fn all(byte: u8) -> Self {
            Self([byte; BYTES])
        }

        pub(super) fn and(self, other: Self) -> Self {
            Self(core::array::from_fn(|at| self.0[at] & other.0[at]))
        }

        pub(super) fn or(self, other: Self) -> Self {
            Self(core::array::from_fn(|at| self.0[at] | other.0[at]))
        }

        /// Wraps.
        pub(super) fn minus(self, byte: u8) -> Self {
            Self(self.0.map(|other| other.wrapping_sub(byte)))
        }

        pub(super) fn at_most(self, byte: u8) -> Self {
            Self(self.0.map(|other| if other <= byte { 0xff } else { 0 }))
        }

        pub(super) fn high_bits(self) -> u16 {
            (0..BYTES).fold(0, |bits, at| bits | u16::from(self.0[at] >> 7) << at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a block is asked for, byte by byte.
    fn check(bytes: &[u8; BYTES]) {
        let block = Block::of(bytes);
        let bits = |answer: fn(&u8) -> bool| {
            (0..BYTES).fold(0, |bits, at| bits | u64::from(answer(&bytes[at])) << at)
        };
        assert_eq!(block.beyond_ascii().bits(), bits(|byte| !byte.is_ascii()), "{bytes:?}");
        assert_eq!(block.alphanumeric().bits(), bits(u8::is_ascii_alphanumeric), "{bytes:?}");
        assert_eq!(block.within(b'\t', b'\r').bits(), bits(|byte| (9..14).contains(byte)));
        assert_eq!(block.lower(), bytes.map(|byte| byte.to_ascii_lowercase()));
        let (plain, other) = (plain::Bytes::of(bytes), plain::Bytes::all(0x20));
        assert_eq!(block.0.minus(9).bytes(), plain.minus(9).bytes());
        assert_eq!(block.0.at_most(b'a').bytes(), plain.at_most(b'a').bytes());
        assert_eq!(block.0.and(Bytes::all(0x20)).bytes(), plain.and(other).bytes());
        assert_eq!(block.0.or(Bytes::all(0x20)).bytes(), plain.or(other).bytes());
        assert_eq!(block.0.high_bits(), plain.high_bits());
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..BYTES {
                let mut bytes = *b"a Z_09~@[`{/:!\x7f\0";
                bytes[at] = byte;
                check(&bytes);
            }
        }
    }

    #[test]
    fn blocks_hold_all_bytes() {
        let bytes: [u8; CHUNK] = core::array::from_fn(|at| at as u8 + 1);
        for length in 0..=CHUNK {
            let mut found = [0; CHUNK + BYTES];
            for_each(&bytes[..length], |at, block| {
                found[at..at + BYTES].copy_from_slice(&block.0.bytes());
            });
            assert_eq!(found[..length], bytes[..length]);
            assert!(found[length..].iter().all(|byte| *byte == 0), "{length}");
        }
    }
}
