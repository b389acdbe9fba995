//! The server as its neighbours see it: the wire, its bounds, and what operators do to it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    shop::{DEFINITIONS, shop},
    support::{Project, Server, block_on},
};

const NAME: &str = "[project]\nname = \"probe\"\n";

/// A shop with these settings of the server, materialized.
fn serving(settings: &str) -> (Project, Server) {
    let project = shop();
    project.write("unskew.toml", &format!("{NAME}{settings}"));
    project.ok(&["materialize"]);
    let server = project.serve();
    (project, server)
}

fn churn() -> Value {
    json!({"feature_service": "churn", "entities": {"customer_id": [1, 2]}, "event_time": "1998-01-08"})
}

/// Sends a body as it is; gives the status, the headers in one text and the body.
fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut request = reqwest::Client::new().post(format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.to_vec());
    block_on(async {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
    })
}

struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The message of a refusal, which has Feast's form.
    fn refusal(&self) -> String {
        let text: String = serde_json::from_slice(&self.body).unwrap();
        let inner: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(inner["module"], "feast.errors");
        assert!(inner["class"].is_string());
        inner["message"].as_str().unwrap().to_owned()
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn whatever_is_wrong_with_a_request_is_told() {
    let (_project, server) = serving("[server]\nmax_rows = 3\nmax_body_bytes = 2048\n");
    let check = |path: &str, body: &str, status: u16, parts: &[&str]| {
        let reply = send(&server, path, &[JSON], body.as_bytes());
        let message = reply.refusal();
        assert_eq!(reply.status, status, "{body}: {message}");
        for part in parts {
            assert!(message.contains(part), "{message:?} should say {part:?}");
        }
    };
    let get =
        |body: &str, status, parts: &[&str]| check("/get-online-features", body, status, parts);
    get("", 422, &["/get-online-features", "EOF", "/openapi.json"]);
    get("{\"entities\": {", 422, &["EOF", "line 1 column"]);
    get("[]", 422, &["/openapi.json"]);
    get("{\"features\": []}", 422, &["missing field `entities`"]);
    get("{\"entities\": {\"customer_id\": 1}}", 422, &["expected a sequence"]);
    get("{\"entities\": [1]}", 422, &["an object with a list of values for each name"]);
    get(
        "{\"features\": [\"orders:amount\"], \"entities\": {\"customer_id\": [NaN]}}",
        422,
        &["expected value", "column"],
    );
    let orders =
        |entities: &str| format!("{{\"features\": [\"orders:amount\"], \"entities\": {entities}}}");
    get(&orders("{\"customer_id\": [\"NaN\"]}"), 422, &["customer_id", "\"NaN\"", "int64"]);
    get(
        &orders("{\"customer_id\": [1], \"customer_id\": [2]}"),
        422,
        &["\"customer_id\" is there twice"],
    );
    get(
        &orders("{\"customer_id\": [1, 2], \"x\": [1]}"),
        422,
        &["customer_id has 2 rows", "x has 1"],
    );
    get(&orders("{\"customer_id\": []}"), 422, &["No entity rows"]);
    get(&orders("{}"), 422, &["No entities"]);
    get(&orders("{\"customer_id\": [1, 2, 3, 4]}"), 422, &["limit 3", "requested 4"]);
    get(&orders("{\"customer_id\": [true]}"), 422, &["customer_id", "true", "int64"]);
    let deep = format!("{{\"entities\": {{\"a\": {}", "[".repeat(1000));
    get(&deep, 422, &["recursion limit"]);
    let long = orders(&format!("{{\"customer_id\": [{}1]}}", " ".repeat(3000)));
    get(&long, 413, &["limit 2048", &format!("requested {}", long.len())]);

    let push = |body: &str, status, parts: &[&str]| check("/push", body, status, parts);
    let rows = |rows: &str| format!("{{\"push_source_name\": \"orders\", \"df\": {rows}}}");
    push(&rows("{}"), 422, &["no columns"]);
    push(&rows("{\"customer_id\": [1], \"customer_id\": [1]}"), 422, &["is there twice"]);
    push(
        &rows("{\"customer_id\": [1], \"ordered_at\": [\"1998-01-01\"], \"amont\": [1]}"),
        422,
        &["unknown column \"amont\"", "did you mean \"amount\"?"],
    );
    push(
        &rows("{\"customer_id\": [1], \"ordered_at\": [\"999999-01-01\"], \"amount\": [1]}"),
        422,
        &["ordered_at", "999999-01-01", "not a value of type timestamp"],
    );
    push(
        &rows("{\"customer_id\": [1], \"ordered_at\": [\"2999-01-01\"], \"amount\": [1]}"),
        422,
        &["after now"],
    );
    push(
        &rows("{\"customer_id\": [1,1,1,1], \"ordered_at\": [0,0,0,0], \"amount\": [1,1,1,1]}"),
        422,
        &["limit 3", "requested 4"],
    );
    push(
        "{\"push_source_name\": \"order\", \"df\": {\"a\": [1]}}",
        422,
        &["did you mean \"orders\"?"],
    );
    push(
        "{\"push_source_name\": \"orders\", \"df\": {}, \"to\": \"offline\"}",
        422,
        &["\"offline\""],
    );
    let written = |body: &str, status, parts: &[&str]| {
        check("/write-to-online-store", body, status, parts);
    };
    written("{\"feature_view_name\": \"order\", \"df\": {}}", 404, &["did you mean \"orders\"?"]);

    let run = |body: &str, status, parts: &[&str]| check("/materialize", body, status, parts);
    run("{\"end_ts\": \"1998-01-01\"}", 422, &["start_ts is missing"]);
    run("{\"start_ts\": \"1998-02-01\", \"end_ts\": \"1998-01-01\"}", 422, &["is after the end"]);
    run("{\"start_ts\": \"1998-02-01\", \"end_ts\": \"2999-01-01\"}", 422, &["after now"]);
    run("{\"start_ts\": \"yesterday\", \"end_ts\": \"1998-01-01\"}", 422, &["yesterday"]);
    run(
        "{\"start_ts\": \"1998-01-01\", \"end_ts\": \"1998-01-02\", \"feature_views\": [\"order\"]}",
        404,
        &["did you mean \"orders\"?"],
    );
    let end = "{\"end_ts\": \"1998-01-01\"}";
    check("/materialize-incremental?async=maybe", end, 422, &["async"]);
    check("/materialize-incremental", "{}", 422, &["missing field `end_ts`"]);

    check("/serach", "{}", 404, &["/get-online-features"]);
    check("/health", "{}", 405, &["/openapi.json"]);
    let reply = send(&server, "/push", &[("content-type", "text/plain")], b"{}");
    assert_eq!((reply.status, reply.refusal().contains("text/plain")), (415, true));
    assert_eq!(server.post("/get-online-features", &churn()).0, 200);
}

#[test]
fn a_request_keeps_its_id_and_gets_one_where_it_has_none() {
    let (_project, server) = serving("");
    let body = churn().to_string();
    let id = |given: &str| {
        let reply = send(
            &server,
            "/get-online-features",
            &[JSON, ("x-request-id", given)],
            body.as_bytes(),
        );
        reply.header("x-request-id").to_owned()
    };
    assert_eq!(id("trace-7/a"), "trace-7/a");
    assert_eq!(id(&"x".repeat(129)).len(), 32);
    assert_ne!(id("two words"), id("two words"));
    let reply = send(&server, "/nowhere", &[JSON, ("x-request-id", "here")], b"{}");
    assert_eq!(reply.header("x-request-id"), "here");
}

#[test]
fn bodies_may_be_compressed_both_ways_within_the_limits() {
    let (project, server) = serving("[server]\nmax_body_bytes = 65536\ngzip_bytes = 1000\n");
    let gzip = |bytes: &[u8]| {
        std::fs::write(project.path("plain"), bytes).unwrap();
        let packed =
            std::process::Command::new("gzip").arg("-c").arg(project.path("plain")).output();
        packed.unwrap().stdout
    };
    let (code, body) = (("content-encoding", "gzip"), churn().to_string());
    let plain = send(&server, "/get-online-features", &[JSON], body.as_bytes());
    for name in ["gzip", "GZIP", "x-gzip"] {
        let code = ("content-encoding", name);
        let packed = send(&server, "/get-online-features", &[JSON, code], &gzip(body.as_bytes()));
        assert_eq!((plain.status, &plain.body), (200, &packed.body), "{name}");
    }
    let named = [JSON, ("content-encoding", "Identity")];
    assert_eq!(send(&server, "/get-online-features", &named, body.as_bytes()).body, plain.body);
    let other = [JSON, ("content-encoding", "br")];
    let reply = send(&server, "/get-online-features", &other, body.as_bytes());
    assert_eq!((reply.status, reply.refusal().contains("\"br\"")), (415, true));
    let bomb = format!("{{\"entities\": {{\"a\": [{}1]}}}}", " ".repeat(10 << 20));
    let reply = send(&server, "/get-online-features", &[JSON, code], &gzip(bomb.as_bytes()));
    assert_eq!(reply.status, 413, "{}", reply.refusal());
    let reply = send(&server, "/get-online-features", &[JSON, code], b"this is no gzip");
    assert_eq!(reply.status, 400, "{}", reply.refusal());
    let many = json!({"features": ["orders:amount"], "entities": {"customer_id": vec![1; 500]}});
    let many = many.to_string();
    let accepted = [JSON, ("accept-encoding", "gzip")];
    let reply = send(&server, "/get-online-features", &accepted, many.as_bytes());
    assert_eq!((reply.header("content-encoding"), &reply.body[..2]), ("gzip", &[0x1f, 0x8b][..]));
    let reply = send(&server, "/get-online-features", &accepted, body.as_bytes());
    assert_eq!(reply.header("content-encoding"), "", "a small answer is not worth it");
}

#[test]
fn an_answer_has_a_limit_and_large_ones_arrive_whole() {
    let (_project, server) = serving("[server]\nmax_answer_bytes = 65536\n");
    let ask = |rows: usize| {
        let entities = json!({"customer_id": vec![1; rows]});
        let body = json!({"features": ["orders:amount"], "entities": entities}).to_string();
        send(&server, "/get-online-features", &[JSON], body.as_bytes())
    };
    assert_eq!(ask(10).status, 200);
    let refused = ask(2_000);
    assert_eq!(refused.status, 413);
    let told = "bytes of an answer over the limit: limit 65536, ";
    assert!(refused.refusal().starts_with(told), "{}", refused.refusal());
    let (_project, server) = serving("[server]\nmax_rows = 200000\nmax_body_bytes = 33554432\n");
    let entities = json!({"customer_id": vec![1; 150_000]});
    let body = json!({"features": ["orders:amount"], "entities": entities}).to_string();
    let reply = send(&server, "/get-online-features", &[JSON], body.as_bytes());
    assert_eq!(reply.status, 200);
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["results"][0]["values"], json!(vec![1; 150_000]));
    assert_eq!(answer["results"][1]["statuses"], json!(vec!["OUTSIDE_MAX_AGE"; 150_000]));
}

