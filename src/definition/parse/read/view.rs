//! Tables of feature views of both kinds, made nodes.

use super::{DESCRIPTION, about, check_name, data_type_of};
use crate::{
    definition::{
        CallLimits, Freshness, OnError,
        parse::{
            node::{
                Bound, FeatureNode, FeatureNodes, FeatureViewNode, OnDemandNode, Origin, UseNode,
            },
            table::{Key, Table, Value, kind, to_json},
        },
        problem::Located,
    },
    error::{Context, Error, Result},
    name::FunctionName,
    time::Span,
    value::{DataType, Scalar},
};

const ENTITIES: Key = Key::required("entities", "entities = [\"customer\"]");
const SOURCE: Key = Key::required("source", "source = \"orders\"");
const TTL: Key = Key::optional("ttl", "ttl = \"30d\"");
const ONLINE: Key = Key::optional("online", "online = false");
const FRESHNESS: Key =
    Key::optional("freshness", "freshness = { max_age = \"24h\", sample = 100 }");
const MAX_AGE: Key = Key::required("max_age", "max_age = \"24h\"");
const SAMPLE: Key = Key::optional("sample", "sample = 100");
const STORE: Key = Key::optional("store", "store = \"fraud\"");
const FEATURES: Key = Key::required("features", "features = { spend_30d = \"float64\" }");
const USED: Key = Key::required("transform", "transform = \"commerce/basket@1.0.0#basket\"");
const NO_TRANSFORM: Key = Key::optional("transform", USED.example);
const INPUTS: Key = Key::optional("inputs", "inputs = { amount = \"amount_usd\" }");
const REQUESTED: Key = Key::optional("inputs", "inputs = { amount = \"purchases:spend_30d\" }");
const PARAMS: Key = Key::optional("params", "params = { mean = 37.2 }");
const ON_ERROR: Key = Key::optional("on_error", "on_error = \"fail\"");
const LIMITS: Key = Key::optional("limits", "limits = { deadline = \"50ms\" }");
const DEADLINE: Key = Key::optional("deadline", "deadline = \"50ms\"");
const MEMORY: Key = Key::optional("memory_bytes", "memory_bytes = 33_554_432");
const ROWS: Key = Key::optional("rows", "rows = 1_024");
const INPUT: Key = Key::optional("input_bytes", "input_bytes = 1_048_576");
const OUTPUT: Key = Key::optional("output_bytes", "output_bytes = 1_048_576");
const ERROR_TEXT: Key = Key::optional("error_text_bytes", "error_text_bytes = 200");
const TYPE: Key = Key::required("type", "type = \"float64\"");
const COLUMN: Key = Key::optional("column", "column = \"spend\"");
const DEFAULT: Key = Key::optional("default", "default = 0.0");

pub(in crate::definition::parse) fn feature_view(mut table: Table) -> FeatureViewNode {
    let node = FeatureViewNode {
        entities: entities(&mut table),
        source: table.string(SOURCE),
        ttl: ttl(&mut table),
        online: table.boolean(ONLINE).unwrap_or(true),
        freshness: freshness(&mut table),
        store: table.string(STORE),
        origin: origin(&mut table),
        features: features(&mut table),
        about: about(&mut table),
    };
    table.finish();
    node
}

fn entities(table: &mut Table) -> Vec<Located<String>> {
    let at = table.place_of(ENTITIES);
    let entities = table.strings(ENTITIES);
    if let (Some(at), Some([])) = (at, entities.as_deref()) {
        table.refuse(ENTITIES, at, "empty", "a list of entities");
    }
    entities.unwrap_or_default()
}

fn ttl(table: &mut Table) -> Option<Span> {
    positive(table, TTL, ANY_AGE)
}

const ANY_AGE: &str = "leave it out if rows of any age will do";

/// A span of time that is not empty; what to do instead.
fn positive(table: &mut Table, key: Key, hint: &str) -> Option<Span> {
    let span: Located<Span> = table.parsed(key)?;
    if span.value.0 > 0 {
        return Some(span.value);
    }
    let error = Error::invalid(format!("{} is 0", table.name_of(key)));
    table.problems.add(span.at, error.with_hint(hint));
    None
}

fn freshness(view: &mut Table) -> Option<Located<Freshness>> {
    let at = view.place_of(FRESHNESS);
    let (value, at) = (view.value(FRESHNESS)?, at?);
    let Some(table) = value.value.as_table() else {
        view.refuse(FRESHNESS, value.at, kind(value.value), "a table");
        return None;
    };
    let what = view.name_of(FRESHNESS);
    let mut table = Table::new(what, at, table, view.problems);
    let max_age = positive(&mut table, MAX_AGE, ANY_AGE);
    let sample = table.count(SAMPLE, 1..=Freshness::MAX_SAMPLE).unwrap_or(Freshness::SAMPLE);
    table.finish();
    Some(Located { value: Freshness { max_age: max_age?, sample }, at })
}

fn origin(table: &mut Table) -> Origin {
    if table.has_or_misspells(USED) {
        return Origin::Function(transform(table, INPUTS, |column| Ok(column.to_owned())));
    }
    table.value(NO_TRANSFORM);
    for key in [INPUTS, PARAMS, ON_ERROR, LIMITS] {
        if let (Some(at), Some(_)) = (table.place_of(key), table.value(key)) {
            table.refuse(key, at, "there without \"transform\"", "left out");
        }
    }
    Origin::Columns
}

