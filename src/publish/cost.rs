//! What a row costs, in WebAssembly instructions: the same count on every machine.

use super::{
    Budget,
    purity::Tried,
    subject::{Given, Profile, Subject},
};
use crate::{
    error::Result,
    registry::{Cost, Growth, Rate},
    value::{Cell, DataType, Field, Row, show_row},
};

/// Rows in the call that a row's own share of it is read from, where it has room for them.
const MANY: usize = 64;

/// The cost of rows that were tried; none where all calls were stopped.
pub(super) fn cost(
    subject: &mut Subject<'_>,
    budget: &Budget,
    tried: &[Tried],
) -> Result<Option<Cost>> {
    let counted = |tried: &&Tried| {
        tried.alone.instructions.is_some() && !matches!(tried.alone.given, Given::Error(_))
    };
    let values: Vec<&Tried> = tried.iter().filter(counted).collect();
    let mut counts: Vec<(u64, &Tried)> =
        values.iter().filter_map(|tried| Some((tried.alone.instructions?, *tried))).collect();
    counts.sort_by_key(|(count, _)| *count);
    let Some((median, typical)) = counts.get(counts.len() / 2).copied() else { return Ok(None) };
    let per_row = further_row(subject, typical, median)?;
    let per_call = median.saturating_sub(per_row);
    let (most, worst) = counts[counts.len() - 1];
    let signature = subject.signature();
    let worst_row = show_row(&signature.inputs, &worst.row);
    let mut growth = Vec::new();
    for (place, field) in signature.inputs.iter().enumerate() {
        if let Some(unit) = unit(field.data_type) {
            let rate = rate(subject, budget, typical, place, field)?;
            growth.push(Growth { input: field.name.clone(), unit: unit.to_owned(), rate });
        }
    }
    Ok(Some(Cost {
        per_call,
        median_row: per_row,
        worst_row: most.saturating_sub(per_call),
        worst: worst_row,
        growth,
    }))
}

/// What a row takes as one more of its call; as much as alone, where no call has room for two.
fn further_row(
    subject: &mut Subject<'_>,
    Tried { params, row, .. }: &Tried,
    alone: u64,
) -> Result<u64> {
    let calls = subject.cut(Profile::Strict, params, vec![row.clone(); MANY]);
    let rows = calls.into_iter().next().unwrap_or_default();
    match rows.len() as u64 {
        0 | 1 => Ok(alone),
        many => {
            let together = subject.instructions(params, &rows)?;
            Ok(together.map_or(alone, |together| together.saturating_sub(alone) / (many - 1)))
        }
    }
}

fn unit(data_type: DataType) -> Option<&'static str> {
    match data_type {
        DataType::Utf8 | DataType::Binary => Some("byte"),
        _ => data_type.item().map(|_| "item"),
    }
}

/// How the instructions of a row grow with the length of one of its inputs: the worst of several
/// contents.
fn rate(
    subject: &mut Subject<'_>,
    budget: &Budget,
    typical: &Tried,
    place: usize,
    field: &Field,
) -> Result<Rate> {
    let mut worst = Rate::Constant;
    for content in 0..CONTENTS {
        let mut counts = Vec::new();
        for length in budget.lengths {
            let mut row: Row = typical.row.clone();
            row[place] = of_length(field.data_type, length, content);
            let count = subject.instructions(&typical.params, &[row]);
            // What a length over the limits costs is nobody's question.
            let Some(count) = count.ok().flatten() else { break };
            counts.push((length as f64, count as f64));
        }
        worst = worse(worst, read_rate(&counts));
    }
    Ok(worst)
}

const CONTENTS: usize = 3;

/// A text, bytes or a list of this length: all alike, of short words, or of odd characters.
fn of_length(data_type: DataType, length: usize, content: usize) -> Cell {
    let text = |length: usize| -> String {
        let pattern = ["x", "ab cde, f. ", "größer Ünï 7"][content];
        let text = pattern.repeat(length / pattern.len() + 1);
        text[..text.floor_char_boundary(length)].to_owned()
    };
    let item = |item: DataType, place: usize| match item {
        DataType::Utf8 => Cell::Utf8(match content {
            0 => "x".to_owned(),
            _ => format!("word{}", place % 97),
        }),
        DataType::Float32 => Cell::Float32((place as f32 * [0.0, 1.0, -1.5][content]).to_bits()),
        DataType::Float64 => Cell::Float64((place as f64 * [0.0, 1.0, -1.5][content]).to_bits()),
        _ => Cell::Int64(place as i64 * [0, 1, -3][content]),
    };
    match (data_type, data_type.item()) {
        (_, Some(of)) => Cell::List((0..length).map(|place| item(of, place)).collect()),
        (DataType::Binary, None) => Cell::Binary(text(length).into_bytes()),
        (_, None) => Cell::Utf8(text(length)),
    }
}

/// Less than this, an input's length is not what makes a row dear.
const NOTHING: f64 = 0.05;

/// Slopes may grow by so much and the growth is still called linear: allocation in steps.
const SLACK: f64 = 1.4;

/// The rate that counts at doubling lengths show.
fn read_rate(counts: &[(f64, f64)]) -> Rate {
    let slope = |one: &(f64, f64), two: &(f64, f64)| (two.1 - one.1) / (two.0 - one.0);
    let slopes: Vec<f64> = counts.windows(2).map(|pair| slope(&pair[0], &pair[1])).collect();
    let (Some(first), Some(last)) = (counts.first(), counts.last()) else { return Rate::Constant };
    if slopes.len() < 3 {
        return Rate::Constant;
    }
    let per_unit = slope(first, last);
    let (before, end) = (slopes[slopes.len() - 3], slopes[slopes.len() - 1]);
    match per_unit {
        low if low < NOTHING => Rate::Constant,
        _ if end > before * SLACK && end > 1.0 => Rate::FasterThanLinear { at_longest: round(end) },
        per_unit => Rate::Linear { per_unit: round(per_unit) },
    }
}

fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn worse(one: Rate, two: Rate) -> Rate {
    let rank = |rate: &Rate| match rate {
        Rate::Constant => (0, 0.0),
        Rate::Linear { per_unit } => (1, *per_unit),
        Rate::FasterThanLinear { at_longest } => (2, *at_longest),
    };
    if rank(&two) > rank(&one) { two } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_read_from_counts() {
        let counts = |cost: fn(f64) -> f64| {
            let lengths = Budget::default().lengths;
            lengths.map(|length| (length as f64, cost(length as f64))).to_vec()
        };
        assert_eq!(read_rate(&counts(|_| 700.0)), Rate::Constant);
        assert_eq!(read_rate(&counts(|n| 700.0 + 3.1 * n)), Rate::Linear { per_unit: 3.1 });
        let square = read_rate(&counts(|n| 700.0 + n * n));
        assert!(matches!(square, Rate::FasterThanLinear { .. }), "{square:?}");
        assert_eq!(read_rate(&[(0.0, 1.0)]), Rate::Constant);
    }
}
