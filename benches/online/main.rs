//! Online answers, side by side on this machine: ours, `feast serve`, and a bare client of Redis.
//!
//! `make bench-online`. The same fifty features over five views of the same 10,000 entities, asked for
//! by the same client on the same number of connections. `UNSKEW_BENCH_SECONDS` is how long each line
//! is measured (3 where it is not set). The ratios hold on other machines, the times do not.

mod limit;
mod load;
mod project;

use std::{env, time::Duration};

use limit::Redis;
use load::{Outcome, http};
use project::{Project, bodies};

const CONNECTIONS: usize = 16;

/// How many processes Feast is served by: one for each of two cores.
const FEAST_WORKERS: &str = "2";

#[tokio::main]
async fn main() {
    let seconds = env::var("UNSKEW_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    let ours = Project::new("");
    let redis = Redis::start(&ours.path(".")).await;
    redis.fill().await;
    println!("{CONNECTIONS} connections, {} s a line", time.as_secs_f64());
    println!("{:34}{:>12}{:>10}{:>10}", "", "answers/s", "p50 ms", "p99 ms");
    let mut lines = Lines::default();
    {
        let server = ours.serve();
        for (entities, on_demand) in cases() {
            let bodies = bodies(entities, on_demand);
            // The first answers make plans and warm caches.
            http(server.address, &bodies, CONNECTIONS, time.mul_f64(0.1), None).await;
            let outcome = http(server.address, &bodies, CONNECTIONS, time, None).await;
            lines.add("ours", entities, on_demand, outcome);
        }
        let full = lines.find("ours", 1, false).rate;
        let half =
            http(server.address, &bodies(1, false), CONNECTIONS, time, Some(full / 2.0)).await;
        lines.add("ours at half load", 1, false, half);
    }
    for entities in [1, 10, 100, 500] {
        lines.add("bare Redis", entities, false, redis.fetch(entities, CONNECTIONS, time).await);
    }
    {
        let server = ours.serve_feast(&redis.url, FEAST_WORKERS);
        for (entities, on_demand) in cases() {
            let bodies = bodies(entities, on_demand);
            http(server.address, &bodies, CONNECTIONS, time.mul_f64(0.1), None).await;
            let outcome = http(server.address, &bodies, CONNECTIONS, time, None).await;
            lines.add("feast serve", entities, on_demand, outcome);
        }
    }
    println!(
        "\nratios: answers/s of ours to Feast's, p99 of Feast's to ours, answers/s of ours to bare Redis"
    );
    for (entities, on_demand) in cases() {
        let (ours, feast) = (
            lines.find("ours", entities, on_demand),
            lines.find("feast serve", entities, on_demand),
        );
        let bare = lines.find("bare Redis", entities, false);
        println!(
            "{:34}{:>12.1}{:>10.1}{:>10.2}",
            name("", entities, on_demand),
            ours.rate / feast.rate,
            feast.millis(0.99) / ours.millis(0.99),
            ours.rate / bare.rate
        );
    }
}

fn cases() -> impl Iterator<Item = (usize, bool)> {
    [1, 10, 100, 500].into_iter().flat_map(|entities| [(entities, false), (entities, true)])
}

fn name(who: &str, entities: usize, on_demand: bool) -> String {
    let on_demand = if on_demand { " + on demand" } else { "" };
    format!("{who:18}{entities:>4}{on_demand}")
}

#[derive(Default)]
struct Lines(Vec<(String, Outcome)>);

impl Lines {
    fn add(&mut self, who: &str, entities: usize, on_demand: bool, outcome: Outcome) {
        let name = name(who, entities, on_demand);
        println!(
            "{name:34}{:>12.0}{:>10.2}{:>10.2}",
            outcome.rate,
            outcome.millis(0.5),
            outcome.millis(0.99)
        );
        self.0.push((name, outcome));
    }

    fn find(&self, who: &str, entities: usize, on_demand: bool) -> &Outcome {
        let name = name(who, entities, on_demand);
        let line = self.0.iter().find(|(other, _)| *other == name);
        &line.expect("every case was measured").1
    }
}
