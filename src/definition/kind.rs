//! The kinds of definitions.

use std::fmt;

use serde::Serialize;

/// A kind of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionKind {
    /// [`Entity`](super::Entity).
    Entity,
    /// [`Source`](super::Source).
    Source,
    /// [`FeatureView`](super::FeatureView).
    FeatureView,
    /// [`OnDemandFeatureView`](super::OnDemandFeatureView).
    OnDemandFeatureView,
    /// [`FeatureService`](super::FeatureService).
    FeatureService,
}

impl DefinitionKind {
    /// All kinds; each refers to those before it alone.
    pub const ALL: [Self; 5] = [
        Self::Entity,
        Self::Source,
        Self::FeatureView,
        Self::OnDemandFeatureView,
        Self::FeatureService,
    ];

    /// The key under which definition files have it: `feature_view`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::FeatureView => "feature_view",
            Self::OnDemandFeatureView => "on_demand_feature_view",
            Self::FeatureService => "feature_service",
        }
    }

    /// Whether definitions of the kind have features; those share their names.
    pub fn is_view(self) -> bool {
        matches!(self, Self::FeatureView | Self::OnDemandFeatureView)
    }
}

/// The kind in words: `feature view`.
impl fmt::Display for DefinitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::FeatureView => "feature view",
            Self::OnDemandFeatureView => "on-demand feature view",
            Self::FeatureService => "feature service",
        })
    }
}
