//! Parquet files, wherever they are, opened as one table.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringArray},
    datatypes::{DataType, Field, FieldRef, Schema},
};
use datafusion::{
    common::ScalarValue, execution::object_store::ObjectStoreUrl, prelude::SessionContext,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Origin, Table, delta,
    evolution::Evolution,
    place::{Found, Place, look_up},
    table::{ParquetTable, TableFile},
};
use crate::{
    error::{Error, Result},
    offline::{errors::from_datafusion, parquet_file::fetch_footer},
    storage::{Location, Storage},
    time::parse_date,
};

/// How many footers are read at once.
pub(super) const FOOTERS_AT_ONCE: usize = 16;

/// What a path stands for, as one table. A version is that of a Delta table.
pub(super) async fn open(
    context: &SessionContext,
    storage: &Storage,
    location: &Location,
    version: Option<u64>,
) -> Result<Table> {
    match (look_up(storage, location).await?, version) {
        (Place::Delta, version) => delta::open(context, storage, location, version).await,
        (Place::Files(found), None) => open_files(context, storage, location, found).await,
        (Place::Files(_), Some(version)) => Err(Error::invalid(format!(
            "{location} has no version {version}: it is no Delta table"
        ))),
    }
}

async fn open_files(
    context: &SessionContext,
    storage: &Storage,
    location: &Location,
    found: Vec<Found>,
) -> Result<Table> {
    let footers = found.iter().map(|found| fetch_footer(context, storage, &found.object));
    let footers = stream::iter(footers.collect::<Vec<_>>()).buffered(FOOTERS_AT_ONCE);
    let footers: Vec<_> = footers.try_collect().await?;
    let mut evolution = Evolution::default();
    for (found, footer) in found.iter().zip(&footers) {
        evolution.add(&found.object.location, footer.schema())?;
    }
    let schema = evolution.finish();
    let partitions = partitions(&found, &schema);
    let mut files = Vec::with_capacity(found.len());
    for (place, (found, footer)) in found.iter().zip(footers).enumerate() {
        let partition = partitions
            .iter()
            .map(|(_, values)| ScalarValue::try_from_array(values, place).map_err(from_datafusion));
        let (meta, partition) = (found.object.meta.clone(), partition.collect::<Result<_>>()?);
        files.push(TableFile { meta, footer, partition });
    }
    let columns = partitions.into_iter().map(|(column, _)| column).collect();
    let store = register(context, storage, location)?;
    let parquet = ParquetTable::try_new(store, Arc::new(schema), columns, files);
    let parquet = Arc::new(parquet.map_err(from_datafusion)?);
    Ok(Table {
        provider: Arc::clone(&parquet) as _,
        origin: Origin::Files(found.into_iter().map(|found| found.object).collect(), parquet, None),
    })
}

/// Lets a session read from the store that a location is in.
pub(super) fn register(
    context: &SessionContext,
    storage: &Storage,
    location: &Location,
) -> Result<ObjectStoreUrl> {
    let url = ObjectStoreUrl::parse(location.bucket()).map_err(from_datafusion)?;
    let (store, _) = storage.store(location)?;
    context.runtime_env().register_object_store(url.as_ref(), store);
    Ok(url)
}

/// The columns that the names of folders give, with a value for every file. Where the files
/// themselves have a column of the name, it is that one.
fn partitions(found: &[Found], schema: &Schema) -> Vec<(FieldRef, ArrayRef)> {
    let mut columns: Vec<&str> = Vec::new();
    for (column, _) in found.iter().flat_map(|found| &found.partition) {
        if !columns.contains(&column.as_str()) && schema.field_with_name(column).is_err() {
            columns.push(column);
        }
    }
    let typed = columns.into_iter().map(|column| {
        let value = |found: &Found| {
            let named = found.partition.iter().rev().find(|(name, _)| name == column);
            named.and_then(|(_, value)| value.clone())
        };
        let values = typed_values(found.iter().map(value).collect());
        let field = Field::new(column, values.data_type().clone(), true);
        (Arc::new(field), values)
    });
    typed.collect()
}

/// Values out of names: integers where all are integers as they are written, dates where all are
/// dates, text otherwise, and where there are none.
fn typed_values(texts: Vec<Option<String>>) -> ArrayRef {
    let given = || texts.iter().flatten();
    let integer =
        |text: &String| text.parse().ok().filter(|integer: &i64| integer.to_string() == *text);
    let target = match () {
        () if given().next().is_none() => DataType::Utf8,
        () if given().all(|text| integer(text).is_some()) => DataType::Int64,
        () if given().all(|text| parse_date(text).is_ok()) => DataType::Date32,
        () => DataType::Utf8,
    };
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    arrow::compute::cast(&texts, &target).unwrap_or(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_that_all_of_them_have() {
        let check = |texts: &[&str], expect: DataType| {
            let texts = texts.iter().map(|text| Some((*text).to_owned())).chain([None]);
            let values = typed_values(texts.collect());
            assert_eq!(*values.data_type(), expect);
            assert_eq!(values.null_count(), 1);
        };
        check(&["1", "-20"], DataType::Int64);
        check(&["1", "02"], DataType::Utf8);
        check(&["2024-01-31", "2024-02-01"], DataType::Date32);
        check(&["2024-01-31", "2024-02-30"], DataType::Utf8);
        check(&["1", "a"], DataType::Utf8);
        check(&[], DataType::Utf8);
    }
}
