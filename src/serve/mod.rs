//! Online answers: the newest rows of the online store, at the request's time, through the same
//! computation as training datasets. No HTTP here.

mod answer;
mod prepared;
mod request;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use answer::{Answer, AnswerColumn, Status};
pub use prepared::Prepared;
pub use request::{Class, Refused, Request};

use crate::{definition::retrieval::Wanted, evaluate::InForce, online::Stores};

/// Answers requests from what is in force and what is stored.
#[derive(Debug)]
pub struct FeatureServer {
    in_force: Arc<InForce>,
    stores: Stores,
    /// The plan of every service, by its name and whether full feature names are wanted: nothing
    /// has to be planned, and nothing locked, when a request names a service.
    services: BTreeMap<(String, bool), Arc<Prepared>>,
}

impl FeatureServer {
    /// Prepares to serve.
    pub fn new(in_force: Arc<InForce>, stores: Stores) -> Self {
        let mut server = Self { in_force, stores, services: BTreeMap::new() };
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
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// The stores that answers come from.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    fn plan(&self, wanted: &Wanted, full_names: bool) -> Result<Prepared, Refused> {
        Prepared::new(&self.in_force, wanted, full_names)
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
        Ok(prepared.answer(&self.stores, rows).await?)
    }
}
