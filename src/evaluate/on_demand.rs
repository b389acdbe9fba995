//! From working columns with stored features to those with every feature: defaults and on-demand
//! views. Training datasets and online answers both end here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Scalar as ArrowScalar},
    buffer::NullBuffer,
    compute::kernels::zip::zip,
};

use super::{
    Binding, Evaluation, Library, Working,
    turns::{Pace, Turns},
};
use crate::{
    definition::{
        Feature,
        retrieval::{Retrieval, Step, working_column},
    },
    digest::Digest,
    error::{Error, Result},
    name::FeatureRef,
    time::Span,
    value::{DataType, conform},
    wasm::RowError,
};

/// The defaults and on-demand views of a [`Retrieval`], ready to run.
#[derive(Debug)]
pub struct OnDemand {
    stored: Vec<Slot>,
    steps: Vec<Computation>,
    /// The transforms of the steps.
    transforms: BTreeSet<Digest>,
    turns: Arc<Turns>,
    pace: Pace,
}

/// A feature's working column.
#[derive(Debug)]
struct Slot {
    column: Arc<str>,
    data_type: DataType,
    default: Option<ArrayRef>,
}

#[derive(Debug)]
struct Computation {
    view: String,
    /// The stored views that its features come from.
    reads: BTreeSet<String>,
    evaluation: Evaluation,
    slots: Vec<Slot>,
}

/// Every feature of the retrieval.
#[derive(Debug)]
pub struct Computed {
    /// The columns, among them those of the features; without those of on-demand views that were
    /// left out.
    pub columns: Working,
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
        let reads = retrieval.reads();
        let steps = retrieval.steps.iter().map(|step| {
            let reads = reads.get(step.name).into_iter().flatten();
            Computation::new(step, reads.map(|view| (*view).to_owned()).collect(), library)
        });
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let transforms = steps.iter().map(|step| step.evaluation.digest()).collect();
        let turns = Arc::clone(library.turns());
        let (stored, pace) = (stored.collect::<Result<_>>()?, Pace::default());
        Ok(Self { stored, steps, transforms, turns, pace })
    }

    /// Prepares the steps of a retrieval, for whoever does not want stored features back: of these,
    /// `working` has those that a step reads, and no others.
    ///
    /// # Errors
    /// Those of [`OnDemand::new`].
    pub fn of_steps(retrieval: &Retrieval<'_>, library: &Library) -> Result<Self> {
        let mut all = Self::new(retrieval, library)?;
        let read = retrieval.read_by_steps();
        let columns: BTreeSet<String> = read.into_iter().map(ToString::to_string).collect();
        all.stored.retain(|slot| columns.contains(&*slot.column));
        Ok(all)
    }

    /// Whether there is anything to compute besides defaults.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// As [`run`](Self::run), in turn with the other requests of a server. On-demand views that
    /// come from one of the stored views that are `lost` are left out: what a function makes of
    /// nulls, be it an error, says nothing of rows that may well be there.
    ///
    /// # Errors
    /// Those of [`Turns::run`].
    pub async fn run_in_turn(&self, working: Working, lost: &BTreeSet<&str>) -> Result<Computed> {
        let work = |moment| self.run_within(working.clone(), lost, moment);
        self.turns.run_paced(&self.transforms, &self.pace, work).await
    }

    /// Fills defaults in and computes the on-demand views.
    ///
    /// # Errors
    /// Those of [`Evaluation::run`]; [`crate::error::Kind::Internal`] when `working` lacks a
    /// column.
    pub fn run(&self, working: Working) -> Result<Computed> {
        self.run_within(working, &BTreeSet::new(), None)
    }

    fn run_within(
        &self,
        mut working: Working,
        lost: &BTreeSet<&str>,
        moment: Option<Span>,
    ) -> Result<Computed> {
        let mut missing = BTreeMap::new();
        let mut errors = BTreeMap::new();
        for slot in &self.stored {
            let raw = working.column_mut(&slot.column)?;
            *raw = slot.fill(Arc::clone(raw), &mut missing)?;
        }
        let is_lost = |view: &String| lost.contains(view.as_str());
        for step in self.steps.iter().filter(|step| !step.reads.iter().any(is_lost)) {
            let inputs = step.evaluation.inputs();
            let inputs = inputs.map(|(name, _)| working.column(name).cloned());
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let evaluated = step.evaluation.run_on(&inputs, working.rows(), moment)?;
            if !evaluated.errors.is_empty() {
                errors.insert(step.view.clone(), evaluated.errors);
            }
            for (slot, column) in step.slots.iter().zip(evaluated.columns) {
                working.put(Arc::clone(&slot.column), slot.fill(column, &mut missing)?)?;
            }
        }
        Ok(Computed { columns: working, missing, errors })
    }
}

