//! Queries over other sources.

use std::sync::Arc;

use datafusion::{
    catalog::TableProvider,
    common::{
        TableReference,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::context::SQLOptions,
    logical_expr::{Expr, LogicalPlan, Volatility},
    prelude::SessionContext,
    sql::parser::Statement,
};

use super::serial::SerialQuery;
use crate::{
    error::{Error, Result},
    offline::errors::{external, from_datafusion},
};

/// The reference to a table by its bare name.
pub(super) fn bare(table: &str) -> TableReference {
    TableReference::bare(table)
}

/// A query that was parsed.
pub(super) struct Query {
    statement: Statement,
    reads: Vec<String>,
}

impl Query {
    pub(super) fn parse(context: &SessionContext, sql: &str) -> Result<Self> {
        let state = context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(from_datafusion)?;
        let references = state.resolve_table_references(&statement).map_err(from_datafusion)?;
        let reads = references.iter().map(ToString::to_string).collect();
        Ok(Self { statement, reads })
    }

    /// What it reads from, by the names it gives.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.reads.iter().map(String::as_str)
    }

    /// The query as a table; what it reads from are tables already.
    pub(super) async fn plan(self, context: &SessionContext) -> Result<Arc<dyn TableProvider>> {
        let plan =
            context.state().statement_to_plan(self.statement).await.map_err(from_datafusion)?;
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        read_only.verify_plan(&plan).map_err(from_datafusion)?;
        refuse_changing(&plan).map_err(from_datafusion)?;
        Ok(Arc::new(SerialQuery::new(plan, context)))
    }
}

/// An error where the query calls a function whose result is not given by its arguments: the same
/// request has to give the same rows tomorrow.
fn refuse_changing(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    let refuse = |expression: &Expr| match expression {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            let name = call.func.name();
            Err(external(
                Error::invalid(format!(
                    "the query calls {name}(), whose result changes from run to run"
                ))
                .with_hint(
                    "the same training dataset has to come out tomorrow; let the time be a column",
                ),
            ))
        }
        _ => Ok(TreeNodeRecursion::Continue),
    };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| expression.apply(refuse))
    })?;
    Ok(())
}
