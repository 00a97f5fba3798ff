//! Any moment: what was committed before it is there, and nothing else.

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;
use boma_instance::backup::RecoveryTarget;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinSet, LocalSet};

use crate::node::{Node, World};
use crate::numbered::{Committed, POINTS, Writers, expect_rows, point, times};

/// Of each kind.
const TIMES: usize = 24;
const POSITIONS: usize = 16;
const NAMES: usize = 12;

/// Restores side by side.
const AT_ONCE: usize = 2;

/// Numbers that look random, always the same for one seed.
struct Dice(u64);

impl Dice {
    /// With the seed of the environment, or another one each time.
    #[expect(clippy::print_stderr, reason = "a failure is repeated with it")]
    fn new() -> Result<Self> {
        let seed = match std::env::var("BOMA_TEST_SEED") {
            Ok(text) => text.parse().context("BOMA_TEST_SEED is a number")?,
            Err(_none) => Timestamp::now().as_microsecond().unsigned_abs(),
        };
        eprintln!("BOMA_TEST_SEED={seed}");
        Ok(Self(seed))
    }

    /// One of `0..below`: splitmix64.
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    /// One of `all`.
    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).unwrap_or_default()]
    }
}

/// A moment, and the number of the last row that was committed before it.
#[derive(Debug)]
struct Moment {
    target: RecoveryTarget,
    last: i64,
}

/// What is known of the history that moments are taken from.
struct History {
    rows: Vec<Committed>,
    /// Commits of others, oldest first.
    others: Vec<Timestamp>,
}

impl History {
    /// A time, and what was committed until then: between two commits, at the very microsecond of
    /// one, or one before it.
    fn time(&self, dice: &mut Dice) -> Moment {
        let pairs: Vec<_> = self.rows.array_windows::<2>().collect();
        loop {
            let [row, next] = dice.pick(&pairs);
            let gap = next.at.duration_since(row.at).as_micros();
            let (micros, last) = match dice.below(4) {
                0 => (0, row.n),
                1 => (-1, row.n - 1),
                _ => {
                    let below = u64::try_from(gap).unwrap_or_default();
                    (dice.below(below).cast_signed(), row.n)
                }
            };
            let time = row.at + SignedDuration::from_micros(micros);
            if last > 0 && !self.is_disputed(time) {
                return Moment {
                    target: RecoveryTarget::Time(time),
                    last,
                };
            }
        }
    }

    /// Sessions that commit within microseconds may write their records in another order than
    /// that of their times, and recovery ends at the first time behind the target. Where the
    /// numbered row is the only one to commit, there is one answer.
    fn is_disputed(&self, time: Timestamp) -> bool {
        let near = SignedDuration::from_micros(500);
        let from = self.others.partition_point(|other| *other < time - near);
        self.others
            .get(from)
            .is_some_and(|other| *other <= time + near)
    }

    fn position(&self, dice: &mut Dice) -> Moment {
        let row = dice.pick(&self.rows[..self.rows.len() - 1]);
        Moment {
            target: RecoveryTarget::Lsn(row.lsn),
            last: row.n,
        }
    }

    fn name(&self, dice: &mut Dice) -> Moment {
        let points: Vec<_> = self.rows.iter().filter(|row| row.n % POINTS == 0).collect();
        let row = dice.pick(&points);
        Moment {
            target: RecoveryTarget::Name(point(row.n)),
            last: row.n,
        }
    }

    /// All kinds; and the ends: the newest state, and a time behind the last commit of all.
    fn moments(&self, dice: &mut Dice) -> Vec<Moment> {
        let last = self.rows.last().map_or(0, |row| row.n);
        let end = self
            .rows
            .iter()
            .map(|row| row.at)
            .chain(self.others.iter().copied())
            .max();
        let behind = end.unwrap_or_default() + SignedDuration::from_micros(1);
        let ends = [RecoveryTarget::Latest, RecoveryTarget::Time(behind)];
        let mut moments = Vec::from(ends.map(|target| Moment { target, last }));
        moments.extend((0..TIMES).map(|_| self.time(dice)));
        moments.extend((0..POSITIONS).map(|_| self.position(dice)));
        moments.extend((0..NAMES).map(|_| self.name(dice)));
        moments
    }
}

#[tokio::test]
async fn just_what_was_committed_before_any_of_many_moments_is_there() -> Result<()> {
    let mut dice = Dice::new()?;
    let world = World::new(MajorVersion::V17)?;
    let source = world.backed_up("orders").await?;

    let mut writers = Writers::start(&source, 1).await?;
    for _ in 0..3 {
        writers.more(120).await?;
        source.back_up().await?;
    }
    writers.more(120).await?;
    let rows = writers.stop(&source).await?;
    let others = times(&source.connect().await?, "other").await?;
    let mut others: Vec<_> = others.into_iter().map(|(_, at)| at).collect();
    others.sort();
    source.archive().await?;

    let history = History { rows, others };
    let moments = history.moments(&mut dice);
    ensure!(moments.len() > 50, "{}", moments.len());
    let here = LocalSet::new();
    here.run_until(restore_all(&world, &source, moments)).await
}

/// Restores them all, each into a server of its own.
async fn restore_all(world: &World, source: &Node, moments: Vec<Moment>) -> Result<()> {
    let mut going = JoinSet::new();
    let mut checked = 0;
    for (number, moment) in moments.into_iter().enumerate() {
        if going.len() >= AT_ONCE
            && let Some(done) = going.join_next().await
        {
            done??;
            checked += 1;
        }
        let name = format!("copy-{number}");
        let mut node = world.restored(&name, source, moment.target.clone())?;
        going.spawn_local(async move {
            let context = || format!("{moment:?}");
            node.bring_up().await.with_context(context)?;
            expect_rows(&node, moment.last).await.with_context(context)
        });
    }
    while let Some(done) = going.join_next().await {
        done??;
        checked += 1;
    }
    ensure!(checked > 50, "{checked}");
    Ok(())
}
