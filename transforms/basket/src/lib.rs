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

/// What a line of an order comes to.
#[derive(Debug, PartialEq, Outputs)]
pub struct Line {
    /// The mean price of an item, in the currency of the amount.
    pub unit_price: f64,
    /// The amount with the sales tax of the country: none in `us`, 10 % in `jp`, 20 % elsewhere.
    pub with_tax: f64,
    /// The country in upper case and the trade: `DE:retail`, or `DE:bulk` from 20 items on.
    pub market: String,
    /// The shelf of the goods: two characters of their number, a slash, the whole of it.
    pub shelf: String,
}

/// Price, tax, market and shelf of a line of an order.
#[transform]
pub fn line(
    /// How many items.
    items: i64,
    /// What they cost together.
    amount: f64,
    /// The country they go to, as an ISO 3166-1 alpha-2 code in lower case.
    country: &str,
    /// The number of the goods: `sku-` and more.
    sku: &str,
) -> Line {
    let tax = match country {
        "us" => 1.0,
        "jp" => 1.1,
        _ => 1.2,
    };
    let trade = if items >= 20 { ":bulk" } else { ":retail" };
    let mut market = country.to_ascii_uppercase();
    market.push_str(trade);
    let mut shelf = String::with_capacity(sku.len() + 3);
    shelf.extend(sku.chars().skip(4).take(2));
    shelf.push('/');
    shelf.push_str(sku);
    Line { unit_price: amount / items as f64, with_tax: amount * tax, market, shelf }
}

export!(basket, line);

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
    fn lines_of_an_order() {
        let expect = |unit_price, with_tax, market: &str, shelf: &str| Line {
            unit_price,
            with_tax,
            market: market.into(),
            shelf: shelf.into(),
        };
        assert_eq!(line(4, 10.0, "us", "sku-123"), expect(2.5, 10.0, "US:retail", "12/sku-123"));
        assert_eq!(line(20, 10.0, "de", "sku-"), expect(0.5, 12.0, "DE:bulk", "/sku-"));
    }

    #[test]
    fn a_refund_has_no_logarithm() {
        assert_eq!(basket(2, 0.0).map(|basket| basket.log1p_amount), Ok(Some(0.0)));
        assert_eq!(basket(2, -1.0).map(|basket| basket.log1p_amount), Ok(None));
    }

    #[test]
    fn an_empty_basket_is_null_in_every_output() {
        let inputs = batch(2, [column([0_i64, 4]), column([9.0, 10.0])]);
        let outcome = TRANSFORM.apply(0, &[], inputs).expect("the inputs fit");
        assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 2), [None, Some(2.5)]);
        assert_eq!(rows::<Option<f64>>(&outcome.columns[1], 2)[0], None);
        assert_eq!(rows::<Option<&str>>(&outcome.columns[2], 2), [None, Some("small")]);
        let [error] = outcome.errors.as_slice() else { panic!("one error: {:?}", outcome.errors) };
        assert_eq!((error.row, &*error.message), (0, "a basket has at least one item, not 0"));
    }
}
