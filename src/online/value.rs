//! The value of a stored row: its features, and the definition that computed them.
//!
//! ```text
//! value := 1 (the version of this format), the first 16 bytes of the fingerprint of the
//!          definition under which the row was computed, the row (crate::value::RowEncoder)
//! ```

use std::{ops::Range, sync::Arc};

use arrow::array::ArrayRef;

use super::ReadRows;
use crate::{
    digest::Digest,
    error::{Error, Result},
    value::{Field, RowEncoder, RowPlaces, RowSchema, write_places},
};

const FORMAT: u8 = 1;

/// The first sixteen bytes of a fingerprint: which definition computed a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FingerprintPrefix([u8; 16]);

impl FingerprintPrefix {
    /// What values begin with that this definition made.
    pub(super) fn start_of_values(self) -> [u8; 17] {
        let mut start = [FORMAT; 17];
        start[1..].copy_from_slice(&self.0);
        start
    }
}

impl From<&Digest> for FingerprintPrefix {
    fn from(digest: &Digest) -> Self {
        let (prefix, _) = digest.as_bytes().split_at(16);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(prefix);
        Self(bytes)
    }
}

/// Appends the value of a row: the features that `encoder` has in `row`, computed under a
/// definition with this fingerprint.
pub fn encode_value(
    fingerprint: FingerprintPrefix,
    encoder: &RowEncoder<'_>,
    row: usize,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&fingerprint.start_of_values());
    encoder.encode(row, out);
}

/// Which definition computed a value.
///
/// # Errors
/// [`Kind::Corrupt`](crate::error::Kind::Corrupt) when the bytes are no value.
pub fn value_fingerprint(value: &[u8]) -> Result<FingerprintPrefix> {
    split(value).map(|(fingerprint, _)| fingerprint)
}

/// Which features are read out of values: made once, for many reads.
#[derive(Debug, Clone)]
pub struct ValueSchema(RowSchema);

impl ValueSchema {
    /// Columns of these names and types, in this order.
    ///
    /// # Errors
    /// Those of [`RowSchema::new`].
    pub fn new(fields: &[Field]) -> Result<Self> {
        RowSchema::new(fields).map(Self)
    }

    /// The features that values hold. A missing value (`None`) is null in every column; a feature
    /// that a value does not have is null; one that nobody asked for is passed over.
    ///
    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) when bytes are no value.
    pub fn decode<'a>(
        &self,
        values: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    ) -> Result<Vec<ArrayRef>> {
        let mut decoder = self.0.decoder(values.len());
        for value in values {
            match value {
                Some(value) => decoder.push(split(value)?.1)?,
                None => decoder.push_null(),
            }
        }
        Ok(decoder.finish())
    }
}

/// The features of a view in the rows that a read found, where they lie in them.
#[derive(Debug)]
pub struct FoundFeatures {
    read: Arc<ReadRows>,
    places: RowPlaces,
}

impl FoundFeatures {
    /// The features that the rows of one view have: see [`ValueSchema::decode`]. `rows` are places
    /// in `read`; where one is `None`, nothing of the row is to be seen.
    ///
    /// # Errors
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) when bytes are no value.
    pub fn find(
        schema: &ValueSchema,
        read: Arc<ReadRows>,
        rows: impl ExactSizeIterator<Item = Option<Range<usize>>>,
    ) -> Result<Self> {
        let mut places = schema.0.places(rows.len());
        for row in rows {
            match row {
                Some(place) => {
                    let (_, row) = split(&read.bytes()[place.clone()])?;
                    places.push(&schema.0, place.end - row.len(), row)?;
                }
                None => places.push_null(),
            }
        }
        Ok(Self { read, places })
    }

    /// The bytes of all that was read with these rows.
    pub fn bytes(&self) -> usize {
        self.read.bytes().len()
    }

    /// The bytes of the values of a feature.
    pub fn column_bytes(&self, column: usize) -> usize {
        self.places.column(column).flatten().map(|place| place.len()).sum()
    }

    /// Appends a feature as a JSON list; `missing` stands for values that are null.
    pub fn write(&self, column: usize, missing: &[u8], out: &mut Vec<u8>) {
        write_places(&self.places, column, self.read.bytes(), missing, out);
    }

    /// For each row, whether the feature is null in it; `None` where it is not in any row that is
    /// there.
    pub fn nulls(&self, column: usize) -> Option<impl ExactSizeIterator<Item = bool>> {
        let column = self.places.has_nulls(column).then(|| self.places.column(column));
        column.map(|rows| rows.map(|place| place.is_none()))
    }
}

/// What of a value says which definition made it; `None` where it is too short to say.
pub(super) fn definition(value: &[u8]) -> Option<&[u8]> {
    value.get(..17)
}

fn split(value: &[u8]) -> Result<(FingerprintPrefix, &[u8])> {
    match value.split_first() {
        Some((&FORMAT, rest)) => {
            let split = rest.split_first_chunk();
            let (prefix, row) =
                split.ok_or_else(|| Error::corrupt("a stored value ends in its fingerprint"))?;
            Ok((FingerprintPrefix(*prefix), row))
        }
        Some((format, _)) => Err(Error::corrupt(format!(
            "a stored value has format {format}; this version of unskew reads format {FORMAT}"
        ))),
        None => Err(Error::corrupt("a stored value is empty")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{error::Kind, value::tests::any_columns};

    proptest! {
        #[test]
        fn values_round_trip((fields, columns) in any_columns(0..20)) {
            let fingerprint = FingerprintPrefix::from(&Digest::of("definition"));
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let values: Vec<Vec<u8>> = (0..columns[0].len()).map(|row| {
                let mut value = Vec::new();
                encode_value(fingerprint, &encoder, row, &mut value);
                value
            }).collect();
            for value in &values {
                prop_assert_eq!(value_fingerprint(value).unwrap(), fingerprint);
                prop_assert!(value.starts_with(&fingerprint.start_of_values()));
            }
            let decoded = ValueSchema::new(&fields).unwrap();
            let decoded = decoded.decode(values.iter().map(|value| Some(value.as_slice()))).unwrap();
            for (decoded, column) in decoded.iter().zip(&columns) {
                prop_assert_eq!(&decoded.to_data(), &column.to_data());
            }
        }

        #[test]
        fn garbage_is_corrupt_or_a_value_but_never_a_panic(bytes in proptest::collection::vec(0..3_u8, 0..40)) {
            let result = ValueSchema::new(&[]).unwrap().decode([Some(bytes.as_slice())].into_iter());
            prop_assert_eq!(result.is_ok(), bytes.len() >= 17 && bytes[0] == FORMAT);
        }
    }

    #[test]
    fn missing_values_are_null() {
        let field = Field {
            name: "a".into(),
            data_type: crate::value::DataType::Int64,
            nullable: true,
            documentation: String::new(),
        };
        let schema = ValueSchema::new(&[field]).unwrap();
        let columns = schema.decode([None, None].into_iter()).unwrap();
        assert_eq!((columns[0].len(), columns[0].null_count()), (2, 2));
    }

    #[test]
    fn a_later_format_is_named() {
        let error = value_fingerprint(&[2; 40]).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(
            error.message(),
            "a stored value has format 2; this version of unskew reads format 1"
        );
    }
}
