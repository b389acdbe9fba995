//! Rows made up from the types of a signature: the awkward values of each type, and plain ones.
//!
//! Everything follows from the seed, so that a verdict is the same on every machine.

use crate::value::{Cell, DataType, Field, NAN_32, NAN_64, Row};

/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// The places 0 to `count` in another order.
    pub(super) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut places: Vec<_> = (0..count).collect();
        for end in (1..count).rev() {
            places.swap(end, self.below(end + 1));
        }
        places
    }
}

/// `count` rows for these inputs: one of plain values, one of nulls, one of the simplest values;
/// then every awkward value of every input among plain ones, as far as half the rows go; the rest
/// mixed, some of them equal to others, or with equal values in several inputs.
pub(super) fn rows(fields: &[Field], count: usize, random: &mut Random) -> Vec<Row> {
    let plain_row = |random: &mut Random| -> Row {
        fields.iter().map(|field| plain(field.data_type, random)).collect()
    };
    let mut rows = vec![
        plain_row(random),
        vec![Cell::Null; fields.len()],
        fields.iter().map(|field| simplest(field.data_type)).collect(),
    ];
    let awkward: Vec<Vec<Cell>> = fields.iter().map(|field| awkward(field.data_type)).collect();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (field, values) in awkward.iter().enumerate() {
        places.extend((0..values.len()).map(|value| (field, value)));
    }
    let order = random.permutation(places.len());
    for place in order.into_iter().take(count / 2) {
        let (field, value) = places[place];
        let mut row = plain_row(random);
        row[field] = awkward[field][value].clone();
        rows.push(row);
    }
    while rows.len() < count {
        let row = match random.below(8) {
            0 => random.pick(&rows),
            kind => mixed(fields, &awkward, kind == 1, random),
        };
        rows.push(row);
    }
    rows.truncate(count);
    rows
}

/// A row of awkward, plain and null values; where `equal`, inputs of one type have one value.
fn mixed(fields: &[Field], awkward: &[Vec<Cell>], equal: bool, random: &mut Random) -> Row {
    let mut row = Row::new();
    for (place, field) in fields.iter().enumerate() {
        let twin = fields[..place].iter().position(|other| other.data_type == field.data_type);
        row.push(match (twin, random.below(10)) {
            (Some(twin), _) if equal => row[twin].clone(),
            (_, 0) => Cell::Null,
            (_, 1..6) => random.pick(&awkward[place]),
            _ => plain(field.data_type, random),
        });
    }
    row
}

/// Sets of params, at most `count`: plain ones, ones, then awkward ones. None is ever null.
pub(super) fn params(fields: &[Field], count: usize, random: &mut Random) -> Vec<Row> {
    if fields.is_empty() {
        return vec![Row::new()];
    }
    let set = |number: usize, random: &mut Random| -> Row {
        let param = |field: &Field| match number {
            0 => one(field.data_type),
            1 => plain(field.data_type, random),
            _ => random.pick(&awkward(field.data_type)),
        };
        fields.iter().map(param).collect()
    };
    (0..count).map(|number| set(number, random)).collect()
}

fn float64(x: f64) -> Cell {
    Cell::Float64(x.to_bits())
}

fn text(text: &str) -> Cell {
    Cell::Utf8(text.to_owned())
}

/// What a person would call nothing: zero, no text, the epoch.
pub(super) fn simplest(data_type: DataType) -> Cell {
    match data_type {
        DataType::Boolean => Cell::Boolean(false),
        DataType::Int32 => Cell::Int32(0),
        DataType::Int64 => Cell::Int64(0),
        DataType::Float32 => Cell::Float32(0),
        DataType::Float64 => Cell::Float64(0),
        DataType::Utf8 => text(""),
        DataType::Binary => Cell::Binary(vec![]),
        DataType::Date => Cell::Date(0),
        DataType::Timestamp => Cell::Timestamp(0),
        DataType::ListInt64
        | DataType::ListFloat32
        | DataType::ListFloat64
        | DataType::ListUtf8 => Cell::List(vec![]),
    }
}

/// The next simple value.
pub(super) fn one(data_type: DataType) -> Cell {
    match data_type {
        DataType::Boolean => Cell::Boolean(true),
        DataType::Int32 => Cell::Int32(1),
        DataType::Int64 => Cell::Int64(1),
        DataType::Float32 => Cell::Float32(1_f32.to_bits()),
        DataType::Float64 => float64(1.0),
        DataType::Utf8 => text("a"),
        DataType::Binary => Cell::Binary(vec![1]),
        DataType::Date => Cell::Date(1),
        DataType::Timestamp => Cell::Timestamp(1),
        DataType::ListInt64 => Cell::List(vec![one(DataType::Int64)]),
        DataType::ListFloat32 => Cell::List(vec![one(DataType::Float32)]),
        DataType::ListFloat64 => Cell::List(vec![one(DataType::Float64)]),
        DataType::ListUtf8 => Cell::List(vec![one(DataType::Utf8)]),
    }
}

