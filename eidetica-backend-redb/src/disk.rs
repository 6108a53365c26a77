//! The file as redb sees it, and what lies between.
//!
//! redb writes, asks for a sync, and takes for durable what it had written before. If a write or a sync fails it gives up:
//! what had been committed and not yet flushed is gone from view, and the database has to be opened anew. And while
//! it waits for a sync nobody can commit. Neither is what the contract asks for, so this layer stands between.
//!
//! # Syncs that are owed
//!
//! What redb writes is a row of *epochs* with a sync between one and the next. While a flush runs, a request to sync only
//! ends the epoch, and redb goes on at once. The thread that flushes then makes the syncs good in [`Disk::settle`], without
//! holding up anybody. Until an epoch is on the disk nothing of the later ones is written to the file: they are held in
//! memory. So the file goes through exactly the states that redb has been promised, only later; and a flush answers
//! when its own have come to pass.
//!
//! # A full disk
//!
//! A write for which there is no room is held in memory as well, with all that follow, and nothing fails. The store says
//! [`Full`](eidetica_contract::ErrorKind::Full) to whoever flushes or commits from then on, shows what it has shown before,
//! and goes on when there is room again. A crash meanwhile finds the file in the state of the last flush.
//!
//! # A file that grows
//!
//! redb syncs a file that it has made longer, before its header may speak of the new length. This is a rule about the order
//! of writes, so it costs an epoch, and no commit waits for it.
//!
//! # A sync that fails
//!
//! The system may have dropped what it could not write, and says so once. From then on nothing is written any more, so
//! that the last state that was flushed stays whole, and every flush fails.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

use crate::overlay::{BLOCK, Overlay};

/// The first bytes of the file are ours; see `mark.rs`.
pub(crate) const OURS: u64 = 4096;

/// How much is held back at most besides the cache of redb, all of which may have to be.
const HELD: usize = 64 << 20;

/// Where bytes can rest. A file, but in tests also one that crashes.
pub(crate) trait Medium: Send + Sync + 'static {
    /// As much as there is.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    fn set_length(&self, length: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    /// Lets go of the lock.
    fn release(&self) -> io::Result<()>;
}

