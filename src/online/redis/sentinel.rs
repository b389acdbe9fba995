//! Which server is the master of a service that sentinels watch.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;
use redis::cmd;

use super::{
    answer::Answer,
    discovery::{Discovery, first},
    options::{Address, RedisOptions},
    server::{Dialer, Server, Silence, ask},
};
use crate::error::Result;

/// A service and its sentinels.
#[derive(Debug)]
pub(super) struct Sentinels {
    service: String,
    options: Arc<RedisOptions>,
    /// For the sentinels, and for the master that they name.
    dialers: (Dialer, Arc<Dialer>),
    master: ArcSwapOption<Server>,
    discovery: Discovery,
}

impl Sentinels {
    /// # Errors
    /// Those of [`Dialer::new`].
    pub(super) fn new(
        service: &str,
        options: Arc<RedisOptions>,
        to_master: Dialer,
    ) -> Result<Self> {
        let to_sentinels = Dialer::new(&options, &options.sentinel, 0)?;
        Ok(Self {
            service: service.to_owned(),
            discovery: Discovery::new(&options),
            options,
            dialers: (to_sentinels, Arc::new(to_master)),
            master: ArcSwapOption::empty(),
        })
    }

    /// The master, as far as is known.
    pub(super) fn master(&self) -> Option<Arc<Server>> {
        self.master.load_full()
    }

    /// Asks the sentinels who the master is, unless that was done since `noticed`.
    ///
    /// # Errors
    /// The silence of the last sentinel, where none names a master, for all who wanted to know.
    pub(super) async fn refresh(&self, noticed: Instant) -> Result<(), Silence> {
        self.discovery.since(noticed, self.find()).await
    }

    async fn find(&self) -> Result<(), Silence> {
        let sentinels = &self.options.url.addresses;
        let asked = sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
        self.become_master(first(asked).await?);
        Ok(())
    }

    fn become_master(&self, address: Address) {
        match self.master() {
            Some(server) if *server.address() == address => {
                // It may be another process, or have become a replica and a master again.
                server.disconnect();
            }
            _ => {
                let server = Server::new(address, Arc::clone(&self.dialers.1), &self.options);
                self.master.store(Some(Arc::new(server)));
            }
        }
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, Silence> {
        let connection = self.dialers.0.connect(sentinel).await?;
        let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service).to_owned();
        let question = question.get_packed_command().into();
        let answers = ask(&connection, self.options.read_timeout, question, 1).await?;
        let unknown = || format!("sentinel {sentinel} knows no master of {:?}", self.service);
        answers.first().and_then(parse).ok_or_else(|| Silence::Lost(unknown()))
    }
}

fn parse(answer: &Answer) -> Option<Address> {
    let Answer::Array(parts) = answer else { return None };
    let [Answer::Text(host), Answer::Text(port)] = parts.as_slice() else { return None };
    let port = str::from_utf8(port).ok()?.parse().ok()?;
    Some(Address { host: str::from_utf8(host).ok()?.to_owned(), port })
}
