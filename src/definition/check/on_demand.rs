//! On-demand feature views, and the circles that they must not read in.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checker, Subject,
    feature_view::{finished, is_event_time},
};
use crate::{
    definition::{
        Input, OnDemandFeatureView, TransformUse,
        parse::node::{Binding, Bound, FeatureNode, FeatureNodes, OnDemandNode, UseNode},
        problem::{At, Located},
    },
    error::did_you_mean,
    name::FeatureRef,
    value::{DataType, Field},
};

impl<'a> Checker<'a> {
    pub(super) fn on_demand_feature_view(
        &mut self,
        _: Subject<'a>,
        node: &'a OnDemandNode,
    ) -> Option<OnDemandFeatureView> {
        let features = node.features.as_ref();
        if let Some(features) = features {
            self.reserved_names(features);
        }
        let transform = self.on_demand_use(node.transform.as_ref()?, features);
        Some(OnDemandFeatureView {
            transform: transform?,
            features: finished(features?)?,
            about: node.about.clone(),
        })
    }

    fn on_demand_use(
        &mut self,
        used: &'a UseNode<Binding>,
        features: Option<&FeatureNodes>,
    ) -> Option<TransformUse<Input>> {
        let function = self.function(&used.function)?;
        let params = self.params(used, function);
        if let Some(features) = features {
            self.output_features(used, function, features);
        }
        let bound = self.inputs(used, function).into_iter();
        let inputs: Vec<_> = bound
            .map(|(field, bound)| Some((field.name.clone(), self.input(used, field, bound)?)))
            .collect();
        Some(TransformUse {
            function: used.function.value.clone(),
            inputs: inputs.into_iter().collect::<Option<_>>()?,
            params: params?,
            on_error: used.on_error,
            limits: self.limits(used),
        })
    }

    /// What an input is given, if that is of its type.
    fn input(
        &mut self,
        used: &UseNode<Binding>,
        field: &'a Field,
        bound: Option<&'a Bound<Binding>>,
    ) -> Option<Input> {
        let binding = match bound {
            Some(bound) => bound.to.as_ref()?,
            None if is_event_time(field) => return Some(Input::EventTime),
            None => {
                let name = &field.name;
                let hint = format!("add inputs = {{ {name} = \"request:{name}\" }}, or a feature");
                self.unbound("input", &used.function, field, &used.inputs, hint);
                return None;
            }
        };
        let (input, data_type) = match &binding.value {
            Binding::EventTime => (Input::EventTime, Some(DataType::Timestamp)),
            Binding::Request(column) => {
                self.bring(column, field.data_type, binding.at);
                (Input::Request(column.clone(), field.data_type), None)
            }
            Binding::Feature(reference) => {
                let feature = self.feature(binding.at, reference)?;
                (Input::Feature(reference.clone()), Some(feature.data_type.value))
            }
        };
        match data_type {
            Some(data_type) if data_type != field.data_type => {
                self.other_type(used, field, binding, data_type);
                None
            }
            _ => Some(input),
        }
    }

    fn other_type(
        &mut self,
        used: &UseNode<Binding>,
        field: &Field,
        binding: &Located<Binding>,
        data_type: DataType,
    ) {
        let what = match &binding.value {
            Binding::Feature(reference) => format!("feature {reference}"),
            _ => "the event time".to_owned(),
        };
        let (input, wanted) = (&field.name, field.data_type);
        let function = &used.function.value;
        let message = format!(
            "input \"{input}\" of {function} has type {wanted}, and {what} type {data_type}"
        );
        self.refuse(binding.at, message, "what an input is given has the input's type");
    }

    /// The feature that a reference means.
    pub(super) fn feature(&mut self, at: At, reference: &FeatureRef) -> Option<&'a FeatureNode> {
        let features = self.view_features(at, &reference.view)?;
        let known = features.keys().map(String::as_str);
        let Some(node) = features.get(&reference.feature) else {
            let FeatureRef { view, feature } = reference;
            let message = format!("feature view \"{view}\" has no feature \"{feature}\"");
            self.refuse(at, message, did_you_mean(feature, known));
            return None;
        };
        node.value.as_ref()
    }

    /// The features of a view of either kind; `None` where they could not be read.
    pub(super) fn view_features(&mut self, at: At, view: &str) -> Option<&'a FeatureNodes> {
        let (stored, on_demand) =
            (&self.parsed.feature_views, &self.parsed.on_demand_feature_views);
        if let Some(node) = stored.get(view) {
            return node.value.features.as_ref();
        }
        if let Some(node) = on_demand.get(view) {
            return node.value.features.as_ref();
        }
        let message = format!("there is no feature view \"{view}\"");
        self.unknown(at, message, view, stored.keys().chain(on_demand.keys()));
        None
    }

    /// Reports on-demand feature views that read each other in a circle, each circle once.
    pub(super) fn refuse_cycles(&mut self) {
        let mut reads = self.on_demand_reads();
        loop {
            while let Some(done) = first_without_reads(&reads) {
                reads.remove(done);
                for read in reads.values_mut() {
                    read.remove(done);
                }
            }
            let Some(cycle) = some_cycle(&reads) else {
                return;
            };
            self.report_cycle(&cycle);
            reads.retain(|view, _| !cycle.contains(view));
            for read in reads.values_mut() {
                read.retain(|view| !cycle.contains(view));
            }
        }
    }

    fn report_cycle(&mut self, cycle: &[&'a str]) {
        let nodes = &self.parsed.on_demand_feature_views;
        let Some((first, node)) = cycle.first().and_then(|first| nodes.get_key_value(*first))
        else {
            return;
        };
        let circle = cycle.join(" → ");
        let message = format!("on-demand feature views read in a circle: {circle} → {first}");
        self.refuse(node.at, message, "a view reads what can be computed before it");
    }

    /// The on-demand views that each on-demand view reads.
    fn on_demand_reads(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let nodes = &self.parsed.on_demand_feature_views;
        let views = nodes.iter().map(|(name, node)| {
            let inputs = node.value.transform.iter().flat_map(|used| &used.inputs);
            let reads = inputs.filter_map(|input| match &input.to.as_ref()?.value {
                Binding::Feature(read) => Some(nodes.get_key_value(&read.view)?.0.as_str()),
                _ => None,
            });
            (name.as_str(), reads.collect())
        });
        views.collect()
    }
}

fn first_without_reads<'a>(reads: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<&'a str> {
    reads.iter().find(|(_, read)| read.is_empty()).map(|(view, _)| *view)
}

/// A cycle in a graph of which every node reads another; `None` where there are no nodes. It
/// begins with its first name.
fn some_cycle<'a>(reads: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut path: Vec<&str> = Vec::new();
    let mut view = *reads.keys().next()?;
    while !path.contains(&view) {
        path.push(view);
        view = reads.get(view)?.first()?;
    }
    let start = path.iter().position(|other| *other == view)?;
    let mut cycle = path.split_off(start);
    let first = cycle.iter().enumerate().min_by_key(|(_, view)| **view)?.0;
    cycle.rotate_left(first);
    Some(cycle)
}
