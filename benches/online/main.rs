//! Online answers, side by side on this machine: ours, `feast serve`, and the limits.
//!
//! `make bench-online`. The same fifty features over five views of the same 10,000 entities, asked for
//! by the same client on the same number of connections. What each server answers is checked before
//! and, in part, after each load: the same values, all of them there. `UNSKEW_BENCH_SECONDS` is how
//! long each line is measured (3 where it is not set), in turns with the other lines of its case, so
//! that whatever else the machine does meanwhile is done to all. The ratios hold on other machines,
//! the times do not.
//!
//! The limits are an HTTP server that has our answer ready, and a bare client of Redis that fetches
//! rows of our size: on as many connections as the others, a request at a time on each; and on one
//! connection, with as many requests in one piece, which is more than any server can do that answers
//! each by itself.

mod limit;
mod load;
mod project;

use std::{env, net::SocketAddr, time::Duration};

use limit::{Canned, Redis};
use load::{Load, Outcome, Protocol, body};
use project::{Project, check, questions};

const CONNECTIONS: usize = 16;

/// In how many turns each line is measured.
const TURNS: u32 = 5;

/// How many processes Feast is served by: one for each of two cores.
const FEAST_WORKERS: &str = "2";

const OURS: &str = "ours";
const OURS_REDIS: &str = "ours, on Redis";
const FEAST: &str = "feast serve";
const HTTP: &str = "HTTP alone";
const BARE: &str = "Redis alone";
const ONE_PIECE: &str = "Redis, 16 in one";

fn main() {
    let ours = Project::new("");
    let redis = Redis::start(&ours.path("."));
    redis.fill();
    let on_redis = Project::new(&format!("[online]\nurl = \"{}\"\n", redis.url));
    let servers = [
        (OURS, ours.serve()),
        (OURS_REDIS, on_redis.serve()),
        (FEAST, ours.serve_feast(&redis.url, FEAST_WORKERS)),
    ];
    let mut lines = Lines::new();
    for (entities, on_demand) in cases() {
        let loads = servers.iter().map(|(who, server)| {
            let load = lines.http(server.address, entities, on_demand);
            (*who, load)
        });
        let mut loads: Vec<_> = loads.collect();
        let answers = lines.warm(&loads, entities, on_demand);
        // A server that has our answer ready.
        let canned = Canned::serve(answers[0].clone());
        loads.push((HTTP, lines.http(canned.address, entities, on_demand)));
        if !on_demand {
            loads.push((BARE, redis.load(entities, CONNECTIONS, lines.turn())));
        }
        lines.add_case(&loads, entities, on_demand);
    }
    lines.add_in_one_piece(&redis);
    lines.add_half_load(servers[0].1.address);
    lines.show_ratios();
}

const ENTITIES: [usize; 4] = [1, 10, 100, 500];

fn cases() -> impl Iterator<Item = (usize, bool)> {
    ENTITIES.into_iter().flat_map(|entities| [(entities, false), (entities, true)])
}

fn name(who: &str, entities: usize, on_demand: bool) -> String {
    let on_demand = if on_demand { " + on demand" } else { "" };
    format!("{who:18}{entities:>4}{on_demand}")
}

/// What was measured.
struct Lines {
    time: Duration,
    measured: Vec<(String, Outcome)>,
}

impl Lines {
    fn new() -> Self {
        let seconds = env::var("UNSKEW_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
        let time = Duration::from_secs_f64(seconds.unwrap_or(3.0));
        println!("{CONNECTIONS} connections, {} s a line", time.as_secs_f64());
        println!("{:34}{:>12}{:>10}{:>10}", "", "answers/s", "p50 ms", "p99 ms");
        Self { time, measured: Vec::new() }
    }

    /// How long a turn of a line is.
    fn turn(&self) -> Duration {
        self.time / TURNS
    }

    fn http(&self, address: SocketAddr, entities: usize, on_demand: bool) -> Load {
        Load {
            address,
            protocol: Protocol::Http,
            questions: questions(entities, on_demand),
            connections: CONNECTIONS,
            time: self.turn(),
            rate: None,
        }
    }

    /// The body of an answer of each; the first answers make plans and warm caches.
    fn warm(&self, loads: &[(&str, Load)], entities: usize, on_demand: bool) -> Vec<Vec<u8>> {
        let answer = |(_, load): &(&str, Load)| {
            let outcome = Load { time: self.time.mul_f64(0.1), ..load.clone() }.run();
            for (place, answer) in &outcome.kept {
                check(*place, entities, on_demand, answer);
            }
            body(&outcome.kept[0].1).to_vec()
        };
        loads.iter().map(answer).collect()
    }

    /// The lines of a case, by turns; the answers of feature servers are checked.
    fn add_case(&mut self, loads: &[(&str, Load)], entities: usize, on_demand: bool) {
        let mut outcomes: Vec<Outcome> = loads.iter().map(|(_, load)| load.run()).collect();
        for _ in 1..TURNS {
            for ((_, load), outcome) in loads.iter().zip(&mut outcomes) {
                outcome.add(load.run());
            }
        }
        for ((who, _), outcome) in loads.iter().zip(outcomes) {
            let is_limit = [HTTP, BARE].contains(who);
            for (place, answer) in outcome.kept.iter().filter(|_| !is_limit) {
                check(*place, entities, on_demand, answer);
            }
            self.keep(who, entities, on_demand, outcome);
        }
    }

    fn add_half_load(&mut self, address: SocketAddr) {
        let rate = Some(self.find(OURS, 1, false).rate() / 2.0);
        let load = Load { rate, time: self.time, ..self.http(address, 1, false) };
        self.keep("ours at half load", 1, false, load.run());
    }

    /// A bare client of Redis that asks for what sixteen requests ask for, in one piece.
    fn add_in_one_piece(&mut self, redis: &Redis) {
        let mut outcome = redis.load(CONNECTIONS, 1, self.time).run();
        outcome.time /= CONNECTIONS as u32;
        self.keep(ONE_PIECE, 1, false, outcome);
    }

    fn keep(&mut self, who: &str, entities: usize, on_demand: bool, outcome: Outcome) {
        let name = name(who, entities, on_demand);
        let (half, most) = (outcome.millis(0.5), outcome.millis(0.99));
        println!("{name:34}{:>12.0}{half:>10.2}{most:>10.2}", outcome.rate());
        self.measured.push((name, outcome));
    }

    fn find(&self, who: &str, entities: usize, on_demand: bool) -> &Outcome {
        let name = name(who, entities, on_demand);
        let line = self.measured.iter().find(|(other, _)| *other == name);
        &line.expect("every case was measured").1
    }

    fn show_ratios(&self) {
        println!("\nanswers/s of ours to those of others, p99 of feast serve to ours");
        println!("{:34}{:>9}{:>9}{:>9}{:>9}", "", "Feast", "p99", "HTTP", "Redis");
        for who in [OURS, OURS_REDIS] {
            for (entities, on_demand) in cases() {
                let ours = self.find(who, entities, on_demand);
                let feast = self.find(FEAST, entities, on_demand);
                println!(
                    "{:34}{:>9.1}{:>9.1}{:>9.2}{:>9.2}",
                    name(who, entities, on_demand),
                    ours.rate() / feast.rate(),
                    feast.millis(0.99) / ours.millis(0.99),
                    ours.rate() / self.find(HTTP, entities, on_demand).rate(),
                    ours.rate() / self.find(BARE, entities, false).rate()
                );
            }
        }
    }
}
