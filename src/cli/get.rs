//! `unskew get`.

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Verdict, client::FeatureServerClient, table::table};
use crate::{
    definition::retrieval::Wanted,
    error::{Error, Result},
    name::FeatureRef,
    serve::{FeatureServer, Request},
    server::{Remarks, answer_body},
    time::Timestamp,
};

/// Ask for features of some entities, as a service would.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    wanted: WantedArguments,
    /// An entity row: join keys and request data, as name=value[,name=value]. Repeat it for more.
    #[arg(long = "entity", value_name = "NAME=VALUE", required = true)]
    entities: Vec<String>,
    /// The time of the request; now, where it is not given.
    #[arg(long, value_name = "TIME")]
    event_time: Option<Timestamp>,
    /// Ask the server at this URL, instead of the project's online store.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Which features, and how they are called.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct WantedArguments {
    /// The features of this service.
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "features",
        conflicts_with = "features"
    )]
    service: Option<String>,
    /// These features: view:feature[,view:feature].
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<FeatureRef>,
    /// Call features view__feature.
    #[arg(long)]
    full_feature_names: bool,
}

impl WantedArguments {
    pub(super) fn wanted(&self) -> Wanted {
        match &self.service {
            Some(service) => Wanted::Service(service.clone()),
            None => Wanted::Features(self.features.clone()),
        }
    }

    pub(super) fn full_names(&self) -> bool {
        self.full_feature_names
    }
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let entities = columns(&self.entities)?;
        let answer = match &self.server {
            Some(url) => self.ask(url, &entities).await?,
            None => self.answer(context, entities).await?,
        };
        context.output.result(render(&answer), &answer)?;
        Ok(Verdict::Yes)
    }

    async fn ask(&self, url: &str, entities: &BTreeMap<String, Vec<Value>>) -> Result<Value> {
        let mut body =
            json!({"entities": entities, "full_feature_names": self.wanted.full_names()});
        match self.wanted.wanted() {
            Wanted::Service(service) => body["feature_service"] = service.into(),
            Wanted::Features(features) => body["features"] = json!(features),
        }
        if let Some(time) = self.event_time {
            body["event_time"] = time.to_string().into();
        }
        FeatureServerClient::new(url)?.post("/get-online-features", &body).await
    }

    async fn answer(
        &self,
        context: &Context,
        entities: BTreeMap<String, Vec<Value>>,
    ) -> Result<Value> {
        let app = context.app()?;
        let server = FeatureServer::new(Arc::new(app.in_force().await?), app.stores()?);
        let request = Request {
            max_rows: self.entities.len(),
            partial: false,
            entities,
            event_time: self.event_time.unwrap_or_else(Timestamp::now),
        };
        let prepared = server.prepare(&self.wanted.wanted(), self.wanted.full_names())?;
        let answer = server.answer(&prepared, &request).await?;
        let (snapshot, remarks) = (server.in_force().sequence, Remarks::default());
        let body = answer_body(&answer, snapshot, &remarks, usize::MAX)?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::internal(format!("an answer is no JSON: {error}")))
    }
}

/// Rows of `name=value` as columns.
fn columns(rows: &[String]) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut columns: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (before, row) in rows.iter().enumerate() {
        for pair in row.split(',') {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(Error::invalid(format!("not an entity row: {row:?}"))
                    .with_hint("an entity row is name=value[,name=value], as in customer_id=42"));
            };
            columns.entry(name.trim().to_owned()).or_default().push(value.into());
        }
        let uneven = columns.iter().find(|(_, values)| values.len() != before + 1);
        if let Some((name, _)) = uneven {
            return Err(Error::invalid(format!("not like the other entity rows: {row:?}"))
                .with_hint(format!("every row needs the same names, each once; see {name}")));
        }
    }
    Ok(columns)
}

