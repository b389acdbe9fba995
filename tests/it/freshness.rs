//! The story of a materializer that stopped: fresh, stale, one alert, recovery, one that it is
//! over; told to receivers on real sockets.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
use serde_json::Value;

use crate::{
    redis::servers::{PLAIN, Server},
    support::{Project, write_parquet},
};

/// How old rows may be in these tests: longer than a run of the materializer takes.
const MAX_AGE: Duration = Duration::from_secs(5);

const DEFINITIONS: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }

[source.orders]
path = "orders.parquet"
timestamp = "ordered_at"

[feature_view.spend]
entities = ["customer"]
source = "orders"
owner = "lin@example.com"
freshness = { max_age = "5s", sample = 10 }
features = { amount = "float64" }

[feature_view.any_age]
entities = ["customer"]
source = "orders"
features = { amount = "float64" }
"#;

/// A receiver of webhooks: what was posted to it, and where. It fails at first.
struct Receiver {
    url: String,
    posts: Arc<Mutex<Vec<(String, Value)>>>,
    failures: Arc<AtomicUsize>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (posts, failures) = (Arc::default(), Arc::new(AtomicUsize::new(2)));
        let receiver = Self { url, posts: Arc::clone(&posts), failures: Arc::clone(&failures) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (posts, failures) = (Arc::clone(&posts), Arc::clone(&failures));
                thread::spawn(move || while answer(stream.as_ref().unwrap(), &posts, &failures) {});
            }
        });
        receiver
    }

    fn posted_to(&self, path: &str) -> Vec<Value> {
        let posts = self.posts.lock().unwrap();
        posts.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
    }
}

/// Answers one request; false at the end of the connection.
fn answer(
    mut stream: &TcpStream,
    posts: &Mutex<Vec<(String, Value)>>,
    failures: &AtomicUsize,
) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return false;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    let fails = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    let status = match fails {
        Ok(_) => "503 Service Unavailable",
        Err(_) => {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            assert!(head.starts_with("POST "), "{head}");
            posts.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
            "200 OK"
        }
    };
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").as_bytes()).is_ok()
}

/// Writes orders of three customers of this moment, and what they say of it.
fn write_orders(project: &Project) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_micros()).unwrap();
    let times = TimestampMicrosecondArray::from(vec![now; 3]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 3] = [
        ("customer_id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("ordered_at", Arc::new(times)),
        ("amount", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))),
    ];
    write_parquet(&project.path("orders.parquet"), &columns);
}

fn state(project: &Project, code: i32) -> Value {
    let output = project.run(&["freshness", "--json"]);
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["views"].as_object().unwrap().len(), 1, "others have no say: {said}");
    said["views"]["spend"].clone()
}

/// Waits until something is there.
fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(20));
    }
}

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stopped_materializer_is_told_of_once_and_so_is_its_recovery() {
    let redis = Server::start(PLAIN);
    thread::scope(|scope| {
        scope.spawn(|| check_story(""));
        scope.spawn(|| check_story(&format!("[online]\nurl = \"{}\"\n", redis.url())));
    });
}

