//! Looking up what a name stands for, and putting together all there is to say about it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Kind,
    card::{
        Card, EntityCard, FeatureCard, FeatureLine, FunctionCard, Making, ServiceCard, Shown,
        SourceCard, Used, ViewCard,
    },
    thing::{Thing, description, things},
};
use crate::{
    definition::{
        About, Feature, FeatureView, Input, OnDemandFeatureView, State, TransformUse,
        retrieval::{Retrieval, Wanted},
    },
    digest::Digest,
    error::{Error, Result, nearest},
    name::{FeatureRef, FunctionName},
    value::Function,
};

/// What `name` stands for: a definition, a function, `view:feature`, or a feature of whatever view.
/// `fingerprint` looks up the fingerprints of features.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when nothing is called so, with the nearest name.
pub fn show(
    state: &State,
    name: &str,
    fingerprint: impl Fn(&FeatureRef) -> Option<Digest>,
) -> Result<Shown> {
    let catalog = Catalog { state, fingerprint: &fingerprint };
    let things = things(state);
    let named: Vec<&Thing> = things.iter().filter(|thing| thing.name == name).collect();
    if !named.is_empty() {
        return catalog.cards(&named);
    }
    let features = things.iter().filter(|thing| thing.kind == Kind::Feature);
    let features: Vec<&Thing> =
        features.filter(|thing| thing.short_names.contains(&name)).collect();
    match features.as_slice() {
        [] => Err(not_found(name, &things)),
        [_] => catalog.cards(&features),
        several => Ok(Shown::Candidates(several.iter().map(|thing| thing.entry()).collect())),
    }
}

fn not_found(name: &str, things: &[Thing]) -> Error {
    let full = things.iter().map(|thing| thing.name.as_str());
    let short = things.iter().flat_map(|thing| thing.short_names.iter().copied());
    let hint = match nearest(name, full.chain(short)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "`unskew catalog search` finds by words".to_owned(),
    };
    Error::not_found(format!("nothing in the catalog is called {name:?}")).with_hint(hint)
}

/// A state and the fingerprints that go with it.
struct Catalog<'a> {
    state: &'a State,
    fingerprint: &'a dyn Fn(&FeatureRef) -> Option<Digest>,
}

/// A view of either kind.
struct View<'a> {
    name: &'a str,
    about: &'a About,
    features: &'a BTreeMap<String, Feature>,
    kind: ViewKind<'a>,
}

enum ViewKind<'a> {
    Stored(&'a FeatureView),
    OnDemand(&'a OnDemandFeatureView),
}

impl<'a> View<'a> {
    fn function(&self) -> Option<&'a FunctionName> {
        match self.kind {
            ViewKind::Stored(view) => Some(&view.transform.as_ref()?.function),
            ViewKind::OnDemand(view) => Some(&view.transform.function),
        }
    }
}

impl<'a> Catalog<'a> {
    fn cards(&self, things: &[&Thing]) -> Result<Shown> {
        let cards = things.iter().map(|thing| {
            let missing = || Error::internal(format!("{} is listed and not there", thing.name));
            self.card(thing.kind, &thing.name).ok_or_else(missing)
        });
        Ok(Shown::Cards(cards.collect::<Result<_>>()?))
    }

    fn card(&self, kind: Kind, name: &str) -> Option<Card> {
        Some(match kind {
            Kind::FeatureView => Card::FeatureView(self.view_card(&self.view(name)?)),
            Kind::OnDemandFeatureView => {
                Card::OnDemandFeatureView(self.view_card(&self.view(name)?))
            }
            Kind::Feature => Card::Feature(self.feature_card(&name.parse().ok()?)?),
            Kind::FeatureService => Card::FeatureService(self.service_card(name)?),
            Kind::Entity => Card::Entity(self.entity_card(name)?),
            Kind::Source => Card::Source(self.source_card(name)?),
            Kind::Function => Card::Function(self.function_card(&name.parse().ok()?)?),
        })
    }