impl Computation {
    fn new(step: &Step<'_>, reads: BTreeSet<String>, library: &Library) -> Result<Self> {
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
            outputs: outputs.zip(slots.iter().map(|slot| slot.column.to_string())).collect(),
            on_error: used.on_error,
            limits: used.limits,
        };
        let transform = library.get(&used.function.transform)?;
        Ok(Self {
            view: step.name.to_owned(),
            reads,
            evaluation: Evaluation::new(transform, &binding)?,
            slots,
        })
    }
}

impl Slot {
    fn new(view: &str, name: &str, feature: &Feature) -> Result<Self> {
        let reference = FeatureRef { view: view.to_owned(), feature: name.to_owned() };
        let default = feature.default.as_ref().map(crate::value::Scalar::to_array).transpose()?;
        Ok(Self { column: reference.to_string().into(), data_type: feature.data_type, default })
    }

    fn fill(&self, raw: ArrayRef, missing: &mut BTreeMap<String, NullBuffer>) -> Result<ArrayRef> {
        let raw = conform(&raw, self.data_type)?;
        let Some(nulls) = raw.nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(raw);
        };
        missing.insert(self.column.to_string(), nulls.clone());
        let Some(default) = &self.default else {
            return Ok(raw);
        };
        let has_value = BooleanArray::new(nulls.inner().clone(), None);
        zip(&has_value, &raw, &ArrowScalar::new(Arc::clone(default)))
            .map_err(|error| Error::internal(format!("cannot fill in a default: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int64Array, StringArray},
        datatypes::Int64Type,
    };

    use super::*;
    use crate::{
        definition::retrieval::Wanted, error::Kind, evaluate::testing::in_force,
        wasm::testing::field,
    };

    const VIEWS: &str = r#"
[feature_view.spend]
entities = ["customer"]
source = "orders"
features = { amount = "int64", total = { type = "int64", column = "amount", default = -1 } }

[on_demand_feature_view.first]
transform = "t/echo@1.0.0#f"
inputs = { a = "spend:total", b = "request:word" }
features = { one = "int64", two = { type = "utf8", default = "none" } }

[on_demand_feature_view.second]
transform = "t/echo@1.0.0#f"
inputs = { a = "first:one", b = "first:two" }
features = { one = "int64", two = "utf8" }

[on_demand_feature_view.three]
transform = "t/three@1.0.0#g"
inputs = { a = "spend:amount" }
features = { value = { type = "int64", column = "one", default = 5 } }
"#;

    fn run(wanted: &[&str], working: Working) -> Result<Computed> {
        let in_force = in_force(VIEWS);
        let wanted = wanted.iter().map(|text| text.parse().unwrap()).collect();
        let wanted = Wanted::Features(wanted);
        let retrieval = Retrieval::plan(&in_force.state, &wanted, true)?;
        OnDemand::new(&retrieval, &in_force.library)?.run(working)
    }

    fn working(columns: &[(&str, &[Option<i64>])]) -> Working {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
        let ints = columns
            .iter()
            .map(|(name, values)| (*name, Arc::new(Int64Array::from(values.to_vec())) as ArrayRef));
        let mut working = Working::new(3);
        for (name, column) in ints.chain([("word", words)]) {
            working.put(name.into(), column).unwrap();
        }
        working
    }

    fn ints(computed: &Computed, column: &str) -> Vec<Option<i64>> {
        let column = computed.columns.column(column).unwrap();
        column.as_primitive::<Int64Type>().iter().collect()
    }

    fn texts(computed: &Computed, column: &str) -> Vec<Option<String>> {
        let column = computed.columns.column(column).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn defaults_are_filled_in_before_they_are_read_and_the_mask_is_from_before() {
        let working = working(&[("spend:total", &[Some(1), None, Some(3)])]);
        let computed = run(&["second:one", "second:two"], working).unwrap();
        for column in ["spend:total", "first:one", "second:one"] {
            assert_eq!(ints(&computed, column), [Some(1), Some(-1), Some(3)], "{column}");
        }
        for column in ["first:two", "second:two"] {
            let expected = ["a", "none", ""].map(|text| Some(text.to_owned()));
            assert_eq!(texts(&computed, column), expected, "{column}");
        }
        // What read a default had a value.
        let second_row = NullBuffer::from(vec![true, false, true]);
        let missing = ["first:two", "spend:total"];
        let missing = missing.map(|column| (column.to_owned(), second_row.clone()));
        assert_eq!(computed.missing, missing.into());
        assert!(computed.errors.is_empty());
    }

    #[test]
    fn without_a_default_a_null_stays() {
        let working = working(&[("spend:amount", &[None, Some(2), None])]);
        let computed = run(&["spend:amount"], working).unwrap();
        assert_eq!(ints(&computed, "spend:amount"), [None, Some(2), None]);
        assert_eq!(computed.missing["spend:amount"], NullBuffer::from(vec![false, true, false]));
    }

    #[test]
    fn a_row_error_is_told_and_the_default_stands_in() {
        let working = working(&[("spend:amount", &[None, None, None])]);
        let computed = run(&["three:value"], working).unwrap();
        assert_eq!(ints(&computed, "three:value"), [Some(7), Some(5), Some(9)]);
        let error = RowError { row: 1, message: "no eight".to_owned() };
        assert_eq!(computed.errors, [("three".to_owned(), vec![error])].into());
        assert_eq!(computed.missing["three:value"], NullBuffer::from(vec![true, false, true]));
    }

    #[test]
    fn columns_that_are_there_besides_stay() {
        let working = working(&[("spend:amount", &[None; 3]), ("customer_id", &[Some(1); 3])]);
        let computed = run(&["spend:amount"], working).unwrap();
        assert_eq!(ints(&computed, "customer_id"), [Some(1); 3]);
        assert_eq!(texts(&computed, "word").len(), 3);
    }

    #[test]
    fn to_lack_a_column_or_rows_of_one_is_a_defect() {
        let error = run(&["spend:amount"], working(&[])).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(error.message(), "there is no working column \"spend:amount\"");
        let four: ArrayRef = Arc::new(Int64Array::from(vec![1; 4]));
        let error = working(&[]).put("spend:amount".into(), four).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(error.message(), "working column \"spend:amount\" has 4 rows instead of 3");
    }

    #[test]
    fn every_type_has_defaults() {
        for data_type in DataType::ALL {
            let nulls =
                crate::value::column_from_json(&vec![serde_json::Value::Null; 3], data_type);
            let text = match data_type {
                DataType::Boolean => serde_json::json!(true),
                DataType::Utf8 => serde_json::json!("x"),
                DataType::Binary => serde_json::json!("AA=="),
                DataType::Date | DataType::Timestamp => serde_json::json!("1998-06-30"),
                DataType::ListUtf8 => serde_json::json!(["x", ""]),
                DataType::ListInt64 | DataType::ListFloat32 | DataType::ListFloat64 => {
                    serde_json::json!([1, 2])
                }
                _ => serde_json::json!(7),
            };
            let field = field("x", data_type, true);
            let default = crate::value::Scalar::from_json(&text, data_type).unwrap();
            let default = Some(default.to_array().unwrap());
            let slot = Slot { column: field.name.into(), data_type, default };
            let filled = slot.fill(nulls.unwrap(), &mut BTreeMap::new()).unwrap();
            let expected =
                crate::value::column_from_json(&[text.clone(), text.clone(), text], data_type);
            assert_eq!(&filled, &expected.unwrap(), "{data_type}");
        }
    }
}