#[test]
fn a_request_names_one_host() {
    let (_project, server) = serving("");
    let check = |head: &str, expected: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
            .write_all(format!("GET /health {head}connection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{head}: {answer}");
    };
    check("HTTP/1.1\r\nhost: a:80\r\n", "200");
    check("HTTP/1.1\r\nhost:\r\n", "200");
    check("HTTP/1.0\r\n", "200");
    check("HTTP/1.1\r\n", "400");
    check("HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "400");
    check("HTTP/1.1\r\nhost: a b/\r\n", "400");
}

/// However many bodies come at once, and however slowly; small ones are not in their way.
#[test]
fn a_body_finds_room_beside_others_or_is_sent_away() {
    let limits = "max_body_bytes = 65536\nmax_answer_bytes = 65536\nmax_bodies_bytes = 589824\n";
    let (_project, server) = serving(&format!("[server]\n{limits}"));
    let body = churn().to_string();
    let large = format!("{body}{}", " ".repeat(20_000));
    let ask = |body: &str| send(&server, "/get-online-features", &[JSON], body.as_bytes());
    let head = "POST /get-online-features HTTP/1.1\r\nhost: a\r\n\
        content-type: application/json\r\ncontent-length: 65536\r\n\r\n";
    let slow = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(" ".repeat(65_000).as_bytes()).unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..9).map(|_| slow()).collect();
    eventually("bodies that are not there yet have room", || ask(&large).status == 503);
    let refused = ask(&large);
    assert_eq!(refused.header("retry-after"), "1");
    let told = "bytes of memory for the bodies of all requests and answers over the limit: ";
    assert!(refused.refusal().starts_with(told), "{}", refused.refusal());
    assert_eq!(ask(&body).status, 200);
    drop(slow);
    eventually("the room is there again", || ask(&large).status == 200);
}

