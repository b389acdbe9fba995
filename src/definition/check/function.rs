//! Transforms, their functions, and what a use gives to inputs and params.

use std::collections::BTreeMap;

use super::Checker;
use crate::{
    definition::{
        CallLimits, PinnedTransform,
        limits::show,
        parse::node::{Bound, FeatureNodes, UseNode},
        problem::Located,
    },
    digest::Digest,
    error::{Context, Error, Result, did_you_mean, nearest},
    name::{FunctionName, TransformName},
    value::{Field, Function, Scalar},
};

impl<'a> Checker<'a> {
    /// Finds out what the names of transforms stand for. One that cannot be had is reported where
    /// it is first used.
    pub(super) fn pin_transforms(&mut self) {
        let mut first_uses = BTreeMap::new();
        for used in self.parsed.uses() {
            let at = *first_uses.entry(used.value).or_insert(used.at);
            first_uses.insert(used.value, at.min(used.at));
        }
        for (name, at) in first_uses {
            let pinned = self.pinned(name);
            if let Some(pinned) = self.problems.take(at, pinned) {
                self.transforms.insert(name, pinned);
            }
        }
    }

    fn pinned(&self, name: &TransformName) -> Result<&'a PinnedTransform> {
        let pinned = match self.environment.transforms.get(name) {
            Some(Ok(pinned)) => pinned,
            Some(Err(error)) => return Err(error.clone().context(name)),
            None => return Err(Error::internal("nobody looked it up").context(name)),
        };
        match self.environment.locked.get(name) {
            Some(locked) if *locked != pinned.digest => {
                Err(other_digest(name, *locked, pinned.digest))
            }
            _ => Ok(pinned),
        }
    }

    /// The signature of a function that is used.
    pub(super) fn function(&mut self, used: &Located<FunctionName>) -> Option<&'a Function> {
        let name = &used.value;
        let pinned = *self.transforms.get(&name.transform)?;
        let function = pinned.functions.iter().find(|function| function.name == name.function);
        if function.is_none() {
            let known = pinned.functions.iter().map(|function| function.name.as_str());
            let message = format!("{} has no function \"{}\"", name.transform, name.function);
            self.refuse(used.at, message, did_you_mean(&name.function, known));
        }
        function
    }

    /// The limits of a use, which are not above those of the project.
    pub(super) fn limits<B>(&mut self, used: &UseNode<B>) -> CallLimits {
        let Some(Located { value: limits, at }) = used.limits.as_deref() else {
            return CallLimits::default();
        };
        if let Some((name, most, own)) = limits.looser_than(&self.environment.limits) {
            let (most, own) = (show(name, most), show(name, own));
            let message = format!(
                "{name} of the calls of {} over the project's: limit {most}, requested {own}",
                used.function.value
            );
            let hint = "the most there is for a call stands in [limits] of unskew.toml";
            self.refuse(*at, message, hint);
        }
        *limits
    }

    /// Every input of the function, and what it is bound to.
    pub(super) fn inputs<'n, B>(
        &mut self,
        used: &'n UseNode<B>,
        function: &'a Function,
    ) -> Vec<(&'a Field, Option<&'n Bound<B>>)> {
        self.bound("input", &used.function, &function.inputs, &used.inputs)
    }

    /// The constants for all params of the function.
    pub(super) fn params<B>(
        &mut self,
        used: &UseNode<B>,
        function: &'a Function,
    ) -> Option<BTreeMap<String, Scalar>> {
        let bound = self.bound("param", &used.function, &function.params, &used.params);
        let params: Vec<_> = bound
            .into_iter()
            .map(|(param, bound)| Some((param.name.clone(), self.param(used, param, bound)?)))
            .collect();
        params.into_iter().collect()
    }

    fn param<B>(
        &mut self,
        used: &UseNode<B>,
        param: &Field,
        bound: Option<&Bound<serde_json::Value>>,
    ) -> Option<Scalar> {
        let Some(bound) = bound else {
            let hint = format!("add params = {{ {} = … }}", param.name);
            self.unbound("param", &used.function, param, &used.params, hint);
            return None;
        };
        let value = bound.to.as_ref()?;
        let scalar = Scalar::from_json(&value.value, param.data_type)
            .context(|| format!("param \"{}\" of {}", param.name, used.function.value));
        self.problems.take(value.at, scalar)
    }

    /// Every field and what it is bound to; reports what is bound and is no field.
    fn bound<'n, B>(
        &mut self,
        noun: &str,
        function: &Located<FunctionName>,
        fields: &'a [Field],
        bound: &'n [Bound<B>],
    ) -> Vec<(&'a Field, Option<&'n Bound<B>>)> {
        let known = || fields.iter().map(|field| field.name.as_str());
        for Bound { name, .. } in bound {
            if !known().any(|field| field == name.value) {
                let message = format!("{} has no {noun} \"{}\"", function.value, name.value);
                self.refuse(name.at, message, did_you_mean(&name.value, known()));
            }
        }
        let find = |field: &Field| bound.iter().find(|bound| bound.name.value == field.name);
        fields.iter().map(|field| (field, find(field))).collect()
    }

    /// Reports a field that nothing is bound to, unless a misspelling of it is.
    pub(super) fn unbound<B>(
        &mut self,
        noun: &str,
        function: &Located<FunctionName>,
        field: &Field,
        bound: &[Bound<B>],
        hint: String,
    ) {
        let names = bound.iter().map(|bound| bound.name.value.as_str());
        if nearest(&field.name, names).is_none() {
            let (name, data_type) = (&field.name, field.data_type);
            let message = format!("{} lacks its {noun} \"{name}\" ({data_type})", function.value);
            self.refuse(function.at, message, hint);
        }
    }

    /// Checks that the features of a view are outputs of its function.
    pub(super) fn output_features<B>(
        &mut self,
        used: &UseNode<B>,
        function: &Function,
        features: &FeatureNodes,
    ) {
        let function_name = &used.function.value;
        let features = features.iter();
        for (name, node) in features.filter_map(|(name, node)| Some((name, node.value.as_ref()?))) {
            let (column, data_type) = (&node.column, node.data_type.value);
            let outputs = || function.outputs.iter();
            match outputs().find(|output| output.name == column.value) {
                None => {
                    let output = &column.value;
                    let message = format!(
                        "{function_name} has no output \"{output}\" for feature \"{name}\""
                    );
                    let known = outputs().map(|output| output.name.as_str());
                    self.refuse(column.at, message, did_you_mean(output, known));
                }
                Some(output) if output.data_type != data_type => {
                    let message = format!(
                        "feature \"{name}\" has type {data_type}, \
                         and output \"{}\" of {function_name} type {}",
                        output.name, output.data_type
                    );
                    let hint = format!(
                        "a feature has the type of its output; declare {}",
                        output.data_type
                    );
                    self.refuse(node.data_type.at, message, hint);
                }
                Some(_) => {}
            }
        }
    }
}

fn other_digest(name: &TransformName, locked: Digest, found: Digest) -> Error {
    Error::conflict(format!("{name} is {found} in the registry and {locked} in unskew.lock"))
        .with_hint(
            "what a version names never changes: find out which of the two is meant, \
         and take the line out of unskew.lock if it is the registry's",
        )
}
