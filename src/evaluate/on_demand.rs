//! From a working batch with stored features to one with every feature: defaults and on-demand
//! views. Training datasets and online answers both end here.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, Scalar as ArrowScalar,
    },
    buffer::NullBuffer,
    compute::kernels::zip::zip,
    datatypes::{Field as ArrowField, Schema},
};

use super::{Binding, Evaluation, Library};
use crate::{
    definition::{
        Feature,
        retrieval::{Retrieval, Step, working_column},
    },
    error::{Error, Result},
    name::FeatureRef,
    value::{DataType, conform},
    wasm::RowError,
};

/// The defaults and on-demand views of a [`Retrieval`], ready to run.
#[derive(Debug)]
pub struct OnDemand {
    stored: Vec<Slot>,
    steps: Vec<Computation>,
}

/// A feature's column in the working batch.
#[derive(Debug)]
struct Slot {
    column: String,
    data_type: DataType,
    default: Option<ArrayRef>,
}

#[derive(Debug)]
struct Computation {
    view: String,
    evaluation: Evaluation,
    slots: Vec<Slot>,
}

/// A working batch with every feature of the retrieval in it.
#[derive(Debug)]
pub struct Computed {
    /// The batch.
    pub batch: RecordBatch,
    /// Where a feature had no value of its own, by its column's name; a default may stand there
    /// now. Features that had a value in every row are left out.
    pub missing: BTreeMap<String, NullBuffer>,
    /// The rows for which an on-demand view's function had no value, by the view's name; views
    /// without such rows are left out.
    pub errors: BTreeMap<String, Vec<RowError>>,
}

impl OnDemand {
    /// Prepares a retrieval.
    ///
    /// # Errors
    /// Those of [`Library::get`] and [`Evaluation::new`].
    pub fn new(retrieval: &Retrieval<'_>, library: &Library) -> Result<Self> {
        let stored = retrieval.views.iter().flat_map(|read| {
            read.features.iter().map(|(name, feature)| Slot::new(read.name, name, feature))
        });
        let steps = retrieval.steps.iter().map(|step| Computation::new(step, library));
        Ok(Self { stored: stored.collect::<Result<_>>()?, steps: steps.collect::<Result<_>>()? })
    }

    /// Fills defaults in and computes the on-demand views.
    ///
    /// `working` has every stored feature, request column and the event time, as
    /// [`crate::definition::retrieval`] says.
    ///
    /// # Errors
    /// Those of [`Evaluation::run`]; [`crate::error::Kind::Internal`] when `working` lacks a
    /// column.
    pub fn run(&self, working: RecordBatch) -> Result<Computed> {
        let mut missing = BTreeMap::new();
        let mut errors = BTreeMap::new();
        let mut columns = Columns::of(&working);
        for slot in &self.stored {
            let raw = columns.take(&slot.column)?;
            columns.put(slot, slot.fill(raw, &mut missing)?);
        }
        for step in &self.steps {
            let evaluated = step.evaluation.run(&columns.batch()?)?;
            if !evaluated.errors.is_empty() {
                errors.insert(step.view.clone(), evaluated.errors);
            }
            for (slot, column) in step.slots.iter().zip(evaluated.columns) {
                columns.put(slot, slot.fill(column, &mut missing)?);
            }
        }
        Ok(Computed { batch: columns.batch()?, missing, errors })
    }
}

impl Computation {
    fn new(step: &Step<'_>, library: &Library) -> Result<Self> {
        let used = &step.view.transform;
        let slots: Vec<Slot> = step
            .features
            .iter()
            .map(|(name, feature)| Slot::new(step.name, name, feature))
            .collect::<Result<_>>()?;
        let outputs = step.features.values().map(|feature| feature.column.clone());
        let inputs = used.inputs.iter().map(|(name, input)| (name.clone(), working_column(input)));
        let binding = Binding {
            function: used.function.function.clone(),
            params: used.params.clone(),
            inputs: inputs.collect(),
            outputs: outputs.zip(slots.iter().map(|slot| slot.column.clone())).collect(),
            on_error: used.on_error,
        };
        let transform = library.get(&used.function.transform)?;
        Ok(Self {
            view: step.name.to_owned(),
            evaluation: Evaluation::new(transform, &binding)?,
            slots,
        })
    }
}

impl Slot {
    fn new(view: &str, name: &str, feature: &Feature) -> Result<Self> {
        let reference = FeatureRef { view: view.to_owned(), feature: name.to_owned() };
        let default = feature.default.as_ref().map(crate::value::Scalar::to_array).transpose()?;
        Ok(Self { column: reference.to_string(), data_type: feature.data_type, default })
    }

    fn fill(&self, raw: ArrayRef, missing: &mut BTreeMap<String, NullBuffer>) -> Result<ArrayRef> {
        let raw = conform(&raw, self.data_type)?;
        let Some(nulls) = raw.nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(raw);
        };
        missing.insert(self.column.clone(), nulls.clone());
        let Some(default) = &self.default else {
            return Ok(raw);
        };
        let has_value = BooleanArray::new(nulls.inner().clone(), None);
        zip(&has_value, &raw, &ArrowScalar::new(Arc::clone(default)))
            .map_err(|error| Error::internal(format!("cannot fill in a default: {error}")))
    }
}

/// A batch in the making.
struct Columns {
    rows: usize,
    fields: Vec<Arc<ArrowField>>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Self {
        Self {
            rows: batch.num_rows(),
            fields: batch.schema().fields().iter().cloned().collect(),
            arrays: batch.columns().to_vec(),
        }
    }

    fn take(&mut self, name: &str) -> Result<ArrayRef> {
        let place =
            self.fields.iter().position(|field| field.name() == name).ok_or_else(|| {
                Error::internal(format!("the working batch lacks column \"{name}\""))
            })?;
        self.fields.remove(place);
        Ok(self.arrays.remove(place))
    }

    fn put(&mut self, slot: &Slot, array: ArrayRef) {
        let field = ArrowField::new(&slot.column, slot.data_type.to_arrow(), true);
        self.fields.push(Arc::new(field));
        self.arrays.push(array);
    }

    fn batch(&self) -> Result<RecordBatch> {
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(schema, self.arrays.clone(), &options)
            .map_err(|error| Error::internal(format!("the working batch is uneven: {error}")))
    }
}
