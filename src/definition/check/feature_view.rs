//! Feature views.

use std::collections::BTreeMap;

use super::{Checker, RESERVED, RESERVED_COLUMNS, Subject, source::Reading};
use crate::{
    definition::{
        DefinitionKind, Feature, FeatureView, TransformUse,
        parse::node::{
            Bound, EVENT_TIME, FeatureNode, FeatureNodes, FeatureViewNode, Origin, UseNode,
        },
        problem::{At, Located},
    },
    error::{did_you_mean, nearest},
    value::{DataType, Field, RowSchema},
};

impl<'a> Checker<'a> {
    pub(super) fn feature_view(
        &mut self,
        subject: Subject<'a>,
        node: &'a FeatureViewNode,
    ) -> Option<FeatureView> {
        let source = node.source.as_ref();
        let source_node =
            source.and_then(|name| self.find(DefinitionKind::Source, &self.parsed.sources, name));
        let mut reading = Reading::of(
            source.map_or("", |name| &name.value),
            source.and_then(|name| self.environment.sources.get(&name.value)?.as_ref().ok()),
        );
        let join_keys = self.join_keys(node, &reading);
        let features = node.features.as_ref();
        if let Some(features) = features {
            self.feature_names(features, &join_keys);
        }
        let timestamp = source_node.and_then(|source| source.timestamp.as_ref());
        let transform = self.origin(&mut reading, node, timestamp)?;
        self.row_can_be_written(subject.at, &reading, features?);
        if let (Some(freshness), false) = (&node.freshness, node.online) {
            let message = "\"freshness\" is there with \"online = false\"";
            self.refuse(freshness.at, message.to_owned(), "it is about rows in the online store");
        }
        if let Some(store) = &node.store {
            self.store(store);
        }
        Some(FeatureView {
            entities: values(&node.entities),
            source: source?.value.clone(),
            ttl: node.ttl,
            online: node.online,
            freshness: node.freshness.as_ref().map(|freshness| freshness.value),
            store: node.store.as_ref().map(|store| store.value.clone()),
            transform,
            features: finished(features?)?,
            about: node.about.clone(),
        })
    }

    /// Reports an online store that the project's settings do not have.
    fn store(&mut self, store: &Located<String>) {
        let stores = &self.environment.stores;
        if !stores.contains(&store.value) {
            let hint = match stores.is_empty() {
                true => format!("unskew.toml names none; add [stores.{}] to it", store.value),
                false => did_you_mean(&store.value, stores.iter().map(String::as_str)),
            };
            self.refuse(store.at, format!("there is no online store \"{}\"", store.value), hint);
        }
    }

    /// Checks what the features are made of: the use of a transform, if there is one.
    fn origin(
        &mut self,
        reading: &mut Reading<'a>,
        node: &'a FeatureViewNode,
        timestamp: Option<&Located<String>>,
    ) -> Option<Option<TransformUse<String>>> {
        let features = node.features.as_ref();
        match &node.origin {
            Origin::Columns => {
                self.column_features(reading, features?);
                Some(None)
            }
            Origin::Function(used) => {
                let timestamp = timestamp.map(|column| column.value.as_str());
                let used = self.stored_use(reading, used.as_ref()?, timestamp, features)?;
                Some(Some(used))
            }
        }
    }

    /// The join keys of a view, each with the entity that has it.
    fn join_keys(
        &mut self,
        node: &'a FeatureViewNode,
        reading: &Reading<'a>,
    ) -> BTreeMap<&'a str, &'a str> {
        let mut keys = BTreeMap::new();
        for (index, name) in node.entities.iter().enumerate() {
            let twin = |other: &Located<String>| other.value == name.value;
            if node.entities.iter().take(index).any(twin) {
                let message = format!("entity \"{}\" is there twice", name.value);
                self.refuse(name.at, message, "name it once");
                continue;
            }
            let Some(entity) = self.find(DefinitionKind::Entity, &self.parsed.entities, name)
            else {
                continue;
            };
            for (key, data_type) in &entity.join_keys {
                let column = Located { value: key.clone(), at: name.at };
                let reader = format!("join key \"{key}\" of entity \"{}\"", name.value);
                let mut reading = Reading::of(reading.source, reading.columns);
                self.read(&mut reading, &column, data_type.value, reader);
                keys.insert(key.as_str(), name.value.as_str());
            }
        }
        keys
    }

    /// Reports features whose names are taken in rows of their view.
    fn feature_names(&mut self, features: &FeatureNodes, join_keys: &BTreeMap<&str, &str>) {
        for (name, feature) in features {
            if let Some(entity) = join_keys.get(name.as_str()) {
                let message =
                    format!("feature \"{name}\" has the name of a join key of entity \"{entity}\"");
                self.refuse(feature.at, message, "call the feature otherwise, and name its column");
            }
        }
        self.reserved_names(features);
    }