/// The body of an answer as a table: a line for each feature, a column for each entity row.
fn render(answer: &Value) -> String {
    let names = answer["metadata"]["feature_names"].as_array().cloned().unwrap_or_default();
    let fingerprints = &answer["metadata"]["fingerprints"];
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let rows = results.first().and_then(|column| column["values"].as_array()).map_or(0, Vec::len);
    let mut headers = vec!["feature".to_owned()];
    headers.extend((0..rows).map(|row| format!("row {row}")));
    headers.push("fingerprint".to_owned());
    let line = |(place, column): (usize, &Value)| {
        let mut cells = vec![text(&names[place])];
        cells.extend((0..rows).map(|row| cell(column, row)));
        cells.push(
            fingerprints[place]
                .as_str()
                .map_or_else(String::new, |digest| digest.chars().take(19).collect()),
        );
        cells
    };
    let lines = results.iter().enumerate().take(names.len()).map(line).collect();
    let mut shown = table(&headers.iter().map(String::as_str).collect::<Vec<_>>(), lines);
    for error in answer["row_errors"].as_array().into_iter().flatten() {
        let (view, row) = (text(&error["view"]), &error["row"]);
        shown.push_str(&format!("\nrow {row} of {view}: {}", text(&error["message"])));
    }
    shown
}

fn cell(column: &Value, row: usize) -> String {
    let mut shown = text(&column["values"][row]);
    if let Some(status) = column["statuses"][row].as_str().filter(|status| *status != "PRESENT") {
        shown.push_str(&format!(" ({status})"));
    }
    let others = column["computed_by_other_definition"].as_array();
    if others.is_some_and(|others| others.contains(&row.into())) {
        shown.push_str(" (by another definition)");
    }
    shown
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Result<BTreeMap<String, Vec<Value>>> {
        columns(&rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rows_become_columns() {
        let check = |given: &[&str], expected: Value| {
            assert_eq!(json!(rows(given).unwrap()), expected, "{given:?}");
        };
        check(&["id=1"], json!({"id": ["1"]}));
        check(&["id=1,word=a=b", "word=, id=2"], json!({"id": ["1", "2"], "word": ["a=b", ""]}));
    }

    #[test]
    fn rows_have_the_same_names_each_once() {
        let check = |given: &[&str], expected: &str| {
            let error = rows(given).unwrap_err();
            assert_eq!(error.message(), expected, "{given:?}");
        };
        check(&["id"], "not an entity row: \"id\"");
        check(&["id=1", ""], "not an entity row: \"\"");
        check(&["id=1,word=a", "id=2"], "not like the other entity rows: \"id=2\"");
        check(&["id=1", "id=2,word=a", "id=3"], "not like the other entity rows: \"id=2,word=a\"");
        // As many values as rows, and none of them in its row.
        check(
            &["id=1,id=2,word=a", "word=b"],
            "not like the other entity rows: \"id=1,id=2,word=a\"",
        );
    }

    #[test]
    fn an_answer_of_any_shape_is_rendered() {
        let shown = render(&json!({
            "metadata": {"feature_names": ["id", "age"], "fingerprints": [null, "sha256:0123456789abcdef"]},
            "results": [
                {"values": [1, 2], "statuses": ["PRESENT", "PRESENT"]},
                {"values": [1.5, null], "statuses": ["PRESENT", "NOT_FOUND"],
                 "computed_by_other_definition": [0]},
            ],
            "row_errors": [{"view": "a", "row": 1, "message": "no"}],
        }));
        for expected in [
            "1.5 (by another definition)",
            "null (NOT_FOUND)",
            "sha256:0123456789ab",
            "row 1 of a: no",
        ] {
            assert!(shown.contains(expected), "{shown}");
        }
        assert_eq!(shown.matches("by another").count(), 1, "{shown}");
        assert!(!shown.contains("(PRESENT)") && !shown.contains("0123456789abc"), "{shown}");
        for odd in [
            json!(null),
            json!([]),
            json!({"results": [{}], "metadata": 1}),
            json!({"results": [1, {"values": [1]}], "metadata": {"feature_names": [1, 2, 3]}}),
            json!({"results": [{"values": [1, 2]}, {"values": []}],
                   "metadata": {"feature_names": ["a", "b"]}, "row_errors": [1]}),
        ] {
            render(&odd);
        }
    }
}
