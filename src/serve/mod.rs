//! Online answers: the newest rows of the online store, at the request's time, through the same
//! computation as training datasets. No HTTP here.

mod answer;
mod prepared;
mod request;

use std::{collections::BTreeMap, sync::Arc};

pub use answer::{Answer, AnswerColumn, Status};
pub use prepared::Prepared;
pub use request::{Class, Refused, Request};

use crate::{
    definition::{Fingerprints, State, retrieval::Wanted},
    error::Result,
    evaluate::Library,
    online::OnlineStore,
};

/// Everything in force that answers are made from: one snapshot, its transforms, the store.
#[derive(Debug)]
pub struct FeatureServer {
    project: String,
    sequence: u64,
    state: State,
    fingerprints: Fingerprints,
    library: Library,
    store: Arc<dyn OnlineStore>,
    /// The plan of every service, by its name and whether full feature names are wanted: nothing
    /// has to be planned, and nothing locked, when a request names a service.
    services: BTreeMap<(String, bool), Arc<Prepared>>,
}

impl FeatureServer {
    /// Prepares to serve a snapshot's state.
    ///
    /// # Errors
    /// Those of [`Prepared::new`], for any service.
    pub fn new(
        project: String,
        sequence: u64,
        state: State,
        fingerprints: Fingerprints,
        library: Library,
        store: Arc<dyn OnlineStore>,
    ) -> Result<Self> {
        let mut server =
            Self { project, sequence, state, fingerprints, library, store, services: BTreeMap::new() };
        for name in server.state.definitions.feature_services.keys() {
            for full_names in [false, true] {
                let wanted = Wanted::Service(name.clone());
                // Two features of one name are fine in a service: such a service can be asked with
                // full feature names only, and the refusal says so.
                if let Ok(prepared) = server.plan(&wanted, full_names) {
                    server.services.insert((name.clone(), full_names), Arc::new(prepared));
                }
            }
        }
        Ok(server)
    }

    /// The number of the snapshot that is served.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The definitions and transforms that are served.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The fingerprints of what is served.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// The transforms that are served.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The store that is served from.
    pub fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    /// The project whose views are in the store.
    pub fn project(&self) -> &str {
        &self.project
    }

    fn plan(&self, wanted: &Wanted, full_names: bool) -> Result<Prepared, Refused> {
        Prepared::new(self, wanted, full_names)
    }

    /// The plan of a request: made before for services, now for lists of features.
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

    /// Answers a request.
    ///
    /// # Errors
    /// [`Refused`]: whatever is wrong with the request, by class; a store that does not answer and
    /// a transform that fails as a whole are of class [`Class::Failed`].
    pub async fn answer(&self, request: &Request) -> Result<Answer, Refused> {
        let prepared = self.prepare(&request.wanted, request.full_names)?;
        let rows = request.read(&prepared)?;
        Ok(prepared.answer(self.store.as_ref(), rows).await?)
    }
}
