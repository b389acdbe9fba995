//! The statistics of one column in the making.

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray},
    datatypes::{
        Date32Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};
use datasketches::{
    hash::value::raw_bytes,
    hll::{HllSketch, HllType},
};

use super::{
    ColumnStatistics,
    sample::{Picked, Sampler},
    shown,
};
use crate::{
    error::{Error, Result},
    value::{DataType, conform},
};

/// HyperLogLog with 2^14 registers: a standard error below 1 percent, in 16 KB a column.
const LG_REGISTERS: u8 = 14;

/// A column.
pub(super) struct Column {
    name: String,
    type_name: String,
    nulls: u64,
    /// Without it, only nulls are counted: the type is none of ours, or a value does not fit it.
    values: Option<Values>,
}

struct Values {
    data_type: DataType,
    distinct: HllSketch,
    seen: Seen,
}

/// What was seen of the values, by what can be said of their type.
pub(super) enum Seen {
    /// Booleans: how many are false, and how many true.
    Booleans([u64; 2]),
    /// Integers, dates, times.
    Integers(Numbers<i64, i128>),
    /// Floats.
    Floats(Numbers<f64, Sum>),
    /// Text and bytes: the least and the greatest.
    Bytes(Option<(Vec<u8>, Vec<u8>)>),
    /// Lists.
    Lists,
}

/// Numbers without NaN.
#[derive(Default)]
pub(super) struct Numbers<T, S> {
    pub(super) count: u64,
    pub(super) nans: u64,
    pub(super) extremes: Option<(T, T)>,
    pub(super) sum: S,
    /// Those of the sampled rows, with the numbers of their rows.
    pub(super) sample: Vec<(u64, T)>,
}

/// A sum of floats in the order in which they come, with what rounding took off (Neumaier's).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let next = self.total + value;
        self.lost += match self.total.abs() >= value.abs() {
            true => (self.total - next) + value,
            false => (value - next) + self.total,
        };
        self.total = next;
    }

    /// The sum; where it is infinite, what was lost has no meaning.
    pub(super) fn value(self) -> f64 {
        match self.total.is_finite() {
            true => self.total + self.lost,
            false => self.total,
        }
    }
}

impl Seen {
    fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Booleans([0; 2]),
            DataType::Int32 | DataType::Int64 | DataType::Date | DataType::Timestamp => {
                Self::Integers(Numbers::default())
            }
            DataType::Float32 | DataType::Float64 => Self::Floats(Numbers::default()),
            DataType::Utf8 | DataType::Binary => Self::Bytes(None),
            DataType::ListInt64
            | DataType::ListFloat32
            | DataType::ListFloat64
            | DataType::ListUtf8 => Self::Lists,
        }
    }
}

impl Column {
    pub(super) fn new(field: &Field) -> Result<Self> {
        let data_type = DataType::of_arrow(field.data_type());
        let values = data_type.map(|data_type| {
            let distinct = HllSketch::new(LG_REGISTERS, HllType::Hll8)
                .map_err(|error| Error::internal(error.to_string()))?;
            Ok::<_, Error>(Values { data_type, distinct, seen: Seen::new(data_type) })
        });
        Ok(Self {
            name: field.name().clone(),
            type_name: data_type
                .map_or_else(|| field.data_type().to_string(), |own| own.name().to_owned()),
            nulls: 0,
            values: values.transpose()?,
        })
    }

    /// Adds rows; those that are `picked` are in the sample.
    pub(super) fn update(&mut self, column: &ArrayRef, picked: &[Picked]) {
        self.nulls += column.logical_null_count() as u64;
        if let Some(values) = &mut self.values
            && values.update(column, picked).is_err()
        {
            self.values = None;
        }
    }

