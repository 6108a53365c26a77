//! The command as its users run it: as a process, on the table of airports.

mod care;
mod copy;
mod demo;
mod errors;
mod history;
mod import;
mod interrupt;
mod kit;
mod network;
mod processes;
mod rows;
mod serving;
mod transfer;
mod users;
mod ways;
