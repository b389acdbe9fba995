//! Source rows of a view, made features and written to the online store.

use std::{collections::BTreeMap, ops::AddAssign};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Schema, TimestampMicrosecondType, UInt64Type},
};
use serde::Serialize;

use crate::{
    digest::Digest,
    error::{Error, Result, did_you_mean},
    evaluate::{InForce, StoredFeatures},
    offline::{CREATED, EVENT, HASH, Layout, key_column},
    online::{
        FingerprintPrefix, JoinKeys, RowBatch, RowVersion, StoredColumns, Stores, ViewId,
        WriteReport, encode_value,
    },
    time::{Span, Timestamp},
    value::{DataType, Field, RowEncoder},
};

/// How many messages of rows without a value a report keeps.
const EXAMPLES: usize = 3;

/// What became of the rows that were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Rows that were read.
    pub rows: u64,
    /// What the store did with them.
    pub store: WriteReport,
    /// Rows with a null among their join keys: they are of no entity and are not written.
    pub without_key: u64,
    /// Rows for which the view's function had no value: stored as null.
    pub row_errors: u64,
    /// The first few messages of those.
    pub examples: Vec<String>,
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.store += other.store;
        self.without_key += other.without_key;
        self.row_errors += other.row_errors;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }
}

/// Writes rows of one view.
#[derive(Debug)]
pub struct ViewWriter {
    id: ViewId,
    /// The name of the store that the view lives in.
    store: Option<String>,
    ttl: Option<Span>,
    source: String,
    keys: JoinKeys,
    content: Vec<Field>,
    features: StoredFeatures,
    stored: StoredColumns,
    definition: Digest,
}

impl ViewWriter {
    /// A writer for a view.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such view, and those of
    /// [`StoredFeatures::new`].
    pub fn new(in_force: &InForce, name: &str) -> Result<Self> {
        let definitions = &in_force.state.definitions;
        let view = definitions.feature_views.get(name).ok_or_else(|| {
            let known = definitions.feature_views.keys().map(String::as_str);
            Error::not_found(format!("Feature view {name} does not exist"))
                .with_hint(did_you_mean(name, known))
        })?;
        let rows = in_force.fingerprints.rows(name);
        let rows =
            rows.ok_or_else(|| Error::internal(format!("view {name} has no fingerprint")))?;
        let names = view.features.keys().map(String::as_str);
        let read =
            view.features.values().map(|feature| (feature.column.as_str(), feature.data_type));
        let stored = StoredColumns::new(read);
        Ok(Self {
            id: ViewId::of(&in_force.project, name),
            store: view.store.clone(),
            ttl: view.ttl,
            source: view.source.clone(),
            keys: JoinKeys::new(fields(definitions.join_keys(view)))?,
            content: in_force.state.content(view),
            features: StoredFeatures::new(view, names, &in_force.library)?,
            definition: stored.definition(&rows)?,
            stored,
        })
    }

    /// The name of the store that the view lives in; `None` is the default one.
    pub fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// How long its rows are served.
    pub(super) fn ttl(&self) -> Option<Span> {
        self.ttl
    }

    /// The transform that makes its features, where one does.
    pub(super) fn transform(&self) -> Option<Digest> {
        self.features.transform()
    }

    /// The source of the view.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The join keys of the view.
    pub fn keys(&self) -> &[Field] {
        self.keys.fields()
    }

    /// The columns of a source row that the features are made from.
    pub fn content(&self) -> &[Field] {
        &self.content
    }

    /// The layout of the source rows that it takes.
    pub fn layout(&self) -> Layout {
        let keys = self.keys.fields().iter().map(|key| (key.name.clone(), key.data_type));
        Layout { keys: keys.collect(), content: self.content.clone() }
    }

    /// What decides what is stored for a source row, as a digest.
    pub fn definition(&self) -> Digest {
        self.definition
    }

