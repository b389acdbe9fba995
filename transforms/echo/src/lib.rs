//! Every type there and back, for tests of the platform.

use unskew_sdk::prelude::*;

/// Writes a function for each type, named after it, and `all`, which takes and returns all types.
macro_rules! echo {
    ($($name:ident: $type:ty),*) => {
        $(
            /// The value as it came in, null included.
            #[transform]
            #[allow(clippy::extra_unused_lifetimes, reason = "not every type borrows")]
            pub fn $name<'a>(
                /// Any value.
                value: Option<$type>,
            ) -> Option<$type> {
                value
            }
        )*

        /// A value of every type.
        #[derive(Debug, Outputs)]
        pub struct All<'a> {
            $(
                /// The input of the same name.
                pub $name: Option<$type>,
            )*
        }

        /// Values of all types as they came in, nulls included.
        #[transform]
        #[allow(clippy::too_many_arguments, reason = "there are so many types")]
        pub fn all<'a>(
            $(
                /// Any value.
                $name: Option<$type>,
            )*
        ) -> All<'a> {
            All { $($name),* }
        }

        export!($($name,)* all);
    };
}

echo! {
    boolean: bool,
    int32: i32,
    int64: i64,
    float32: f32,
    float64: f64,
    utf8: &'a str,
    binary: &'a [u8],
    date: Date,
    timestamp: Timestamp,
    list_int64: &'a [i64],
    list_float32: &'a [f32],
    list_float64: &'a [f64],
    list_utf8: StrList<'a>
}

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::abi::Column;
    use unskew_sdk::testing::{batch, column};

    const ROWS: u32 = 3;

    /// A column of every type, in the order of the functions, with a null in the middle.
    fn columns() -> Vec<Column> {
        vec![
            column([Some(true), None, Some(false)]),
            column([Some(i32::MIN), None, Some(i32::MAX)]),
            column([Some(i64::MIN), None, Some(i64::MAX)]),
            column([Some(f32::MIN), None, Some(-0.0)]),
            column([Some(f64::MIN), None, Some(-0.0)]),
            column([Some(""), None, Some("größer")]),
            column([Some([].as_slice()), None, Some([0_u8, 0xff].as_slice())]),
            column([Some(Date::from_days(i32::MIN)), None, Some(Date::from_days(1))]),
            column([Some(Timestamp::from_micros(i64::MIN)), None, Some(Timestamp::from_micros(1))]),
            column([Some(vec![]), None, Some(vec![1_i64, -1])]),
            column([Some(vec![]), None, Some(vec![1.5_f32, -0.0])]),
            column([Some(vec![]), None, Some(vec![1.5_f64, -0.0])]),
            column([Some(vec![]), None, Some(vec!["", "ä", ""])]),
        ]
    }

    #[test]
    fn each_type_comes_back() {
        assert_eq!(TRANSFORM.describe().len(), columns().len() + 1);
        for (function, column) in (0..).zip(columns()) {
            let echo = TRANSFORM.apply(function, &[], batch(ROWS, [column.clone()])).expect("fits");
            assert_eq!(echo.columns, [column]);
        }
    }

    #[test]
    fn all_types_come_back_together() {
        let function = columns().len() as u32;
        let echo = TRANSFORM.apply(function, &[], batch(ROWS, columns())).expect("the inputs fit");
        assert_eq!(echo.columns, columns());
    }
}
