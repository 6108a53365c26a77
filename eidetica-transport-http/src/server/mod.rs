//! The listening side.
//!
//! `accept` takes connections and watches over them (`clock`, `crowd`); requests go through the routes of the `gate`, where
//! those of a foreign server come in as well, to `answer`.

mod accept;
mod answer;
mod clock;
mod crowd;
mod files;
mod gate;
mod large;
mod local;

pub(crate) use accept::{bind, serve};
pub(crate) use gate::{Gate, Serving};
pub(crate) use local::reachable;
