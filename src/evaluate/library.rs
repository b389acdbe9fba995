//! The transforms in force, compiled.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Turns;
use crate::{
    definition::State,
    error::{Context, Error, Result},
    name::TransformName,
    registry::Registry,
    wasm::{Limits, Runtime, Transform},
};

/// Components that are read and loaded at a time.
const AT_A_TIME: usize = 16;

/// Every transform that a state of definitions uses, ready to be called.
#[derive(Debug)]
pub struct Library {
    transforms: BTreeMap<TransformName, Arc<Transform>>,
    turns: Arc<Turns>,
}

impl Library {
    /// Reads the components from the registry, verified against their digests, and loads them, a
    /// few at a time: on threads of their own, so that whoever else is served meanwhile waits for
    /// none of it.
    ///
    /// # Errors
    /// Those of [`Registry::component`] and [`Runtime::load`], naming the transform.
    pub async fn load(state: &State, registry: &Registry, runtime: &Runtime) -> Result<Self> {
        let loads = state.transforms.iter().map(|(name, pinned)| {
            let (name, digest, runtime) = (name.clone(), pinned.digest, runtime.clone());
            async move {
                let outcome = || format!("cannot load {name}");
                let bytes = registry.component(&digest).await.context(outcome)?;
                let loaded = tokio::task::spawn_blocking(move || runtime.load(&bytes)).await;
                let loaded = loaded.map_err(|error| Error::internal(error.to_string()))?;
                let transform = loaded.context(outcome)?;
                Ok::<_, Error>((name, transform))
            }
        });
        let loads: Vec<_> = loads.collect();
        let transforms = stream::iter(loads).buffer_unordered(AT_A_TIME).try_collect().await?;
        Ok(Self::new(runtime.limits(), transforms))
    }

    fn new(limits: &Limits, transforms: BTreeMap<TransformName, Arc<Transform>>) -> Self {
        let digests = transforms.values().map(|transform| transform.digest());
        Self { turns: Arc::new(Turns::new(limits, digests)), transforms }
    }

    /// The turns of those who call these transforms in a server.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// These transforms.
    #[cfg(test)]
    pub(super) fn of(transforms: BTreeMap<TransformName, Arc<Transform>>) -> Self {
        Self::new(&Limits::default(), transforms)
    }

    /// A transform of the state.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the state does not pin it.
    pub fn get(&self, name: &TransformName) -> Result<Arc<Transform>> {
        let transform = self.transforms.get(name).map(Arc::clone);
        transform.ok_or_else(|| Error::internal(format!("{name} is used and not pinned")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_transform_that_is_not_pinned_is_a_defect() {
        let error = Library::of(BTreeMap::new()).get(&"t/f@1.0.0".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert_eq!(error.message(), "t/f@1.0.0 is used and not pinned");
    }
}
