//! Kinds of stores with a defect.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::store::cells::LiveValue;
use eidetica_core::store::{Cells, Semilattice, StoreHandle, StoreType};

use crate::{Dice, KindSubject, Suite};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KindDefect {
    ShowsInAnyOrder,
    ForgetsWhatItStages,
    ShowsThePresentForThePast,
    CountsItsReaders,
    RemembersInTheProcess,
    FailsAtForeignValues,
    JoinKeepsTheLater,
    JoinMeetsHalfWay,
    JoinAdds,
    BottomIsSomething,
    BytesAreRounded,
    PanicsAtForeignBytes,
}

use KindDefect::*;

/// The defects, and the cases that must catch them.
pub(super) const ALL: &[(KindDefect, &[&str])] = &[
    (ShowsInAnyOrder, &["kind.merge.any-order", "kind.merge.unread-is-kept", "kind.view.looking-changes-nothing"]),
    (ForgetsWhatItStages, &["kind.merge.what-was-seen-is-overtaken"]),
    (ShowsThePresentForThePast, &["kind.view.the-past-stays"]),
    (CountsItsReaders, &["kind.view.looking-changes-nothing"]),
    (RemembersInTheProcess, &["kind.merge.again-changes-nothing", "kind.view.rebuilt-is-the-same"]),
    (FailsAtForeignValues, &["kind.merge.foreign-values-are-passed-over"]),
    (JoinKeepsTheLater, &["kind.join.commutes"]),
    (JoinMeetsHalfWay, &["kind.join.is-associative"]),
    (JoinAdds, &["kind.join.is-idempotent"]),
    (BottomIsSomething, &["kind.join.begins-at-the-bottom"]),
    (BytesAreRounded, &["kind.join.bytes-are-the-state"]),
    (PanicsAtForeignBytes, &["kind.join.foreign-bytes-do-no-harm"]),
];

/// A kind with one defect, or none.
pub(super) fn suite(defect: KindDefect) -> Suite {
    match defect {
        JoinKeepsTheLater => number::<1>(),
        JoinMeetsHalfWay => number::<2>(),
        JoinAdds => number::<3>(),
        BottomIsSomething => number::<4>(),
        BytesAreRounded => number::<5>(),
        PanicsAtForeignBytes => number::<6>(),
        _ => Suite::new().kind(Marks::new(Some(defect))),
    }
}

/// Kinds without a defect: one of cells, and a lattice.
pub(super) fn references() -> Suite {
    Suite::new().kind(Marks::new(None)).lattice(any_number::<0>)
}

/// Marks by name: of those that were made apart the greatest shows.
struct Marks {
    defect: Option<KindDefect>,
    /// What has been shown or counted before, in this process.
    before: Mutex<Before>,
}

#[derive(Default)]
struct Before {
    count: u64,
    shown: BTreeMap<String, String>,
}

impl Marks {
    fn new(defect: Option<KindDefect>) -> Marks {
        Marks { defect, before: Mutex::default() }
    }

    fn has(&self, defect: KindDefect) -> bool {
        self.defect == Some(defect)
    }

    /// The mark that shows, of several.
    fn mark(&self, values: &[LiveValue]) -> Result<Option<u64>> {
        let mut marks = Vec::new();
        for live in values.iter().filter(|live| live.entry.is_some() || !self.has(ForgetsWhatItStages)) {
            match <[u8; 8]>::try_from(&live.value[..]) {
                Ok(bytes) => marks.push(u64::from_be_bytes(bytes)),
                Err(_) if self.has(FailsAtForeignValues) => {
                    return Err(Error::new(ErrorKind::Corrupted, "this is no mark"));
                }
                Err(_) => {}
            }
        }
        Ok(marks.into_iter().max())
    }
}

struct MarkStore(Cells);

impl StoreType for MarkStore {
    const KIND: &'static str = "conformance.marks";

    fn open(handle: StoreHandle) -> Self {
        MarkStore(Cells::new(handle))
    }
}

#[async_trait]
impl KindSubject for Marks {
    type Store = MarkStore;

    async fn act(&self, store: &MarkStore, dice: &mut Dice) -> Result<()> {
        let name = dice.word();
        match dice.below(4) {
            0 => store.0.remove(name.as_bytes()).await,
            _ => store.0.put(name.as_bytes(), dice.below(100).to_be_bytes().to_vec()).await,
        }
    }

    async fn show(&self, store: &MarkStore) -> Result<String> {
        let mut lines = Vec::new();
        for (name, values) in store.0.scan_prefix(b"").await? {
            if let Some(mark) = self.mark(&values)? {
                lines.push(format!("{:?}: {mark}\n", String::from_utf8_lossy(&name)));
            }
        }
        match self.defect {
            Some(ShowsInAnyOrder) => lines = lines.into_iter().collect::<HashSet<_>>().into_iter().collect(),
            Some(CountsItsReaders) => {
                // A view to read refuses it, which is passed over.
                let _ = store.0.put(b"readers", 1u64.to_be_bytes().to_vec()).await;
            }
            _ => {}
        }
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.count += 1;
        match self.defect {
            Some(RemembersInTheProcess) => lines.push(format!("{} looks\n", before.count / 4)),
            Some(ShowsThePresentForThePast) => {
                // Of each name what was seen last, whoever looks and at what.
                for line in &lines {
                    let name = line.split(": ").next().unwrap_or_default().to_owned();
                    before.shown.insert(name, line.clone());
                }
                return Ok(before.shown.values().cloned().collect());
            }
            _ => {}
        }
        Ok(lines.concat())
    }
}

/// The greatest number that was seen; and with each number a defect of its own.
struct Number<const DEFECT: u8>(u64);

impl<const DEFECT: u8> Default for Number<DEFECT> {
    fn default() -> Self {
        Number(if DEFECT == 4 { 50 } else { 0 })
    }
}

impl<const DEFECT: u8> Semilattice for Number<DEFECT> {
    const KIND: &'static str = "conformance.number";

    fn join(&mut self, other: Self) {
        self.0 = match DEFECT {
            1 => other.0,
            2 => (self.0 + other.0).div_ceil(2),
            3 => self.0.saturating_add(other.0),
            _ => self.0.max(other.0),
        };
    }

    fn to_bytes(&self) -> Vec<u8> {
        let number = if DEFECT == 5 { self.0.wrapping_mul(3) } else { self.0 };
        number.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match DEFECT {
            6 => Some(Number(u64::from_be_bytes(bytes.try_into().expect("eight bytes")))),
            _ => Some(Number(u64::from_be_bytes(bytes.try_into().ok()?))),
        }
    }
}

fn any_number<const DEFECT: u8>(dice: &mut Dice) -> Number<DEFECT> {
    Number(dice.below(100))
}

fn number<const DEFECT: u8>() -> Suite {
    Suite::new().lattice(any_number::<DEFECT>)
}
