//! How many rows of a training dataset would have other values now.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::concat_batches,
    row::{RowConverter, Rows, SortField},
};
use datafusion::{dataframe::DataFrame, logical_expr::ident};

use super::{
    EntityDataframe, EntityOrigin, EntityRequest, Manifest, Sources,
    errors::from_datafusion,
    in_order,
    training_set::{assemble, open_entities, open_read},
};
use crate::{
    definition::retrieval::{Retrieval, Wanted},
    error::{Error, Result},
    evaluate::InForce,
};

/// Computes columns of a training dataset again, by what is in force now and from the sources as
/// they are now, and counts for each the rows whose bits would change.
///
/// # Errors
/// Those of a training dataset.
pub async fn count_changes(
    file: &Path,
    manifest: &Manifest,
    columns: &[String],
    in_force: &InForce,
    sources: &mut Sources,
) -> Result<Vec<u64>> {
    let features =
        columns.iter().filter_map(|name| Some(manifest.columns.get(name)?.feature.clone()));
    let wanted = Wanted::Features(features.collect());
    let retrieval = Retrieval::plan(&in_force.state, &wanted, manifest.request.full_names)?;
    let request = &manifest.request;
    let dataset = EntityOrigin::Dataset(file.to_owned(), request.partition_by.clone());
    let dataset = EntityRequest::all(dataset, &request.timestamp_column);
    open_read(&retrieval, sources).await?;
    let entities = open_entities(&dataset, &retrieval, sources).await?;
    let features: Vec<&str> = manifest.columns.keys().map(String::as_str).collect();
    let rows = entities.read(sources.context())?.drop_columns(&features);
    let rows = rows.map_err(from_datafusion)?;
    let (now, _) = assemble(in_force, sources, &retrieval, rows, &entities)?;
    let names: Vec<&str> = retrieval.outputs.iter().map(|output| output.name.as_str()).collect();
    let then = EntityDataframe::open(&dataset, &BTreeMap::new(), sources).await?;
    let then = then.read(sources.context())?;
    let (now, then) = (pick(now, &names).await?, pick(in_order(then)?, &names).await?);
    names.iter().map(|name| differing(column(&now, name)?, column(&then, name)?)).collect()
}

/// These columns of all rows.
async fn pick(rows: DataFrame, names: &[&str]) -> Result<RecordBatch> {
    let picked = rows.select(names.iter().map(|name| ident(*name))).map_err(from_datafusion)?;
    let schema = Arc::clone(picked.schema().inner());
    let batches = picked.collect().await.map_err(from_datafusion)?;
    concat_batches(&schema, &batches)
        .map_err(|error| Error::internal(format!("cannot join batches: {error}")))
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    let column = rows.column_by_name(name);
    column.ok_or_else(|| Error::internal(format!("column \"{name}\" is gone")))
}

/// In how many rows two columns differ: in a bit, in a null, or, where their types differ, in all
/// that have a value.
pub(super) fn differing(now: &ArrayRef, then: &ArrayRef) -> Result<u64> {
    if now.data_type() != then.data_type() || now.len() != then.len() {
        return Ok((now.len().max(then.len()) - now.null_count().min(then.null_count())) as u64);
    }
    let rows = |column: &ArrayRef| -> Result<Rows> {
        let fields = vec![SortField::new(column.data_type().clone())];
        let converted = RowConverter::new(fields)
            .and_then(|converter| converter.convert_columns(&[Arc::clone(column)]));
        converted.map_err(|error| Error::internal(format!("cannot compare columns: {error}")))
    };
    let (now, then) = (rows(now)?, rows(then)?);
    Ok(now.iter().zip(then.iter()).filter(|(now, then)| now != then).count() as u64)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    #[test]
    fn bits_and_nulls_differ() {
        let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let then = column(vec![Some(0.0), Some(f64::NAN), None, Some(1.0), None]);
        let now = column(vec![Some(-0.0), Some(f64::NAN), None, None, Some(0.0)]);
        assert_eq!(differing(&now, &then).unwrap(), 3);
        assert_eq!(differing(&then, &then).unwrap(), 0);
        let other: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(0), Some(1), None, Some(1), None]));
        assert_eq!(differing(&other, &then).unwrap(), 3);
    }
}
