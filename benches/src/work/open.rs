//! Opening a store and reading a key, in a process of its own; and looking back.

use std::path::Path;
use std::time::Instant;

use eidetica::store::DocStore;
use eidetica::{Id, Instance};

use crate::Result;
use crate::base::{Bases, STORE, key, sqlite};
use crate::clock::{Rounds, Took};
use crate::workloads;

/// The first argument that makes a program here open a store and do nothing else.
pub const CHILD: &str = "--open-in-child";

/// What opening costs.
pub struct Figures {
    /// Seconds until the key was read.
    pub open: f64,
    /// Memory that the process gained, at most, in bytes. Page cache of the engine included.
    pub memory: u64,
}

/// Opens the database and reads one key, in a process of its own, which has nothing in its memory yet.
pub fn open_in_child(path: &Path, id: Id) -> Result<Figures> {
    let program = std::env::current_exe()?;
    let output = std::process::Command::new(program).arg(CHILD).arg(path).arg(id.to_string()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace();
    let (Some(open), Some(memory)) = (numbers.next(), numbers.next()) else {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    };
    Ok(Figures { open: open.parse()?, memory: memory.parse()? })
}

/// What the child does.
pub async fn child(path: &Path, id: &Id) -> Result<Figures> {
    let before = most_memory()?;
    let start = Instant::now();
    let instance = Instance::open(Box::new(sqlite(path).await?)).await?;
    let database = instance.open_database_with_key(id, Some(key())).await?;
    let view = database.get_store_viewer::<DocStore>(STORE).await?;
    view.get_string(&workloads::key(7)).await?;
    let open = start.elapsed().as_secs_f64();
    let memory = most_memory()? - before;
    drop((view, database));
    instance.close().await?;
    Ok(Figures { open, memory })
}

/// The most memory that this process has had, in bytes.
fn most_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Opens a view of the past `depth` entries below the head and reads a key there, `times` times.
pub async fn look_back(bases: &Bases, n: u64, depths: &[u64], times: u64) -> Result<Vec<Rounds>> {
    let open = bases.open(sqlite(&bases.copy(n)?).await?).await?;
    let log = open.database.difference(&open.database.get_tips().await?, &[]).await?;
    let mut all = Vec::new();
    for &depth in depths {
        let head = log[log.len() - 1 - depth as usize];
        let mut rounds = Rounds::default();
        for turn in 0..=times {
            let start = Instant::now();
            let view = open.database.at_heads(&[head]).await?;
            let store = view.get_store_viewer::<DocStore>(STORE).await?;
            store.get_string(&workloads::key(turn * 7 % (n - depth).max(1))).await?;
            let took = Took { wall: start.elapsed(), ..Took::default() };
            if turn > 0 {
                rounds.add(took, 1);
            }
        }
        all.push(rounds);
    }
    open.close().await?;
    Ok(all)
}