    pub(super) fn reserved_names(&mut self, features: &FeatureNodes) {
        let reserved = |name: &String| RESERVED_COLUMNS.contains(&name.as_str());
        for (name, feature) in features.iter().filter(|(name, _)| reserved(name)) {
            let message = format!("no feature can be called \"{name}\"");
            self.refuse(feature.at, message, RESERVED);
        }
    }

    fn column_features(&mut self, reading: &mut Reading<'a>, features: &FeatureNodes) {
        for (name, feature) in features {
            if let Some(feature) = &feature.value {
                let reader = format!("feature \"{name}\"");
                self.read(reading, &feature.column, feature.data_type.value, reader);
            }
        }
    }

    fn stored_use(
        &mut self,
        reading: &mut Reading<'a>,
        used: &'a UseNode<String>,
        timestamp: Option<&str>,
        features: Option<&FeatureNodes>,
    ) -> Option<TransformUse<String>> {
        let function = self.function(&used.function)?;
        let params = self.params(used, function);
        if let Some(features) = features {
            self.output_features(used, function, features);
        }
        let inputs = self.inputs(used, function).into_iter().map(|(input, bound)| {
            let column = self.input_column(reading, used, timestamp, (input, bound))?;
            Some((input.name.clone(), column))
        });
        let inputs: Vec<_> = inputs.collect();
        Some(TransformUse {
            function: used.function.value.clone(),
            inputs: inputs.into_iter().collect::<Option<_>>()?,
            params: params?,
            on_error: used.on_error,
            limits: self.limits(used),
        })
    }

    /// The column that an input is given.
    fn input_column(
        &mut self,
        reading: &mut Reading<'a>,
        used: &UseNode<String>,
        timestamp: Option<&str>,
        (input, bound): (&Field, Option<&Bound<String>>),
    ) -> Option<String> {
        match bound {
            Some(bound) => {
                let column = bound.to.as_ref()?;
                self.read(reading, column, input.data_type, reader(used, input));
                Some(column.value.clone())
            }
            None if is_event_time(input) => timestamp.map(str::to_owned),
            None => self.column_of_same_name(reading, used, input),
        }
    }

    /// The column that an input is given which is bound to nothing.
    fn column_of_same_name(
        &mut self,
        reading: &mut Reading<'a>,
        used: &UseNode<String>,
        input: &Field,
    ) -> Option<String> {
        let column = Located { value: input.name.clone(), at: used.function.at };
        if reading.columns.is_some_and(|columns| !columns.contains_key(&input.name)) {
            let columns = reading.columns.into_iter().flat_map(BTreeMap::keys);
            let hint = match nearest(&input.name, columns.map(String::as_str)) {
                Some(column) => format!("add inputs = {{ {} = \"{column}\" }}", input.name),
                None => {
                    format!("add inputs = {{ {} = … }} with a column of its source", input.name)
                }
            };
            self.unbound("input", &used.function, input, &used.inputs, hint);
            return None;
        }
        self.read(reading, &column, input.data_type, reader(used, input));
        Some(column.value)
    }

    /// Reports columns that the row codec cannot tell apart.
    fn row_can_be_written(&mut self, at: At, reading: &Reading<'a>, features: &FeatureNodes) {
        let field = |name: &str, data_type| Field {
            name: name.to_owned(),
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        let read = reading.read.iter().map(|(name, (data_type, _))| field(name, *data_type));
        let stored = features.iter().filter_map(|(name, feature)| {
            Some(field(name, feature.value.as_ref()?.data_type.value))
        });
        for fields in [read.collect::<Vec<_>>(), stored.collect()] {
            let codec = RowSchema::new(&fields);
            self.problems.take(at, codec.map(drop));
        }
    }
}

fn values(texts: &[Located<String>]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone()).collect()
}

fn reader(used: &UseNode<String>, input: &Field) -> String {
    format!("input \"{}\" of {}", input.name, used.function.value)
}

/// Whether an input is given the time of the row where it is bound to nothing else.
pub(super) fn is_event_time(input: &Field) -> bool {
    input.name == EVENT_TIME && input.data_type == DataType::Timestamp
}

/// The features, if all of them could be read.
pub(super) fn finished(nodes: &FeatureNodes) -> Option<BTreeMap<String, Feature>> {
    let feature = |node: &FeatureNode| Feature {
        data_type: node.data_type.value,
        column: node.column.value.clone(),
        default: node.default.clone(),
        description: node.description.clone(),
    };
    let features = nodes.iter();
    features.map(|(name, node)| Some((name.clone(), feature(node.value.as_ref()?)))).collect()
}
