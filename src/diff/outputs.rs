//! Outputs that two functions both have, compared bit for bit.

use serde::Serialize;

use crate::value::{Cell, Field, Row};

/// How an output changes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct OutputChange {
    /// Its name.
    pub name: String,
    /// Rows in which it is not the same, bit for bit.
    pub changed: u64,
    /// Rows in which it was not null and is.
    pub nulls_appear: u64,
    /// Rows in which it was null and is not.
    pub nulls_vanish: u64,
    /// Rows in which one of the two is NaN.
    pub nan: u64,
    /// Of floats that change, the largest difference in units in the last place: how many floats
    /// lie between the two, and one. Both zeros are one place. Nulls and NaN have no difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_ulps: Option<u64>,
}

/// The outputs of both, and where each stands in the two signatures.
#[derive(Debug)]
pub(super) struct Outputs(Vec<(usize, usize, OutputChange)>);

impl Outputs {
    /// The outputs that both have, of one type; the others in words.
    pub(super) fn of(before: &[Field], after: &[Field]) -> (Self, Vec<String>) {
        let (mut outputs, mut words) = (Vec::new(), Vec::new());
        for (place, field) in before.iter().enumerate() {
            let name = &field.name;
            match after.iter().position(|other| other.name == *name) {
                None => words.push(format!("output \"{name}\" is gone")),
                Some(other) if after[other].data_type != field.data_type => {
                    let (one, two) = (field.data_type, after[other].data_type);
                    words.push(format!("output \"{name}\" is {two}, and was {one}"));
                }
                Some(other) => {
                    let change = OutputChange { name: name.clone(), ..OutputChange::default() };
                    outputs.push((place, other, change));
                }
            }
        }
        let new = after.iter().filter(|field| before.iter().all(|old| old.name != field.name));
        words.extend(new.map(|field| format!("output \"{}\" is new", field.name)));
        (Self(outputs), words)
    }

    /// Counts a row, and says whether it changes.
    pub(super) fn compare(&mut self, before: &Row, after: &Row) -> bool {
        let mut changes = false;
        for (one, two, change) in &mut self.0 {
            let (one, two) = (&before[*one], &after[*two]);
            if one != two {
                changes = true;
                change.count(one, two);
            }
        }
        changes
    }

    pub(super) fn finish(self) -> Vec<OutputChange> {
        self.0.into_iter().map(|(_, _, change)| change).collect()
    }
}

impl OutputChange {
    fn count(&mut self, one: &Cell, two: &Cell) {
        self.changed += 1;
        match (one, two) {
            (Cell::Null, _) => self.nulls_vanish += 1,
            (_, Cell::Null) => self.nulls_appear += 1,
            (Cell::Float32(_) | Cell::Float64(_), _) if one.has_nan() || two.has_nan() => {
                self.nan += 1;
            }
            _ => self.largest_ulps = self.largest_ulps.max(ulps(one, two)),
        }
    }
}

/// The distance of two floats of one type in units in the last place.
fn ulps(one: &Cell, two: &Cell) -> Option<u64> {
    match (one, two) {
        (Cell::Float32(one), Cell::Float32(two)) => {
            let place = |bits: u32| match bits >> 31 {
                0 => i64::from(bits),
                _ => -i64::from(bits & (u32::MAX >> 1)),
            };
            Some(place(*one).abs_diff(place(*two)))
        }
        (Cell::Float64(one), Cell::Float64(two)) => {
            let place = |bits: u64| match bits >> 63 {
                0 => bits as i64,
                _ => -((bits & (u64::MAX >> 1)) as i64),
            };
            Some(place(*one).abs_diff(place(*two)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_floats() {
        let f64 = |x: f64| Cell::Float64(x.to_bits());
        let f32 = |x: f32| Cell::Float32(x.to_bits());
        for (one, two, expected) in [
            (f64(1.0), f64(1.0 + f64::EPSILON), 1),
            (f64(0.0), f64(-0.0), 0),
            (f64(5e-324), f64(-5e-324), 2),
            (f64(f64::MAX), f64(f64::INFINITY), 1),
            (f64(f64::NEG_INFINITY), f64(f64::INFINITY), 0xffe0_0000_0000_0000),
            (f32(1.0), f32(1.0 - f32::EPSILON / 2.0), 1),
            (f32(-1.0), f32(1.0), 2 * 0x3f80_0000),
        ] {
            assert_eq!(ulps(&one, &two), Some(expected), "{one} {two}");
            assert_eq!(ulps(&two, &one), Some(expected), "{two} {one}");
        }
        assert_eq!(ulps(&Cell::Int64(1), &Cell::Int64(2)), None);
    }

    #[test]
    fn outputs_are_paired_by_name_and_type() {
        let field = |name: &str, data_type| Field {
            name: name.to_owned(),
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        use crate::value::DataType::{Float64, Int64};
        let before = [field("a", Float64), field("b", Int64), field("c", Int64)];
        let after = [field("d", Int64), field("c", Float64), field("a", Float64)];
        let (mut outputs, words) = Outputs::of(&before, &after);
        let expected = [
            "output \"b\" is gone",
            "output \"c\" is float64, and was int64",
            "output \"d\" is new",
        ];
        assert_eq!(words, expected);
        let row = |a: f64| vec![Cell::Float64(a.to_bits()), Cell::Null, Cell::Null];
        let swapped = |a: Cell| vec![Cell::Int64(9), Cell::Null, a];
        assert!(!outputs.compare(&row(2.0), &swapped(Cell::Float64(2_f64.to_bits()))));
        assert!(outputs.compare(&row(0.0), &swapped(Cell::Float64((-0.0_f64).to_bits()))));
        assert!(outputs.compare(&row(2.0), &swapped(Cell::Null)));
        assert!(outputs.compare(&row(f64::NAN), &swapped(Cell::Float64(0))));
        let expected = OutputChange {
            name: "a".to_owned(),
            changed: 3,
            nulls_appear: 1,
            nulls_vanish: 0,
            nan: 1,
            largest_ulps: Some(0),
        };
        assert_eq!(outputs.finish(), [expected]);
    }
}
