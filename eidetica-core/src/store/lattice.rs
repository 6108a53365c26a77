//! Any join-semilattice as a store.

use eidetica_contract::Result;

use super::cells::Cells;
use super::handle::{StoreHandle, StoreType};

/// A state that merges by a join: commutative, associative and idempotent (Shapiro et al., *Conflict-free replicated data
/// types*, 2011). The crate `eidetica-conformance` checks that on any.
///
/// ```
/// use std::collections::BTreeSet;
/// use eidetica_core::store::{Lattice, Semilattice};
///
/// /// A set that only grows.
/// #[derive(Clone, Default, PartialEq, Debug)]
/// struct Tags(BTreeSet<String>);
///
/// impl Semilattice for Tags {
///     const KIND: &'static str = "example.tags";
///
///     fn join(&mut self, other: Self) {
///         self.0.extend(other.0);
///     }
///
///     fn to_bytes(&self) -> Vec<u8> {
///         self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n").into_bytes()
///     }
///
///     fn from_bytes(bytes: &[u8]) -> Option<Self> {
///         Some(Tags(std::str::from_utf8(bytes).ok()?.lines().map(str::to_owned).collect()))
///     }
/// }
///
/// # async fn example(transaction: eidetica_core::Transaction) -> eidetica_contract::Result<()> {
/// let tags = transaction.get_store::<Lattice<Tags>>("tags").await?;
/// tags.update("note-1", |tags| drop(tags.0.insert("urgent".into()))).await?;
/// # Ok(())
/// # }
/// ```
pub trait Semilattice: Default + Send + Sync {
    /// The name of the store kind: 1 to 32 bytes, the same for ever.
    const KIND: &'static str;

    /// Takes up another state.
    ///
    /// Whichever of two takes up the other, the bytes are the same. Of three it does not matter which two are joined first.
    /// What was taken up already changes nothing. The default is the bottom: joined with it, every state stays what it is.
    fn join(&mut self, other: Self);

    /// The bytes of the state. Equal states have equal bytes, and reading the bytes of a state gives that state.
    fn to_bytes(&self) -> Vec<u8>;

    /// The state with these bytes; `None` if they are not of that form. Such a value of another peer is passed over.
    /// Any bytes may come here, and none may panic.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// A store that holds one state of a semilattice under each key.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::store::{Lattice, Semilattice};
///
/// /// The greatest number that anybody has seen.
/// #[derive(Default)]
/// struct Greatest(u64);
///
/// impl Semilattice for Greatest {
///     const KIND: &'static str = "example.greatest";
///     fn join(&mut self, other: Self) {
///         self.0 = self.0.max(other.0);
///     }
///     fn to_bytes(&self) -> Vec<u8> {
///         self.0.to_be_bytes().to_vec()
///     }
///     fn from_bytes(bytes: &[u8]) -> Option<Self> {
///         Some(Greatest(u64::from_be_bytes(bytes.try_into().ok()?)))
///     }
/// }
///
/// let transaction = database.new_transaction().await?;
/// let seen = transaction.get_store::<Lattice<Greatest>>("seen").await?;
/// seen.update("visitors", |greatest| greatest.0 = greatest.0.max(7)).await?;
/// transaction.commit().await?;
/// let seen = database.get_store_viewer::<Lattice<Greatest>>("seen").await?;
/// assert_eq!(seen.get("visitors").await?.0, 7);
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Lattice<L> {
    cells: Cells,
    state: std::marker::PhantomData<fn() -> L>,
}

impl<L: Semilattice> StoreType for Lattice<L> {
    const KIND: &'static str = L::KIND;

    fn open(handle: StoreHandle) -> Self {
        Lattice { cells: Cells::new(handle), state: std::marker::PhantomData }
    }
}

impl<L: Semilattice> Lattice<L> {
    /// The join of everything that was written under a key; the bottom of the lattice if nothing was.
    pub async fn get(&self, key: &str) -> Result<L> {
        let mut state = L::default();
        for live in self.cells.get(key.as_bytes()).await? {
            if let Some(other) = L::from_bytes(&live.value) {
                state.join(other);
            }
        }
        Ok(state)
    }

    /// Changes the state under a key. The change must only ever grow the state; a join takes nothing back.
    ///
    /// Errors: those of [`Cells::put`].
    pub async fn update(&self, key: &str, change: impl FnOnce(&mut L) + Send) -> Result<()> {
        let mut state = self.get(key).await?;
        change(&mut state);
        self.cells.put(key.as_bytes(), state.to_bytes()).await
    }

    /// All keys with their states, in the order of the keys. Keys of cells are bytes; one that is no text, which only
    /// another program can have written, is passed over.
    pub async fn all(&self) -> Result<Vec<(String, L)>> {
        let mut all = Vec::new();
        for (key, values) in self.cells.scan_prefix(b"").await? {
            let Ok(key) = String::from_utf8(key.to_vec()) else { continue };
            let mut state = L::default();
            values.iter().filter_map(|live| L::from_bytes(&live.value)).for_each(|other| state.join(other));
            all.push((key, state));
        }
        Ok(all)
    }
}
