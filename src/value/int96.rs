//! Times as Spark, Hive and Impala write them into Parquet files: INT96, a day and the nanoseconds
//! of it.

use std::sync::Arc;

use arrow::datatypes::{Fields, Schema};
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    },
    basic::Type,
    errors::ParquetError,
    file::reader::ChunkReader,
};

use super::DataType;

/// What a footer says, with columns of INT96 read as timestamps. Arrow reads them as nanoseconds
/// otherwise: of these, 64 bits hold the years 1677 to 2262 alone, and the end of the year 9999 would
/// be a day of 1816.
///
/// # Errors
/// Those of reading the footer.
pub fn int96_as_timestamp(
    footer: ArrowReaderMetadata,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let columns = footer.metadata().file_metadata().schema_descr_ptr();
    let columns = columns.root_schema().get_fields();
    let is_int96 = |place: usize| {
        let column = columns.get(place).filter(|column| column.is_primitive());
        column.is_some_and(|column| column.get_physical_type() == Type::INT96)
    };
    if !(0..columns.len()).any(is_int96) {
        return Ok(footer);
    }
    let read = footer.schema();
    let fields = read.fields().iter().enumerate().map(|(place, field)| match is_int96(place) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp.to_arrow())),
        false => Arc::clone(field),
    });
    let schema = Schema::new_with_metadata(fields.collect::<Fields>(), read.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options)
}

/// A reader of a Parquet file, to be set up.
///
/// # Errors
/// Where it is no Parquet file, or is damaged.
pub fn parquet_reader<T: ChunkReader + 'static>(
    file: T,
) -> Result<ParquetRecordBatchReaderBuilder<T>, ParquetError> {
    let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, int96_as_timestamp(footer)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::array::AsArray;
    use bytes::Bytes;
    use parquet::{
        data_type::{Int96, Int96Type},
        file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };

    use super::*;
    use crate::value::conform;

    /// The day on which Unix time begins, counted as in INT96.
    const EPOCH: i64 = 2_440_588;

    /// A Parquet file with a column `at` of INT96, of these days since 1970, each at noon, and a
    /// column `user_id` beside it.
    pub(crate) fn days(days: &[i64]) -> Bytes {
        let schema = "message m { required int64 user_id; required int96 at; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let users: Vec<i64> = (1..).take(days.len()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<parquet::data_type::Int64Type>().write_batch(&users, None, None).unwrap();
        column.close().unwrap();
        let noon = 12 * 3_600 * 1_000_000_000_u64;
        let at = |day: &i64| {
            let mut at = Int96::new();
            at.set_data(noon as u32, (noon >> 32) as u32, u32::try_from(EPOCH + day).unwrap());
            at
        };
        let times: Vec<Int96> = days.iter().map(at).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        bytes.into()
    }

    /// Years 1, 1677, 1970, 2262 and 9999.
    pub(crate) const FAR_DAYS: [i64; 5] = [-719_162, -107_013, 0, 106_751, 2_932_896];

    #[test]
    fn times_are_what_was_written_in_every_year() {
        let reader = parquet_reader(days(&FAR_DAYS)).unwrap().build().unwrap();
        let rows = reader.map(Result::unwrap).next().unwrap();
        let times = conform(rows.column(1), DataType::Timestamp).unwrap();
        let times = times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let noons = FAR_DAYS.map(|day| day * 86_400_000_000 + 43_200_000_000);
        assert_eq!(times.values().to_vec(), noons);
    }
}