/// A value such as data has.
pub(super) fn plain(data_type: DataType, random: &mut Random) -> Cell {
    const WORDS: [&str; 12] = [
        "zero",
        "skew",
        "Blue shirt",
        "42",
        "anna@example.com",
        "DE",
        "Österreich",
        "2024-05-17",
        "new customer",
        "a,b;c",
        "größer als",
        "SKU-00017",
    ];
    const DAY: i64 = 86_400_000_000;
    let mut list = |item: DataType| {
        let length = random.below(6);
        Cell::List((0..length).map(|_| plain(item, random)).collect())
    };
    match data_type {
        DataType::ListInt64 => list(DataType::Int64),
        DataType::ListFloat32 => list(DataType::Float32),
        DataType::ListFloat64 => list(DataType::Float64),
        DataType::ListUtf8 => list(DataType::Utf8),
        DataType::Boolean => Cell::Boolean(random.one_in(2)),
        DataType::Int32 => Cell::Int32(random.below(200) as i32 - 20),
        DataType::Int64 => Cell::Int64(random.below(200) as i64 - 20),
        DataType::Float32 => Cell::Float32((random.below(40_000) as f32 / 64.0 - 50.0).to_bits()),
        DataType::Float64 => float64(random.below(1_000_000) as f64 / 700.0 - 200.0),
        DataType::Utf8 => {
            let words: Vec<_> = (0..1 + random.below(4)).map(|_| random.pick(&WORDS)).collect();
            text(&words.join(" "))
        }
        DataType::Binary => {
            Cell::Binary((0..random.below(12)).map(|_| random.next() as u8).collect())
        }
        DataType::Date => Cell::Date(random.below(25_000) as i32),
        DataType::Timestamp => {
            Cell::Timestamp(random.below(25_000) as i64 * DAY + random.below(DAY as usize) as i64)
        }
    }
}

/// The values of a type that code is most often wrong about.
fn awkward(data_type: DataType) -> Vec<Cell> {
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        0.1,
        1e15,
        -2.5e-3,
        9_007_199_254_740_993.0,
        1e300,
        -1e-300,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let list = |item: DataType| {
        let items = awkward(item);
        let twice = vec![items[0].clone(); 2];
        let mut lists = vec![
            vec![],
            vec![one(item)],
            twice,
            items.clone(),
            items.iter().rev().cloned().collect(),
        ];
        lists.push(items.iter().cycle().take(200).cloned().collect());
        lists.into_iter().map(Cell::List).collect()
    };
    match data_type {
        DataType::Boolean => vec![Cell::Boolean(false), Cell::Boolean(true)],
        DataType::Int32 => {
            let values =
                [0, 1, -1, 2, 7, 100, 65_536, i32::MAX, i32::MIN, i32::MAX - 1, i32::MIN + 1];
            values.map(Cell::Int32).to_vec()
        }
        DataType::Int64 => {
            let values = [
                0,
                1,
                -1,
                2,
                7,
                100,
                1 << 31,
                (1 << 53) + 1,
                -(1 << 53) - 1,
                i64::MAX,
                i64::MIN,
                i64::MAX - 1,
                i64::MIN + 1,
            ];
            values.map(Cell::Int64).to_vec()
        }
        DataType::Float32 => {
            let values = floats.iter().map(|x| Cell::Float32((*x as f32).to_bits()));
            values.chain([Cell::Float32(NAN_32), Cell::Float32(1)]).collect()
        }
        DataType::Float64 => {
            floats.iter().map(|x| float64(*x)).chain([Cell::Float64(NAN_64)]).collect()
        }
        DataType::Utf8 => {
            let long =
                ["x".repeat(2_000), "größer 日本 ".repeat(60), "one two, three. ".repeat(100)];
            let short = [
                "",
                " ",
                "a",
                "A",
                "\0",
                "\n\t",
                "ß",
                "İ",
                "ﬁ",
                "e\u{301}",
                "日本語",
                "🦀🦀",
                "\u{202e}abc",
                " A@Example.COM ",
                "@",
                "a@b@c",
                "0",
                "-1.5",
                "NaN",
                "null",
                "true",
                "2024-02-29",
                "2023-02-29",
                "1970-01-01T00:00:00Z",
                "{\"a\": [1]}",
                "%s%n",
                "../..",
                "a,b,,c",
                "18446744073709551616",
            ];
            short.into_iter().map(text).chain(long.into_iter().map(Cell::Utf8)).collect()
        }
        DataType::Binary => vec![
            Cell::Binary(vec![]),
            Cell::Binary(vec![0]),
            Cell::Binary(vec![0xff]),
            Cell::Binary("ä".into()),
            Cell::Binary((0..=255).collect()),
            Cell::Binary(vec![7; 2_000]),
        ],
        // Besides the epoch and its neighbours: the leap day of 2024, the first and last days that
        // four digits of a year can say, and the last ones that the type can.
        DataType::Date => {
            let values = [0, 1, -1, 19_782, 19_783, -719_162, 2_932_896, i32::MAX, i32::MIN];
            values.map(Cell::Date).to_vec()
        }
        DataType::Timestamp => {
            let values = [
                0,
                1,
                -1,
                1_709_251_199_999_999,
                1_709_251_200_000_000,
                -62_135_596_800_000_000,
                253_402_300_799_999_999,
                i64::MAX,
                i64::MIN,
            ];
            values.map(Cell::Timestamp).to_vec()
        }
        DataType::ListInt64 => list(DataType::Int64),
        DataType::ListFloat32 => list(DataType::Float32),
        DataType::ListFloat64 => list(DataType::Float64),
        DataType::ListUtf8 => list(DataType::Utf8),
    }
}

