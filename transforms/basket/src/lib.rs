//! Features of a shopping basket.

use unskew_sdk::prelude::*;

/// What a basket says about its buyer.
#[derive(Debug, PartialEq, Outputs)]
pub struct Basket {
    /// The mean price of an item, in the currency of the amount.
    pub unit_price: f64,
    /// `ln(1 + amount)`; null where the amount is -1 or less, as after a refund.
    pub log1p_amount: Option<f64>,
    /// How many items: `single` (1), `small` (2 to 4), `medium` (5 to 19) or `bulk` (20 and more).
    pub size_bucket: &'static str,
}

/// Price and size of a basket. A row error where it has no items.
#[transform]
pub fn basket(
    /// How many items are in the basket.
    items: i64,
    /// What they cost together.
    amount: f64,
) -> Result<Basket, String> {
    let size_bucket = match items {
        ..1 => return Err(format!("a basket has at least one item, not {items}")),
        1 => "single",
        2..=4 => "small",
        5..=19 => "medium",
        20.. => "bulk",
    };
    let unit_price = amount / items as f64;
    let log1p_amount = (amount > -1.0).then(|| amount.ln_1p());
    Ok(Basket { unit_price, log1p_amount, size_bucket })
}

export!(basket);

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    #[test]
    fn buckets_begin_and_end_where_documented() {
        for (items, bucket) in [
            (1, "single"),
            (2, "small"),
            (4, "small"),
            (5, "medium"),
            (19, "medium"),
            (20, "bulk"),
            (i64::MAX, "bulk"),
        ] {
            assert_eq!(basket(items, 1.0).map(|basket| basket.size_bucket), Ok(bucket));
        }
    }

    #[test]
    fn a_refund_has_no_logarithm() {
        assert_eq!(basket(2, 0.0).map(|basket| basket.log1p_amount), Ok(Some(0.0)));
        assert_eq!(basket(2, -1.0).map(|basket| basket.log1p_amount), Ok(None));
    }

    #[test]
    fn an_empty_basket_is_null_in_every_output() {
        let inputs = batch(2, [column([0_i64, 4]), column([9.0, 10.0])]);
        let outcome = TRANSFORM.apply(0, &[], &inputs).expect("the inputs fit");
        assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 2), [None, Some(2.5)]);
        assert_eq!(rows::<Option<f64>>(&outcome.columns[1], 2)[0], None);
        assert_eq!(rows::<Option<&str>>(&outcome.columns[2], 2), [None, Some("small")]);
        let [error] = outcome.errors.as_slice() else { panic!("one error: {:?}", outcome.errors) };
        assert_eq!((error.row, &*error.message), (0, "a basket has at least one item, not 0"));
    }
}
