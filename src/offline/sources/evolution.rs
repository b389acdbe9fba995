//! The columns of many files: how a table may change from file to file.
//!
//! A column that a file lacks is null in its rows. A type may become a wider one of its kind, which
//! holds every value of the narrower: integers, floats; text and bytes are the same however they
//! are laid out. Anything else is an error that names both files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::{
    error::{Error, Result},
    storage::Location,
};

/// The common schema of files, in the making.
#[derive(Default)]
pub(super) struct Evolution(Vec<Column>);

struct Column {
    field: FieldRef,
    /// The file that has it as this type.
    file: Location,
}

impl Evolution {
    /// Adds the columns of a file.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when one of them does not fit those of the files before, or
    /// when two are of one name.
    pub(super) fn add(&mut self, file: &Location, schema: &Schema) -> Result<()> {
        let fields = schema.fields();
        for (place, field) in fields.iter().enumerate() {
            if fields[..place].iter().any(|other| other.name() == field.name()) {
                return Err(Error::invalid(format!("{file} has two columns \"{}\"", field.name())));
            }
            self.add_field(file, field)?;
        }
        Ok(())
    }

    fn add_field(&mut self, file: &Location, field: &FieldRef) -> Result<()> {
        let typed =
            |data_type: &DataType| Arc::new(Field::new(field.name(), data_type.clone(), true));
        let Some(held) = self.0.iter_mut().find(|column| column.field.name() == field.name())
        else {
            self.0.push(Column { field: typed(field.data_type()), file: file.clone() });
            return Ok(());
        };
        let (one, other) = (held.field.data_type(), field.data_type());
        if one.equals_datatype(other) {
            return Ok(());
        }
        let Some(common) = common(one, other) else {
            return Err(Error::invalid(format!(
                "{file}: column \"{}\" has type {other}, and type {one} in {}",
                field.name(),
                held.file
            ))
            .with_hint(
                "between the files of a source integers and floats may widen, and columns may be \
                 added; write one of the files again",
            ));
        };
        if common.equals_datatype(other) {
            held.file = file.clone();
        }
        held.field = typed(&common);
        Ok(())
    }

    /// The columns of all files, in the order in which they were first met.
    pub(super) fn finish(self) -> Schema {
        Schema::new(self.0.into_iter().map(|column| column.field).collect::<Vec<_>>())
    }
}

/// The type that holds every value of both, where one of them is wider than the other.
fn common(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as D;
    let (one, other) = (plain(one), plain(other));
    if one.equals_datatype(&other) {
        return Some(one);
    }
    match (&one, &other) {
        (D::Null, typed) | (typed, D::Null) => Some(typed.clone()),
        (D::List(one), D::List(other)) => {
            let item = common(one.data_type(), other.data_type())?;
            Some(D::List(Arc::new(Field::new_list_field(item, true))))
        }
        _ => {
            let wider = [&SIGNED[..], &UNSIGNED[..], &FLOATS[..]].into_iter().find_map(|types| {
                let place = |data_type| types.iter().position(|known| known == data_type);
                Some(types[place(&one)?.max(place(&other)?)].clone())
            });
            wider.or_else(|| signed_over(&one, &other)).or_else(|| signed_over(&other, &one))
        }
    }
}

const SIGNED: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
const UNSIGNED: [DataType; 4] =
    [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64];
const FLOATS: [DataType; 3] = [DataType::Float16, DataType::Float32, DataType::Float64];

/// The signed type that holds every value of both.
fn signed_over(signed: &DataType, unsigned: &DataType) -> Option<DataType> {
    let signed = SIGNED.iter().position(|known| known == signed)?;
    let unsigned = UNSIGNED.iter().position(|known| known == unsigned)?;
    SIGNED.get(signed.max(unsigned + 1)).cloned()
}

/// The type without how its values are laid out.
fn plain(data_type: &DataType) -> DataType {
    use DataType as D;
    match data_type {
        D::Dictionary(_, values) => plain(values),
        D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::LargeList(item) | D::ListView(item) | D::LargeListView(item) | D::List(item) => {
            D::List(Arc::new(Field::new_list_field(plain(item.data_type()), true)))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn check(one: DataType, other: DataType, expect: Option<DataType>) {
        for (first, second) in [(&one, &other), (&other, &one)] {
            let file = |name: &str| Location::parse(name, "/".as_ref()).unwrap();
            let schema =
                |data_type: &DataType| Schema::new(vec![Field::new("x", data_type.clone(), false)]);
            let mut evolution = Evolution::default();
            evolution.add(&file("a"), &schema(first)).unwrap();
            let added = evolution.add(&file("b"), &schema(second));
            match &expect {
                Some(expect) => {
                    added.unwrap();
                    assert_eq!(evolution.finish().field(0).data_type(), expect);
                }
                None => assert_eq!(
                    added.unwrap_err().message(),
                    format!("/b: column \"x\" has type {second}, and type {first} in /a")
                ),
            }
        }
    }

    #[test]
    fn types_widen_within_their_kind() {
        use DataType as D;
        check(D::Int32, D::Int64, Some(D::Int64));
        check(D::Int8, D::UInt8, Some(D::Int16));
        check(D::Int64, D::UInt32, Some(D::Int64));
        check(D::Int64, D::UInt64, None);
        check(D::Float32, D::Float64, Some(D::Float64));
        check(D::Int32, D::Float64, None);
        check(D::Utf8, D::LargeUtf8, Some(D::Utf8));
        check(D::Dictionary(Box::new(D::Int32), Box::new(D::Utf8)), D::Utf8, Some(D::Utf8));
        check(D::Null, D::Date32, Some(D::Date32));
        let list = |item| D::List(Arc::new(Field::new_list_field(item, true)));
        check(list(D::Int32), list(D::Int64), Some(list(D::Int64)));
        check(list(D::Utf8), D::Utf8, None);
    }

    #[test]
    fn units_and_zones_of_times_do_not_widen() {
        let time = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
        use TimeUnit::{Microsecond, Millisecond};
        check(time(Millisecond, None), time(Microsecond, None), None);
        check(time(Microsecond, Some("UTC")), time(Microsecond, None), None);
        check(time(Microsecond, Some("UTC")), time(Microsecond, Some("+01:00")), None);
    }

    #[test]
    fn columns_are_added_and_none_twice() {
        let file = Location::parse("a", "/".as_ref()).unwrap();
        let field = |name: &str| Field::new(name, DataType::Int64, false);
        let mut evolution = Evolution::default();
        evolution.add(&file, &Schema::new(vec![field("x")])).unwrap();
        evolution.add(&file, &Schema::new(vec![field("y"), field("x")])).unwrap();
        let twice = evolution.add(&file, &Schema::new(vec![field("z"), field("z")]));
        assert_eq!(twice.unwrap_err().message(), "/a has two columns \"z\"");
        let schema = evolution.finish();
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["x", "y", "z"]);
    }
}