/// The cell with other NaNs for its canonical ones: quiet and signalling, of both signs and of
/// several payloads, in turn.
pub(super) fn other_nan(cell: &Cell, random: &mut Random) -> Cell {
    const PAYLOADS_32: [u32; 5] = [0x7f80_0001, 0xffc0_0000, 0x7fc0_0001, 0xff80_0001, 0x7fff_ffff];
    const PAYLOADS_64: [u64; 5] = [
        0x7ff0_0000_0000_0001,
        0xfff8_0000_0000_0000,
        0x7ff8_0000_0000_0001,
        0xfff0_0000_0000_0001,
        0x7fff_ffff_ffff_ffff,
    ];
    match cell {
        Cell::Float32(_) if cell.has_nan() => Cell::Float32(random.pick(&PAYLOADS_32)),
        Cell::Float64(_) if cell.has_nan() => Cell::Float64(random.pick(&PAYLOADS_64)),
        Cell::List(items) => Cell::List(items.iter().map(|item| other_nan(item, random)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<Field> {
        let field = |(place, data_type): (usize, &DataType)| Field {
            name: format!("c{place}"),
            data_type: *data_type,
            nullable: true,
            documentation: String::new(),
        };
        DataType::ALL.iter().enumerate().map(field).collect()
    }

    #[test]
    fn rows_follow_from_the_seed_alone() {
        let of = |seed| rows(&fields(), 100, &mut Random::new(seed));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1).len(), 100);
    }

    #[test]
    fn every_cell_is_of_its_type_and_every_awkward_value_can_be_made() {
        for field in fields() {
            let made = rows(std::slice::from_ref(&field), 200, &mut Random::new(3));
            let cells: Vec<_> = made.iter().map(|row| row[0].clone()).collect();
            let column = crate::value::column_from_cells(&cells, field.data_type);
            for (row, cell) in cells.iter().enumerate() {
                assert_eq!(Cell::of(&column, row, field.data_type), *cell);
            }
            for value in awkward(field.data_type) {
                assert!(cells.contains(&value), "{} {value}", field.data_type);
            }
        }
    }

    #[test]
    fn a_permutation_has_every_place_once() {
        let mut places = Random::new(5).permutation(50);
        assert_ne!(places, (0..50).collect::<Vec<_>>());
        places.sort_unstable();
        assert_eq!(places, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn other_nans_are_nans_and_nothing_else_changes() {
        let mut random = Random::new(1);
        let other = other_nan(&Cell::Float64(NAN_64), &mut random);
        assert!(other.has_nan() && other != Cell::Float64(NAN_64));
        let lists = Cell::List(vec![Cell::Float32(NAN_32), Cell::Float32(7)]);
        let Cell::List(items) = other_nan(&lists, &mut random) else { panic!("a list") };
        assert!(items[0].has_nan() && items[0] != Cell::Float32(NAN_32));
        assert_eq!(items[1], Cell::Float32(7));
    }
}