/// Fresh, stale, one alert, recovery, one that it is over; with an online store of these settings.
fn check_story(online: &str) {
    let (project, receiver) = (Project::new(), Receiver::start());
    project.write(
        "unskew.toml",
        &format!(
            "[project]\nname = \"probe\"\n{online}\
             [freshness]\nevery = \"200ms\"\nrepeat = \"300ms\"\n\
             [[freshness.webhook]]\nshape = \"alertmanager\"\nurl = \"{}\"\n\
             [[freshness.webhook]]\nshape = \"slack\"\nurl_env = \"UNSKEW_TEST_SLACK\"\n",
            receiver.url
        ),
    );
    write_orders(&project);
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    assert_eq!(state(&project, 1)["state"], "no_data");

    write_orders(&project);
    project.ok(&["materialize"]);
    let fresh = state(&project, 0);
    assert_eq!((fresh["state"].as_str(), fresh["sampled"].as_u64()), (Some("fresh"), Some(3)));
    assert_eq!(fresh["threshold_seconds"], MAX_AGE.as_secs_f64());
    assert!(fresh["max_age_seconds"].as_f64().unwrap() < MAX_AGE.as_secs_f64(), "{fresh}");

    let mut watching = project.command(&["freshness", "--watch", "--json"]);
    watching.env("UNSKEW_TEST_SLACK", format!("{}/services/T0/B0/secret", receiver.url));
    let _watching = Watching(watching.stdout(Stdio::null()).spawn().unwrap());
    let (alerts, messages) =
        (|| receiver.posted_to("/api/v2/alerts"), || receiver.posted_to("/services/T0/B0/secret"));

    // Nobody materializes. Alertmanager is told again and again, of one and the same alert.
    wait_for("three posts", || (alerts().len() >= 3).then_some(()));
    assert_eq!(receiver.failures.load(Ordering::SeqCst), 0, "the first posts failed");
    let stale = state(&project, 1);
    assert_eq!(stale["state"], "stale", "{stale}");
    assert!(stale["max_age_seconds"].as_f64().unwrap() > MAX_AGE.as_secs_f64(), "{stale}");
    wait_for("a message", || messages().into_iter().next());

    write_orders(&project);
    project.ok(&["materialize", "--incremental"]);
    let is_over =
        |alert: &Value| alert["annotations"]["summary"].as_str().unwrap().ends_with("fresh again");
    // Who is told first is not said.
    let resolved = wait_for("the end", || (messages().len() > 1).then(messages));
    let told = wait_for("the end of the alert", || {
        let told = alerts();
        told.iter().flat_map(|post| post.as_array().unwrap()).any(is_over).then_some(told)
    });
    drop(_watching);

    assert_eq!(resolved.len(), 2, "{resolved:?}");
    let said = |text: &Value| text["text"].as_str().unwrap().to_owned();
    assert!(said(&resolved[0]).contains("feature view spend of probe is stale"), "{resolved:?}");
    assert!(said(&resolved[1]).contains("spend of probe is fresh again"), "{resolved:?}");

    let alerts: Vec<&Value> = told.iter().flat_map(|post| post.as_array().unwrap()).collect();
    let names: BTreeSet<String> = alerts
        .iter()
        .map(|alert| format!("{} since {}", alert["labels"], alert["startsAt"]))
        .collect();
    assert_eq!(names.len(), 1, "one incident: {names:?}");
    assert_eq!(alerts[0]["labels"]["feature_view"], "spend");
    assert_eq!(alerts[0]["labels"]["owner"], "lin@example.com");
    let moment = |text: &Value| text.as_str().unwrap().parse::<unskew::time::Timestamp>().unwrap();
    let now = unskew::time::Timestamp::now();
    let (over, before): (Vec<&Value>, Vec<&Value>) =
        alerts.iter().partition(|alert| is_over(alert));
    assert!(before.len() >= 3);
    assert_eq!(over.len(), 1, "it is over once: {over:?}");
    assert!(moment(&over[0]["endsAt"]) <= now && alerts.last() == over.first());
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    let project = Project::new();
    write_orders(&project);
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    let check = |webhook: &str, expected: &str| {
        let text = format!("[project]\nname = \"probe\"\n[[freshness.webhook]]\n{webhook}\n");
        project.write("unskew.toml", &text);
        let said = project.fails(2, &["freshness", "--watch"]);
        assert!(said.contains(expected) && !said.contains("secret"), "{said}");
    };
    check(
        "shape = \"slack\"\nurl_env = \"UNSKEW_TEST_UNSET\"",
        "the environment variable UNSKEW_TEST_UNSET is not set",
    );
    check("shape = \"slack\"\nurl = \"secret\"", "what is given is no URL");
    project.write("unskew.toml", "[project]\nname = \"probe\"\n[freshness]\nevery = \"0s\"\n");
    let said = project.fails(2, &["freshness"]);
    assert!(said.contains("0s is shorter than 100ms"), "{said}");
}
