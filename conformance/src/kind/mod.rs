//! The rules of kinds of stores, case by case: for those who implement [`StoreType`] or [`Semilattice`].
//!
//! ```no_run
//! # use std::collections::BTreeSet;
//! # use eidetica_core::store::Semilattice;
//! # #[derive(Default)]
//! # struct Tags(BTreeSet<String>);
//! # impl Semilattice for Tags {
//! #     const KIND: &'static str = "example.tags";
//! #     fn join(&mut self, other: Self) {
//! #         self.0.extend(other.0);
//! #     }
//! #     fn to_bytes(&self) -> Vec<u8> {
//! #         self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n").into_bytes()
//! #     }
//! #     fn from_bytes(bytes: &[u8]) -> Option<Self> {
//! #         Some(Tags(std::str::from_utf8(bytes).ok()?.lines().map(str::to_owned).collect()))
//! #     }
//! # }
//! // Any state of the lattice will do; the more different ones there are, the more is found.
//! fn any(dice: &mut eidetica_conformance::Dice) -> Tags {
//!     Tags((0..dice.below(4)).map(|_| dice.word()).collect())
//! }
//!
//! eidetica_conformance::main! {
//!     lattice(any),
//! }
//! ```
//!
//! Another kind says in a [`KindSubject`] what can be done with it, and what it shows; it is named by `kind(…)`.

mod join;
mod merge;
mod peers;
mod view;

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use eidetica_contract::Result;
use eidetica_core::crdt::Doc;
use eidetica_core::store::{Cells, DocStore, Lattice, Semilattice, SettingsStore, StoreHandle, StoreType, Table};
use eidetica_core::{Transaction, View};

use crate::run::Seen;
use crate::{Budget, Case, Dice};

pub(crate) const CASES: &[&[Case]] = &[merge::CASES, view::CASES, join::CASES];

/// A kind of store to certify.
#[async_trait]
pub trait KindSubject: Send + Sync + 'static {
    /// The kind.
    type Store: StoreType + Send + Sync;

    /// The name of the store. Default: `certified`.
    fn store(&self) -> String {
        "certified".to_owned()
    }

    /// Does something of what can be done with a store of this kind, as the dice fall: now this and now that, and often to the same places, so
    /// that peers get into each other's way.
    async fn act(&self, store: &Self::Store, dice: &mut Dice) -> Result<()>;

    /// Everything that the store shows, as text: what differs for whoever reads it differs here.
    async fn show(&self, store: &Self::Store) -> Result<String>;
}

/// The kind that a [`Semilattice`] makes, by a function that makes states of it.
pub(crate) struct LatticeSubject<L, F> {
    any: F,
    state: PhantomData<fn() -> L>,
}

impl<L, F> LatticeSubject<L, F> {
    fn new(any: F) -> Self {
        LatticeSubject { any, state: PhantomData }
    }
}

#[async_trait]
impl<L, F> KindSubject for LatticeSubject<L, F>
where
    L: Semilattice + 'static,
    F: Fn(&mut Dice) -> L + Send + Sync + 'static,
{
    type Store = Lattice<L>;

    async fn act(&self, store: &Lattice<L>, dice: &mut Dice) -> Result<()> {
        let key = ["one", "two", "three"][dice.below(3) as usize];
        let other = (self.any)(dice);
        store.update(key, |state| state.join(other)).await
    }

    async fn show(&self, store: &Lattice<L>) -> Result<String> {
        let all = store.all().await?.into_iter();
        Ok(all.map(|(key, state)| format!("{key}: {:?}\n", String::from_utf8_lossy(&state.to_bytes()))).collect())
    }
}

/// A subject of whatever type.
#[async_trait]
pub(crate) trait Kind: Send + Sync {
    fn name(&self) -> &'static str;

    /// True if it is not one of the engine's, but made of cells.
    fn is_of_cells(&self) -> bool;

    fn join(&self) -> Option<&dyn Join>;

    async fn act(&self, transaction: &Transaction, dice: &mut Dice) -> Result<()>;

    async fn show(&self, view: &View) -> Result<String>;

    /// The same within a transaction.
    async fn show_within(&self, transaction: &Transaction) -> Result<String>;

    /// Writes into a cell what another program may have written.
    async fn write_foreign(&self, transaction: &Transaction, key: &[u8], value: Vec<u8>) -> Result<()>;
}

