//! What is in force: one snapshot with all that is needed to compute from it.

use super::Library;
use crate::{
    definition::{
        State,
        fingerprint::{Fingerprints, RuntimeRef},
    },
    error::Result,
    registry::{Registry, Snapshot},
    wasm::Runtime,
};

/// A snapshot, the fingerprints that follow from it, and its transforms, compiled. Training
/// datasets, materialization, serving and audits all work from one of these.
#[derive(Debug)]
pub struct InForce {
    /// The project that the definitions belong to.
    pub project: String,
    /// The number of the snapshot; 0 before the first one.
    pub sequence: u64,
    /// Its definitions and pinned transforms.
    pub state: State,
    /// The fingerprints of its features under this runtime.
    pub fingerprints: Fingerprints,
    /// The runtime profile that fingerprints refer to.
    pub runtime: RuntimeRef,
    /// Its transforms.
    pub library: Library,
}

impl InForce {
    /// Loads what a snapshot needs.
    ///
    /// # Errors
    /// Those of [`Library::load`] and [`Fingerprints::of`].
    pub async fn load(
        project: &str,
        snapshot: Option<Snapshot>,
        registry: &Registry,
        runtime: &Runtime,
    ) -> Result<Self> {
        let (sequence, state) =
            snapshot.map_or_else(Default::default, |snapshot| (snapshot.sequence, snapshot.state));
        let profile = runtime.profile();
        let runtime_ref = RuntimeRef { name: profile.name.clone(), digest: profile.digest };
        Ok(Self {
            project: project.to_owned(),
            sequence,
            fingerprints: Fingerprints::of(&state, &runtime_ref)?,
            library: Library::load(&state, registry, runtime).await?,
            runtime: runtime_ref,
            state,
        })
    }
}
