//! Which server is the master of a service that sentinels watch.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;
use redis::cmd;
use tokio::sync::Mutex;

use super::{
    answer::Answer,
    options::{Address, RedisOptions},
    server::{Dialer, Lane, Server, Silence},
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
    /// Held by the one who asks the sentinels: when they answered.
    finding: Mutex<Option<Instant>>,
}

impl Sentinels {
    /// # Errors
    /// Those of [`Dialer::new`].
    pub(super) fn new(
        service: &str,
        options: Arc<RedisOptions>,
        dialer: Arc<Dialer>,
    ) -> Result<Self> {
        let to_sentinels = Dialer::new(&options, &options.sentinel, 0)?;
        Ok(Self {
            service: service.to_owned(),
            options,
            dialers: (to_sentinels, dialer),
            master: ArcSwapOption::empty(),
            finding: Mutex::default(),
        })
    }

    /// The master, as far as is known.
    pub(super) fn master(&self) -> Option<Arc<Server>> {
        self.master.load_full()
    }

    /// Asks the sentinels who the master is, unless that was done since `noticed`.
    ///
    /// # Errors
    /// The silence of the last sentinel, where none names a master.
    pub(super) async fn refresh(&self, noticed: Instant) -> Result<(), Silence> {
        let mut found = self.finding.lock().await;
        if found.is_some_and(|found| found >= noticed) {
            return Ok(());
        }
        let mut silence = Silence::Lost("there is no sentinel to ask".to_owned());
        for sentinel in &self.options.url.addresses {
            match self.ask(sentinel).await {
                Ok(master) => {
                    self.become_master(master);
                    *found = Some(Instant::now());
                    return Ok(());
                }
                Err(why) => silence = why,
            }
        }
        Err(silence)
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
        let dialer = &self.dialers.0;
        let connection = dialer.connect(sentinel).await?;
        let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service).to_owned();
        let question = question.get_packed_command().into();
        let answers = dialer.ask(&connection, Lane::Read, question, 1).await?;
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
