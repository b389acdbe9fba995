//! What a transform says about itself, checked.

use std::collections::HashSet;

use super::{
    bindings::v1,
    limits::exceeded,
    sandbox::Opened,
    words::{is_hidden, shown},
};
use crate::{
    error::{Error, Result},
    name::{IDENTIFIER_RULE, is_identifier},
    value::{Field, Function},
    wasm::Limits,
};

/// Asks an instance of a transform for its functions.
///
/// # Errors
/// [`Kind::Transform`](crate::error::Kind::Transform) when it does not answer, or with names that
/// are no identifiers or not unique, functions without an output, or more than the limits allow.
pub(super) fn describe(instance: &mut Opened<'_>, limits: &Limits) -> Result<Vec<Function>> {
    let called =
        instance.call(limits.description_bytes, |functions, store| functions.describe(store))?;
    check_functions(called.answer, limits)
}

fn check_functions(answer: Vec<v1::Function>, limits: &Limits) -> Result<Vec<Function>> {
    let count = answer.len() as u64;
    if count > u64::from(limits.functions) {
        return Err(exceeded("functions", limits.functions.into(), 0, count));
    }
    let functions: Vec<Function> = answer.into_iter().map(function).collect();
    if functions.is_empty() {
        return Err(Error::transform("it has no functions"));
    }
    check_names("a function", functions.iter().map(|function| function.name.as_str()))?;
    for function in &functions {
        check_fields(function, limits)
            .map_err(|error| error.context(format!("function \"{}\"", function.name)))?;
    }
    Ok(functions)
}

/// Params and inputs share one space of names; outputs have their own.
fn check_fields(function: &Function, limits: &Limits) -> Result<()> {
    let Function { params, inputs, outputs, .. } = function;
    let count = (params.len() + inputs.len() + outputs.len()) as u64;
    if count > u64::from(limits.fields) {
        return Err(exceeded("params, inputs and outputs", limits.fields.into(), 0, count));
    }
    if outputs.is_empty() {
        return Err(Error::transform("it has no outputs"));
    }
    check_documentation(&function.documentation)?;
    check_names("a param or input", params.iter().chain(inputs).map(|field| field.name.as_str()))?;
    check_names("an output", outputs.iter().map(|field| field.name.as_str()))?;
    params.iter().chain(inputs).chain(outputs).try_for_each(|field| {
        check_documentation(&field.documentation)
            .map_err(|error| error.context(format!("\"{}\"", field.name)))
    })
}

/// Documentation has lines, and nothing else that acts on a terminal or a page.
fn check_documentation(text: &str) -> Result<()> {
    match text.chars().find(|c| is_hidden(*c) && !['\n', '\t'].contains(c)) {
        None => Ok(()),
        Some(hidden) => Err(Error::transform(format!(
            "its documentation has the character {}",
            hidden.escape_unicode()
        ))),
    }
}

fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !is_identifier(name) {
            return Err(Error::transform(format!("not a name of {what}: \"{}\"", shown(name, 64)))
                .with_hint(IDENTIFIER_RULE));
        }
        if !seen.insert(name) {
            return Err(Error::transform(format!("two of the name \"{name}\" for {what}")));
        }
    }
    Ok(())
}

fn function(function: v1::Function) -> Function {
    let fields = |fields: Vec<v1::Field>| fields.into_iter().map(field).collect();
    Function {
        name: function.name,
        documentation: function.documentation,
        params: fields(function.params),
        inputs: fields(function.inputs),
        outputs: fields(function.outputs),
    }
}

fn field(field: v1::Field) -> Field {
    Field {
        name: field.name,
        data_type: field.data_type.into(),
        nullable: field.nullable,
        documentation: field.documentation,
    }
}
