//! Arrow columns, whatever brought them, made columns of a [`DataType`].

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, ListArray, TimestampMicrosecondArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType as ArrowType, Field as ArrowField, Int64Type, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
};

use super::{DataType, Field, canonical_nan};
use crate::error::{Error, Result};

impl DataType {
    /// The one Arrow type of columns of this type.
    pub fn to_arrow(self) -> ArrowType {
        match self {
            Self::Boolean => ArrowType::Boolean,
            Self::Int32 => ArrowType::Int32,
            Self::Int64 => ArrowType::Int64,
            Self::Float32 => ArrowType::Float32,
            Self::Float64 => ArrowType::Float64,
            Self::Utf8 => ArrowType::Utf8,
            Self::Binary => ArrowType::Binary,
            Self::Date => ArrowType::Date32,
            Self::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::ListInt64 => list_of(ArrowType::Int64),
            Self::ListFloat32 => list_of(ArrowType::Float32),
            Self::ListFloat64 => list_of(ArrowType::Float64),
            Self::ListUtf8 => list_of(ArrowType::Utf8),
        }
    }

    /// The narrowest type that holds every value of an Arrow type, or `None` where there is none
    /// (decimals, structs, maps, times of day, intervals).
    ///
    /// Unsigned 64-bit integers count as [`DataType::Int64`]: a value above its range is an error
    /// when it is met.
    pub fn of_arrow(arrow: &ArrowType) -> Option<Self> {
        Some(match arrow {
            ArrowType::Boolean => Self::Boolean,
            ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32 => Self::Int32,
            ArrowType::UInt8 | ArrowType::UInt16 => Self::Int32,
            ArrowType::Int64 | ArrowType::UInt32 | ArrowType::UInt64 => Self::Int64,
            ArrowType::Float16 | ArrowType::Float32 => Self::Float32,
            ArrowType::Float64 => Self::Float64,
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Self::Utf8,
            ArrowType::Binary
            | ArrowType::LargeBinary
            | ArrowType::BinaryView
            | ArrowType::FixedSizeBinary(_) => Self::Binary,
            ArrowType::Date32 => Self::Date,
            ArrowType::Timestamp(..) => Self::Timestamp,
            ArrowType::Dictionary(_, values) => return Self::of_arrow(values),
            ArrowType::List(item)
            | ArrowType::LargeList(item)
            | ArrowType::ListView(item)
            | ArrowType::LargeListView(item)
            | ArrowType::FixedSizeList(item, _) => match Self::of_arrow(item.data_type())? {
                Self::Int32 | Self::Int64 => Self::ListInt64,
                Self::Float32 => Self::ListFloat32,
                Self::Float64 => Self::ListFloat64,
                Self::Utf8 => Self::ListUtf8,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Whether every value of `self` is one of `wider` too, so that a column may be declared as
    /// either.
    pub fn widens_to(self, wider: Self) -> bool {
        self == wider
            || matches!(
                (self, wider),
                (Self::Int32, Self::Int64 | Self::Float64)
                    | (Self::Float32, Self::Float64)
                    | (Self::ListFloat32, Self::ListFloat64)
            )
    }
}

fn list_of(item: ArrowType) -> ArrowType {
    ArrowType::List(Arc::new(ArrowField::new_list_field(item, true)))
}

impl Field {
    /// The Arrow field of this name and type; any column may hold nulls.
    pub fn to_arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.to_arrow(), true)
    }
}

/// The column as one of `data_type`, without a copy where it is one already. Only conversions
/// that keep every value are made: integers widen, 32-bit floats widen, timestamps of any unit and
/// zone become microseconds UTC (nanoseconds are rounded towards the past), text and bytes of any
/// layout become plain. NaN becomes the canonical NaN.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when the type does not fit, a value is out of range, or a list
/// has a null item. The message does not name the column: the caller knows it.
pub fn conform(column: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    let target = data_type.to_arrow();
    let conformed = if *column.data_type() == target {
        Arc::clone(column)
    } else {
        let held = DataType::of_arrow(column.data_type());
        if !held.is_some_and(|held| held.widens_to(data_type))
            && *column.data_type() != ArrowType::Null
        {
            return Err(Error::invalid(format!(
                "{} cannot be read as {data_type}",
                describe(column.data_type(), held)
            )));
        }
        match column.data_type() {
            ArrowType::Timestamp(unit, _) => to_micros(column, *unit)?,
            _ => checked_cast(column, &target)?,
        }
    };
    refuse_null_items(&conformed)?;
    Ok(canonical_nan(&conformed))
}

fn describe(arrow: &ArrowType, held: Option<DataType>) -> String {
    match held {
        Some(held) => format!("type {held}"),
        None => format!("Arrow type {arrow}"),
    }
}

fn checked_cast(column: &ArrayRef, target: &ArrowType) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, target, &strict)
        .map_err(|error| Error::invalid(format!("a value does not fit {target}: {error}")))
}

