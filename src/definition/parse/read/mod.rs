//! Tables of definitions, made nodes.

mod view;

use super::{
    node::{EntityNode, Member, Nodes, ServiceNode, SourceNode},
    table::{Key, Table, Value},
};
use crate::{
    definition::{
        About, SourceData, Visible,
        problem::{Located, Problems},
    },
    error::{Context, Error, Result},
    name::{IDENTIFIER_RULE, is_identifier},
    value::DataType,
};

pub(super) use view::{feature_view, on_demand};

const DESCRIPTION: Key = Key::optional("description", "description = \"what it means\"");
const OWNER: Key = Key::optional("owner", "owner = \"growth@example.com\"");
const TEAM: Key = Key::optional("team", "team = \"growth\"");
const TAGS: Key = Key::optional("tags", "tags = [\"churn\"]");

const JOIN_KEYS: Key = Key::required("join_keys", "join_keys = { customer_id = \"int64\" }");

const PATH: Key = Key::optional("path", "path = \"data/orders.parquet\"");
const VERSION: Key = Key::optional("version", "version = 12");
const SQL: Key = Key::optional("sql", "sql = \"SELECT * FROM orders\"");
const TIMESTAMP: Key = Key::required("timestamp", "timestamp = \"ordered_at\"");
const CREATED: Key = Key::optional("created", "created = \"written_at\"");
const VISIBLE: Key = Key::optional("visible", "visible = \"created\"");

const MEMBERS: Key = Key::required("features", "features = [\"purchases:spend_30d\", \"basket\"]");

fn about(table: &mut Table) -> About {
    let mut text = |key| table.string(key).map(|text| text.value).unwrap_or_default();
    let (description, owner, team) = (text(DESCRIPTION), text(OWNER), text(TEAM));
    let tags = table.strings(TAGS).unwrap_or_default();
    About { description, owner, team, tags: tags.into_iter().map(|tag| tag.value).collect() }
}

pub(super) fn entity(mut table: Table) -> EntityNode {
    let at = table.place_of(JOIN_KEYS);
    let entries = table.entries(JOIN_KEYS);
    if let (Some(at), Some([])) = (at, entries.as_deref()) {
        table.refuse(JOIN_KEYS, at, "empty", "a table of names and types");
    }
    let join_keys = entries.into_iter().flatten().filter_map(|(name, value)| {
        let what = format!("join key \"{}\"", name.value);
        check_name(&what, &name, table.problems);
        let data_type = data_type_of(&mut table, &what, JOIN_KEYS.example, value)?;
        let allowed = key_type(&what, data_type.value);
        table.problems.take(data_type.at, allowed)?;
        Some((name.value, data_type))
    });
    let join_keys: Nodes<DataType> = join_keys.collect();
    let about = about(&mut table);
    table.finish();
    EntityNode { join_keys, about }
}

fn key_type(what: &str, data_type: DataType) -> Result<()> {
    if data_type.is_join_key() {
        return Ok(());
    }
    let right = DataType::ALL.into_iter().filter(|right| right.is_join_key());
    let right: Vec<_> = right.map(DataType::name).collect();
    Err(Error::invalid(format!("{what} cannot be {data_type}"))
        .with_hint(format!("a join key is one of: {}", right.join(", "))))
}

pub(super) fn source(mut table: Table) -> SourceNode {
    let created_at = table.place_of(CREATED);
    let visible_at = table.place_of(VISIBLE);
    let node = SourceNode {
        data: source_data(&mut table),
        timestamp: table.string(TIMESTAMP),
        created: table.string(CREATED),
        visible: table
            .word(VISIBLE, &[("event", Visible::Event), ("created", Visible::Created)])
            .unwrap_or_default(),
        about: about(&mut table),
    };
    if let (Visible::Created, Some(at), None) = (node.visible, visible_at, created_at) {
        let error = Error::invalid(format!(
            "{} is visible from its created time on, and does not say which column that is",
            table.what
        ));
        table.problems.add(at, error.with_hint("add created = \"written_at\""));
    }
    table.finish();
    node
}

fn source_data(table: &mut Table) -> Option<Located<SourceData>> {
    let places = (table.place_of(PATH), table.place_of(SQL));
    let path = table.string(PATH);
    let version = table.integer(VERSION);
    let sql = table.string(SQL);
    if let (Some(version), true) = (&version, sql.is_some()) {
        let error = Error::invalid(format!("{} is a query, and has no version", table.what));
        let hint =
            "the version is that of a Delta table: give it to the source that the query reads";
        table.problems.add(version.at, error.with_hint(hint));
    }
    match places {
        (None, None) => {
            let error = Error::invalid(format!("{} has neither \"path\" nor \"sql\"", table.what));
            let hint = "add path = \"data/orders.parquet\", or a query over other sources";
            table.problems.add(table.at, error.with_hint(hint));
        }
        (Some(_), Some(at)) => {
            let error = Error::invalid(format!("{} has both \"path\" and \"sql\"", table.what));
            let hint = "a query names the sources that it reads: make two sources of this one";
            table.problems.add(at, error.with_hint(hint));
            return None;
        }
        _ => {}
    }
    let data = |text: Located<String>, make: fn(String) -> SourceData| Located {
        value: make(text.value),
        at: text.at,
    };
    let path = path.map(|path| match &version {
        Some(version) => Located {
            value: SourceData::Version { path: path.value, version: version.value },
            at: path.at,
        },
        None => data(path, SourceData::Path),
    });
    path.or(sql.map(|sql| data(sql, |query| SourceData::Sql(query.trim().to_owned()))))
}

pub(super) fn service(mut table: Table) -> ServiceNode {
    let at = table.place_of(MEMBERS);
    let features = table.strings(MEMBERS);
    if let (Some(at), Some([])) = (at, features.as_deref()) {
        table.refuse(MEMBERS, at, "empty", "a list of features");
    }
    let members = features.into_iter().flatten().filter_map(|text| {
        let member = text.value.parse::<Member>().context(|| table.what.clone());
        let value = table.problems.take(text.at, member)?;
        Some(Located { value, at: text.at })
    });
    let features = members.collect();
    let about = about(&mut table);
    table.finish();
    ServiceNode { features, about }
}

/// A type, of what messages call `what`.
fn data_type_of(
    table: &mut Table,
    what: &str,
    example: &str,
    value: Value,
) -> Option<Located<DataType>> {
    let text = table.text(what, example, value)?;
    let data_type = text.value.parse::<DataType>().context(|| what);
    let value = table.problems.take(text.at, data_type)?;
    Some(Located { value, at: text.at })
}

/// Reports a name that is none.
pub(super) fn check_name(what: &str, name: &Located<String>, problems: &mut Problems) {
    if !is_identifier(&name.value) {
        let error = Error::invalid(format!("not a name: {what}"));
        problems.add(name.at, error.with_hint(IDENTIFIER_RULE));
    }
}