    /// Takes out of the sample what is not in it any more.
    pub(super) fn thin(&mut self, sampler: &Sampler) {
        match self.values.as_mut().map(|values| &mut values.seen) {
            Some(Seen::Integers(numbers)) => {
                numbers.sample.retain(|(number, _)| sampler.keeps(*number));
            }
            Some(Seen::Floats(numbers)) => {
                numbers.sample.retain(|(number, _)| sampler.keeps(*number));
            }
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Result<ColumnStatistics> {
        let mut statistics = ColumnStatistics {
            column: self.name,
            data_type: self.type_name,
            nulls: self.nulls,
            nans: 0,
            distinct: None,
            min: None,
            max: None,
            mean: None,
            spread: None,
        };
        if let Some(Values { data_type, distinct, seen }) = self.values {
            if !matches!(seen, Seen::Lists) {
                statistics.distinct = Some(distinct.estimate().round() as u64);
            }
            shown::add(seen, data_type, &mut statistics)?;
        }
        Ok(statistics)
    }
}

impl Values {
    /// Adds rows.
    ///
    /// # Errors
    /// When a value does not fit the type: an unsigned integer that is too great.
    fn update(&mut self, column: &ArrayRef, picked: &[Picked]) -> Result<()> {
        let Self { data_type, distinct, seen } = self;
        if matches!(seen, Seen::Lists) {
            return Ok(());
        }
        let column = conform(column, *data_type)?;
        match seen {
            Seen::Booleans(counts) => {
                for value in column.as_boolean().iter().flatten() {
                    counts[usize::from(value)] += 1;
                    distinct.update(u64::from(value));
                }
            }
            Seen::Integers(numbers) => match data_type {
                DataType::Int32 => numbers.add::<Int32Type>(&column, picked, distinct),
                DataType::Date => numbers.add::<Date32Type>(&column, picked, distinct),
                DataType::Timestamp => {
                    numbers.add::<TimestampMicrosecondType>(&column, picked, distinct);
                }
                _ => numbers.add::<Int64Type>(&column, picked, distinct),
            },
            Seen::Floats(numbers) => match data_type {
                DataType::Float32 => numbers.add::<Float32Type>(&column, picked, distinct),
                _ => numbers.add::<Float64Type>(&column, picked, distinct),
            },
            Seen::Bytes(extremes) => match data_type {
                DataType::Utf8 => {
                    let texts = column.as_string::<i32>().iter().flatten();
                    add_bytes(extremes, distinct, texts.map(str::as_bytes));
                }
                _ => add_bytes(extremes, distinct, column.as_binary::<i32>().iter().flatten()),
            },
            Seen::Lists => {}
        }
        Ok(())
    }
}

fn add_bytes<'a>(
    extremes: &mut Option<(Vec<u8>, Vec<u8>)>,
    distinct: &mut HllSketch,
    values: impl Iterator<Item = &'a [u8]>,
) {
    for value in values {
        distinct.update(raw_bytes::from_slice(value));
        match extremes {
            None => *extremes = Some((value.to_vec(), value.to_vec())),
            Some((least, _)) if value < least.as_slice() => *least = value.to_vec(),
            Some((_, greatest)) if value > greatest.as_slice() => *greatest = value.to_vec(),
            Some(_) => {}
        }
    }
}

impl Numbers<i64, i128> {
    fn add<T: ArrowPrimitiveType<Native: Into<i64>>>(
        &mut self,
        column: &ArrayRef,
        picked: &[Picked],
        distinct: &mut HllSketch,
    ) {
        let column = column.as_primitive::<T>();
        for value in column.iter().flatten().map(Into::into) {
            distinct.update(value);
            self.count += 1;
            self.sum += i128::from(value);
            let (least, greatest) = self.extremes.unwrap_or((value, value));
            self.extremes = Some((least.min(value), greatest.max(value)));
        }
        let picked = picked.iter().filter(|picked| column.is_valid(picked.row));
        self.sample.extend(picked.map(|picked| (picked.number, column.value(picked.row).into())));
    }
}

impl Numbers<f64, Sum> {
    fn add<T: ArrowPrimitiveType<Native: Into<f64>>>(
        &mut self,
        column: &ArrayRef,
        picked: &[Picked],
        distinct: &mut HllSketch,
    ) {
        let column = column.as_primitive::<T>();
        for value in column.iter().flatten().map(Into::<f64>::into) {
            distinct.update(value.to_bits());
            if value.is_nan() {
                self.nans += 1;
                continue;
            }
            self.count += 1;
            self.sum.add(value);
            let (least, greatest) = self.extremes.unwrap_or((value, value));
            // By the total order, so that -0.0 is below 0.0 whichever came first.
            let least = if value.total_cmp(&least).is_lt() { value } else { least };
            let greatest = if value.total_cmp(&greatest).is_gt() { value } else { greatest };
            self.extremes = Some((least, greatest));
        }
        let picked = picked.iter().filter(|picked| column.is_valid(picked.row));
        let picked = picked.map(|picked| (picked.number, column.value(picked.row).into()));
        self.sample.extend(picked.filter(|(_, value): &(u64, f64)| !value.is_nan()));
    }
}
