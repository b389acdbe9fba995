//! Cards for people: no colour, no borders, each fact on a line of its own.

use std::{collections::BTreeMap, fmt};

use super::card::{Card, FeatureCard, FeatureLine, Making, Shown, SourceCard, Used, ViewCard};
use crate::{
    definition::{About, OnError, SourceData, Visible},
    value::{DataType, Scalar},
};

/// The card in text, ending with a line break.
impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().0)
    }
}

/// The cards, an empty line between two; or the candidates, one a line.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cards(cards) => {
                let cards: Vec<String> = cards.iter().map(Card::to_string).collect();
                f.write_str(&cards.join("\n"))
            }
            Self::Candidates(entries) => {
                writeln!(f, "several views have it; one of these is meant:")?;
                entries.iter().try_for_each(|entry| writeln!(f, "  {}", entry.name))
            }
        }
    }
}

impl Card {
    fn text(&self) -> Text {
        match self {
            Self::FeatureView(card) => view("feature view", card),
            Self::OnDemandFeatureView(card) => view("on-demand feature view", card),
            Self::Feature(card) => feature(card),
            Self::FeatureService(card) => Text::titled("feature service", &card.name)
                .about(&card.about)
                .list("join keys", &typed(&card.join_keys))
                .list("request", &typed(&card.request))
                .features(&card.features),
            Self::Entity(card) => Text::titled("entity", &card.name)
                .about(&card.about)
                .list("join keys", &typed(&card.join_keys))
                .list("views", &card.views),
            Self::Source(card) => source(card),
            Self::Function(card) => Text::titled("function", &card.name.to_string())
                .paragraph(&card.signature.documentation)
                .fact("signature", &card.signature.to_string())
                .fact("digest", &card.digest.to_string())
                .list("views", &card.views),
        }
    }
}

fn view(kind: &str, card: &ViewCard) -> Text {
    Text::titled(kind, &card.name)
        .about(&card.about)
        .making(&card.making)
        .list("services", &card.services)
        .list("read by", &card.read_by)
        .features(&card.features)
}

fn feature(card: &FeatureCard) -> Text {
    Text::titled("feature", &card.line.name)
        .paragraph(&card.line.description)
        .fact("owner", &card.owner)
        .fact("team", &card.team)
        .list("tags", &card.tags)
        .fact("type", card.line.data_type.name())
        .fact("default", &shown(card.line.default.as_ref().map(Scalar::json)))
        .making(&card.making)
        .fact("column", &card.column)
        .list("services", &card.services)
        .list("read by", &card.read_by)
        .fact("fingerprint", &shown(card.line.fingerprint))
}

fn source(card: &SourceCard) -> Text {
    let text = Text::titled("source", &card.name).about(&card.about);
    let text = match &card.data {
        SourceData::Path(path) => text.fact("path", path),
        SourceData::Version { path, version } => {
            text.fact("path", path).fact("version", &version.to_string())
        }
        SourceData::Sql(sql) => text.block("sql", sql),
    };
    let visible = match card.visible {
        Visible::Event => "from its event time on",
        Visible::Created => "from its created time on",
    };
    text.fact("timestamp", &card.timestamp)
        .fact("created", card.created.as_deref().unwrap_or_default())
        .fact("visible", visible)
        .list("views", &card.views)
}

/// How far the facts stand from the margin: the longest label and a space.
const INDENT: usize = 13;

/// A card in the making.
struct Text(String);

impl Text {
    fn titled(kind: &str, name: &str) -> Self {
        Self(format!("{kind} {name}\n"))
    }

    fn about(self, about: &About) -> Self {
        self.paragraph(&about.description)
            .fact("owner", &about.owner)
            .fact("team", &about.team)
            .list("tags", &about.tags)
    }

    fn making(self, making: &Making) -> Self {
        let online = match (making.online, &making.source) {
            (true, Some(_)) => "yes, materialized",
            (true, None) => "yes, computed when it is asked for",
            (false, _) => "no",
        };
        let ttl = shown(making.ttl);
        let text = self
            .list("entities", &making.entities)
            .list("join keys", &typed(&making.join_keys))
            .list("request", &typed(&making.request))
            .fact("source", making.source.as_deref().unwrap_or_default())
            .fact("ttl", if making.source.is_some() && ttl.is_empty() { "none" } else { &ttl })
            .fact("online", online)
            .fact("store", making.store.as_deref().unwrap_or_default());
        match &making.transform {
            Some(used) => text.used(used),
            None => text,
        }
    }

