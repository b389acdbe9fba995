//! Parquet files as a table: which files, how each of them fits the columns, and a scan of them.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{ColumnStatistics, Result, ScalarValue, Statistics, internal_err, stats::Precision},
    datasource::{
        file_format::{FileFormat, parquet::ParquetFormat},
        listing::PartitionedFile,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetSource, parquet::metadata::DFParquetMetadata,
        },
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

/// A file of a table.
pub(super) struct TableFile {
    pub(super) meta: ObjectMeta,
    pub(super) footer: ArrowReaderMetadata,
    /// The values of the partition columns.
    pub(super) partition: Vec<ScalarValue>,
}

/// The table.
#[derive(Debug)]
pub(super) struct ParquetTable {
    store: ObjectStoreUrl,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
    statistics: Statistics,
}

impl ParquetTable {
    /// A table of files in one store, whose columns are those of `file_schema` and then the
    /// partition columns.
    pub(super) fn try_new(
        store: ObjectStoreUrl,
        file_schema: SchemaRef,
        partition_columns: Vec<FieldRef>,
        files: Vec<TableFile>,
    ) -> Result<Self> {
        let schema = TableSchema::builder(Arc::clone(&file_schema))
            .with_table_partition_cols(partition_columns)
            .build();
        let files = files.into_iter().map(|file| {
            let mut statistics = statistics(&file.footer, &file_schema)?;
            statistics.column_statistics.extend(file.partition.iter().map(constant));
            let mut scanned = PartitionedFile::new_from_meta(file.meta);
            scanned.statistics = Some(Arc::new(statistics));
            Ok(scanned.with_partition_values(file.partition))
        });
        let files: Vec<PartitionedFile> = files.collect::<Result<_>>()?;
        let all = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(all, schema.table_schema())?;
        Ok(Self { store, schema, files, statistics })
    }
}

impl ParquetTable {
    /// The table of those of its files that are wanted, place by place.
    pub(super) fn only(&self, wanted: &[bool]) -> Result<Self> {
        let files = self.files.iter().zip(wanted).filter(|(_, wanted)| **wanted);
        let files: Vec<PartitionedFile> = files.map(|(file, _)| file.clone()).collect();
        let all = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(all, self.schema.table_schema())?;
        Ok(Self { store: self.store.clone(), schema: self.schema.clone(), files, statistics })
    }
}

impl ParquetTable {
    /// The table of those row groups of one of its files that begin at these bytes.
    pub(super) fn piece(&self, file: usize, bytes: &Range<i64>) -> Result<Self> {
        let Some(file) = self.files.get(file) else {
            return internal_err!("there is no file {file}");
        };
        let mut file = file.clone().with_range(bytes.start, bytes.end);
        // What is known of the whole file is not known of a part of it.
        file.statistics = None;
        let statistics = Statistics::new_unknown(self.schema.table_schema());
        let (store, schema) = (self.store.clone(), self.schema.clone());
        Ok(Self { store, schema, files: vec![file], statistics })
    }
}

/// What the footer says of the columns of the table.
fn statistics(footer: &ArrowReaderMetadata, schema: &SchemaRef) -> Result<Statistics> {
    let mut statistics =
        DFParquetMetadata::statistics_from_parquet_metadata(footer.metadata(), schema)?;
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        if !tells(field, footer.schema()) {
            *column = ColumnStatistics::new_unknown();
        }
    }
    Ok(statistics)
}

/// Whether the extremes that a file gives of a column are those of the table's column: it has to be
/// of the same type, and no float, since NaN has no place in the statistics of a file.
fn tells(field: &FieldRef, held: &Schema) -> bool {
    let float =
        matches!(field.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64);
    let same = held.field_with_name(field.name()).map(|held| held.data_type() == field.data_type());
    !float && same.unwrap_or(true)
}

/// What is known of a column that has one value.
fn constant(value: &ScalarValue) -> ColumnStatistics {
    if value.is_null() {
        return ColumnStatistics::new_unknown();
    }
    ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: Precision::Exact(value.clone()),
        max_value: Precision::Exact(value.clone()),
        ..ColumnStatistics::new_unknown()
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }

    /// A filter leaves out row groups and pages that have no row for it, and none of the others.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = session.default_table_options().parquet;
        let source = ParquetSource::new(self.schema.clone());
        let groups =
            FileGroup::new(self.files.clone()).split_files(session.config().target_partitions());
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics.clone())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        let format = ParquetFormat::default().with_options(options);
        format.create_physical_plan(session, scan).await
    }
}
