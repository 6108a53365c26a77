//! Simulated worlds with backends that the simulation itself does not know.

mod in_line;
mod sqlite;