    fn used(self, used: &Used) -> Self {
        let inputs = used.inputs.iter().map(|(input, given)| format!("{input} = {given}"));
        let params = used.params.iter().map(|(param, value)| format!("{param} = {}", value.json()));
        let on_error = match used.on_error {
            OnError::Null => "",
            OnError::Fail => "the call fails",
        };
        self.fact("transform", &used.function.to_string())
            .fact("digest", &shown(used.digest))
            .fact("computes", &used.documentation)
            .list("inputs", &inputs.collect::<Vec<_>>())
            .list("params", &params.collect::<Vec<_>>())
            .fact("on error", on_error)
    }

    fn paragraph(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.0 += &format!("{}\n", text.trim());
        }
        self
    }

    /// A label and what stands behind it; nothing where there is nothing to say.
    fn fact(mut self, label: &str, value: &str) -> Self {
        if !value.is_empty() {
            let value = value.trim().replace('\n', &format!("\n{:INDENT$}", ""));
            self.0 += &format!("{label:INDENT$}{value}\n");
        }
        self
    }

    fn list(self, label: &str, values: &[String]) -> Self {
        self.fact(label, &values.join(", "))
    }

    fn block(mut self, label: &str, text: &str) -> Self {
        self.0 += &format!("{label}\n");
        for line in text.trim().lines() {
            self.0 += &format!("    {line}\n");
        }
        self
    }

    /// One feature a line, in columns; its description under it.
    fn features(mut self, features: &[FeatureLine]) -> Self {
        let name = features.iter().map(|line| line.name.len()).max().unwrap_or_default();
        let typed =
            features.iter().map(|line| line.data_type.name().len()).max().unwrap_or_default();
        self.0 += "features\n";
        for line in features {
            let mut text = format!("  {:name$}  {:typed$}", line.name, line.data_type);
            if let Some(fingerprint) = line.fingerprint {
                text += &format!("  {}", fingerprint.short());
            }
            if let Some(default) = &line.default {
                text += &format!("  default {}", default.json());
            }
            self.0 += text.trim_end();
            self.0.push('\n');
            if !line.description.is_empty() {
                self.0 += &format!("      {}\n", line.description.replace('\n', "\n      "));
            }
        }
        self
    }
}

fn shown(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn typed(columns: &BTreeMap<String, DataType>) -> Vec<String> {
    columns.iter().map(|(name, data_type)| format!("{name} ({data_type})")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{show, testing};
    use crate::digest::Digest;

    fn check(name: &str, expected: &str) {
        let shown = show(&testing::state(), name, |_| Some(Digest::of("fingerprint"))).unwrap();
        assert_eq!(shown.to_string(), expected);
    }

    #[test]
    fn a_feature() {
        check(
            "user_age:years",
            "feature user_age:years
owner        ada@example.com
team         growth
type         float64
entities     customer
join keys    customer_id (int64)
online       yes, computed when it is asked for
transform    commerce/user_age@1.0.0#years_since_registration
digest       sha256:06f2e60a4324ce79068ded0cbbfa51594f1aa5f4aa5c213a8c42130e9c144a80
computes     Years of the Gregorian calendar.
inputs       event_time = event_time, registered_at = purchases:first_purchase_at
column       years
services     churn
fingerprint  sha256:44863b03e9909b7100e05b02526909a346fd7455183f6619e0fe6198c89981e0
",
        );
    }

    #[test]
    fn a_view() {
        check(
            "purchases",
            "feature view purchases
What a customer did spend.
owner        ada@example.com
team         growth
tags         money
entities     customer
join keys    customer_id (int64)
source       orders
ttl          365d
online       yes, materialized
services     churn
read by      user_age
features
  first_purchase_at  timestamp  sha256:44863b03e990
  spend_30d          float64    sha256:44863b03e990  default 0.0
      In dollars.
",
        );
    }

    #[test]
    fn a_service() {
        check(
            "churn",
            "feature service churn
owner        growth@example.com
join keys    customer_id (int64)
features
  purchases:spend_30d  float64  sha256:44863b03e990  default 0.0
      In dollars.
  user_age:years       float64  sha256:44863b03e990
",
        );
    }

    #[test]
    fn a_source() {
        check(
            "orders",
            "source orders
Every purchase.
owner        ada@example.com
team         growth
path         data/orders.parquet
timestamp    ordered_at
visible      from its event time on
views        basket, purchases
",
        );
    }
}
