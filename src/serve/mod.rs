//! Online answers: the newest rows of the online store, at the request's time, through the same
//! computation as training datasets. No HTTP here.

mod answer;
mod cohort;
mod live;
mod meters;
mod prepared;
mod request;
#[cfg(test)]
mod tests;
mod texts;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::future::join_all;
use tokio::time::timeout;

pub use answer::{
    Answer, AnswerColumn, AnswerFeature, Described, Provenance, Status, StoredColumn, Values,
};
pub use cohort::regroup;
pub use live::Live;
pub use meters::{Stage, StageMeters};
pub use prepared::Prepared;
pub use request::{Class, Refused, Request};
pub use texts::FeatureTexts;

use arrow::array::{ArrayRef, Int64Array};

use crate::{
    definition::{Definitions, retrieval::Wanted},
    error::{Context as _, Error, Result},
    evaluate::InForce,
    name::FeatureRef,
    online::{JoinKeys, Lookup, Stores, ViewId},
    value::{DataType, Field},
};

/// Answers requests from what is in force and what is stored.
#[derive(Debug)]
pub struct FeatureServer {
    in_force: Arc<InForce>,
    stores: Stores,
    /// The plan of every service, by its name and whether full feature names are wanted: nothing
    /// has to be planned, and nothing locked, when a request names a service.
    services: BTreeMap<(String, bool), Arc<Prepared>>,
    /// The plans of the lists of features that were asked for lately, without and with full names.
    lists: [ArcSwap<Plans>; 2],
}

type Plans = HashMap<Arc<FeatureTexts>, Listed>;

/// The plan of a list of features.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The plan.
    pub prepared: Arc<Prepared>,
    /// What of the list was passed over.
    pub warnings: Arc<[String]>,
}

/// The most lists of features whose plans are kept: models ask for the same ones again and again.
const MAX_LISTS: usize = 256;

/// The longest list whose plan is kept: most of a longer one is space, or names that are twice.
const MAX_LIST_BYTES: usize = 64 << 10;

/// Looks whether there is a store for every online view: the stores are those of the settings when
/// the process began, and definitions may be newer.
///
/// # Errors
/// [`Kind::NotFound`](crate::error::Kind::NotFound), naming a view and the store that it lacks.
pub fn check_stores(definitions: &Definitions, stores: &Stores) -> Result<()> {
    let online = definitions.feature_views.iter().filter(|(_, view)| view.online);
    online
        .map(|(name, view)| (name, stores.get(view.store.as_deref())))
        .try_for_each(|(name, store)| store.map(drop).context(|| format!("feature view {name}")))
}

impl FeatureServer {
    /// Prepares to serve.
    pub fn new(in_force: Arc<InForce>, stores: Stores) -> Self {
        let mut server =
            Self { in_force, stores, services: BTreeMap::new(), lists: Default::default() };
        for name in server.in_force.state.definitions.feature_services.keys() {
            for full_names in [false, true] {
                let wanted = Wanted::Service(name.clone());
                // A service with two features of one name can be asked with full names only: the
                // refusal comes when it is asked otherwise.
                if let Ok(prepared) = server.plan(&wanted, full_names) {
                    server.services.insert((name.clone(), full_names), Arc::new(prepared));
                }
            }
        }
        server
    }

    /// What is in force.
    pub fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// The stores that answers come from.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Asks every store for a row that no store has, and gives the errors of those that fail or do
    /// not answer in time.
    pub async fn failing_stores(&self, patience: Duration) -> Vec<Error> {
        let field = Field {
            name: "is_it_there".to_owned(),
            data_type: DataType::Int64,
            nullable: false,
            documentation: String::new(),
        };
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0]));
        let keys = match JoinKeys::new(vec![field]).and_then(|keys| keys.keys(&[column])) {
            Ok(keys) => keys,
            Err(error) => return vec![error],
        };
        let views = [ViewId::of(&self.in_force.project, "")];
        let lookup = Lookup { views: &views, keys: &keys };
        let asked = self.stores.all().map(|(name, store)| async move {
            let failed = match timeout(patience, store.read(&[lookup])).await {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => error,
                Err(_) => Error::unavailable(format!("no answer within {patience:?}")),
            };
            Some(failed.context(match name {
                Some(name) => format!("online store {name}"),
                None => "the online store".to_owned(),
            }))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    fn plan(&self, wanted: &Wanted, full_names: bool) -> Result<Prepared, Refused> {
        Prepared::new(&self.in_force, wanted, full_names)
    }

    /// The plan of a request: for services, made before.
    ///
    /// # Errors
    /// [`Refused`] as [`Prepared::new`].
    pub fn prepare(&self, wanted: &Wanted, full_names: bool) -> Result<Arc<Prepared>, Refused> {
        if let Wanted::Service(name) = wanted
            && let Some(prepared) = self.services.get(&(name.clone(), full_names))
        {
            return Ok(Arc::clone(prepared));
        }
        self.plan(wanted, full_names).map(Arc::new)
    }

    /// The plan of a list of features, which is kept by how the list is written; `read` says what
    /// it means and what of it is passed over.
    ///
    /// # Errors
    /// [`Refused`] as [`Prepared::new`]; those of `read`.
    pub fn prepare_list(
        &self,
        list: &FeatureTexts,
        full_names: bool,
        read: impl FnOnce(&FeatureTexts) -> Result<(Vec<FeatureRef>, Vec<String>)>,
    ) -> Result<Listed, Refused> {
        let plans = &self.lists[usize::from(full_names)];
        if let Some(listed) = plans.load().get(list) {
            return Ok(listed.clone());
        }
        let (features, warnings) = read(list)?;
        let prepared = self.prepare(&Wanted::Features(features), full_names)?;
        let listed = Listed { prepared, warnings: warnings.into() };
        if list.len() > MAX_LIST_BYTES {
            return Ok(listed);
        }
        let list = Arc::new(list.clone());
        plans.rcu(|before| {
            let mut plans = match before.len() < MAX_LISTS {
                true => Plans::clone(before),
                // Whoever asks for ever new lists gets no faster answers, and no more memory.
                false => Plans::new(),
            };
            plans.insert(Arc::clone(&list), listed.clone());
            plans
        });
        Ok(listed)
    }

    /// Answers a request by its plan ([`FeatureServer::prepare`]).
    ///
    /// # Errors
    /// [`Refused`]: whatever is wrong with the request, by class; a store that does not answer and
    /// a transform that fails as a whole are of class [`Class::Failed`].
    pub async fn answer<'a>(
        &self,
        prepared: &'a Prepared,
        request: &Request,
    ) -> Result<Answer<'a>, Refused> {
        let rows = request.read(prepared)?;
        Ok(prepared.answer(&self.stores, rows, request.partial).await?)
    }
}
