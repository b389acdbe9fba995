//! What was read, before it was checked. Where something is `None`, its problem was reported, so
//! that whoever depends on it has nothing to add.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::Value;

use crate::{
    definition::{About, CallLimits, Freshness, OnError, SourceData, Visible, problem::Located},
    error::{Error, Result},
    name::{FeatureRef, FunctionName, IDENTIFIER_RULE, is_identifier},
    time::Span,
    value::{DataType, Scalar},
};

/// Declarations of a kind by name, each with the place of its name.
pub(in crate::definition) type Nodes<T> = BTreeMap<String, Located<T>>;

#[derive(Debug)]
pub(in crate::definition) struct EntityNode {
    /// Those that could be read.
    pub(in crate::definition) join_keys: Nodes<DataType>,
    pub(in crate::definition) about: About,
}

#[derive(Debug)]
pub(in crate::definition) struct SourceNode {
    pub(in crate::definition) data: Option<Located<SourceData>>,
    pub(in crate::definition) timestamp: Option<Located<String>>,
    pub(in crate::definition) created: Option<Located<String>>,
    pub(in crate::definition) visible: Visible,
    pub(in crate::definition) about: About,
}

#[derive(Debug)]
pub(in crate::definition) struct FeatureViewNode {
    /// Those that could be read.
    pub(in crate::definition) entities: Vec<Located<String>>,
    pub(in crate::definition) source: Option<Located<String>>,
    pub(in crate::definition) ttl: Option<Span>,
    pub(in crate::definition) online: bool,
    pub(in crate::definition) freshness: Option<Located<Freshness>>,
    pub(in crate::definition) store: Option<Located<String>>,
    pub(in crate::definition) origin: Origin,
    pub(in crate::definition) features: Option<FeatureNodes>,
    pub(in crate::definition) about: About,
}

/// What the features of a feature view are made of.
#[derive(Debug)]
pub(in crate::definition) enum Origin {
    Columns,
    Function(Option<UseNode<String>>),
}

#[derive(Debug)]
pub(in crate::definition) struct OnDemandNode {
    pub(in crate::definition) transform: Option<UseNode<Binding>>,
    pub(in crate::definition) features: Option<FeatureNodes>,
    pub(in crate::definition) about: About,
}

/// A function put to use; what its inputs are bound to is written `B`.
#[derive(Debug)]
pub(in crate::definition) struct UseNode<B> {
    pub(in crate::definition) function: Located<FunctionName>,
    pub(in crate::definition) inputs: Vec<Bound<B>>,
    pub(in crate::definition) params: Vec<Bound<Value>>,
    pub(in crate::definition) on_error: OnError,
    pub(in crate::definition) limits: Option<Box<Located<CallLimits>>>,
}

/// An input or a param, and what it is given.
#[derive(Debug)]
pub(in crate::definition) struct Bound<B> {
    pub(in crate::definition) name: Located<String>,
    pub(in crate::definition) to: Option<Located<B>>,
}

/// What is written for an input of an on-demand feature view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::definition) enum Binding {
    Feature(FeatureRef),
    Request(String),
    EventTime,
}

/// The view name that would be taken for the request.
pub(in crate::definition) const REQUEST: &str = "request";

/// The input that is given the time of the row, and the word for that time.
pub(in crate::definition) const EVENT_TIME: &str = "event_time";

impl FromStr for Binding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == EVENT_TIME {
            return Ok(Self::EventTime);
        }
        match text.split_once(':') {
            Some((REQUEST, column)) if is_identifier(column) => {
                Ok(Self::Request(column.to_owned()))
            }
            Some((REQUEST, column)) => {
                Err(Error::invalid(format!("not a request column: {column:?}"))
                    .with_hint(IDENTIFIER_RULE))
            }
            _ => text.parse().map(Self::Feature).map_err(|_| {
                Error::invalid(format!("not an input: {text:?}"))
                    .with_hint("an input is \"view:feature\", \"request:column\" or \"event_time\"")
            }),
        }
    }
}

/// Features by name; `None` for one that could not be read.
pub(in crate::definition) type FeatureNodes = Nodes<Option<FeatureNode>>;

#[derive(Debug)]
pub(in crate::definition) struct FeatureNode {
    pub(in crate::definition) data_type: Located<DataType>,
    pub(in crate::definition) column: Located<String>,
    pub(in crate::definition) default: Option<Scalar>,
    pub(in crate::definition) description: String,
}

#[derive(Debug)]
pub(in crate::definition) struct ServiceNode {
    /// Those that could be read.
    pub(in crate::definition) features: Vec<Located<Member>>,
    pub(in crate::definition) about: About,
}

/// What is written for a feature of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::definition) enum Member {
    View(String),
    Feature(FeatureRef),
}

impl FromStr for Member {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_identifier(text) {
            return Ok(Self::View(text.to_owned()));
        }
        text.parse().map(Self::Feature).map_err(|_| {
            Error::invalid(format!("not a feature: {text:?}"))
                .with_hint("write \"view:feature\", or \"view\" for all its features")
        })
    }
}
