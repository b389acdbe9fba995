//! From what was seen of a column to what is said of it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array},
    compute::cast,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{
    Bin, ColumnStatistics, Quantile, Spread,
    column::{Numbers, Seen, Sum},
};
use crate::{
    error::{Error, Result},
    value::{DataType, column_to_json},
};

/// The quantiles that are told.
const QUANTILES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// The most intervals of a histogram.
const BINS: usize = 20;

/// How many bytes are told of a text that is longer.
const SHOWN: usize = 64;

/// Adds what was seen of the values of a column to its statistics.
pub(super) fn add(
    seen: Seen,
    data_type: DataType,
    statistics: &mut ColumnStatistics,
) -> Result<()> {
    match seen {
        Seen::Lists => {}
        Seen::Booleans([no, yes]) => {
            statistics.min = (no + yes > 0).then(|| (no == 0).into());
            statistics.max = (no + yes > 0).then(|| (yes > 0).into());
            statistics.mean = (no + yes > 0).then(|| (yes as f64 / (no + yes) as f64).into());
        }
        Seen::Bytes(extremes) => {
            let shown = |bytes: &[u8]| beginning(bytes, data_type);
            statistics.min = extremes.as_ref().map(|(least, _)| shown(least));
            statistics.max = extremes.as_ref().map(|(_, greatest)| shown(greatest));
        }
        Seen::Integers(numbers) => integers(numbers, data_type, statistics)?,
        Seen::Floats(numbers) => floats(numbers, data_type, statistics)?,
    }
    Ok(())
}

/// What a text begins with; bytes are written as base64.
fn beginning(bytes: &[u8], data_type: DataType) -> Value {
    let some = &bytes[..bytes.len().min(SHOWN)];
    match data_type {
        DataType::Binary => BASE64_STANDARD.encode(some).into(),
        // A character that was cut is left out.
        _ => match std::str::from_utf8(some) {
            Ok(text) => text.into(),
            Err(error) => String::from_utf8_lossy(&some[..error.valid_up_to()]).into(),
        },
    }
}

fn integers(
    numbers: Numbers<i64, i128>,
    data_type: DataType,
    statistics: &mut ColumnStatistics,
) -> Result<()> {
    let json = |values: Vec<i64>| typed(Arc::new(Int64Array::from(values)), data_type);
    let Some((least, greatest)) = numbers.extremes else {
        return Ok(());
    };
    [statistics.min, statistics.max] = pair(json(vec![least, greatest])?);
    let count = i128::from(numbers.count);
    statistics.mean = match data_type {
        // The moment, or the day, that the mean falls on.
        DataType::Date | DataType::Timestamp => {
            let mean = i64::try_from(numbers.sum.div_euclid(count)).unwrap_or(greatest);
            json(vec![mean])?.pop()
        }
        _ => Some((numbers.sum as f64 / numbers.count as f64).into()),
    };
    let mut sample: Vec<i64> = numbers.sample.into_iter().map(|(_, value)| value).collect();
    sample.sort_unstable();
    let (Some(first), Some(last)) = (sample.first().copied(), sample.last().copied()) else {
        return Ok(());
    };
    let range = i128::from(last) - i128::from(first) + 1;
    let bins = range.min(BINS as i128);
    let bound = |bin: i128| {
        let bound = i128::from(first) + range * bin / bins;
        i64::try_from(bound.min(i128::from(last))).unwrap_or(last)
    };
    let bounds = (0..=bins).map(bound).collect();
    statistics.spread = Some(Spread {
        sampled: sample.len() as u64,
        quantiles: quantiles(&sample, json)?,
        histogram: histogram(&sample, bounds, json)?,
    });
    Ok(())
}

fn floats(
    numbers: Numbers<f64, Sum>,
    data_type: DataType,
    statistics: &mut ColumnStatistics,
) -> Result<()> {
    let json = |values: Vec<f64>| typed(Arc::new(Float64Array::from(values)), data_type);
    statistics.nans = numbers.nans;
    let Some((least, greatest)) = numbers.extremes else {
        return Ok(());
    };
    [statistics.min, statistics.max] = pair(json(vec![least, greatest])?);
    let mean = numbers.sum.value() / numbers.count as f64;
    statistics.mean = typed(Arc::new(Float64Array::from(vec![mean])), DataType::Float64)?.pop();
    let mut sample: Vec<f64> = numbers.sample.into_iter().map(|(_, value)| value).collect();
    sample.sort_unstable_by(f64::total_cmp);
    if sample.is_empty() {
        return Ok(());
    }
    let finite: Vec<f64> = sample.iter().copied().filter(|value| value.is_finite()).collect();
    let bounds = match (finite.first().copied(), finite.last().copied()) {
        (Some(first), Some(last)) if first < last => {
            // Halves, so that the width of any range is finite.
            let bound = |bin: usize| {
                let part = bin as f64 / BINS as f64;
                2.0 * (first / 2.0 + (last / 2.0 - first / 2.0) * part)
            };
            let inner = (1..BINS).map(bound).map(|bound| bound.clamp(first, last));
            [first].into_iter().chain(inner).chain([last]).collect()
        }
        (Some(first), Some(last)) => vec![first, last],
        _ => Vec::new(),
    };
    statistics.spread = Some(Spread {
        sampled: sample.len() as u64,
        quantiles: quantiles(&sample, json)?,
        histogram: histogram(&finite, bounds, json)?,
    });
    Ok(())
}

/// Values in the form of JSON, as they are in a column of this type.
fn typed(values: ArrayRef, data_type: DataType) -> Result<Vec<Value>> {
    let typed = cast(&values, &data_type.to_arrow());
    let typed = typed.map_err(|error| Error::internal(format!("no statistics: {error}")))?;
    Ok(column_to_json(&typed))
}

fn pair(values: Vec<Value>) -> [Option<Value>; 2] {
    let mut values = values.into_iter();
    [values.next(), values.next()]
}

/// The quantiles of values in their order, of which there is one at least.
fn quantiles<T: Copy>(
    sorted: &[T],
    json: impl Fn(Vec<T>) -> Result<Vec<Value>>,
) -> Result<Vec<Quantile>> {
    let place = |at: f64| ((at * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1;
    let values = json(QUANTILES.iter().map(|at| sorted[place(*at)]).collect())?;
    let quantile = |(at, value): (f64, Value)| Quantile { at, value };
    Ok(QUANTILES.into_iter().zip(values).map(quantile).collect())
}

/// How many of some values, which are in their order, are between each two bounds.
fn histogram<T: Copy + PartialOrd>(
    sorted: &[T],
    bounds: Vec<T>,
    json: impl Fn(Vec<T>) -> Result<Vec<Value>>,
) -> Result<Vec<Bin>> {
    let bins = bounds.len().saturating_sub(1);
    let before = |bound: &T| sorted.partition_point(|value| value < bound);
    let mut counts: Vec<usize> = bounds.iter().map(before).collect();
    if let Some(last) = counts.last_mut() {
        *last = sorted.len();
    }
    let values = json(bounds)?;
    let bin = |bin: usize| Bin {
        from: values[bin].clone(),
        to: values[bin + 1].clone(),
        count: (counts[bin + 1] - counts[bin]) as u64,
    };
    Ok((0..bins).map(bin).collect())
}