pub(in crate::definition::parse) fn on_demand(mut table: Table) -> OnDemandNode {
    let node = OnDemandNode {
        transform: transform(&mut table, REQUESTED, str::parse),
        features: features(&mut table),
        about: about(&mut table),
    };
    table.finish();
    node
}

/// `None` where it is not known which function is meant, or what its inputs and params are.
fn transform<B>(
    table: &mut Table,
    inputs: Key,
    read: impl Fn(&str) -> Result<B>,
) -> Option<UseNode<B>> {
    let function: Option<Located<FunctionName>> = table.parsed(USED);
    let inputs = bindings(table, inputs, |table, name, value| {
        let what = format!("input \"{name}\" of {}", table.what);
        let text = table.text(&what, inputs.example, value)?;
        let binding = read(&text.value).context(|| what);
        let value = table.problems.take(text.at, binding)?;
        Some(Located { value, at: text.at })
    });
    let params = bindings(table, PARAMS, |table, name, value| {
        let what = format!("param \"{name}\" of {}", table.what);
        constant(table, &what, value)
    });
    let words = [("null", OnError::Null), ("fail", OnError::Fail)];
    let on_error = table.word(ON_ERROR, &words).unwrap_or_default();
    let limits = limits(table).map(Box::new);
    Some(UseNode { function: function?, inputs: inputs?, params: params?, on_error, limits })
}

/// The least memory there can be: one page.
const PAGE: u32 = 64 << 10;

fn limits(view: &mut Table) -> Option<Located<CallLimits>> {
    let at = view.place_of(LIMITS);
    let (value, at) = (view.value(LIMITS)?, at?);
    let Some(table) = value.value.as_table() else {
        view.refuse(LIMITS, value.at, kind(value.value), "a table");
        return None;
    };
    let what = view.name_of(LIMITS);
    let mut table = Table::new(what, at, table, view.problems);
    let limits = CallLimits {
        deadline: positive(&mut table, DEADLINE, "leave it out to have the project's"),
        memory_bytes: table.count(MEMORY, PAGE..=u32::MAX),
        rows: table.count(ROWS, 1..=u32::MAX),
        input_bytes: table.count(INPUT, 1..=u32::MAX),
        output_bytes: table.count(OUTPUT, 1..=u32::MAX),
        error_text_bytes: table.count(ERROR_TEXT, 0..=u32::MAX),
    };
    table.finish();
    Some(Located { value: limits, at })
}

/// What is bound under a key; nothing where the key is left out, `None` where it is no table.
fn bindings<'a, B>(
    table: &mut Table<'a, '_>,
    key: Key,
    read: impl Fn(&mut Table<'a, '_>, &str, Value<'a>) -> Option<Located<B>>,
) -> Option<Vec<Bound<B>>> {
    if table.place_of(key).is_none() {
        table.value(key);
        return Some(Vec::new());
    }
    let entries = table.entries(key)?;
    let bound = entries
        .into_iter()
        .map(|(name, value)| Bound { to: read(table, &name.value, value), name });
    Some(bound.collect())
}

/// A value that messages call `what`, in JSON.
fn constant(table: &mut Table, what: &str, value: Value) -> Option<Located<serde_json::Value>> {
    let json = to_json(value.value);
    if json.is_none() {
        let error = Error::invalid(format!("{what} is no constant"));
        let hint =
            "a constant is a number of 64 bits, a text, true, false, a date or time, or a list";
        table.problems.add(value.at, error.with_hint(hint));
    }
    Some(Located { value: json?, at: value.at })
}

fn features(table: &mut Table) -> Option<FeatureNodes> {
    let at = table.place_of(FEATURES);
    let entries = table.entries(FEATURES)?;
    if let (Some(at), []) = (at, entries.as_slice()) {
        table.refuse(FEATURES, at, "empty", "a table of names and types");
    }
    let features = entries.into_iter().map(|(name, value)| {
        let node = feature(table, &name, value);
        (name.value, Located { value: node, at: name.at })
    });
    Some(features.collect())
}

/// A feature is a type, or a table with a type in it.
fn feature(view: &mut Table, name: &Located<String>, value: Value) -> Option<FeatureNode> {
    let what = format!("feature \"{}\" of {}", name.value, view.what);
    check_name(&what, name, view.problems);
    let Some(table) = value.value.as_table() else {
        return Some(FeatureNode {
            data_type: data_type_of(view, &what, FEATURES.example, value)?,
            column: name.clone(),
            default: None,
            description: String::new(),
        });
    };
    let mut table = Table::new(what.clone(), name.at, table, view.problems);
    let data_type = table.value(TYPE);
    let data_type =
        data_type.and_then(|value| data_type_of(&mut table, &what, TYPE.example, value));
    let column = match table.value(COLUMN) {
        Some(value) => table.text(&table.name_of(COLUMN), COLUMN.example, value),
        None => Some(name.clone()),
    };
    let default = default(&mut table, data_type.as_ref().map(|located| located.value));
    let description = table.string(DESCRIPTION);
    table.finish();
    Some(FeatureNode {
        data_type: data_type?,
        column: column?,
        default: default?,
        description: description.map(|text| text.value).unwrap_or_default(),
    })
}

/// The default of a feature, if it has one; `None` where it is no value of the feature's type.
fn default(table: &mut Table, data_type: Option<DataType>) -> Option<Option<Scalar>> {
    let Some(value) = table.value(DEFAULT) else {
        return Some(None);
    };
    let what = table.name_of(DEFAULT);
    let value = constant(table, &what, value)?;
    let scalar = Scalar::from_json(&value.value, data_type?).context(|| what);
    table.problems.take(value.at, scalar).map(Some)
}
