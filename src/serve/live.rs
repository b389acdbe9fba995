//! The server that answers now, which another may take the place of.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::FeatureServer;

/// The feature server of the snapshot in force. Whoever reads it takes no lock, and keeps what it
/// was given until the request is over.
#[derive(Debug)]
pub struct Live(ArcSwap<FeatureServer>);

impl Live {
    /// This server, until another takes its place.
    pub fn new(server: FeatureServer) -> Self {
        Self(ArcSwap::from_pointee(server))
    }

    /// The server that answers now. It is lent, not counted: a counter that all threads write to is
    /// dear.
    pub fn current(&self) -> Guard<Arc<FeatureServer>> {
        self.0.load()
    }

    /// Puts another in its place, for the requests that come from now on.
    pub fn replace(&self, server: FeatureServer) {
        self.0.store(Arc::new(server));
    }
}