/// The laws of a semilattice, on the bytes of its states.
pub(crate) trait Join: Send + Sync {
    fn any(&self, dice: &mut Dice) -> Vec<u8>;
    fn bottom(&self) -> Vec<u8>;
    /// The bytes of the state that has been read from these.
    fn read(&self, bytes: &[u8]) -> Option<Vec<u8>>;
    /// Panics if one of them cannot be read.
    fn join(&self, one: &[u8], other: &[u8]) -> Vec<u8>;
}

impl<L, F> Join for LatticeSubject<L, F>
where
    L: Semilattice + 'static,
    F: Fn(&mut Dice) -> L + Send + Sync + 'static,
{
    fn any(&self, dice: &mut Dice) -> Vec<u8> {
        (self.any)(dice).to_bytes()
    }

    fn bottom(&self) -> Vec<u8> {
        L::default().to_bytes()
    }

    fn read(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        L::from_bytes(bytes).map(|state| state.to_bytes())
    }

    fn join(&self, one: &[u8], other: &[u8]) -> Vec<u8> {
        let read = |bytes| L::from_bytes(bytes).expect("what `to_bytes` has made is read");
        let mut state: L = read(one);
        state.join(read(other));
        state.to_bytes()
    }
}

struct Erased<K> {
    subject: K,
    join: Option<Box<dyn Join>>,
}

pub(crate) fn erased(subject: impl KindSubject) -> Arc<dyn Kind> {
    Arc::new(Erased { subject, join: None })
}

pub(crate) fn lattice<L, F>(any: F) -> Arc<dyn Kind>
where
    L: Semilattice + 'static,
    F: Fn(&mut Dice) -> L + Clone + Send + Sync + 'static,
{
    let join = LatticeSubject::new(any.clone());
    Arc::new(Erased { subject: LatticeSubject::new(any), join: Some(Box::new(join)) })
}

/// The cells of a store, whatever its kind makes of them.
struct Foreign<S>(Cells, PhantomData<fn() -> S>);

impl<S: StoreType> StoreType for Foreign<S> {
    const KIND: &'static str = S::KIND;

    fn open(handle: StoreHandle) -> Self {
        Foreign(Cells::new(handle), PhantomData)
    }
}

#[async_trait]
impl<K: KindSubject> Kind for Erased<K> {
    fn name(&self) -> &'static str {
        K::Store::KIND
    }

    fn is_of_cells(&self) -> bool {
        ![DocStore::KIND, Table::<Doc>::KIND, SettingsStore::KIND].contains(&K::Store::KIND)
    }

    fn join(&self) -> Option<&dyn Join> {
        self.join.as_deref()
    }

    async fn act(&self, transaction: &Transaction, dice: &mut Dice) -> Result<()> {
        let store = transaction.get_store::<K::Store>(&self.subject.store()).await?;
        self.subject.act(&store, dice).await
    }

    async fn show(&self, view: &View) -> Result<String> {
        self.subject.show(&view.get_store_viewer::<K::Store>(&self.subject.store()).await?).await
    }

    async fn show_within(&self, transaction: &Transaction) -> Result<String> {
        self.subject.show(&transaction.get_store::<K::Store>(&self.subject.store()).await?).await
    }

    async fn write_foreign(&self, transaction: &Transaction, key: &[u8], value: Vec<u8>) -> Result<()> {
        transaction.get_store::<Foreign<K::Store>>(&self.subject.store()).await?.0.put(key, value).await
    }
}

/// What a case works on.
pub(crate) struct Ground {
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) seed: u64,
    pub(crate) budget: Budget,
    seen: Seen,
}

impl Ground {
    pub(crate) fn new(kind: Arc<dyn Kind>, seed: u64, budget: Budget, seen: Seen) -> Ground {
        Ground { kind, seed, budget, seen }
    }

    pub(crate) fn saw(&self, witness: &'static str) {
        self.seen.note(witness);
    }

    pub(crate) fn dice(&self) -> Dice {
        Dice::new(self.seed)
    }

    /// So often at the quick level.
    pub(crate) fn times(&self, quick: usize) -> usize {
        if self.budget == Budget::Quick { quick } else { 10 * quick }
    }

    pub(crate) fn laws(&self) -> &dyn Join {
        self.kind.join().expect("the case is for semilattices")
    }
}
