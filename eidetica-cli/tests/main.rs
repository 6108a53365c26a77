//! The command as its users run it: as a process, on the table of airports.

#[cfg(target_os = "linux")]
mod abuse;
#[cfg(target_os = "linux")]
mod bootstrap;
mod care;
mod copy;
mod demo;
mod errors;
mod history;
#[cfg(target_os = "linux")]
mod hosts;
mod import;
mod interrupt;
mod kit;
mod lent;
mod network;
mod processes;
mod rights;
mod rows;
mod serving;
mod tickets;
mod transfer;
mod users;
mod walks;
mod ways;
