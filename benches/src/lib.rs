//! What the benches of Eidetica do, shared by the criterion groups and by the program `table`.
//!
//! Each piece of work stands beside its limit, which is measured in the same run on the same rows: a [`Recorder`] around
//! the backend keeps the batches that Eidetica writes, and the limit writes exactly these batches, without Eidetica, to a
//! store that was an exact copy before.

#[path = "../../compare/src/workloads.rs"]
pub mod workloads;

pub mod base;
pub mod clock;
pub mod counted;
pub mod limits;
pub mod raw;
pub mod raw_iroh;
pub mod raw_redb;
pub mod recorder;
pub mod sides;
pub mod work;

pub use recorder::Recorder;

/// Stops a bench: something that must not fail has failed.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;
/// What benches return.
pub type Result<T> = std::result::Result<T, Failed>;

/// The memory for pages that every SQLite store here is given: what is set unless an application says otherwise. One half
/// is for writing. Reading has the other, in four connections.
pub const PAGE_CACHE: usize = 64 << 20;

/// Runs a bench as an application would run it: inside a task of a runtime with a thread for each core.
pub fn run<T: Send + 'static>(bench: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::spawn(bench).await })?)
}