    fn view(&self, name: &str) -> Option<View<'a>> {
        let definitions = &self.state.definitions;
        if let Some((name, view)) = definitions.feature_views.get_key_value(name) {
            let kind = ViewKind::Stored(view);
            return Some(View { name, about: &view.about, features: &view.features, kind });
        }
        let (name, view) = definitions.on_demand_feature_views.get_key_value(name)?;
        let kind = ViewKind::OnDemand(view);
        Some(View { name, about: &view.about, features: &view.features, kind })
    }

    fn views(&self) -> impl Iterator<Item = View<'a>> {
        let definitions = &self.state.definitions;
        let names =
            definitions.feature_views.keys().chain(definitions.on_demand_feature_views.keys());
        names.filter_map(|name| self.view(name))
    }

    fn view_card(&self, view: &View) -> ViewCard {
        let feature = |name: &String| reference(view.name, name);
        let of_view = |reference: &FeatureRef| reference.view == view.name;
        ViewCard {
            name: view.name.to_owned(),
            about: view.about.clone(),
            making: self.making(view),
            features: view
                .features
                .keys()
                .filter_map(|name| {
                    let line = self.line(&feature(name))?;
                    Some(FeatureLine { name: name.clone(), ..line })
                })
                .collect(),
            services: self.services(of_view),
            read_by: self.readers(of_view),
        }
    }

    fn feature_card(&self, reference: &FeatureRef) -> Option<FeatureCard> {
        let view = self.view(&reference.view)?;
        let feature = view.features.get(&reference.feature)?;
        let this = |other: &FeatureRef| other == reference;
        Some(FeatureCard {
            line: self.line(reference)?,
            owner: view.about.owner.clone(),
            team: view.about.team.clone(),
            tags: view.about.tags.clone(),
            making: self.making(&view),
            column: feature.column.clone(),
            services: self.services(this),
            read_by: self.readers(this),
        })
    }

    fn service_card(&self, name: &str) -> Option<ServiceCard> {
        let service = self.state.definitions.feature_services.get(name)?;
        let plan = self.plan(Wanted::Service(name.to_owned()));
        let (join_keys, request) =
            plan.map(|plan| (plan.join_keys, plan.request)).unwrap_or_default();
        Some(ServiceCard {
            name: name.to_owned(),
            about: service.about.clone(),
            join_keys,
            request,
            features: service.features.iter().filter_map(|feature| self.line(feature)).collect(),
        })
    }

    fn entity_card(&self, name: &str) -> Option<EntityCard> {
        let entity = self.state.definitions.entities.get(name)?;
        Some(EntityCard {
            name: name.to_owned(),
            about: entity.about.clone(),
            join_keys: entity.join_keys.clone(),
            views: self.stored_views(|view| view.entities.iter().any(|entity| entity == name)),
        })
    }

    fn source_card(&self, name: &str) -> Option<SourceCard> {
        let source = self.state.definitions.sources.get(name)?;
        Some(SourceCard {
            name: name.to_owned(),
            about: source.about.clone(),
            data: source.data.clone(),
            timestamp: source.timestamp.clone(),
            created: source.created.clone(),
            visible: source.visible,
            views: self.stored_views(|view| view.source == name),
        })
    }

    fn function_card(&self, name: &FunctionName) -> Option<FunctionCard> {
        let users = self.views().filter(|view| view.function() == Some(name));
        Some(FunctionCard {
            name: name.clone(),
            digest: self.state.transforms.get(&name.transform)?.digest,
            signature: self.state.function(name)?.clone(),
            views: users.map(|view| view.name.to_owned()).collect(),
        })
    }

    fn line(&self, reference: &FeatureRef) -> Option<FeatureLine> {
        let view = self.view(&reference.view)?;
        let feature = view.features.get(&reference.feature)?;
        let function = view.function().and_then(|name| self.state.function(name));
        Some(FeatureLine {
            name: reference.to_string(),
            data_type: feature.data_type,
            default: feature.default.clone(),
            description: description(feature, function).to_owned(),
            fingerprint: (self.fingerprint)(reference),
        })
    }

    fn making(&self, view: &View) -> Making {
        match view.kind {
            ViewKind::Stored(stored) => Making {
                entities: stored.entities.clone(),
                join_keys: self.state.definitions.join_keys(stored),
                request: BTreeMap::new(),
                source: Some(stored.source.clone()),
                ttl: stored.ttl,
                transform: stored.transform.as_ref().map(|used| self.used(used, String::clone)),
                online: stored.online,
                store: stored.store.clone(),
            },
            ViewKind::OnDemand(on_demand) => self.on_demand_making(view, on_demand),
        }
    }

    fn on_demand_making(&self, view: &View, on_demand: &OnDemandFeatureView) -> Making {
        let features = view.features.keys().map(|name| reference(view.name, name));
        let plan = self.plan(Wanted::Features(features.collect()));
        let reads = || plan.iter().flat_map(|plan| &plan.views);
        let entities: BTreeSet<&String> = reads().flat_map(|read| &read.view.entities).collect();
        Making {
            entities: entities.into_iter().cloned().collect(),
            online: reads().all(|read| read.view.online),
            join_keys: plan.as_ref().map(|plan| plan.join_keys.clone()).unwrap_or_default(),
            request: plan.as_ref().map(|plan| plan.request.clone()).unwrap_or_default(),
            source: None,
            ttl: None,
            store: None,
            transform: Some(self.used(&on_demand.transform, input)),
        }
    }

    fn plan(&self, wanted: Wanted) -> Option<Retrieval<'a>> {
        Retrieval::plan(self.state, &wanted, true).ok()
    }

    fn used<B>(&self, used: &TransformUse<B>, shown: impl Fn(&B) -> String) -> Used {
        let pinned = self.state.transforms.get(&used.function.transform);
        let function: Option<&Function> = self.state.function(&used.function);
        Used {
            function: used.function.clone(),
            digest: pinned.map(|pinned| pinned.digest),
            documentation: function
                .map_or_else(String::new, |function| function.documentation.clone()),
            inputs: used.inputs.iter().map(|(name, given)| (name.clone(), shown(given))).collect(),
            params: used.params.clone(),
            on_error: used.on_error,
        }
    }

    /// The services with a feature that `wanted` accepts.
    fn services(&self, wanted: impl Fn(&FeatureRef) -> bool) -> Vec<String> {
        let services = self.state.definitions.feature_services.iter();
        let found = services.filter(|(_, service)| service.features.iter().any(&wanted));
        found.map(|(name, _)| name.clone()).collect()
    }

    /// The on-demand views that read a feature that `wanted` accepts.
    fn readers(&self, wanted: impl Fn(&FeatureRef) -> bool) -> Vec<String> {
        let views = self.state.definitions.on_demand_feature_views.iter();
        let reads = |given: &Input| matches!(given, Input::Feature(feature) if wanted(feature));
        let found = views.filter(|(_, view)| view.transform.inputs.values().any(reads));
        found.map(|(name, _)| name.clone()).collect()
    }

    fn stored_views(&self, wanted: impl Fn(&FeatureView) -> bool) -> Vec<String> {
        let views = self.state.definitions.feature_views.iter();
        views.filter(|(_, view)| wanted(view)).map(|(name, _)| name.clone()).collect()
    }
}