    /// Makes features of rows of the form that [`crate::offline::latest_rows`] gives, and writes them.
    ///
    /// # Errors
    /// Those of [`ViewWriter::encode`] and of the view's store.
    pub async fn write(&self, rows: &RecordBatch, stores: &Stores) -> Result<Written> {
        self.encode(rows)?.write(stores).await
    }

    /// Makes features of rows of the form that [`crate::offline::latest_rows`] gives, ready to be
    /// written.
    ///
    /// # Errors
    /// Those of [`StoredFeatures::run`].
    pub fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows> {
        let keys = self.keys.fields().iter().map(|key| column(rows, &key_column(&key.name)));
        let keys = self.keys.keys(&keys.collect::<Result<Vec<_>>>()?)?;
        let evaluated = self.features.run(&self.content_of(rows)?)?;
        let versions = Versions::of(rows)?;
        let columns = self.stored.pick(&evaluated.columns);
        let encoder = RowEncoder::new(self.stored.fields(), &columns)?;
        let fingerprint = FingerprintPrefix::from(&self.definition);
        let mut batch = RowBatch::with_capacity(rows.num_rows(), rows.num_rows() * 64);
        for (row, key) in keys.iter().enumerate() {
            if let Some(key) = key {
                batch.push(key, versions.at(row), |out| {
                    encode_value(fingerprint, &encoder, row, out)
                });
            }
        }
        let without_key = rows.num_rows() - batch.len();
        let row_errors = evaluated.errors.len();
        let examples = evaluated.errors.into_iter().take(EXAMPLES).map(|error| error.message);
        let report = Written {
            rows: rows.num_rows() as u64,
            store: WriteReport::default(),
            without_key: without_key as u64,
            row_errors: row_errors as u64,
            examples: examples.collect(),
        };
        Ok(EncodedRows { view: self.id, store: self.store.clone(), ttl: self.ttl, batch, report })
    }

    fn content_of(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.content.iter().map(|field| column(rows, &field.name));
        let schema = Schema::new(self.content.iter().map(Field::to_arrow).collect::<Vec<_>>());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(schema.into(), columns.collect::<Result<_>>()?, &options)
            .map_err(|error| {
                Error::internal(format!("the content of source rows is uneven: {error}"))
            })
    }
}

/// Rows of a view with their features, ready to be written.
#[derive(Debug)]
pub struct EncodedRows {
    view: ViewId,
    store: Option<String>,
    ttl: Option<Span>,
    batch: RowBatch,
    report: Written,
}

impl EncodedRows {
    /// Writes them to the store that their view lives in, newest wins.
    ///
    /// # Errors
    /// Those of [`Stores::get`] and of the store.
    pub async fn write(self, stores: &Stores) -> Result<Written> {
        let store = stores.get(self.store.as_deref())?;
        let report = store.write(self.view, self.batch, self.ttl).await?;
        Ok(Written { store: report, ..self.report })
    }
}

/// The versions of rows to write.
struct Versions {
    event: ArrayRef,
    created: ArrayRef,
    content: ArrayRef,
}

impl Versions {
    fn of(rows: &RecordBatch) -> Result<Self> {
        Ok(Self {
            event: column(rows, EVENT)?,
            created: column(rows, CREATED)?,
            content: column(rows, HASH)?,
        })
    }

    fn at(&self, row: usize) -> RowVersion {
        let created = self.created.as_primitive::<TimestampMicrosecondType>();
        RowVersion {
            event: Timestamp(self.event.as_primitive::<TimestampMicrosecondType>().value(row)),
            created: created.is_valid(row).then(|| Timestamp(created.value(row))),
            content: self.content.as_primitive::<UInt64Type>().value(row),
        }
    }
}

fn fields(types: BTreeMap<String, DataType>) -> Vec<Field> {
    let field =
        |(name, data_type)| Field { name, data_type, nullable: true, documentation: String::new() };
    types.into_iter().map(field).collect()
}

fn column(rows: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = rows.column_by_name(name).cloned();
    column.ok_or_else(|| Error::internal(format!("the rows to write lack column \"{name}\"")))
}
