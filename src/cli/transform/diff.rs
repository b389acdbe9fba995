//! `unskew transform diff`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use serde_json::json;

use super::{
    Context, Found, Verdict, find, load,
    run::{given_params, pairs, refuse_missing},
};
use crate::{
    definition::{CallLimits, OnError, State},
    diff::{Comparison, Data, Difference, Reach, reach},
    digest::Digest,
    error::{Error, Result, did_you_mean},
    evaluate::{Binding, Evaluation},
    value::{Field, Scalar},
    wasm::Transform,
};

/// Compare two versions of a transform over real rows: which change, by how much, and for whom.
///
/// Exits with 1 when anything differs.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// The first version: team/name@version, a digest, a component's file or a crate's folder.
    before: String,
    /// The second version, named in the same ways.
    after: String,
    /// The Parquet file, or a folder of them, with the rows; columns are taken by input names.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Compare this function only.
    #[arg(long)]
    function: Option<String>,
    /// A constant for a param: name=value; by default the one that a definition in force gives.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The column for an input, where its name is another: input=column.
    #[arg(long = "column", value_name = "INPUT=COLUMN")]
    columns: Vec<String>,
}

/// A function that was compared, or why it was not.
struct Compared {
    name: String,
    found: std::result::Result<Difference, Missing>,
}

enum Missing {
    /// Only one version has it: a difference.
    Function(&'static str),
    /// The data cannot tell.
    Column(String),
}

impl Diff {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let (before, after) =
            (find(context, &self.before).await?, find(context, &self.after).await?);
        let (one, two) = (load(context, &before)?, load(context, &after)?);
        let state = in_force(context).await?;
        let data = Data::open(&self.data)?;
        let names = self.functions(&one, &two)?;
        let compared = names.into_iter().map(|name| {
            let found = self.compare(&name, [&one, &two], &state, &data)?;
            Ok(Compared { name, found })
        });
        let compared: Vec<Compared> = compared.collect::<Result<_>>()?;
        if let [Compared { name, found: Err(Missing::Column(column)) }, rest @ ..] = &compared[..]
            && rest.iter().all(|other| matches!(other.found, Err(Missing::Column(_))))
        {
            return Err(Error::invalid(format!(
                "nothing compared: {} has no column \"{column}\" for {name}",
                self.data.display()
            ))
            .with_hint(did_you_mean(column, data.columns())));
        }
        let changed: BTreeSet<String> = compared
            .iter()
            .filter(|compared| compared.differs())
            .map(|compared| compared.name.clone())
            .collect();
        let reached = reach(&state, &[one.digest(), two.digest()], &changed);
        let text = self.show(&compared, &reached, [&before, &after], [one.digest(), two.digest()]);
        let functions = compared.iter().map(|Compared { name, found }| match found {
            Ok(difference) => json!({"function": name, "difference": difference}),
            Err(Missing::Function(what)) => json!({"function": name, "only": what}),
            Err(Missing::Column(column)) => json!({"function": name, "missing_column": column}),
        });
        let data = json!({
            "before": one.digest(), "after": two.digest(), "identical": changed.is_empty(),
            "functions": functions.collect::<Vec<_>>(), "reached": reached,
        });
        context.output.result(text, &data)?;
        Ok(if changed.is_empty() { Verdict::Yes } else { Verdict::No })
    }

    /// The functions to compare: the one that was asked for, or all of both.
    fn functions(&self, one: &Transform, two: &Transform) -> Result<Vec<String>> {
        if let Some(name) = &self.function {
            one.function(name)?;
            two.function(name)?;
            return Ok(vec![name.clone()]);
        }
        let mut names: Vec<String> = Vec::new();
        for function in one.functions().iter().chain(two.functions()) {
            if !names.contains(&function.name) {
                names.push(function.name.clone());
            }
        }
        Ok(names)
    }

    fn compare(
        &self,
        name: &str,
        [one, two]: [&Arc<Transform>; 2],
        state: &State,
        data: &Data,
    ) -> Result<std::result::Result<Difference, Missing>> {
        let (Ok(_), Ok(_)) = (one.function(name), two.function(name)) else {
            let only = if one.function(name).is_ok() { "before" } else { "after" };
            return Ok(Err(Missing::Function(only)));
        };
        let before = self.evaluation(name, one, state)?;
        let after = self.evaluation(name, two, state)?;
        let mut columns: Vec<&str> =
            before.inputs().chain(after.inputs()).map(|(column, _)| column).collect();
        columns.sort_unstable();
        columns.dedup();
        let has = |name: &str| data.columns().any(|column| column == name);
        if let Some(missing) = columns.iter().find(|column| !has(column)) {
            return Ok(Err(Missing::Column((*missing).to_owned())));
        }
        let mut comparison = Comparison::new(&before, &after);
        for batch in data.batches(&columns) {
            comparison.add(&batch?)?;
        }
        Ok(Ok(comparison.finish()))
    }