#[test]
fn http2_without_tls_is_understood() {
    let (_project, server) = serving("");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The preface in two pieces, and an empty SETTINGS frame: the answer is SETTINGS.
    stream.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stream.write_all(b"\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "{head:?}");
}

/// The status of an answer on a raw connection, or nothing where it is closed without one; and how
/// long it took.
fn outcome(mut stream: &TcpStream) -> (String, Duration) {
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    (said.lines().next().unwrap_or_default().to_owned(), start.elapsed())
}

#[test]
fn hostile_connections_cost_a_bounded_amount() {
    let (_project, server) = serving(
        "[server]\nheader_timeout = \"500ms\"\nbody_timeout = \"500ms\"\nwrite_timeout = \"500ms\"\n",
    );
    let connect = || TcpStream::connect(server.address()).unwrap();
    let check = |what: &str, sent: &[u8], status: &str| {
        let mut stream = connect();
        stream.write_all(sent).unwrap();
        let (said, took) = outcome(&stream);
        assert!(said.starts_with(status), "{what}: {said:?}");
        assert!(took < Duration::from_secs(5), "{what} held a connection for {took:?}");
    };
    check("silence", b"", "");
    check("half a preface", b"PRI * HT", "");
    check("garbage", &[0x16, 0x03, 0x01, 0x02, 0x00, 0xff, 0x0d, 0x0a, 0x0d, 0x0a], "HTTP/1.1 400");
    check("half a head", b"GET /health HTTP/1.1\r\nhost: x\r\n", "");
    let long = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    check("a long head", long.as_bytes(), "HTTP/1.1 4");
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
    check("many headers", many.as_bytes(), "HTTP/1.1 4");
    check(
        "half a body",
        b"POST /push HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        "HTTP/1.1 408",
    );
    check(
        "a body that never ends",
        b"POST /push HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        "HTTP/1.1 408",
    );
    check("an idle connection", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200");
    check(
        "HTTP/2 that says nothing more",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "",
    );

    // A client that is gone, one half of it at a time.
    let half_open = connect();
    half_open.shutdown(Shutdown::Write).unwrap();
    assert!(outcome(&half_open).1 < Duration::from_secs(5));

    // One that asks and never reads: the server gives up, and its buffers with it.
    let mut deaf = connect();
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    deaf.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = deaf.write_all(&request);
    eventually("the deaf client is let go", || connections(&server) == 0.0);
    assert_eq!(server.post("/get-online-features", &churn()).0, 200);
}

/// How many connections are open but for the one that asks.
fn connections(server: &Server) -> f64 {
    metric(server, "unskew_connections") - 1.0
}

/// A metric without labels.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, metrics) = server.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn connections_over_the_limit_wait_and_are_served() {
    let (_project, server) = serving("[server]\nmax_connections = 2\nheader_timeout = \"1s\"\n");
    let idle: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(server.post("/get-online-features", &churn()).0, 200);
    drop(idle);
}

/// One team's store does not take the server from the others.
#[test]
fn a_store_that_fails_is_named_and_the_rest_is_ready() {
    let (_project, server) = serving("[stores.away]\nurl = \"redis://127.0.0.1:1\"\n");
    let (status, body) = server.get("/ready");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"]), (200, &json!(true)), "{body}");
    let reasons = body["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{body}");
    assert!(reasons[0].as_str().unwrap().starts_with("online store away: "), "{body}");
}

/// So does a view that came into force with a store that this machine's settings do not have.
#[test]
fn a_store_that_is_not_there_is_named_and_the_rest_is_ready() {
    let project = shop();
    project.write("unskew.toml", &format!("{NAME}[stores.own]\npath = \"own\"\n"));
    let view = "[feature_view.orders]\n";
    let definitions = DEFINITIONS.replace(view, &format!("{view}store = \"own\"\n"));
    project.write("features/shop.toml", &definitions);
    project.ok(&["apply"]);
    project.write("unskew.toml", NAME);
    let (status, body) = project.serve().get("/ready");
    let body: Value = serde_json::from_str(&body).unwrap();
    let reason = "feature view orders: there is no online store own\nhint: there are none";
    assert_eq!((status, &body["reasons"]), (200, &json!([reason])), "{body}");
}

#[test]
fn a_server_asked_to_stop_ends_what_it_has_begun() {
    let (project, server) = serving("[server]\ndrain_delay = \"300ms\"\ndrain_timeout = \"2s\"\n");
    let body = churn().to_string();
    let request = |stream: &mut TcpStream, sent: usize| {
        let head = format!(
            "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..sent]).unwrap();
    };
    let mut slow = TcpStream::connect(server.address()).unwrap();
    request(&mut slow, 10);
    let mut never = TcpStream::connect(server.address()).unwrap();
    request(&mut never, 10);
    let idle = TcpStream::connect(server.address()).unwrap();
    assert_eq!(server.get("/ready").0, 200);
    server.ask_to_stop();
    eventually("it is no longer ready", || server.get("/ready").0 == 503);
    std::thread::sleep(Duration::from_millis(600));
    assert!(TcpStream::connect(server.address()).is_err(), "no more connections");
    assert_eq!(outcome(&idle).0, "");
    slow.write_all(&body.as_bytes()[10..]).unwrap();
    assert_eq!(outcome(&slow).0, "HTTP/1.1 200 OK");
    let start = Instant::now();
    assert_eq!(server.stopped(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    drop((never, project));
}

#[test]
fn a_new_snapshot_answers_without_a_dropped_request() {
    let (project, server) = serving("[server]\nreload_interval = \"50ms\"\n");
    let snapshot = || {
        let (status, answer) = server.post("/get-online-features", &churn());
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["results"][1]["values"], json!([-0.0, 3.5]), "{answer}");
        answer["metadata"]["snapshot"].as_u64().unwrap()
    };
    let changed = |ttl: &str| DEFINITIONS.replace("ttl = \"10d\"", &format!("ttl = \"{ttl}\""));
    assert_eq!(snapshot(), 1);
    for (sequence, ttl) in [(2, "11d"), (3, "12d")] {
        project.write("features/shop.toml", &changed(ttl));
        project.ok(&["apply"]);
        eventually("the new snapshot answers", || snapshot() == sequence);
    }
    assert_eq!(metric(&server, "unskew_snapshot"), 3.0);
    assert_eq!(metric(&server, "unskew_reloads_total"), 2.0);
    assert_eq!(metric(&server, "unskew_reload_failing"), 0.0);
    assert_eq!(metric(&server, "unskew_reload_failures_total"), 0.0);

    // A snapshot that cannot be read, and a registry that is gone, change nothing.
    let broken = project.path("registry/snapshots/00000000000000000004.json");
    std::fs::write(&broken, "{\"format\": 1").unwrap();
    eventually("the failure is seen", || metric(&server, "unskew_reload_failing") == 1.0);
    assert_eq!(snapshot(), 3);
    std::fs::remove_file(&broken).unwrap();
    eventually("it is over", || metric(&server, "unskew_reload_failing") == 0.0);
    std::fs::rename(project.path("registry"), project.path("away")).unwrap();
    eventually("the failure is seen", || metric(&server, "unskew_reload_failing") == 1.0);
    assert_eq!(snapshot(), 3);
    let _ = std::fs::remove_dir_all(project.path("registry"));
    std::fs::rename(project.path("away"), project.path("registry")).unwrap();
    eventually("it is over", || metric(&server, "unskew_reload_failing") == 0.0);
    project.write("features/shop.toml", &changed("13d"));
    project.ok(&["apply"]);
    eventually("the new snapshot answers", || snapshot() == 4);

    // A view moves to a store that the server was not started with.
    project.write("unskew.toml", &format!("{NAME}[stores.new]\npath = \"new\"\n"));
    project.write("features/shop.toml", &changed("13d\"\nstore = \"new"));
    project.ok(&["apply"]);
    eventually("the failure is seen", || metric(&server, "unskew_reload_failing") == 1.0);
    assert_eq!(snapshot(), 4);
}

#[test]
fn runs_are_asked_for_over_http() {
    let project = shop();
    let server = project.serve();
    let amounts = || {
        let (_, answer) = server.post("/get-online-features", &churn());
        answer["results"][1]["values"].clone()
    };
    let run = |path: &str, body: Value| server.post(path, &body);
    let early = json!({"start_ts": "1998-01-01T00:00:00", "end_ts": "1998-01-03T00:00:00"});
    assert_eq!(run("/materialize", early), (200, Value::Null));
    assert_eq!(amounts(), json!([1.5, 0.0]));
    let (status, answer) =
        run("/materialize-incremental?async=True&force=true", json!({"end_ts": "1998-02-01"}));
    assert_eq!((status, &answer["feature_views"]), (202, &json!(["orders"])), "{answer}");
    eventually("the run is over", || amounts() == json!([-0.0, 3.5]));
    let all = json!({"disable_event_timestamp": true, "feature_views": ["orders"]});
    // The run before may not be over yet, though its rows are there.
    eventually("there is no other run", || run("/materialize", all.clone()).0 == 200);
}

#[test]
fn a_view_that_is_called_as_its_source_is_written_alone() {
    let project = shop();
    let other = "[feature_view.spent]\nentities = [\"customer\"]\nsource = \"orders\"\n\
                 features = { total = { type = \"float64\", column = \"amount\" } }\n";
    project.write("features/spent.toml", other);
    project.ok(&["apply"]);
    let server = project.serve();
    let rows = json!({"customer_id": [1], "event_timestamp": ["1998-01-07"], "amount": [9.0]});
    let written = json!({"feature_view_name": "orders", "df": rows});
    assert_eq!(server.post("/write-to-online-store", &written).0, 200);
    let asked = json!({
        "features": ["orders:amount", "spent:total"], "entities": {"customer_id": [1]},
        "event_time": "1998-01-08",
    });
    let (_, answer) = server.post("/get-online-features", &asked);
    let values = [1, 2].map(|column| answer["results"][column]["values"].clone());
    assert_eq!(values, [json!([9.0]), json!([null])], "{answer}");
}

/// One team's source does not keep the views of the others from being written, by either way.
#[test]
fn a_run_goes_on_where_the_source_of_a_view_is_gone() {
    let project = shop();
    let source = "[source.late]\npath = \"late.parquet\"\ntimestamp = \"ordered_at\"\n";
    let view = "[feature_view.late]\nentities = [\"customer\"]\nsource = \"late\"\n\
                features = { total = { type = \"float64\", column = \"amount\" } }\n";
    let spent = view.replace("late", "spent").replace("source = \"spent\"", "source = \"orders\"");
    std::fs::copy(project.path("orders.parquet"), project.path("late.parquet")).unwrap();
    project.write("features/late.toml", &format!("{source}{view}{spent}"));
    project.ok(&["apply"]);
    std::fs::remove_file(project.path("late.parquet")).unwrap();
    let server = project.serve();
    let totals = || {
        let asked = json!({"features": ["spent:total"], "entities": {"customer_id": [1, 2]}});
        server.post("/get-online-features", &asked).1["results"][1]["values"].clone()
    };
    let run = |body: Value| server.post("/materialize", &body);
    let named = json!({"disable_event_timestamp": true, "feature_views": ["orders"]});
    assert_eq!(run(named), (200, Value::Null));
    assert_eq!(totals(), json!([null, null]));
    let (status, answer) = run(json!({"disable_event_timestamp": true}));
    let answer = answer.to_string();
    assert!(status == 503 && answer.contains("materializing late: "), "{status} {answer}");
    assert_eq!(totals(), json!([-0.0, 3.5]));
}

#[test]
fn a_check_says_what_is_not_there() {
    let project = shop();
    project.ok(&["materialize"]);
    let said = project.ok(&["serve", "--check", "--listen", "127.0.0.1:0"]);
    for part in ["1 is in force, with 1 transforms compiled", "they answer"] {
        assert!(said.contains(part), "{said}");
    }
    project.write("unskew.toml", &format!("{NAME}[server]\nmax_rows = 0\n"));
    let output = project.run(&["serve", "--check", "--json", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&findings[0]["what"], &findings[0]["ok"]), (&json!("settings"), &json!(false)));
    let settings = "[server.view_rates]\norder = { requests_per_second = 1 }\n\
                    [[freshness.webhook]]\nshape = \"slack\"\nurl = \"nonsense\"\n";
    project.write("unskew.toml", &format!("{NAME}{settings}"));
    let output = project.run(&["serve", "--check", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let rate = "server.view_rates.order: feature view order does not exist";
    let webhook = "freshness.webhook: what is given is no URL";
    for part in [rate, "did you mean \"orders\"?", webhook] {
        assert!(said.contains(part), "{said}");
    }
    // Serving logs the one and refuses the other; in a file the log has no colours.
    let mut command = project.command(&["serve", "--listen", "127.0.0.1:0"]);
    let output = command.env("UNSKEW_LOG", "warn").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(rate) && said.contains(webhook) && !said.contains('\u{1b}'), "{said}");
    let empty = Project::new();
    let output = empty.run(&["serve", "--check", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing is in force"));
}

#[test]
fn the_log_is_json_for_programs() {
    let project = shop();
    // Nobody listens there.
    let online = "[project]\nname = \"probe\"\n[online]\nurl = \"redis://127.0.0.1:1\"\n";
    project.write("unskew.toml", online);
    let server = project
        .command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .env("UNSKEW_LOG", "info")
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = server.unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = || -> Value {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let serving = said();
    assert_eq!((&serving["message"], &serving["snapshot"]), (&json!("serving"), &json!(1)));
    let url = format!("http://{}/get-online-features", serving["address"].as_str().unwrap());
    let body = json!({"feature_service": "churn", "entities": {"customer_id": [1]}});
    let request = reqwest::Client::new().post(url).header("x-request-id", "seven").json(&body);
    let status = block_on(request.send()).unwrap().status();
    let failed = said();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status, 503);
    let told = ["level", "message", "id", "path"].map(|name| failed[name].as_str().unwrap());
    assert_eq!(told, ["ERROR", "a request failed", "seven", "/get-online-features"], "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("redis://127.0.0.1:1"), "{failed}");
}
