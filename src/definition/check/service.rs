//! Feature services.

use super::{Checker, Subject};
use crate::{
    definition::{
        FeatureService,
        parse::node::{Member, ServiceNode},
        problem::Located,
    },
    name::FeatureRef,
};

impl<'a> Checker<'a> {
    pub(super) fn feature_service(
        &mut self,
        _: Subject<'a>,
        node: &'a ServiceNode,
    ) -> Option<FeatureService> {
        let mut features: Vec<FeatureRef> = Vec::new();
        for member in &node.features {
            for reference in self.members(member) {
                if features.contains(&reference) {
                    let message = format!("feature {reference} is there twice");
                    self.refuse(
                        member.at,
                        message,
                        "name it once; a view alone means all its features",
                    );
                    break;
                }
                features.push(reference);
            }
        }
        Some(FeatureService { features, about: node.about.clone() })
    }

    /// The features that a member stands for, as far as they exist; those of a view by name.
    fn members(&mut self, member: &Located<Member>) -> Vec<FeatureRef> {
        match &member.value {
            Member::Feature(reference) => {
                self.feature(member.at, reference);
                vec![reference.clone()]
            }
            Member::View(view) => {
                let features = self.view_features(member.at, view);
                let names = features.into_iter().flat_map(|features| features.keys());
                let reference =
                    |feature: &String| FeatureRef { view: view.clone(), feature: feature.clone() };
                names.map(reference).collect()
            }
        }
    }
}