impl Medium for File {
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < out.len() {
            match self.read_at(&mut out[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn release(&self) -> io::Result<()> {
        self.unlock()
    }
}

/// True for an error that means: no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

pub(crate) struct Disk {
    medium: Box<dyn Medium>,
    gate: Mutex<Gate>,
    /// True while anything is held back, so that reading must look there.
    holds: AtomicBool,
    sync_ended: Condvar,
    /// How many bytes may be held back.
    limit: usize,
}

struct Gate {
    /// How long the file is for redb.
    length: u64,
    /// How long it is, without our part. Longer than `length` while cutting it off has to wait.
    physical: u64,
    /// What is held back; between one and the next stands a sync. What is written now belongs to the last. There is always
    /// one; if it is the only one and empty, writes go to the file.
    epochs: VecDeque<Overlay>,
    /// The file was made longer, and nothing has happened since.
    grows: bool,
    /// It is longer than any sync has seen.
    grown: bool,
    /// A thread waits for the disk, on behalf of the first epoch.
    syncing: bool,
    /// Somebody will settle, so nobody else has to wait.
    owing: bool,
    /// There was no room for what is held.
    full: bool,
    failed: Option<String>,
}

impl Gate {
    fn passes_through(&self) -> bool {
        self.epochs.len() == 1 && self.epochs[0].is_empty()
    }

    fn held(&self) -> usize {
        self.epochs.iter().map(Overlay::bytes).sum()
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => {
                Err(io::Error::other(format!("an earlier sync has failed ({cause}); what it was for may be lost")))
            }
        }
    }
}

impl Disk {
    pub(crate) fn new(medium: Box<dyn Medium>, cache: usize) -> io::Result<Disk> {
        let length = medium.length()?.saturating_sub(OURS);
        let gate = Gate {
            length,
            physical: length,
            epochs: VecDeque::from([Overlay::default()]),
            grows: false,
            grown: false,
            syncing: false,
            owing: false,
            full: false,
            failed: None,
        };
        let (gate, holds, sync_ended) = (Mutex::new(gate), AtomicBool::new(false), Condvar::new());
        Ok(Disk { medium, gate, holds, sync_ended, limit: cache + HELD })
    }

    /// True if there was no room for what redb has written. It is tried again by [`settle`](Disk::settle).
    pub(crate) fn is_full(&self) -> bool {
        self.holds.load(Ordering::Acquire) && self.gate().full
    }

    /// The current length of the file.
    pub(crate) fn length(&self) -> u64 {
        self.gate().length
    }

    /// Until [`settle`](Disk::settle), a request to sync is owed and not waited for.
    pub(crate) fn owe(&self) {
        self.gate().owing = true;
    }

    /// Carries out what is held back, and all syncs that are owed. Afterwards everything that redb has synced is durable.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let mut gate = self.gate();
        while gate.syncing {
            gate = self.wait(gate);
        }
        let settled = loop {
            if let Err(error) = gate.check().and_then(|()| self.write_out(&mut gate)) {
                break Err(error);
            }
            if gate.epochs.len() == 1 {
                break self.cut_off(&mut gate);
            }
            gate.syncing = true;
            gate.grown = false;
            drop(gate);
            let synced = self.medium.sync();
            gate = self.gate();
            gate.syncing = false;
            self.sync_ended.notify_all();
            match synced {
                Ok(()) => drop(gate.epochs.pop_front()),
                Err(error) => {
                    gate.failed = Some(error.to_string());
                    break Err(error);
                }
            }
        };
        gate.owing = false;
        let holds = !gate.passes_through();
        self.holds.store(holds, Ordering::Release);
        settled
    }

    /// Writes what is held of the first epoch.
    fn write_out(&self, gate: &mut Gate) -> io::Result<()> {
        for (offset, data) in gate.epochs[0].writes(gate.physical) {
            if let Err(error) = self.medium.write(OURS + offset, data) {
                gate.full = is_full(&error);
                return Err(error);
            }
        }
        gate.epochs[0].clear();
        gate.full = false;
        Ok(())
    }

    /// Makes the file as short as redb has wanted it.
    fn cut_off(&self, gate: &mut Gate) -> io::Result<()> {
        if gate.physical > gate.length {
            self.medium.set_length(OURS + gate.length)?;
            gate.physical = gate.length;
        }
        Ok(())
    }

    fn end_epoch(&self, gate: &mut Gate) {
        gate.epochs.push_back(Overlay::default());
        self.holds.store(true, Ordering::Release);
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.holds.load(Ordering::Acquire) {
            return self.read_file(offset, out, false);
        }
        let gate = self.gate();
        self.read_held(&gate, offset, out)
    }

    /// Reads what will be there when all that is held has been written.
    fn read_held(&self, gate: &Gate, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > gate.length {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file ends before a page that must be there"));
        }
        self.read_file(offset, out, true)?;
        for epoch in &gate.epochs {
            epoch.cover(offset, out);
        }
        Ok(())
    }

    fn read_file(&self, offset: u64, out: &mut [u8], may_end: bool) -> io::Result<()> {
        let read = self.medium.read(OURS + offset, out)?;
        if read < out.len() {
            if !may_end {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file ends before a page that must be there"));
            }
            out[read..].fill(0);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut gate = self.gate();
        loop {
            gate.check()?;
            if gate.held() + data.len() <= self.limit {
                break;
            }
            if !gate.syncing {
                return Err(io::Error::new(ErrorKind::StorageFull, "no more can be held in memory for a full disk"));
            }
            // A disk that is much slower than those who write: here they wait for it after all.
            gate = self.wait(gate);
            if !gate.syncing {
                drop(gate);
                self.settle()?;
                gate = self.gate();
            }
        }
        gate.grows = false;
        if gate.grown && offset < BLOCK {
            gate.grown = false;
            self.end_epoch(&mut gate);
        }
        if gate.passes_through() {
            match self.medium.write(OURS + offset, data) {
                Err(error) if is_full(&error) => gate.full = true,
                written => return written,
            }
        }
        self.hold(&mut gate, offset, data)
    }

    fn hold(&self, gate: &mut Gate, offset: u64, data: &[u8]) -> io::Result<()> {
        self.holds.store(true, Ordering::Release);
        let mut last = gate.epochs.pop_back().unwrap_or_default();
        let held = last.put(offset, data, |at, out| {
            self.read_file(at, out, true)?;
            for epoch in &gate.epochs {
                epoch.cover(at, out);
            }
            Ok(())
        });
        gate.epochs.push_back(last);
        held
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut gate = self.gate();
        gate.check()?;
        if length > gate.length {
            if length > gate.physical {
                self.medium.set_length(OURS + length)?;
                gate.physical = length;
            }
            gate.grows = true;
            gate.length = length;
            return Ok(());
        }
        gate.length = length;
        for epoch in &mut gate.epochs {
            epoch.truncate(length);
        }
        // While something is held, what the file had before must stay until that has become durable.
        match gate.passes_through() {
            true => self.cut_off(&mut gate),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut gate = self.gate();
        gate.check()?;
        if std::mem::take(&mut gate.grows) {
            gate.grown = true;
            return Ok(());
        }
        gate.grown = false;
        self.end_epoch(&mut gate);
        if gate.owing {
            return Ok(());
        }
        drop(gate);
        match self.settle() {
            // It stays owed. Whoever has redb do this asks `is_full` afterwards.
            Err(error) if is_full(&error) => Ok(()),
            settled => settled,
        }
    }

    fn wait<'a>(&self, gate: MutexGuard<'a, Gate>) -> MutexGuard<'a, Gate> {
        self.sync_ended.wait(gate).unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// What is handed to redb.
#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Arc<Disk>);

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        let settled = self.0.settle();
        self.0.medium.release().and(settled)
    }

    // One lock on the whole file was taken before redb was asked to open it; see `place.rs`.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}
