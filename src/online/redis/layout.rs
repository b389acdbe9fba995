//! Under which names the rows are.
//!
//! ```text
//! key    := prefix, "{", tag, "}", the entity's key (EntityKeys)       a hash for each entity
//! field  := the view's id (ViewId)                                     a field for each view
//! value  := version (RowVersion), value                                a row
//! marker := prefix, "{", tag, "}"                                      "1": keys of the tag may expire
//! tag    := two hexadecimal digits out of the entity's key
//! ```
//! Redis Cluster places a key by what is in its braces. There are as few different tags as leave
//! the nodes evenly loaded, so that the rows of a batch fall into few groups which a script can
//! decide at once: the keys that a script works on have to be in one place.

/// The rows' names in a store.
#[derive(Debug)]
pub(super) struct Layout {
    prefix: Vec<u8>,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().to_vec() }
    }

    /// The key of an entity.
    pub(super) fn key(&self, entity: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + 4 + entity.len());
        self.write_key(Tag::of(entity), entity, &mut key);
        key
    }

    /// Appends the key of an entity, which has this tag.
    pub(super) fn write_key(&self, tag: Tag, entity: &[u8], out: &mut Vec<u8>) {
        self.write_tag(tag, out);
        out.extend_from_slice(entity);
    }

    /// The marker of a tag.
    pub(super) fn marker(&self, tag: Tag) -> Vec<u8> {
        let mut marker = Vec::with_capacity(self.prefix.len() + 4);
        self.write_tag(tag, &mut marker);
        marker
    }

    /// The entity of a key; `None` where it is no key of an entity.
    pub(super) fn entity<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, entity) = key.strip_prefix(self.prefix.as_slice())?.split_first_chunk::<4>()?;
        let is_key = *tag == Tag::of(entity).braced() && !entity.is_empty();
        is_key.then_some(entity)
    }

    /// The pattern that the keys of entities match.
    pub(super) fn pattern(&self) -> Vec<u8> {
        [self.prefix.as_slice(), b"{??}?*"].concat()
    }

    fn write_tag(&self, tag: Tag, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&tag.braced());
    }
}

/// Which group a key is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag(u8);

impl Tag {
    /// The tag of an entity: its key by FNV-1a, folded.
    pub(super) fn of(entity: &[u8]) -> Self {
        let hash = entity.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let [a, b, c, d] = hash.to_le_bytes();
        Self(a ^ b ^ c ^ d)
    }

    /// Its slot in a Cluster.
    pub(super) fn slot(self) -> u16 {
        let [_, high, low, _] = self.braced();
        crc16(&[high, low]) % SLOTS
    }

    fn braced(self) -> [u8; 4] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
        [b'{', digit(self.0 >> 4), digit(self.0), b'}']
    }
}

/// How many slots a Cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM, by which Redis Cluster spreads keys over slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_entity_and_nothing_else_does() {
        let layout = Layout::new("unskew:");
        let key = layout.key(b"entity");
        assert_eq!(layout.entity(&key), Some(b"entity".as_slice()));
        let tag = Tag::of(b"entity");
        let check = |key: &[u8]| assert_eq!(layout.entity(key), None, "{key:?}");
        check(&layout.marker(tag));
        check(&key[..key.len() - 1]);
        check(&Layout::new("other:").key(b"entity"));
        check(b"unskew:");
        check(b"");
    }

    #[test]
    fn slots_are_those_of_redis() {
        // The check value of CRC-16/XMODEM, and CLUSTER KEYSLOT of a{00}b.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Tag(0).slot(), crc16(b"00") % 16_384);
    }

    #[test]
    fn tags_are_even() {
        let mut counts = [0_u32; 256];
        for id in 0..256 * 400_u64 {
            counts[usize::from(Tag::of(&id.to_be_bytes()).0)] += 1;
        }
        assert!(counts.iter().all(|count| (300..500).contains(count)), "{counts:?}");
    }
}
