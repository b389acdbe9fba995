//! What the online stores cost, beside the limit: a client that sends Redis the same bytes and does
//! nothing else. Every figure is of one run on one machine; the ratios are what counts.
//!
//! `UNSKEW_BENCH_ROWS` is the number of rows that are written.

use std::{
    env,
    error::Error,
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use unskew::{
    digest::Digest,
    online::{
        EmbeddedOptions, EmbeddedStore, EntityKeys, FingerprintPrefix, JoinKeys, Lookup,
        OnlineStore, RedisOptions, RedisStore, RowBatch, RowVersion, ValueSchema, ViewId,
        encode_value,
    },
    time::{Span, Timestamp},
    value::{DataType, Field, RowEncoder},
};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Rows of a batch, and batches that are written at once: as a materializer does.
const BATCH: usize = 8192;
const AT_ONCE: usize = 2;
const FEATURES: usize = 5;
const VIEWS: usize = 5;

fn main() -> Outcome<()> {
    let rows = env::var("UNSKEW_BENCH_ROWS").map_or(Ok(200_000), |rows| rows.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    decode()?;
    runtime.block_on(write(rows))?;
    runtime.block_on(read())
}

/// A server of our own, gone with the bench.
struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    async fn start() -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"]);
        let process = command.arg(folder.path()).stdin(Stdio::null()).stdout(log).spawn()?;
        let redis = Self { process, port, _folder: folder };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(redis);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("redis-server does not start".into())
    }

    fn store(&self) -> Outcome<RedisStore> {
        let mut options = RedisOptions::new(format!("redis://127.0.0.1:{}", self.port).parse()?);
        options.read_timeout = Duration::from_secs(10);
        Ok(RedisStore::new(options)?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn field(name: String, data_type: DataType) -> Field {
    Field { name, data_type, nullable: true, documentation: String::new() }
}

fn fields() -> Vec<Field> {
    (0..FEATURES).map(|i| field(format!("feature_{i}"), DataType::Float64)).collect()
}

fn keys(ids: impl IntoIterator<Item = i64>) -> Outcome<EntityKeys> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    Ok(JoinKeys::new(vec![field("id".to_owned(), DataType::Int64)])?.keys(&[column])?)
}

/// Rows of five numbers, in batches, all with one event time.
fn batches(rows: usize, event: i64) -> Outcome<Vec<RowBatch>> {
    let fields = fields();
    let fingerprint = FingerprintPrefix::from(&Digest::of("bench"));
    (0..rows)
        .step_by(BATCH)
        .map(|from| -> Outcome<RowBatch> {
            let to = rows.min(from + BATCH);
            let column = |feature: usize| -> ArrayRef {
                let values = (from..to).map(|row| (row * FEATURES + feature) as f64);
                Arc::new(Float64Array::from_iter_values(values))
            };
            let columns: Vec<ArrayRef> = (0..FEATURES).map(column).collect();
            let encoder = RowEncoder::new(&fields, &columns)?;
            let mut batch = RowBatch::with_capacity(to - from, (to - from) * 128);
            for (row, key) in keys((from..to).map(|id| id as i64))?.iter().enumerate() {
                let content = (from + row) as u64;
                let version = RowVersion { event: Timestamp(event), created: None, content };
                batch.push(key.ok_or("a null key")?, version, |out| {
                    encode_value(fingerprint, &encoder, row, out);
                });
            }
            Ok(batch)
        })
        .collect()
}

fn command(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Sends `HSET`s of the same keys, fields and bytes, as fast as Redis takes them.
async fn bare_write(redis: &Redis, batches: &[RowBatch], view: ViewId) -> Outcome<Duration> {
    let mut bytes = Vec::new();
    let mut rows = 0;
    for batch in batches {
        for (entity, row) in batch.iter() {
            let value = [&row.version.to_bytes()[..], row.value].concat();
            let key = [b"unskew:{00}".as_slice(), entity].concat();
            command(&[b"HSET", &key, view.as_bytes(), &value], &mut bytes);
            rows += 1;
        }
    }
    let stream = TcpStream::connect(("127.0.0.1", redis.port)).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut questions) = stream.into_split();
    let begin = Instant::now();
    let sent = tokio::spawn(async move { questions.write_all(&bytes).await.map(|()| questions) });
    // Each answer is ":1\r\n" or ":0\r\n".
    let (mut buffer, mut got) = (vec![0; 1 << 16], 0);
    while got < rows * 4 {
        match answers.read(&mut buffer).await? {
            0 => return Err("Redis hung up".into()),
            read => got += read,
        }
    }
    let took = begin.elapsed();
    sent.await??;
    Ok(took)
}

async fn ours(
    store: &dyn OnlineStore,
    batches: &[RowBatch],
    view: ViewId,
    ttl: Option<Span>,
) -> Outcome<Duration> {
    let begin = Instant::now();
    let writes = stream::iter(batches.to_vec()).map(|batch| store.write(view, batch, ttl));
    writes.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(begin.elapsed())
}

async fn write(rows: usize) -> Outcome<()> {
    let (old, new) = (batches(rows, 1)?, batches(rows, 2)?);
    let day = Some(Span(86_400_000_000));
    let rate = |took: Duration| rows as f64 / took.as_secs_f64();
    println!("\nWriting {rows} rows of {FEATURES} numbers\n");
    println!("{:<44} {:>10} {:>14}", "", "rows/s", "of the limit");
    let line = |what: &str, took: Duration, limit: Duration| {
        println!("{what:<44} {:>10.0} {:>14.2}", rate(took), rate(took) / rate(limit));
    };
    let (bare, redis) = (Redis::start().await?, Redis::start().await?);
    let store = redis.store()?;
    let view = ViewId::of("bench", "plain");
    let fresh = bare_write(&bare, &old, view).await?;
    line("HSET alone, entities that are new", fresh, fresh);
    line("  newest wins", ours(&store, &old, view, None).await?, fresh);
    let again = bare_write(&bare, &new, view).await?;
    line("HSET alone, entities that are there", again, again);
    line("  newest wins, newer rows", ours(&store, &new, view, None).await?, again);
    line("  newest wins, the same rows", ours(&store, &new, view, None).await?, again);
    line("  newest wins, older rows", ours(&store, &old, view, None).await?, again);
    drop((store, redis));
    let redis = Redis::start().await?;
    let store = redis.store()?;
    let view = ViewId::of("bench", "with ttl");
    line("with a ttl, entities that are new", ours(&store, &old, view, day).await?, fresh);
    line("with a ttl, newer rows", ours(&store, &new, view, day).await?, again);
    let folder = tempfile::tempdir()?;
    let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default())?;
    line("embedded, entities that are new", ours(&store, &old, view, None).await?, fresh);
    line("embedded, newer rows", ours(&store, &new, view, None).await?, again);
    Ok(())
}

/// Reads by `clients` clients at once, each one entity of five views at a time.
async fn reads<F: Future<Output = Outcome<()>>>(
    clients: usize,
    count: usize,
    read: impl Fn(usize) -> F,
) -> Outcome<f64> {
    let begin = Instant::now();
    let all = stream::iter(0..count).map(read);
    all.buffer_unordered(clients).try_collect::<Vec<_>>().await?;
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// One client that asks again as soon as it is answered.
struct Asking {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Asking {
    async fn ask(&mut self, question: &[u8], answer: usize) -> Outcome<()> {
        self.stream.write_all(question).await?;
        let mut got = 0;
        while got < answer {
            match self.stream.read(&mut self.buffer).await? {
                0 => return Err("Redis hung up".into()),
                read => got += read,
            }
        }
        Ok(())
    }
}

async fn read() -> Outcome<()> {
    const ENTITIES: usize = 10_000;
    let views: Vec<ViewId> = (0..VIEWS).map(|i| ViewId::of("bench", &i.to_string())).collect();
    let redis = Redis::start().await?;
    let folder = tempfile::tempdir()?;
    let stores: [(&str, Box<dyn OnlineStore>); 2] = [
        ("redis", Box::new(redis.store()?)),
        ("embedded", Box::new(EmbeddedStore::open(folder.path(), EmbeddedOptions::default())?)),
    ];
    let rows = batches(ENTITIES, 1)?;
    for (_, store) in &stores {
        for view in &views {
            ours(store.as_ref(), &rows, *view, None).await?;
        }
    }
    println!("\nReading {VIEWS} views\n");
    println!("{:<44} {:>10} {:>14}", "", "requests/s", "of the limit");
    for entities in [1, 10, 100, 500] {
        let count = 20_000 / entities;
        let asked: Vec<EntityKeys> = (0..100_usize)
            .map(|i| keys((0..entities).map(|j| ((i * 97 + j * 13) % ENTITIES) as i64)))
            .collect::<Outcome<_>>()?;
        // The keys as the store has them, to ask for the same.
        let mut lister =
            redis::Client::open(format!("redis://127.0.0.1:{}", redis.port))?.get_connection()?;
        let mut names = std::collections::HashMap::new();
        for name in redis::cmd("KEYS").arg("*").query::<Vec<Vec<u8>>>(&mut lister)? {
            names.insert(name[11..].to_vec(), name);
        }
        let mut question = Vec::new();
        for entity in asked[0].iter().flatten() {
            let mut parts: Vec<&[u8]> = vec![b"HMGET".as_slice(), &names[entity]];
            parts.extend(views.iter().map(|view| view.as_bytes().as_slice()));
            command(&parts, &mut question);
        }
        let stream = TcpStream::connect(("127.0.0.1", redis.port)).await?;
        stream.set_nodelay(true)?;
        let mut asking = Asking { stream, buffer: vec![0; 1 << 20] };
        asking.stream.write_all(&question).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let answer = asking.stream.read(&mut asking.buffer).await?;
        let begin = Instant::now();
        for _ in 0..count {
            asking.ask(&question, answer).await?;
        }
        let limit = count as f64 / begin.elapsed().as_secs_f64();
        println!("{:<44} {limit:>10.0} {:>14.2}", format!("HMGET alone, {entities} entities"), 1.0);
        for (name, store) in &stores {
            for clients in [1, 16] {
                let rate = reads(clients, count, |i| {
                    let (store, views, asked) = (store, &views, &asked);
                    async move {
                        let keys = &asked[i % asked.len()];
                        store.read(&[Lookup { views, keys }]).await?;
                        Ok::<(), Box<dyn Error>>(())
                    }
                })
                .await?;
                let what = format!("  {name}, {clients} at once");
                println!("{what:<44} {rate:>10.0} {:>14.2}", rate / limit);
            }
        }
    }
    Ok(())
}

fn decode() -> Outcome<()> {
    const ROUNDS: usize = 200_000;
    let rows = batches(BATCH, 1)?;
    let values: Vec<&[u8]> =
        rows.iter().flat_map(|batch| batch.iter().map(|(_, row)| row.value)).collect();
    let fields = fields();
    println!("Decoding {FEATURES} numbers of a row\n");
    for at_once in [1, 100] {
        let schema = ValueSchema::new(&fields)?;
        let time = |prepared: bool| -> Outcome<f64> {
            let begin = Instant::now();
            for round in 0..ROUNDS / at_once {
                let from = (round * at_once) % (BATCH - at_once);
                let some = values[from..from + at_once].iter().map(|value| Some(*value));
                let columns = match prepared {
                    true => schema.decode(some)?,
                    false => ValueSchema::new(&fields)?.decode(some)?,
                };
                std::hint::black_box(columns);
            }
            Ok(begin.elapsed().as_secs_f64() * 1e9 / ROUNDS as f64)
        };
        let (anew, prepared) = (time(false)?, time(true)?);
        println!(
            "{at_once:>4} rows: {prepared:>6.0} ns a row; {anew:>6.0} with a schema for every call ({:.1}x)",
            anew / prepared
        );
    }
    Ok(())
}
