//! Stores: what a database holds under names, and how it merges.
//!
//! A store is a set of *cells*, each with the operations that no known later one has overtaken: its *live record*. Applying
//! an entry at a cell overtakes what the entry had seen there, keeps what is concurrent with it, and adds its own. Since an
//! entry is applied after everything below it, any order of arrival gives the same records.
//!
//! * [`DocStore`]: nested maps, lists, counters.
//! * [`Table`]: rows with fields, ordered by key, with secondary indexes.
//! * [`SettingsStore`]: name, values and rights of a database.
//! * [`StoreType`]: kinds of your own, on [`Cells`]; [`Lattice`]: any join-semilattice.

pub(crate) mod again;
pub(crate) mod algebra;
pub(crate) mod applier;
pub(crate) mod cell;
pub mod cells;
pub mod doc;
pub(crate) mod events;
mod handle;
mod lattice;
pub(crate) mod live;
pub(crate) mod past;
pub(crate) mod row;
pub(crate) mod row_replay;
pub(crate) mod settings;
pub(crate) mod stage;
pub(crate) mod stamp;
pub mod table;

pub use cells::Cells;
pub use doc::DocStore;
pub use handle::{StoreHandle, StoreType};
pub use lattice::{Lattice, Semilattice};
pub use settings::SettingsStore;
pub use table::Table;
