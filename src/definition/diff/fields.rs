//! Definitions as fields with texts, for people to compare.

use std::collections::BTreeMap;

use crate::{
    definition::{
        About, DefinitionKind, Entity, Feature, FeatureService, FeatureView, Freshness, Input,
        OnDemandFeatureView, OnError, Source, SourceData, State, TransformUse, Visible,
    },
    value::Scalar,
};

/// The fields of a definition as they are written in definition files, those left out left out;
/// lists have a line for each item.
pub(super) type Fields = BTreeMap<String, String>;

/// Whether a field says something to people, or decides where the values go or who is told of
/// them, and changes none.
pub(super) fn is_said_only(field: &str) -> bool {
    let last = field.rsplit('.').next().unwrap_or(field);
    match field.split('.').count() {
        1 => matches!(last, "description" | "owner" | "team" | "tags" | "online" | "store"),
        2 => field.starts_with("freshness.") || field.starts_with("limits."),
        3 => last == "description",
        _ => false,
    }
}

/// The fields of all definitions of a kind, by name.
pub(super) fn of(state: &State, kind: DefinitionKind) -> BTreeMap<&str, Fields> {
    fn each<'a, T>(
        definitions: &'a BTreeMap<String, T>,
        fields: impl Fn(&'a T) -> Fields,
    ) -> BTreeMap<&'a str, Fields> {
        let definitions = definitions.iter();
        definitions.map(|(name, definition)| (name.as_str(), fields(definition))).collect()
    }
    let definitions = &state.definitions;
    match kind {
        DefinitionKind::Entity => each(&definitions.entities, entity),
        DefinitionKind::Source => each(&definitions.sources, source),
        DefinitionKind::FeatureView => {
            each(&definitions.feature_views, |view| feature_view(state, view))
        }
        DefinitionKind::OnDemandFeatureView => {
            each(&definitions.on_demand_feature_views, |view| on_demand(state, view))
        }
        DefinitionKind::FeatureService => each(&definitions.feature_services, service),
    }
}

fn about(about: &About) -> Fields {
    let About { description, owner, team, tags } = about;
    let said = [
        ("description", description.clone()),
        ("owner", owner.clone()),
        ("team", team.clone()),
        ("tags", tags.join("\n")),
    ];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(field, text)| (field.to_owned(), text)).collect()
}

fn put(fields: &mut Fields, field: impl Into<String>, text: impl ToString) {
    fields.insert(field.into(), text.to_string());
}

fn entity(entity: &Entity) -> Fields {
    let Entity { join_keys, about: said } = entity;
    let mut fields = about(said);
    for (key, data_type) in join_keys {
        put(&mut fields, format!("join_keys.{key}"), data_type);
    }
    fields
}

fn source(source: &Source) -> Fields {
    let Source { data, timestamp, created, visible, about: said } = source;
    let mut fields = about(said);
    match data {
        SourceData::Path(path) => put(&mut fields, "path", path),
        SourceData::Version { path, version } => {
            put(&mut fields, "path", path);
            put(&mut fields, "version", version);
        }
        SourceData::Sql(query) => put(&mut fields, "sql", query),
    }
    put(&mut fields, "timestamp", timestamp);
    if let Some(created) = created {
        put(&mut fields, "created", created);
    }
    if *visible == Visible::Created {
        put(&mut fields, "visible", "created");
    }
    fields
}

fn feature_view(state: &State, view: &FeatureView) -> Fields {
    let FeatureView {
        entities,
        source,
        ttl,
        online,
        freshness,
        store,
        transform,
        features,
        about: said,
    } = view;
    let mut fields = about(said);
    put(&mut fields, "entities", entities.join("\n"));
    put(&mut fields, "source", source);
    if let Some(ttl) = ttl {
        put(&mut fields, "ttl", ttl);
    }
    if !online {
        put(&mut fields, "online", online);
    }
    if let Some(Freshness { max_age, sample }) = freshness {
        put(&mut fields, "freshness.max_age", max_age);
        put(&mut fields, "freshness.sample", sample);
    }
    if let Some(store) = store {
        put(&mut fields, "store", store);
    }
    if let Some(used) = transform {
        put_use(&mut fields, state, used, String::clone);
    }
    put_features(&mut fields, features);
    fields
}

fn on_demand(state: &State, view: &OnDemandFeatureView) -> Fields {
    let OnDemandFeatureView { transform, features, about: said } = view;
    let mut fields = about(said);
    put_use(&mut fields, state, transform, |input| match input {
        Input::Feature(feature) => feature.to_string(),
        Input::Request(column, _) => format!("request:{column}"),
        Input::EventTime => "event_time".to_owned(),
    });
    put_features(&mut fields, features);
    fields
}

fn put_use<B>(
    fields: &mut Fields,
    state: &State,
    used: &TransformUse<B>,
    show: impl Fn(&B) -> String,
) {
    let TransformUse { function, inputs, params, on_error, limits } = used;
    put(fields, "transform", function);
    if let Some(pinned) = state.transforms.get(&function.transform) {
        put(fields, "digest", pinned.digest);
    }
    for (name, bound) in inputs {
        put(fields, format!("inputs.{name}"), show(bound));
    }
    for (name, constant) in params {
        put(fields, format!("params.{name}"), show_constant(constant));
    }
    if *on_error == OnError::Fail {
        put(fields, "on_error", "fail");
    }
    for (name, amount) in limits.entries() {
        put(fields, format!("limits.{name}"), amount);
    }
}

fn put_features(fields: &mut Fields, features: &BTreeMap<String, Feature>) {
    for (name, feature) in features {
        let Feature { data_type, column, default, description } = feature;
        let field = format!("features.{name}");
        if column != name {
            put(fields, format!("{field}.column"), column);
        }
        if let Some(default) = default {
            put(fields, format!("{field}.default"), show_constant(default));
        }
        if !description.is_empty() {
            put(fields, format!("{field}.description"), description);
        }
        put(fields, field, data_type);
    }
}

fn service(service: &FeatureService) -> Fields {
    let FeatureService { features, about: said } = service;
    let mut fields = about(said);
    let features: Vec<_> = features.iter().map(ToString::to_string).collect();
    put(&mut fields, "features", features.join("\n"));
    fields
}

fn show_constant(constant: &Scalar) -> String {
    constant.json().to_string()
}
