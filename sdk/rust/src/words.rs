//! Bytes, eight at a time.

/// The bytes in words, with zeros behind the last.
#[inline]
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (eights, rest) = bytes.as_chunks();
    let last = (!rest.is_empty()).then(|| match bytes.last_chunk() {
        Some(eight) => u64::from_le_bytes(*eight) >> (64 - 8 * rest.len()),
        None => short_word(rest),
    });
    eights.iter().map(|eight| u64::from_le_bytes(*eight)).chain(last)
}

/// Fewer than eight bytes, with zeros behind the last.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    let count = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
        return first | last << (8 * (count - 4));
    }
    match bytes {
        [] => 0,
        _ => [0, count / 2, count - 1]
            .iter()
            .fold(0, |word, at| word | u64::from(bytes[*at]) << (8 * at)),
    }
}
