//! Documents: nested maps, lists and counters that merge key by key (rules 24 to 27a).

mod delta;
pub(crate) mod end;
mod list;
mod merge;
mod path;
mod position;
mod record;
mod render;
mod replay;
mod stage;
mod store;

pub(crate) use delta::{AROUND_VALUE, DocOperations};
pub use delta::{Action, DocDelta, Plain};
pub(crate) use merge::apply;
pub use path::{ElementName, Path, Step};
pub(crate) use path::{is_below, prefix_of};
pub(crate) use record::{Payload, Record, ValueCell};
pub(crate) use replay::{fields_of, replay};
pub(crate) use store::delta_of;
pub use store::{Conflict, DocStore};

/// The name of this store kind.
pub const KIND: &str = "doc";
