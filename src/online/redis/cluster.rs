//! Which server has which slot of a Cluster.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use redis::cmd;
use tokio::sync::Mutex;

use super::{
    answer::Answer,
    layout::{SLOTS, Tag},
    options::{Address, RedisOptions},
    server::{Dialer, Lane, Server, Silence},
};

/// A Cluster: what its nodes say about who has what, kept up to date as they say otherwise.
#[derive(Debug)]
pub(super) struct Cluster {
    options: Arc<RedisOptions>,
    dialer: Arc<Dialer>,
    map: ArcSwap<SlotMap>,
    /// Held by the one who asks the nodes: when the map was made.
    refreshing: Mutex<Option<Instant>>,
}

/// Who has what.
#[derive(Debug, Default)]
struct SlotMap {
    servers: Vec<Arc<Server>>,
    /// For each slot the place of its master among the servers.
    owners: Vec<Option<u16>>,
}

impl Cluster {
    pub(super) fn new(options: Arc<RedisOptions>, dialer: Arc<Dialer>) -> Self {
        Self { options, dialer, map: ArcSwap::default(), refreshing: Mutex::default() }
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
    /// The silence of the last node that was asked, where none answers.
    pub(super) async fn refresh(&self, noticed: Instant) -> Result<(), Silence> {
        let mut refreshed = self.refreshing.lock().await;
        if refreshed.is_some_and(|refreshed| refreshed >= noticed) {
            return Ok(());
        }
        let known = self.masters();
        let seeds = self.options.url.addresses.iter().map(|address| self.server(address.clone()));
        let mut silence = Silence::Lost("there is no node to ask".to_owned());
        let slots = Bytes::from(cmd("CLUSTER").arg("SLOTS").get_packed_command());
        for server in known.into_iter().chain(seeds) {
            let answered = server.send(Lane::Read, slots.clone(), 1).await;
            match answered.map(|answers| parse(&answers, server.address())) {
                Ok(Some(ranges)) => {
                    self.map.store(Arc::new(self.map_of(ranges)));
                    *refreshed = Some(Instant::now());
                    return Ok(());
                }
                Ok(None) => {
                    silence = Silence::Lost(format!(
                        "{} is no node of a Cluster that has its slots",
                        server.address()
                    ));
                }
                Err(why) => silence = why,
            }
        }
        Err(silence)
    }

    fn map_of(&self, ranges: Vec<(u16, u16, Address)>) -> SlotMap {
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
fn parse(answers: &[Answer], asked: &Address) -> Option<Vec<(u16, u16, Address)>> {
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
