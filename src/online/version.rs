//! Which of two rows of an entity is the newer one.

use crate::time::Timestamp;

/// When a row became true and when it was written down: the order in which rows supersede each
/// other, offline and online alike.
///
/// The greater event time wins, among equals the greater created time (none is the earliest), and
/// among equals still the greater hash of the content: a total order, so that the winner never
/// depends on who came first. Two rows of one version have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowVersion {
    /// When the row became true in the world.
    pub event: Timestamp,
    /// When it was written down, where the source says so.
    pub created: Option<Timestamp>,
    /// [`RowEncoder::hash`](crate::value::RowEncoder::hash) of the source row.
    pub content: u64,
}

const SIGN: u64 = 1 << 63;

impl RowVersion {
    /// The length of [`RowVersion::to_bytes`].
    pub const BYTES: usize = 25;

    /// The version as bytes that compare as versions do, so that a store can decide with a
    /// comparison of strings.
    ///
    /// ```text
    /// event: i64 be, sign flipped · 1 if there is a created time, else 0 · created, as event,
    /// or zeros · content: u64 be
    /// ```
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&ordered(self.event));
        if let Some(created) = self.created {
            bytes[8] = 1;
            bytes[9..17].copy_from_slice(&ordered(created));
        }
        bytes[17..].copy_from_slice(&self.content.to_be_bytes());
        bytes
    }

    /// The version that [`RowVersion::to_bytes`] made these bytes of; `None` where it made no such.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (event, rest) = bytes.split_first_chunk()?;
        let (flag, rest) = rest.split_first()?;
        let (created, content) = rest.split_first_chunk()?;
        Some(Self {
            event: from_ordered(*event),
            created: match flag {
                0 => None,
                1 => Some(from_ordered(*created)),
                _ => return None,
            },
            content: u64::from_be_bytes(content.try_into().ok()?),
        })
    }
}

fn ordered(moment: Timestamp) -> [u8; 8] {
    (moment.0.cast_unsigned() ^ SIGN).to_be_bytes()
}

fn from_ordered(bytes: [u8; 8]) -> Timestamp {
    Timestamp((u64::from_be_bytes(bytes) ^ SIGN).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_moment() -> impl Strategy<Value = Timestamp> {
        prop_oneof![any::<i64>(), -2..2_i64, Just(i64::MIN), Just(i64::MAX)].prop_map(Timestamp)
    }

    fn any_version() -> impl Strategy<Value = RowVersion> {
        let content = prop_oneof![0..2_u64, any::<u64>()];
        let parts = (any_moment(), proptest::option::of(any_moment()), content);
        parts.prop_map(|(event, created, content)| RowVersion { event, created, content })
    }

    proptest! {
        #[test]
        fn bytes_round_trip_and_compare_as_versions_do(a in any_version(), b in any_version()) {
            prop_assert_eq!(RowVersion::from_bytes(&a.to_bytes()), Some(a));
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }
    }

    #[test]
    fn event_then_created_then_content() {
        let version = |event, created: Option<i64>, content| RowVersion {
            event: Timestamp(event),
            created: created.map(Timestamp),
            content,
        };
        let ascending = [
            version(-1, Some(9), 9),
            version(0, None, 9),
            version(0, Some(i64::MIN), 0),
            version(0, Some(0), 1),
            version(0, Some(0), 2),
            version(1, None, 0),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(RowVersion::from_bytes(&[2; RowVersion::BYTES]), None);
    }
}
