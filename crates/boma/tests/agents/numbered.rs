//! Rows with numbers, each in a transaction of its own, and what is known of when and where each
//! was committed.

use anyhow::{Context as _, Result, ensure};
use boma_instance::wal::Lsn;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::node::Node;

/// Restore points are made behind each row whose number can be divided by this.
pub(crate) const POINTS: i64 = 7;

/// Segments end now and then, as they do where more is written.
const SEGMENTS: i64 = 60;

/// Rows at most: a machine that is slow to do the rest must not run out of room.
const MOST: i64 = 3000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS numbered (n bigint PRIMARY KEY, text text NOT NULL);
    CREATE TABLE IF NOT EXISTS other (n bigserial PRIMARY KEY, text text NOT NULL)";

/// A row, after its transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) n: i64,
    /// The time in its commit record.
    pub(crate) at: Timestamp,
    /// Behind its commit record, and before anything of the next row.
    pub(crate) lsn: Lsn,
}

/// One writer of numbered rows and two of others, until they are told to stop.
pub(crate) struct Writers {
    running: watch::Sender<bool>,
    written: watch::Receiver<i64>,
    /// Number of the last row that there will ever be.
    last: i64,
    numbered: JoinHandle<Result<Vec<(i64, Lsn)>>>,
    others: Vec<JoinHandle<Result<()>>>,
}

impl Writers {
    /// Starts to write, at number `first`.
    pub(crate) async fn start(node: &Node, first: i64) -> Result<Self> {
        let client = node.connect().await?;
        client.batch_execute(TABLES).await?;
        let (running, told) = watch::channel(true);
        let (count, written) = watch::channel(first - 1);
        let mut others = Vec::new();
        for _ in 0..2 {
            others.push(tokio::spawn(disturb(
                node.connect().await?,
                written.clone(),
            )));
        }
        Ok(Self {
            running,
            written,
            last: first + MOST - 1,
            numbered: tokio::spawn(number(client, first, told, count)),
            others,
        })
    }

    /// Returns when so many more rows are committed, or all that there will ever be.
    pub(crate) async fn more(&mut self, rows: i64) -> Result<()> {
        let until = self.last.min(*self.written.borrow() + rows);
        let reached = self.written.wait_for(|written| *written >= until).await;
        if reached.is_err() {
            let ended = (&mut self.numbered).await?;
            return ended.map(drop).context("the writer ended early");
        }
        Ok(())
    }

    /// Ends them all; how many rows there are.
    pub(crate) async fn stop_unseen(self) -> Result<i64> {
        self.running.send_replace(false);
        let positions = self.numbered.await??;
        for other in self.others {
            other.await??;
        }
        Ok(positions.len().try_into()?)
    }

    /// Ends them all, and says what is known of the rows.
    pub(crate) async fn stop(self, node: &Node) -> Result<Vec<Committed>> {
        self.running.send_replace(false);
        let positions = self.numbered.await??;
        for other in self.others {
            other.await??;
        }
        let times = times(&node.connect().await?, "numbered").await?;
        let times = &times[times.len() - positions.len()..];
        let rows: Vec<_> = positions
            .iter()
            .zip(times)
            .map(|((n, lsn), (_, at))| Committed {
                n: *n,
                at: *at,
                lsn: *lsn,
            })
            .collect();
        ensure!(rows.is_sorted_by_key(|row| row.at), "times go backwards");
        Ok(rows)
    }
}

/// Numbers of a table's rows, and when each was committed.
pub(crate) async fn times(client: &Client, table: &str) -> Result<Vec<(i64, Timestamp)>> {
    let micros = "(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint";
    let text = format!("SELECT n, {micros} FROM {table} ORDER BY n");
    let mut times = Vec::new();
    for row in client.query(&text, &[]).await? {
        times.push((row.get(0), Timestamp::from_microsecond(row.get(1))?));
    }
    Ok(times)
}

async fn number(
    client: Client,
    first: i64,
    mut running: watch::Receiver<bool>,
    written: watch::Sender<i64>,
) -> Result<Vec<(i64, Lsn)>> {
    let insert = "INSERT INTO numbered SELECT $1::bigint, string_agg(md5($1::bigint::text || i), '') \
                  FROM generate_series(1, 40) i";
    let insert = client.prepare(insert).await?;
    let place = "SELECT pg_current_wal_insert_lsn()::text";
    let place = client.prepare(place).await?;
    let mut positions = Vec::new();
    for n in first..first + MOST {
        client.execute(&insert, &[&n]).await?;
        let text: String = client.query_one(&place, &[]).await?.get(0);
        positions.push((n, text.parse()?));
        if n % POINTS == 0 {
            let point = format!("SELECT pg_create_restore_point('{}')", point(n));
            client.batch_execute(&point).await?;
        }
        if n % SEGMENTS == 0 {
            client.batch_execute("SELECT pg_switch_wal()").await?;
        }
        written.send_replace(n);
        if !*running.borrow() {
            return Ok(positions);
        }
    }
    running.wait_for(|running| !running).await?;
    Ok(positions)
}

/// Name of the restore point behind a row.
pub(crate) fn point(n: i64) -> String {
    format!("after row {n}")
}

/// Writes as often as numbered rows are committed, and ends with their writer.
async fn disturb(client: Client, mut written: watch::Receiver<i64>) -> Result<()> {
    while written.changed().await.is_ok() {
        client
            .batch_execute(
                "INSERT INTO other (text) SELECT string_agg(md5(random()::text), '') \
                 FROM generate_series(1, 100);
                 DELETE FROM other WHERE n = (SELECT min(n) FROM other) AND random() < 0.01",
            )
            .await?;
        client
            .batch_execute("BEGIN; INSERT INTO other (text) VALUES ('never'); ROLLBACK")
            .await?;
    }
    Ok(())
}

/// Fails unless a server has the rows 1 to `last`, with what is in them, and no other.
pub(crate) async fn expect_rows(node: &Node, last: i64) -> Result<()> {
    let client = node.connect().await?;
    let sound = "SELECT count(*), coalesce(min(n), 1), coalesce(max(n), 0), count(*) FILTER (WHERE text = \
                 (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 40) i)) \
                 FROM numbered";
    let row = client.query_one(sound, &[]).await?;
    let found: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
    ensure!(
        found == [last, 1, last, last],
        "rows 1 to {last} are expected; there are {}, from {} to {}, {} of them as they were written",
        found[0],
        found[1],
        found[2],
        found[3]
    );
    Ok(())
}
