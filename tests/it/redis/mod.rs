//! The online store in Redis, on servers that the tests start: one, a Cluster, one that sentinels
//! watch, with users, with TLS.

mod kill;
mod newest;
mod project;
mod rows;
pub mod servers;

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{Commands as _, cmd};
use rows::{Row, batch, found, keys, stored, view};
use servers::{Cluster, DURABLE, PLAIN, Server, Watched, options, run};
use unskew::{
    error::Kind,
    online::{Lookup, OnlineStore, RedisStore, Rows, Secret, contract::contract},
    time::Span,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_holds_to_the_contract() {
    let server = Server::start(PLAIN);
    contract(&server.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_holds_to_the_contract_and_slots_may_move() {
    let cluster = Cluster::start();
    let store = RedisStore::new(options(&cluster.url())).unwrap();
    contract(&store).await;
    // Slots move from the first node to the second while rows are written and read.
    let (from, to) = (cluster.id(0), cluster.id(1));
    let node = format!("127.0.0.1:{}", cluster.nodes[0].port);
    let moving = tokio::task::spawn_blocking(move || {
        let arguments = ["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", "700"];
        let whole = [&["--cluster", "reshard", &node], &arguments[..], &["--cluster-yes"]];
        run("redis-cli", &whole.concat());
    });
    let mut event = 0;
    while !moving.is_finished() || event == 0 {
        event += 1;
        let rows: Vec<Row> = (0..300).map(|id| Row::at(id, event)).collect();
        let report = store.write(view("moving"), batch(&rows), None).await.unwrap();
        assert_eq!((report.stale, report.written + report.unchanged), (0, 300));
        let read = stored(&store, view("moving"), 0..300).await.unwrap();
        assert_eq!(read, rows.iter().map(found).collect::<Vec<_>>());
    }
    moving.await.unwrap();
    cluster.wait();
    assert_eq!(store.count(view("moving"), Rows::All).await, Ok(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_sentinels_holds_to_the_contract_and_survives_its_master() {
    let mut watched = Watched::start();
    let mut options = options(&watched.url());
    options.read_timeout = Duration::from_secs(1);
    let store = RedisStore::new(options).unwrap();
    contract(&store).await;
    let rows: Vec<Row> = (0..100).map(|id| Row::at(id, 1)).collect();
    store.write(view("failover"), batch(&rows), None).await.unwrap();
    // What a replica has acknowledged is not lost with the master.
    let acknowledged: i64 =
        cmd("WAIT").arg(1).arg(10_000).query(&mut watched.servers[0].connect()).unwrap();
    assert_eq!(acknowledged, 1);
    watched.servers[0].kill();
    // A write waits for the next master.
    let newer: Vec<Row> = (50..150).map(|id| Row::at(id, 2)).collect();
    let report = store.write(view("failover"), batch(&newer), None).await.unwrap();
    assert_eq!((report.written, report.stale, report.unchanged), (100, 0, 0));
    let expected = rows[..50].iter().chain(&newer).map(found).collect::<Vec<_>>();
    assert_eq!(stored(&store, view("failover"), 0..150).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_its_password_and_few_rights() {
    let rights = "on >opensesame ~unskew:* -@all +@connection +evalsha +script|load +hmget +hget \
                  +hexists +hset +hsetnx +hdel +hlen +set +exists +pexpireat +persist +scan";
    let rights: Vec<&str> = rights.split_whitespace().collect();
    let users = [&["--user", "unskew"], &rights[..], &["--user", "default", "off"]].concat();
    let arguments = [PLAIN, &users].concat();
    let server = Server::start(&arguments);
    let mut options = server.options();
    options.credentials.username = Some("unskew".to_owned());
    options.credentials.password = Some(Secret::new("opensesame"));
    contract(&RedisStore::new(options.clone()).unwrap()).await;
    // Another's keys are out of reach, and that is said.
    options.prefix = "other:".to_owned();
    let store = RedisStore::new(options.clone()).unwrap();
    let error = store.write(view("a"), batch(&[Row::at(1, 1)]), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("NOPERM"), "{error}");
    for password in [Some(Secret::new("hunter2")), None] {
        options.credentials.password = password;
        let store = RedisStore::new(options.clone()).unwrap();
        let error = stored(&store, view("a"), [1]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        let shown = format!("{error} {error:?} {store:?}");
        assert!(error.message().contains(&server.url()), "{error}");
        assert!(!shown.contains("hunter2") && !shown.contains("opensesame"), "{shown}");
    }
}

/// Makes an authority, and a certificate of it for 127.0.0.1, in a folder.
fn certificates(folder: &std::path::Path) {
    let file = |name: &str| folder.join(name).display().to_string();
    std::fs::write(
        folder.join("names"),
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = [
        &["req", "-x509", "-days", "2", "-subj", "/CN=authority"][..],
        &key,
        &["-keyout", &file("ca.key"), "-out", &file("ca.pem")],
    ];
    run("openssl", &authority.concat());
    let request = [
        &["req", "-subj", "/CN=server"][..],
        &key,
        &["-keyout", &file("key.pem"), "-out", &file("request")],
    ];
    run("openssl", &request.concat());
    let (request, names, ca) = (file("request"), file("names"), file("ca.pem"));
    let sign = ["x509", "-req", "-days", "2", "-in", &request, "-extfile", &names, "-CA", &ca];
    let signed = ["-CAkey", &file("ca.key"), "-CAcreateserial", "-out", &file("certificate.pem")];
    run("openssl", &[&sign[..], &signed].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_may_be_tls_with_certificates_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let tls_port = servers::free_port();
    let (port, certificate, key, ca) =
        (tls_port.to_string(), file("certificate.pem"), file("key.pem"), file("ca.pem"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let _server = Server::start(&[PLAIN, &tls, &["--tls-ca-cert-file", &ca]].concat());
    let mut options = options(&format!("rediss://127.0.0.1:{tls_port}"));
    options.tls.authorities = Some(read("ca.pem"));
    options.tls.client = Some((read("certificate.pem"), Secret::new(read("key.pem"))));
    contract(&RedisStore::new(options.clone()).unwrap()).await;
    // Without the authority, and without a certificate of its own, nobody gets in.
    options.write_timeout = Duration::from_millis(100);
    let mut stranger = options.clone();
    stranger.tls.authorities = None;
    options.tls.client = None;
    for refused in [stranger, options] {
        let store = RedisStore::new(refused).unwrap();
        let error = stored(&store, view("a"), [1]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    }
}

#[test]
fn certificates_that_are_none_are_refused_at_once() {
    let mut options = options("rediss://127.0.0.1:1");
    options.tls.authorities = Some("-----BEGIN CERTIFICATE-----\n!\n".to_owned());
    assert_eq!(RedisStore::new(options).unwrap_err().kind(), Kind::Invalid);
}

/// A server that hangs up on everybody, and counts them.
fn hanging_up() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let callers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&callers);
    // It ends with the process.
    std::thread::spawn(move || {
        for caller in listener.incoming() {
            drop(caller);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, callers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_again_and_again_is_left_alone() {
    let (port, callers) = hanging_up();
    let mut options = options(&format!("redis://127.0.0.1:{port}"));
    options.breaker_failures = 4;
    options.breaker_pause = Duration::from_secs(3600);
    let store = RedisStore::new(options).unwrap();
    for _ in 0..1000 {
        let error = stored(&store, view("a"), [1]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains(&format!("redis://127.0.0.1:{port}")), "{error}");
    }
    assert_eq!(callers.load(Ordering::Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_costs_its_timeout() {
    // Nobody accepts, and the kernel lets us in.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let mut options = options(&url);
    options.connect_timeout = Duration::from_millis(20);
    options.read_timeout = Duration::from_millis(20);
    let store = RedisStore::new(options).unwrap();
    let error = stored(&store, view("a"), [1]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_comes_back_with_its_server() {
    let mut server = Server::start(DURABLE);
    let mut options = server.options();
    options.breaker_failures = 2;
    options.breaker_pause = Duration::from_millis(50);
    let store = RedisStore::new(options).unwrap();
    let row = Row::at(1, 1);
    store.write(view("back"), batch(&[row]), None).await.unwrap();
    server.kill();
    for _ in 0..20 {
        assert_eq!(stored(&store, view("back"), [1]).await.unwrap_err().kind(), Kind::Unavailable);
    }
    server.restart();
    // Without the script, which a server that was started again has forgotten.
    store.write(view("back"), batch(&[Row::at(2, 1)]), None).await.unwrap();
    assert_eq!(stored(&store, view("back"), [1]).await.unwrap(), [found(&row)]);
}

/// The key of an entity.
fn key_of(server: &Server, id: i64) -> Vec<u8> {
    let keys_of = keys([id]);
    let entity = keys_of.iter().next().flatten().unwrap();
    let all: Vec<Vec<u8>> = server.connect().keys("unskew:*").unwrap();
    all.into_iter().find(|key| key.ends_with(entity)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_written_is_corrupt_with_its_key_and_view() {
    let server = Server::start(PLAIN);
    let (store, view) = (server.store(), view("corrupt"));
    let rows: Vec<Row> = (0..8).map(|id| Row::at(id, 5)).collect();
    let garbage: &[&[u8]] = &[b"", b"x", &[0xff; 24], &[0xff; 25], &[9; 4000]];
    for garbage in garbage {
        store.write(view, batch(&rows), None).await.unwrap();
        let key = key_of(&server, 3);
        let _: () = server.connect().hset(&key, view.as_bytes(), garbage).unwrap();
        let check = |error: unskew::error::Error| {
            assert_eq!(error.kind(), Kind::Corrupt, "{garbage:?}: {error}");
            let shown = key.escape_ascii().to_string();
            assert!(error.message().contains(&shown), "{error}");
            let field = view.as_bytes().escape_ascii().to_string();
            assert!(error.message().contains(&field), "{error}");
        };
        check(stored(&store, view, 0..8).await.unwrap_err());
        check(store.write(view, batch(&rows), None).await.unwrap_err());
        check(store.sample(view, 100, 0).await.unwrap_err());
        assert_eq!(store.delete(view, Rows::All).await, Ok(8));
    }
    // A key that is of another type altogether.
    store.write(view, batch(&rows), None).await.unwrap();
    let key = key_of(&server, 3);
    let _: () = server.connect().set(&key, "text").unwrap();
    assert_eq!(stored(&store, view, 0..8).await.unwrap_err().kind(), Kind::Corrupt);
    let again = store.write(view, batch(&rows), None).await.unwrap_err();
    assert_eq!(again.kind(), Kind::Corrupt, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_expire_with_the_longest_of_their_views() {
    const DAY: Span = Span(86_400_000_000);
    const DAY_MS: i64 = 86_400_000;
    let server = Server::start(PLAIN);
    let store = server.store();
    // How long a key stays, in days, rounded down; -1: for ever.
    let days = |id: i64| {
        let left: i64 = server.connect().pttl(key_of(&server, id)).unwrap();
        if left < 0 { left } else { left / DAY_MS }
    };
    let write = async |name: &str, id: i64, event: i64, days: Option<i64>| {
        let ttl = days.map(|days| Span(days * DAY.0));
        store.write(view(name), batch(&[Row::at(id, event)]), ttl).await.unwrap();
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_micros() as i64;
    write("ten", 1, 1, Some(10)).await;
    assert_eq!(days(1), 10, "from when it was written");
    write("ten", 2, now + DAY.0 * 2 + DAY.0 / 2, Some(10)).await;
    assert_eq!(days(2), 12, "from its event time");
    write("three", 1, 1, Some(3)).await;
    assert_eq!(days(1), 10, "never shortened");
    write("thirty", 1, 1, Some(30)).await;
    assert_eq!(days(1), 30, "put off");
    write("ten", 1, 1, Some(40)).await;
    assert_eq!(days(1), 40, "put off by a row that is there already");
    write("for ever", 1, 1, None).await;
    assert_eq!(days(1), -1);
    write("ten", 1, 2, Some(10)).await;
    assert_eq!(days(1), -1, "a row without ttl keeps the key");
    write("for ever", 3, 1, None).await;
    write("ten", 3, 1, Some(10)).await;
    assert_eq!(days(3), -1);
    let mut options = server.options();
    options.expire = false;
    let keeping = RedisStore::new(options).unwrap();
    keeping.write(view("kept"), batch(&[Row::at(2, 1)]), Some(DAY)).await.unwrap();
    assert_eq!(days(2), -1);
    write("ten", 4, 2, None).await;
    write("ten", 4, 1, Some(10)).await;
    assert_eq!(days(4), -1, "not by a row that is stale");
    write("ten", 4, 2, Some(10)).await;
    assert_eq!(days(4), 10, "the view has a ttl now, and the key no other row");
    store.delete(view("for ever"), Rows::All).await.unwrap();
    write("ten", 3, 1, Some(10)).await;
    assert_eq!(days(3), 10, "the view without a ttl is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so() {
    let server = Server::start(&[PLAIN, &["--maxmemory", "1mb"]].concat());
    let store = server.store();
    let rows: Vec<Row> = (0..20_000).map(|id| Row::at(id, 1)).collect();
    let error = store.write(view("full"), batch(&rows), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Limit, "{error}");
    assert!(error.message().contains("is full"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_in_the_same_redis_is_left_alone() {
    let server = Server::start(PLAIN);
    let mut connection = server.connect();
    let _: () = connection.hset("elsewhere", view("a").as_bytes(), "x").unwrap();
    let _: () = connection.set("unskew:{zz}", "x").unwrap();
    let _: () = connection.hset("unskew:{00}text", view("a").as_bytes(), "x").unwrap();
    let store = server.store();
    store.write(view("a"), batch(&[Row::at(1, 1)]), Some(Span(1))).await.unwrap();
    let mut options = server.options();
    options.prefix = "other:".to_owned();
    let other = RedisStore::new(options).unwrap();
    assert_eq!(other.count(view("a"), Rows::All).await, Ok(0));
    assert_eq!(store.count(view("a"), Rows::All).await, Ok(1));
    assert_eq!(store.sample(view("a"), 9, 0).await.unwrap().len(), 1);
    assert_eq!(store.delete(view("a"), Rows::All).await, Ok(1));
    assert!(connection.exists::<_, bool>("elsewhere").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_trip_answers_a_request() {
    let server = Server::start(PLAIN);
    let store = server.store();
    let rows: Vec<Row> = (0..50).map(|id| Row::at(id, 1)).collect();
    let views: Vec<_> = ["a", "b", "c", "d", "e"].map(view).into();
    for view in &views {
        store.write(*view, batch(&rows), None).await.unwrap();
    }
    let reads = || -> (u64, u64) {
        let info: String = cmd("INFO").arg("all").query(&mut server.connect()).unwrap();
        let number = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        };
        (number("cmdstat_hmget:calls="), number("cmdstat_hget:calls="))
    };
    let before = reads();
    let (all, few) = (keys(0..50), keys(0..3));
    let lookups = [Lookup { views: &views, keys: &all }, Lookup { views: &views[..2], keys: &few }];
    let found = store.read(&lookups).await.unwrap();
    assert!(found.iter().all(|rows| rows.view(0).all(|row| row.is_some())));
    // A command for each entity, whatever the number of views.
    let after = reads();
    assert_eq!((after.0 - before.0, after.1 - before.1), (53, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_share_a_connection() {
    let server = Server::start(PLAIN);
    let store = Arc::new(server.store());
    store.write(view("a"), batch(&[Row::at(1, 1)]), None).await.unwrap();
    let reads = (0..200).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { stored(&*store, view("a"), [1]).await.unwrap() })
    });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap(), [found(&Row::at(1, 1))]);
    }
    let clients: String = cmd("CLIENT").arg("LIST").query(&mut server.connect()).unwrap();
    // One to read, one to write, one for the question.
    assert_eq!(clients.lines().count(), 3, "{clients}");
}

/// A store with 200 entities.
async fn store_of_many(server: &Server) -> Arc<RedisStore> {
    let store = Arc::new(server.store());
    let rows: Vec<Row> = (0..200).map(|id| Row::at(id, 1)).collect();
    store.write(view("a"), batch(&rows), None).await.unwrap();
    store
}

/// Reads entities one by one, all at once, and checks what is found.
async fn read_at_once(store: &Arc<RedisStore>, ids: std::ops::Range<i64>) {
    let reads = ids.map(|id| {
        let store = Arc::clone(store);
        tokio::spawn(async move { (id, stored(&*store, view("a"), [id]).await.unwrap()) })
    });
    for read in futures::future::join_all(reads.collect::<Vec<_>>()).await {
        let (id, read) = read.unwrap();
        assert_eq!(read, [found(&Row::at(id, 1))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_waits_for_is_given_to_nobody() {
    let server = Server::start(PLAIN);
    let store = store_of_many(&server).await;
    for round in 0..50 {
        let given_up = (0..20).map(|id| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { stored(&*store, view("a"), [id]).await.map(drop) })
        });
        let given_up: Vec<_> = given_up.collect();
        for _ in 0..round % 10 {
            tokio::task::yield_now().await;
        }
        given_up.iter().for_each(tokio::task::JoinHandle::abort);
        read_at_once(&store, 100..120).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_ended_is_made_again() {
    let server = Server::start(PLAIN);
    let store = store_of_many(&server).await;
    for _ in 0..3 {
        read_at_once(&store, 0..20).await;
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        let ended: usize = kill.query(&mut server.connect()).unwrap();
        assert!(ended >= 1);
        read_at_once(&store, 0..20).await;
    }
}

/// However many had asked on the connection that ended, that is one failure, and not as many in a
/// row as it takes for a server to be left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_under_many_is_made_again() {
    let server = Server::start(PLAIN);
    let store = store_of_many(&server).await;
    let mut ended = 0;
    for _ in 0..20 {
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        let mut asker = server.connect();
        let killing = tokio::task::spawn_blocking(move || kill.query::<usize>(&mut asker).unwrap());
        read_at_once(&store, 0..200).await;
        ended += killing.await.unwrap();
        read_at_once(&store, 0..200).await;
    }
    assert!(ended >= 20);
}
