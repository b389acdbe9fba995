//! As many requests as the machine takes, while the registry changes and Redis is killed: no wrong
//! value, no 500, and memory stays as it is.
//!
//! It lasts 4 seconds with each of the stores; `UNSKEW_SOAK_SECONDS=300` makes it the long one.

use std::{
    env, fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::{
    redis::servers::{self, DURABLE},
    shop::{DEFINITIONS, shop},
    support::{Project, Server, Stop, block_on},
};

/// How many threads ask, each so many requests at once.
const THREADS: usize = 4;
const AT_ONCE: usize = 8;

const ROWS: usize = 20;

/// How many answers a server gives before its memory is what it needs: the first ones allocate.
const WARM_UP: u64 = 1_000;

/// How long Redis is away.
const OUTAGE: Duration = Duration::from_millis(500);

/// How long after that there may be no answers.
const RECOVERY: Duration = Duration::from_secs(20);

#[test]
fn nothing_wears_out() {
    check("", None);
}

#[test]
fn nothing_wears_out_and_answers_come_back_when_redis_is_killed() {
    let redis = servers::Server::start(DURABLE);
    let online = format!("[online]\nurl = \"{}\"\nread_timeout = \"10s\"\n", redis.url());
    check(&online, Some(redis));
}

/// Asks for as long as it takes, with a store of these settings; a Redis is killed twice meanwhile.
fn check(online: &str, mut redis: Option<servers::Server>) {
    let length = env::var("UNSKEW_SOAK_SECONDS").map_or(4, |text| text.parse().unwrap());
    let length = Duration::from_secs(length);
    let project = shop();
    let settings = "[server]\nreload_interval = \"200ms\"\n";
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{online}{settings}"));
    project.ok(&["materialize"]);
    let server = project.serve();
    let load = Load::new(&server);
    let done = AtomicBool::new(false);
    let (warm, end, reloads) = thread::scope(|scope| {
        let stop = Stop(&done);
        for _ in 0..THREADS {
            scope.spawn(|| block_on(load.ask(&done)));
        }
        let reloads = scope.spawn(|| reload(&project, length, &done));
        load.wait_for(WARM_UP);
        let (warm, begin) = (resident(&server), Instant::now());
        for third in 1..=3 {
            thread::sleep((length * third / 3).saturating_sub(begin.elapsed()));
            if let Some(redis) = redis.as_mut().filter(|_| third < 3) {
                load.restart(redis);
            }
        }
        load.wait_for(3 * WARM_UP);
        let end = resident(&server);
        drop(stop);
        (warm, end, reloads.join().unwrap())
    });
    let [whole, partial, refused] = load.answers();
    println!(
        "{whole} answers, {partial} without the store, {refused} refused in {length:?} with {reloads} \
         reloads: {} MB warm, {} MB at the end",
        warm >> 20,
        end >> 20
    );
    assert_eq!((partial > 0, refused > 0), (redis.is_some(), redis.is_some()));
    assert!(whole > 0 && reloads > 0);
    assert!(end < warm + warm / 5 + (48 << 20), "{warm} bytes once warm, {end} at the end");
    let (_, metrics) = server.get("/metrics");
    let server_errors = metrics.lines().filter(|line| line.contains("status=\"5"));
    let unexpected: Vec<_> =
        server_errors.filter(|line| redis.is_none() || !line.contains("status=\"503\"")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

/// Applies another definition every ten seconds, or more often in a short run; gives how often.
fn reload(project: &Project, length: Duration, done: &AtomicBool) -> u32 {
    let (every, mut reloads) = (Duration::from_secs(10).min(length / 4), 0);
    let mut next = Instant::now() + every;
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(50));
        if Instant::now() >= next {
            next += every;
            reloads += 1;
            let ttl = format!("ttl = \"{}d\"", 10 + reloads % 2);
            project.write("features/shop.toml", &DEFINITIONS.replace("ttl = \"10d\"", &ttl));
            project.ok(&["apply"]);
        }
    }
    reloads
}

/// Bytes of memory that the server has.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1_024
}

/// What is asked, what has to be answered, and what was.
struct Load {
    url: String,
    /// The answer up to its metadata.
    expected: String,
    /// Whole answers, answers without the store, refusals.
    counted: [AtomicU64; 3],
    /// How often Redis went away and came back: odd while it is away.
    changes: AtomicU64,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Whole,
    Partial,
    Refused,
}

