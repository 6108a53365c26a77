//! What one set of heads has and another lacks, beside a scan of as many rows.

use eidetica::backend::{Backend, Keyspace, Scan};
use eidetica::store::DocStore;
use eidetica::{Durability, Id};

use crate::base::{Bases, Open, STORE};
use crate::clock::{Rounds, Took, Watch};
use crate::workloads::{self, FAR, NEAR};
use crate::{Result, base};

/// Where the layout of Eidetica keeps entries.
const ENTRIES: Keyspace = Keyspace::new(1);

/// How the second heads stand to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// They lie below them in one line.
    Behind,
    /// Each side has as many entries of its own.
    Forked,
}

/// A history of some length, with places to compare.
pub struct Differences {
    open: Open,
    /// The line of entries, the head last.
    log: Vec<Id>,
    n: u64,
}

/// What one difference costs.
pub struct Figures {
    /// Time of a difference.
    pub took: Rounds,
    /// Time of reading as many rows of entries in one scan, through the backend.
    pub scan: Rounds,
    /// Rows that a difference reads, found or not.
    pub rows: u64,
    /// Calls of the backend's snapshot in which it reads them.
    pub calls: u64,
}

/// Two sets of heads between which there are so many entries.
#[derive(Clone)]
pub struct Pair {
    heads: Vec<Id>,
    without: Vec<Id>,
    d: u64,
}

impl Differences {
    /// In a SQLite file with `n` commits.
    pub async fn on_sqlite(bases: &Bases, n: u64) -> Result<Differences> {
        let open = bases.open(base::sqlite(&bases.copy(n)?).await?).await?;
        let log = open.database.difference(&open.database.get_tips().await?, &[]).await?;
        Ok(Differences { open, log, n })
    }

    /// Heads between which there are `d` entries. For [`Shape::Forked`] these are written first, on both sides; they stay,
    /// so that line and later forks are to be asked for before.
    pub async fn pair(&self, shape: Shape, d: u64) -> Result<Pair> {
        let place = |back: u64| self.log.len().checked_sub(1 + back as usize).map(|place| self.log[place]);
        let head = place(0).ok_or("no entries")?;
        Ok(match shape {
            Shape::Behind => Pair { heads: vec![head], without: vec![place(d).ok_or("the history is too short")?], d },
            Shape::Forked => {
                let heads = vec![self.branch(head, NEAR, d).await?];
                Pair { heads, without: vec![self.branch(head, FAR, d).await?], d }
            }
        })
    }

    /// Makes `d` commits upon an entry, by side, and gives the last of them.
    async fn branch(&self, on: Id, side: u64, d: u64) -> Result<Id> {
        let first = self.n * side * 2;
        let mut head = on;
        for put in workloads::puts(side, first..first + d) {
            let transaction = self.open.database.new_transaction_with_tips(&[head]).await?;
            let store = transaction.get_store::<DocStore>(STORE).await?;
            store.set(&put.0, put.1.as_str()).await?;
            head = transaction.commit_with(Durability::Buffered).await?.id;
        }
        Ok(head)
    }

    /// Asks for the difference so often.
    pub async fn difference(&self, pair: &Pair, times: u64) -> Result<Took> {
        let watch = Watch::start();
        for _ in 0..times {
            let found = self.open.database.difference(&pair.heads, &pair.without).await?;
            if found.len() as u64 != pair.d {
                return Err(format!("{} entries found, not {}", found.len(), pair.d).into());
            }
        }
        Ok(watch.stop())
    }

    /// Scans as many rows of entries so often.
    pub async fn scan(&self, pair: &Pair, times: u64) -> Result<Took> {
        let watch = Watch::start();
        for _ in 0..times {
            let rows = self.open.recorder.snapshot().await?;
            let mut left = pair.d as usize;
            let mut next = Some(Scan::new(ENTRIES));
            while let Some(scan) = next.take().filter(|_| left > 0) {
                let page = rows.scan(scan.clone().rows(left)).await?;
                left -= page.rows.len();
                next = page.rows.last().filter(|_| page.more).map(|(last, _)| scan.after(last));
            }
            if left > 0 {
                return Err("there are fewer entries".into());
            }
        }
        Ok(watch.stop())
    }

    /// Rounds of both, turn by turn, and what is read.
    pub async fn figures(&self, pair: &Pair, rounds: u64, times: u64) -> Result<Figures> {
        let (mut took, mut scan) = (Rounds::default(), Rounds::default());
        for round in 0..=rounds {
            let (one, other) = (self.difference(pair, times).await?, self.scan(pair, times).await?);
            if round > 0 {
                took.add(one, times);
                scan.add(other, times);
            }
        }
        self.open.recorder.watch_reads(true);
        let before = self.open.recorder.counts();
        self.difference(pair, 1).await?;
        let after = self.open.recorder.counts();
        self.open.recorder.watch_reads(false);
        Ok(Figures { took, scan, rows: after.rows - before.rows, calls: after.reads - before.reads })
    }

    /// Ends it.
    pub async fn close(self) -> Result<()> {
        self.open.close().await
    }
}