    /// The function with all its outputs, on the columns of the data.
    fn evaluation(
        &self,
        name: &str,
        transform: &Arc<Transform>,
        state: &State,
    ) -> Result<Evaluation> {
        let signature = &transform.functions()[transform.function(name)?];
        let mut params = params_in_force(state, transform.digest(), name);
        params.retain(|name, _| signature.params.iter().any(|field| field.name == *name));
        params.extend(given_params(&self.params, signature)?);
        refuse_missing(&params, signature)?;
        let same = |field: &Field| (field.name.clone(), field.name.clone());
        let mut inputs: BTreeMap<String, String> = signature.inputs.iter().map(same).collect();
        for (input, column) in pairs(&self.columns)? {
            if let Some(place) = inputs.get_mut(&input) {
                *place = column;
            }
        }
        let binding = Binding {
            function: name.to_owned(),
            params,
            inputs,
            outputs: signature.outputs.iter().map(same).collect(),
            on_error: OnError::Null,
            limits: CallLimits::default(),
        };
        Evaluation::new(Arc::clone(transform), &binding)
    }

    fn show(
        &self,
        compared: &[Compared],
        reached: &Reach,
        found: [&Found; 2],
        digests: [Digest; 2],
    ) -> String {
        let typed = [&self.before, &self.after];
        let name = |place: usize| {
            let name = found[place].name.as_ref().map(ToString::to_string);
            format!("{} ({})", name.as_ref().unwrap_or(typed[place]), digests[place].short())
        };
        let mut text = format!("{} → {} over {}\n", name(0), name(1), self.data.display());
        compared.iter().for_each(|compared| compared.show(&mut text));
        let Reach { views, services } = reached;
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        if !views.is_empty() {
            let _ = writeln!(text, "reaches the views {}", list(views));
        }
        if !services.is_empty() {
            let _ = writeln!(text, "reaches the feature services {}", list(services));
        }
        text
    }
}

impl Compared {
    fn differs(&self) -> bool {
        match &self.found {
            Ok(difference) => !difference.is_none(),
            Err(Missing::Function(_)) => true,
            Err(Missing::Column(_)) => false,
        }
    }

    fn show(&self, text: &mut String) {
        let name = &self.name;
        let difference = match &self.found {
            Ok(difference) => difference,
            Err(Missing::Function(only)) => {
                let what = if *only == "before" { "is gone" } else { "is new" };
                let _ = writeln!(text, "{name} {what}");
                return;
            }
            Err(Missing::Column(column)) => {
                let _ =
                    writeln!(text, "{name} is not compared: the data has no column \"{column}\"");
                return;
            }
        };
        let Difference { rows, changed, signature, outputs, examples, .. } = difference;
        let _ = writeln!(text, "{name}: {changed} of {rows} rows change");
        for what in signature {
            let _ = writeln!(text, "  {what}");
        }
        for output in outputs.iter().filter(|output| output.changed > 0) {
            let _ = write!(
                text,
                "  {}: {} rows; {} nulls appear, {} vanish; {} with NaN on one side",
                output.name, output.changed, output.nulls_appear, output.nulls_vanish, output.nan
            );
            let _ = match output.largest_ulps {
                Some(ulps) => writeln!(text, "; at most {ulps} units in the last place apart"),
                None => writeln!(text),
            };
        }
        let errors = [difference.errors_appear, difference.errors_vanish, difference.errors_change];
        if errors != [0; 3] {
            let [appear, vanish, change] = errors;
            let _ = writeln!(text, "  errors: {appear} appear, {vanish} vanish, {change} change");
        }
        for example in examples {
            let _ = writeln!(
                text,
                "  row {}: {}\n    before: {}\n    after:  {}",
                example.row, example.inputs, example.before, example.after
            );
        }
    }
}

/// What is in force; nothing where there is no project, or nothing was applied.
async fn in_force(context: &Context) -> Result<State> {
    let Ok(app) = context.app() else { return Ok(State::default()) };
    let newest = app.registry()?.newest().await?;
    Ok(newest.map(|snapshot| snapshot.state).unwrap_or_default())
}

/// The params that a definition in force gives a function, where one uses it.
fn params_in_force(state: &State, digest: Digest, function: &str) -> BTreeMap<String, Scalar> {
    let definitions = &state.definitions;
    let stored = definitions
        .feature_views
        .values()
        .filter_map(|view| view.transform.as_ref())
        .map(|used| (&used.function, &used.params));
    let on_demand = definitions
        .on_demand_feature_views
        .values()
        .map(|view| (&view.transform.function, &view.transform.params));
    let uses = |(name, _): &(&crate::name::FunctionName, _)| {
        let pinned = state.transforms.get(&name.transform);
        name.function == function && pinned.is_some_and(|pinned| pinned.digest == digest)
    };
    let found = stored.chain(on_demand).find(uses);
    found.map(|(_, params)| params.clone()).unwrap_or_default()
}
