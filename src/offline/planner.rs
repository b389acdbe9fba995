//! From our logical nodes to our physical operators.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::Result,
    execution::context::QueryPlanner,
    logical_expr::{
        LogicalPlan, UserDefinedLogicalNode, physical_planning_context::PhysicalPlanningContext,
    },
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};

use super::{
    latest::{Latest, LatestExec},
    point_in_time::{PointInTimeJoin, PointInTimeJoinExec},
    transform::{Transform, TransformExec},
};

/// DataFusion's planner, with our operators.
#[derive(Debug)]
pub(super) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Operators)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Operators;

#[async_trait]
impl ExtensionPlanner for Operators {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let node = node.as_any();
        if let (Some(join), [entities, features @ ..]) =
            (node.downcast_ref::<PointInTimeJoin>(), inputs)
        {
            let join = PointInTimeJoinExec::try_new(
                Arc::clone(entities),
                features.to_vec(),
                join.views().to_vec(),
            )?;
            return Ok(Some(Arc::new(join)));
        }
        if let (Some(latest), [input]) = (node.downcast_ref::<Latest>(), inputs) {
            let latest = LatestExec::try_new(Arc::clone(input), Arc::clone(latest.layout()))?;
            return Ok(Some(Arc::new(latest)));
        }
        if let (Some(transform), [input]) = (node.downcast_ref::<Transform>(), inputs) {
            let transform =
                TransformExec::try_new(Arc::clone(input), Arc::clone(transform.function()))?;
            return Ok(Some(Arc::new(transform)));
        }
        Ok(None)
    }
}
