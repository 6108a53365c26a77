//! Evaluating cells anew, after a change of what counts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use eidetica_contract::{Result, Scan, Snapshot};

use super::algebra::{Algebra, Delta};
use super::cell::{self, Cell};
use super::doc::{self, Action, Record};
use super::events::{EntryCache, Moment};
use super::live;
use super::past::Past;
use super::row::RowCell;
use super::table::{self, IndexWriter};
use crate::dag::{Fresh, Graph, Numbers, Seen};
use crate::db::catalog::StoreInfo;
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{PAST, STATE, StoreNumber, past_parts, within_store};
use crate::overlay::Overlay;

/// The rows of one store, some of whose operations have begun or ceased to count.
pub(crate) struct Again<'a> {
    rows: &'a mut Overlay,
    graph: &'a Graph,
    fresh: &'a Fresh,
    info: &'a StoreInfo,
    store: StoreNumber,
    algebra: Algebra,
}

/// The operations of a record by their numbers, each with what it is in the past.
type Operations = BTreeMap<u64, Past>;

impl<'a> Again<'a> {
    pub fn new(
        rows: &'a mut Overlay,
        graph: &'a Graph,
        fresh: &'a Fresh,
        info: &'a StoreInfo,
        store: StoreNumber,
        algebra: Algebra,
    ) -> Again<'a> {
        Again { rows, graph, fresh, info, store, algebra }
    }

    /// The cells whose records the delta of an entry may have changed: those it names, and in documents those above and below
    /// them, which yield to it.
    pub async fn cells_of(&self, delta: &Delta, entry: Id) -> Result<Vec<Cell>> {
        let mut cells: BTreeSet<Cell> = BTreeSet::new();
        match delta {
            Delta::Doc(delta) => {
                for (path, action) in delta.iter() {
                    let cell = path.cell(entry);
                    cells.extend(path.ancestors(entry));
                    if path.element().is_none() && covers_below(&action) {
                        self.add_below(&doc::prefix_of(&cell), &mut cells).await?;
                    }
                    cells.insert(cell);
                }
            }
            Delta::Table(delta) => cells.extend(delta.iter().map(|(key, _)| cell::single(key.as_bytes()))),
            Delta::Cells(delta) => cells.extend(delta.0.iter().map(|(key, _)| cell::single(key))),
        }
        Ok(cells.into_iter().collect())
    }

    /// Adds every cell that has an operation and whose key begins so.
    async fn add_below(&self, prefix: &[u8], cells: &mut BTreeSet<Cell>) -> Result<()> {
        let end = |keyspace| Scan::prefix(keyspace, &self.store.key(prefix)).end;
        let mut at = Bytes::copy_from_slice(prefix);
        loop {
            let next = |keyspace| Scan::range(keyspace, self.store.key(&at), end(keyspace)).rows(1);
            let live = self.rows.scan(next(STATE)).await?.rows.pop().map(|(key, _)| within_store(&key));
            let past = self.rows.scan(next(PAST)).await?.rows.pop().map(|(key, _)| past_parts(&within_store(&key)).0);
            let Some(cell) = live.into_iter().chain(past).min() else { return Ok(()) };
            // No number of an entry is as great as this, and no other cell begins with the key of this one.
            at = [&cell[..], &[0xff; 9]].concat().into();
            cells.insert(cell);
        }
    }

    /// Evaluates cells by all entries before `next` but the void ones.
    pub async fn evaluate(&mut self, cells: &[Cell], void: &Numbers, next: u64) -> Result<()> {
        let (all, effective) = (Seen::all_before(next), Seen::new(next, void));
        let cache = EntryCache::default();
        for cell in cells {
            let before = live::get(self.rows, self.store, cell).await?;
            let moment = Moment {
                rows: self.rows,
                graph: self.graph,
                fresh: Some(self.fresh),
                store: self.store,
                name: &self.info.name,
                kind: &self.info.kind,
                algebra: self.algebra,
                all: &all,
                set: &effective,
                entries: &cache,
                // What begins to count again may overtake what lives.
                trusts_live: false,
            };
            let after = self.algebra.replay(&moment, cell).await?;
            let partly = match after.as_ref().filter(|_| before != after) {
                Some(record) => self.overtaken_in_part(&moment, cell, record).await?,
                None => Numbers::default(),
            };
            if before != after {
                self.replace(cell, before, after, &partly, void).await?;
            }
        }
        Ok(())
    }

    /// Replaces a record by another one. What leaves it goes into the past, and what comes back from there leaves the past.
    async fn replace(
        &mut self,
        cell: &Cell,
        before: Option<Bytes>,
        after: Option<Bytes>,
        partly: &Numbers,
        void: &Numbers,
    ) -> Result<()> {
        let (was, is) = (self.operations(cell, before.as_ref())?, self.operations(cell, after.as_ref())?);
        for (number, past) in was.iter().chain(&is) {
            let key = self.store.past_key(cell, *number);
            let stands = self.rows.get(PAST, &key).await?.is_some();
            // A void entry stays in the past, where it says what it would do, also if others have counted with its counter.
            let belongs = !is.contains_key(number) || void.contains(*number) || partly.contains(*number);
            match (stands, belongs) {
                (false, true) => self.rows.put(PAST, key, past.to_bytes()),
                (true, false) => self.rows.delete(PAST, key),
                _ => {}
            }
        }
        if self.algebra == Algebra::Table {
            let (was, is) = (table::parse(before.as_ref())?, table::parse(after.as_ref())?);
            let indexes = IndexWriter { indexes: &self.info.indexes };
            indexes.change(self.rows, self.store, cell, was.shown(), is.shown())?;
        }
        let length = before.as_ref().map_or(0, Bytes::len);
        live::put(self.rows, self.store, cell, after, length);
        Ok(())
    }

    fn operations(&self, cell: &Cell, record: Option<&Bytes>) -> Result<Operations> {
        let Some(record) = record else { return Ok(Operations::new()) };
        let of_rows = |row: &RowCell| {
            let all = row.identities.iter().flat_map(|identity| identity.operations());
            all.map(|operation| (operation.number, operation.as_past())).collect()
        };
        if self.algebra == Algebra::Table {
            return Ok(of_rows(&table::parse(Some(record))?));
        }
        let record = match self.algebra {
            Algebra::Cells => doc::ValueCell::parse(record).map(Record::Values),
            _ => Record::parse(cell, record),
        };
        Ok(match record.map_err(|_| damaged("a live record"))? {
            Record::Values(values) => {
                values.live.iter().map(|live| (live.stamp.number, live.payload.as_past())).collect()
            }
            Record::Element(element) => of_rows(&element),
        })
    }

    /// The writes to fields in a record that live in some of their fields and are overtaken in others: such stand in both places.
    async fn overtaken_in_part(&self, moment: &Moment<'_>, cell: &Cell, record: &Bytes) -> Result<Numbers> {
        let row = match self.algebra {
            Algebra::Table => table::parse(Some(record))?,
            Algebra::Cells => return Ok(Numbers::default()),
            _ => match Record::parse(cell, record).map_err(|_| damaged("a live record"))? {
                Record::Element(element) => element,
                Record::Values(_) => return Ok(Numbers::default()),
            },
        };
        let mut partly = Vec::new();
        for identity in &row.identities {
            for operation in identity.operations().into_iter().filter(|operation| !operation.made) {
                let lives = identity.fields.values().flatten().filter(|write| write.stamp.number == operation.number);
                let entry = moment.entry(operation.number).await?;
                let wrote = match self.algebra {
                    Algebra::Table => table::fields_of(&entry, cell),
                    _ => doc::fields_of(&entry, cell),
                };
                if wrote.is_none_or(|wrote| wrote > lives.count()) {
                    partly.push(operation.number);
                }
            }
        }
        Ok(Numbers::of_all(partly))
    }
}

fn covers_below<V>(action: &Action<V>) -> bool {
    action.covers_below()
}
