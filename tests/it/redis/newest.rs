//! The newest row wins, in Redis as in the embedded store.

use futures::future::join_all;
use unskew::online::{EmbeddedOptions, EmbeddedStore, OnlineStore, Rows};

use super::{
    rows::{Lottery, Row, batch, found, stored, view},
    servers::{PLAIN, Server},
};

fn embedded(folder: &std::path::Path) -> EmbeddedStore {
    let options = EmbeddedOptions { map_size: 1 << 24, ..EmbeddedOptions::default() };
    EmbeddedStore::open(folder, options).unwrap()
}

/// Eight writers with the same rows in random order, some of them twice: the store ends at the
/// newest. `UNSKEW_SEEDS` is how often; 100 is what has to hold before a release.
#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_in_random_order_end_at_the_newest() {
    const ENTITIES: i64 = 40;
    let seeds = std::env::var("UNSKEW_SEEDS").map_or(5, |seeds| seeds.parse().unwrap());
    let (server, folder) = (Server::start(PLAIN), tempfile::tempdir().unwrap());
    let stores: [Box<dyn OnlineStore>; 2] =
        [Box::new(server.store()), Box::new(embedded(folder.path()))];
    for seed in 0..seeds {
        let mut lottery = Lottery(seed);
        let mut rows: Vec<Row> = (0..400).map(|_| lottery.row(ENTITIES as u64)).collect();
        // One definition: with several, the one that writes last is in force.
        rows.iter_mut().for_each(|row| row.definition = 1);
        let newest =
            |id: i64| rows.iter().filter(|row| row.id == id).max_by_key(|row| row.version());
        let expected: Vec<_> = (0..ENTITIES).map(|id| newest(id).and_then(found)).collect();
        let orders: Vec<Vec<Row>> = (0..8)
            .map(|_| {
                let mut order = rows.clone();
                order.extend_from_slice(&rows[..100]);
                lottery.shuffle(&mut order);
                order
            })
            .collect();
        let view = view(&format!("writers {seed}"));
        for store in &stores {
            let writes = orders.iter().map(|order| async {
                for rows in order.chunks(60) {
                    store.write(view, batch(rows), None).await.unwrap();
                }
            });
            join_all(writes).await;
            let ends = stored(store.as_ref(), view, 0..ENTITIES).await.unwrap();
            assert_eq!(ends, expected, "seed {seed}, {store:?}");
        }
    }
}

/// The script decides as [`EmbeddedStore`] does, row by row, whatever the versions and definitions.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_decides_as_the_embedded_store_does() {
    const ENTITIES: i64 = 6;
    let (server, folder) = (Server::start(PLAIN), tempfile::tempdir().unwrap());
    let (script, embedded) = (server.store(), embedded(folder.path()));
    let (view, mut lottery) = (view("script"), Lottery(7));
    for round in 0..400 {
        let rows = 1 + lottery.draw(4);
        let rows: Vec<Row> = (0..rows).map(|_| lottery.row(ENTITIES as u64)).collect();
        let reports = (
            script.write(view, batch(&rows), None).await.unwrap(),
            embedded.write(view, batch(&rows), None).await.unwrap(),
        );
        assert_eq!(reports.0, reports.1, "round {round}: {rows:?}");
        assert_eq!(
            stored(&script, view, 0..ENTITIES).await.unwrap(),
            stored(&embedded, view, 0..ENTITIES).await.unwrap(),
            "round {round}: {rows:?}"
        );
        if round % 50 == 49 {
            script.delete(view, Rows::All).await.unwrap();
            embedded.delete(view, Rows::All).await.unwrap();
        }
    }
}
