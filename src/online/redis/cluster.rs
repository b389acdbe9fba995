//! Which server has which slot of a Cluster.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use redis::cmd;

use super::{
    answer::Answer,
    discovery::{Discovery, first},
    layout::{SLOTS, Tag},
    options::{Address, RedisOptions},
    server::{Dialer, Server, Silence},
};

/// A Cluster: what its nodes say about who has what, kept up to date as they say otherwise.
#[derive(Debug)]
pub(super) struct Cluster {
    options: Arc<RedisOptions>,
    dialer: Arc<Dialer>,
    map: ArcSwap<SlotMap>,
    discovery: Discovery,
}

/// Who has what.
#[derive(Debug, Default)]
struct SlotMap {
    servers: Vec<Arc<Server>>,
    /// For each slot the place of its master among the servers.
    owners: Vec<Option<u16>>,
}

/// The first and last slot of ranges, and their masters.
type Ranges = Vec<(u16, u16, Address)>;

impl Cluster {
    pub(super) fn new(options: Arc<RedisOptions>, dialer: Dialer) -> Self {
        let discovery = Discovery::new(&options);
        Self { options, dialer: Arc::new(dialer), map: ArcSwap::default(), discovery }
    }

    /// The master of a tag's slot; none, where no node knows of one.
    pub(super) fn owner(&self, tag: Tag) -> Option<Arc<Server>> {
        let map = self.map.load();
        let place = *map.owners.get(usize::from(tag.slot()))?;
        map.servers.get(usize::from(place?)).cloned()
    }

    /// The server at an address that a node named.
    pub(super) fn server(&self, address: Address) -> Arc<Server> {
        let map = self.map.load();
        let known = map.servers.iter().find(|server| *server.address() == address);
        known.cloned().unwrap_or_else(|| self.open(address))
    }

    fn open(&self, address: Address) -> Arc<Server> {
        Arc::new(Server::new(address, Arc::clone(&self.dialer), &self.options))
    }

    /// The masters that have slots.
    pub(super) fn masters(&self) -> Vec<Arc<Server>> {
        self.map.load().servers.clone()
    }

    pub(super) fn is_known(&self) -> bool {
        !self.map.load().servers.is_empty()
    }

    /// Asks the nodes who has what, unless that was done since `noticed`.
    ///
    /// # Errors
    /// The silence of the last node that was asked, where none answers, for all who wanted to know.
    pub(super) async fn refresh(&self, noticed: Instant) -> Result<(), Silence> {
        self.discovery.since(noticed, self.find()).await
    }

    async fn find(&self) -> Result<(), Silence> {
        let mut nodes = self.masters();
        for seed in &self.options.url.addresses {
            if !nodes.iter().any(|node| node.address() == seed) {
                nodes.push(self.open(seed.clone()));
            }
        }
        let ranges = first(nodes.into_iter().map(|node| self.ask(node)).collect()).await?;
        self.map.store(Arc::new(self.map_of(ranges)));
        Ok(())
    }

    async fn ask(&self, node: Arc<Server>) -> Result<Ranges, Silence> {
        let slots = Bytes::from(cmd("CLUSTER").arg("SLOTS").get_packed_command());
        let limit = self.options.read_timeout;
        let answers = node.send_aside(limit, slots, 1).await?;
        let none = || format!("{} is no node of a Cluster that has its slots", node.address());
        parse(&answers, node.address()).ok_or_else(|| Silence::Lost(none()))
    }

    fn map_of(&self, ranges: Ranges) -> SlotMap {
        let mut map = SlotMap { servers: Vec::new(), owners: vec![None; usize::from(SLOTS)] };
        let mut places: BTreeMap<Address, u16> = BTreeMap::new();
        for (first, last, address) in ranges {
            let place = *places.entry(address.clone()).or_insert_with(|| {
                map.servers.push(self.server(address));
                (map.servers.len() - 1) as u16
            });
            for slot in first..=last {
                map.owners[usize::from(slot)] = Some(place);
            }
        }
        map
    }
}

/// The ranges of slots and their masters out of an answer to `CLUSTER SLOTS` by the node at
/// `asked`; `None` where it is no such, or there is no slot.
fn parse(answers: &[Answer], asked: &Address) -> Option<Ranges> {
    let [Answer::Array(ranges)] = answers else { return None };
    let range = |range: &Answer| {
        let Answer::Array(range) = range else { return None };
        let [Answer::Int(first), Answer::Int(last), Answer::Array(master), ..] = range.as_slice()
        else {
            return None;
        };
        let slot = |slot: &i64| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS);
        let [host, Answer::Int(port), ..] = master.as_slice() else { return None };
        let host = match host {
            Answer::Text(host) => str::from_utf8(host).ok()?,
            Answer::Status(host) => host,
            Answer::Nil => "",
            _ => return None,
        };
        // A node that does not know its own name leaves it out.
        let host = if host.is_empty() || host == "?" { &asked.host } else { host };
        let address = Address { host: host.to_owned(), port: u16::try_from(*port).ok()? };
        Some((slot(first)?, slot(last)?, address))
    };
    let ranges: Vec<_> = ranges.iter().map(range).collect::<Option<_>>()?;
    (!ranges.is_empty()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: Answer, port: i64) -> Answer {
        let master = Answer::Array(vec![host, Answer::Int(port), Answer::Status("id".into())]);
        Answer::Array(vec![Answer::Int(first), Answer::Int(last), master])
    }

    #[test]
    fn slots_are_read_and_nothing_else_is() {
        let asked = Address { host: "seed".to_owned(), port: 1 };
        let host = |name: &str| Answer::Text(Bytes::copy_from_slice(name.as_bytes()));
        let check = |answer: Answer, expect: Option<&[(u16, u16, &str)]>| {
            let found = parse(&[answer], &asked);
            let found = found.map(|ranges| {
                let shown = ranges.into_iter().map(|(a, b, address)| (a, b, address.to_string()));
                shown.collect::<Vec<_>>()
            });
            let expect = expect.map(|ranges| {
                let owned = ranges.iter().map(|(a, b, address)| (*a, *b, (*address).to_owned()));
                owned.collect::<Vec<_>>()
            });
            assert_eq!(found, expect);
        };
        check(
            Answer::Array(vec![range(0, 9, host("a"), 7), range(10, 16_383, host(""), 8)]),
            Some(&[(0, 9, "a:7"), (10, 16_383, "seed:8")]),
        );
        check(Answer::Array(vec![range(0, 9, Answer::Nil, 7)]), Some(&[(0, 9, "seed:7")]));
        check(Answer::Array(vec![]), None);
        check(Answer::Nil, None);
        check(Answer::Array(vec![range(0, 16_384, host("a"), 7)]), None);
        check(Answer::Array(vec![range(-1, 9, host("a"), 7)]), None);
        check(Answer::Array(vec![range(0, 9, host("a"), 70_000)]), None);
        check(Answer::Array(vec![Answer::Int(1)]), None);
        check(Answer::Array(vec![range(0, 9, Answer::Text(Bytes::from_static(&[0xff])), 7)]), None);
    }
}
