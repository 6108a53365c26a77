//! The side that listens.
//!
//! `accept` takes connections, as far as there is room in the `crowd`, and watches over them; what comes in on their streams
//! goes through `answer` to the service that the `gate` lets it to. `shares` sees to it that no origin takes everything.

mod accept;
mod answer;
mod crowd;
mod gate;
mod origin;
mod shares;

pub(crate) use accept::accept;
pub(crate) use gate::{Gate, Serving};