fn reference(view: &str, feature: &str) -> FeatureRef {
    FeatureRef { view: view.to_owned(), feature: feature.to_owned() }
}

/// What an input of an on-demand view is given, as definitions write it.
fn input(given: &Input) -> String {
    match given {
        Input::Feature(feature) => feature.to_string(),
        Input::Request(column, _) => format!("request:{column}"),
        Input::EventTime => "event_time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn shown(name: &str) -> Result<Shown> {
        show(&testing::state(), name, |reference| Some(Digest::of(reference.to_string())))
    }

    fn card(name: &str) -> Card {
        match shown(name) {
            Ok(Shown::Cards(mut cards)) if cards.len() == 1 => cards.remove(0),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_feature_has_what_its_view_and_its_users_add() {
        for name in ["purchases:first_purchase_at", "first_purchase_at"] {
            let Card::Feature(feature) = card(name) else { panic!("{name} is a feature") };
            assert_eq!(feature.line.name, "purchases:first_purchase_at");
            assert_eq!(feature.line.fingerprint, Some(Digest::of("purchases:first_purchase_at")));
            assert_eq!((&*feature.team, &*feature.owner), ("growth", "ada@example.com"));
            assert_eq!(feature.making.ttl, Some("365d".parse().unwrap()));
            assert_eq!(feature.column, "first");
            assert_eq!(feature.services, [""; 0]);
            assert_eq!(feature.read_by, ["user_age"]);
        }
    }

    #[test]
    fn an_on_demand_view_has_the_entities_of_what_it_reads() {
        let Card::OnDemandFeatureView(view) = card("user_age") else { panic!("a view") };
        assert_eq!(view.making.entities, ["customer"]);
        assert!(view.making.online && view.making.source.is_none());
        let used = view.making.transform.unwrap();
        assert_eq!(used.digest, Some(Digest::of("commerce/user_age@1.0.0")));
        assert_eq!(used.inputs["registered_at"], "purchases:first_purchase_at");
        assert_eq!(used.inputs["event_time"], "event_time");
        assert_eq!(view.services, ["churn"]);
    }

    #[test]
    fn an_on_demand_view_of_what_is_not_online_is_not() {
        let mut state = testing::state();
        state.definitions.feature_views.get_mut("purchases").unwrap().online = false;
        let Ok(Shown::Cards(cards)) = show(&state, "user_age", |_| None) else { panic!("cards") };
        let [Card::OnDemandFeatureView(view)] = cards.as_slice() else { panic!("a view") };
        assert!(!view.making.online);
    }

    #[test]
    fn the_rest_says_who_uses_it() {
        let Card::Entity(entity) = card("customer") else { panic!("an entity") };
        assert_eq!(entity.views, ["basket", "purchases"]);
        let Card::Source(source) = card("orders") else { panic!("a source") };
        assert_eq!(source.views, ["basket", "purchases"]);
        let Card::Function(function) = card("commerce/basket@1.0.0#basket") else {
            panic!("a function")
        };
        assert_eq!(function.views, ["basket"]);
        let Card::FeatureService(service) = card("churn") else { panic!("a service") };
        let features: Vec<_> = service.features.iter().map(|line| &*line.name).collect();
        assert_eq!(features, ["purchases:spend_30d", "user_age:years"]);
        assert_eq!(service.join_keys.keys().collect::<Vec<_>>(), ["customer_id"]);
    }

    #[test]
    fn a_feature_of_several_views_has_to_be_chosen() {
        let mut state = testing::state();
        let views = &mut state.definitions.feature_views;
        let spend = views["purchases"].features["spend_30d"].clone();
        views.get_mut("basket").unwrap().features.insert("spend_30d".into(), spend);
        let Ok(Shown::Candidates(entries)) = show(&state, "spend_30d", |_| None) else {
            panic!("candidates")
        };
        let names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["basket:spend_30d", "purchases:spend_30d"]);
    }

    #[test]
    fn things_of_one_name_are_all_shown() {
        let mut state = testing::state();
        let orders = state.definitions.sources["orders"].clone();
        state.definitions.sources.insert("customer".into(), orders);
        let Ok(Shown::Cards(cards)) = show(&state, "customer", |_| None) else { panic!("cards") };
        assert!(matches!(cards.as_slice(), [Card::Entity(_), Card::Source(_)]));
    }

    #[test]
    fn what_is_not_there_has_a_hint() {
        let check = |name: &str, expected: &str| {
            assert_eq!(shown(name).unwrap_err().to_string(), expected);
        };
        check(
            "puchases",
            "nothing in the catalog is called \"puchases\"\nhint: did you mean \"purchases\"?",
        );
        check(
            "zzz",
            "nothing in the catalog is called \"zzz\"\nhint: `unskew catalog search` finds by words",
        );
    }
}