fn request_of(allow_partial: bool) -> String {
    let ids: Vec<usize> = (0..ROWS).map(|row| 1 + row % 2).collect();
    json!({
        "feature_service": "churn",
        "entities": {"customer_id": ids},
        "event_time": "1998-01-08",
        "allow_partial": allow_partial,
    })
    .to_string()
}

fn results(body: &str) -> &str {
    body.split(",\"metadata\"").next().unwrap()
}

impl Load {
    fn new(server: &Server) -> Self {
        let url = format!("{}/get-online-features", server.url);
        let mut load = Self {
            url,
            expected: String::new(),
            counted: Default::default(),
            changes: AtomicU64::new(0),
        };
        let body = block_on(load.send(&Client::new(), false)).1;
        let answer: Value = serde_json::from_str(&body).unwrap();
        let amounts: Vec<_> =
            (0..ROWS).map(|row| [json!(-0.0), json!(3.5)][row % 2].clone()).collect();
        assert_eq!(answer["results"][1]["values"], json!(amounts));
        assert!(answer["results"][2]["values"][0].as_f64().is_some(), "{answer}");
        load.expected = results(&body).to_owned();
        load
    }

    async fn send(&self, client: &Client, allow_partial: bool) -> (StatusCode, String) {
        let request = client.post(&self.url).header("content-type", "application/json");
        let response = request.body(request_of(allow_partial)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Asks once. Whatever the answer is, it is no wrong one.
    async fn ask_once(&self, client: &Client, allow_partial: bool) -> Answer {
        let (status, body) = self.send(client, allow_partial).await;
        let answer = match status {
            StatusCode::OK if results(&body) == self.expected => Answer::Whole,
            StatusCode::OK => {
                let answer: Value = serde_json::from_str(&body).unwrap();
                assert!(allow_partial, "{body}");
                assert_eq!(answer["unavailable"][0]["view"], "orders", "{body}");
                for feature in [1, 2] {
                    let column = &answer["results"][feature];
                    assert_eq!(column["values"], json!(vec![Value::Null; ROWS]), "{body}");
                    assert_eq!(column["statuses"], json!(vec!["INVALID"; ROWS]), "{body}");
                }
                Answer::Partial
            }
            _ => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
                let detail: String = serde_json::from_str(&body).unwrap();
                let detail: Value = serde_json::from_str(&detail).unwrap();
                assert_eq!(detail["class"], "FeastError", "{body}");
                let message = detail["message"].as_str().unwrap();
                assert!(message.contains("the online store redis://"), "{message}");
                assert!(!allow_partial, "{body}");
                Answer::Refused
            }
        };
        self.counted[answer as usize].fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Asks again and again. While Redis is there, answers are whole.
    async fn ask(&self, done: &AtomicBool) {
        let client = Client::new();
        let asking = (0..AT_ONCE).map(|place| {
            let client = &client;
            async move {
                while !done.load(Ordering::Relaxed) {
                    let before = self.changes.load(Ordering::SeqCst);
                    let answer = self.ask_once(client, place % 2 == 0).await;
                    let after = self.changes.load(Ordering::SeqCst);
                    let there = before == after && before.is_multiple_of(2);
                    assert!(!there || answer == Answer::Whole, "{answer:?}");
                }
            }
        });
        futures::future::join_all(asking).await;
    }

    /// How many answers there were of each kind.
    fn answers(&self) -> [u64; 3] {
        self.counted.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn wait_for(&self, answers: u64) {
        let total = || self.answers().iter().sum::<u64>();
        while total() < answers {
            let before = total();
            let begin = Instant::now();
            while total() == before {
                assert!(begin.elapsed() < RECOVERY, "no answer within {RECOVERY:?}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Kills Redis, starts it again and waits until answers are whole again.
    fn restart(&self, redis: &mut servers::Server) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        redis.kill();
        thread::sleep(OUTAGE);
        redis.restart();
        block_on(async {
            let (client, begin) = (Client::new(), Instant::now());
            while self.ask_once(&client, true).await != Answer::Whole {
                assert!(begin.elapsed() < RECOVERY, "no answers within {RECOVERY:?}");
            }
        });
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}