fn to_micros(column: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let raw: Int64Array = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().reinterpret_cast(),
        TimeUnit::Millisecond => {
            column.as_primitive::<TimestampMillisecondType>().reinterpret_cast()
        }
        TimeUnit::Microsecond => {
            column.as_primitive::<TimestampMicrosecondType>().reinterpret_cast()
        }
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
    };
    let scaled = |factor: i64| {
        raw.try_unary::<_, Int64Type, Error>(|value| {
            value.checked_mul(factor).ok_or_else(|| {
                Error::invalid(format!(
                    "timestamp out of range: {value} {unit:?}s since 1970 do not fit 64-bit microseconds"
                ))
            })
        })
    };
    let micros = match unit {
        TimeUnit::Second => scaled(1_000_000)?,
        TimeUnit::Millisecond => scaled(1_000)?,
        TimeUnit::Microsecond => raw,
        TimeUnit::Nanosecond => raw.unary(|value| value.div_euclid(1_000)),
    };
    let micros: TimestampMicrosecondArray = micros.reinterpret_cast();
    Ok(Arc::new(micros.with_timezone("UTC")))
}

fn refuse_null_items(column: &ArrayRef) -> Result<()> {
    let Some(lists) = column.as_any().downcast_ref::<ListArray>() else {
        return Ok(());
    };
    let items = lists.values();
    if items.null_count() == 0 {
        return Ok(());
    }
    let offsets = lists.value_offsets();
    let bad = (0..lists.len()).filter(|row| lists.is_valid(*row)).find(|row| {
        let (start, end) = (offsets[*row] as usize, offsets[*row + 1] as usize);
        (start..end).any(|item| items.is_null(item))
    });
    match bad {
        Some(row) => Err(Error::invalid(format!("the list in row {row} has a null item"))
            .with_hint("items of lists cannot be null: remove them, in SQL for instance with array_remove_all")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DictionaryArray, Float32Array, Float64Array, Int8Array, Int32Array, LargeStringArray,
        StringArray, StringViewArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };
    use arrow::datatypes::Int32Type;

    use super::*;

    fn check(column: impl Array + 'static, data_type: DataType, expect: impl Array + 'static) {
        let column: ArrayRef = Arc::new(column);
        let expect: ArrayRef = Arc::new(expect);
        assert_eq!(&conform(&column, data_type).unwrap(), &expect);
    }

    fn refused(column: impl Array + 'static, data_type: DataType, expect: &str) {
        let column: ArrayRef = Arc::new(column);
        let message = conform(&column, data_type).unwrap_err().message().to_owned();
        assert!(message.contains(expect), "{message:?} should contain {expect:?}");
    }

    #[test]
    fn types_round_trip_through_arrow() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::of_arrow(&data_type.to_arrow()), Some(data_type));
            assert_eq!(data_type.name().parse::<DataType>().unwrap(), data_type);
        }
    }

    #[test]
    fn what_loses_nothing_is_converted() {
        check(
            Int8Array::from(vec![Some(-1), None]),
            DataType::Int32,
            Int32Array::from(vec![Some(-1), None]),
        );
        check(Int8Array::from(vec![-1]), DataType::Int64, Int64Array::from(vec![-1]));
        check(Float32Array::from(vec![-0.0]), DataType::Float64, Float64Array::from(vec![-0.0]));
        check(LargeStringArray::from(vec!["ß"]), DataType::Utf8, StringArray::from(vec!["ß"]));
        check(StringViewArray::from(vec!["ß"]), DataType::Utf8, StringArray::from(vec!["ß"]));
        let dictionary: DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("a")].into_iter().collect();
        check(dictionary, DataType::Utf8, StringArray::from(vec![Some("a"), None, Some("a")]));
        let micros =
            |values: Vec<i64>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
        check(
            TimestampNanosecondArray::from(vec![-1, 1_999]),
            DataType::Timestamp,
            micros(vec![-1, 1]),
        );
        check(
            TimestampSecondArray::from(vec![1]).with_timezone("+02:00"),
            DataType::Timestamp,
            micros(vec![1_000_000]),
        );
    }

    #[test]
    fn what_would_lose_is_refused() {
        refused(Int64Array::from(vec![1]), DataType::Int32, "type int64 cannot be read as int32");
        refused(
            Int64Array::from(vec![1]),
            DataType::Float64,
            "type int64 cannot be read as float64",
        );
        refused(UInt64Array::from(vec![u64::MAX]), DataType::Int64, "does not fit");
        refused(
            TimestampSecondArray::from(vec![i64::MAX]),
            DataType::Timestamp,
            "timestamp out of range",
        );
        let list = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([
            Some(vec![Some(1)]),
            Some(vec![Some(1), None]),
        ]);
        refused(list, DataType::ListInt64, "the list in row 1 has a null item");
    }
}
