//! A backend in memory that lasts as a file does: what was flushed is there when it is opened again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use eidetica_contract::{
    Backend, BackendInfo, Capabilities, Error, ErrorKind, Maintenance, Result, Snapshot, WriteBatch,
};
use eidetica_core::Memory;
use tokio::sync::RwLock;

use crate::backend::{Dump, dump};

/// What stands for the disk.
#[derive(Default)]
pub(super) struct Disk {
    image: Mutex<Dump>,
    open: AtomicBool,
}

impl Disk {
    pub(super) fn image(&self) -> Dump {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep(&self, image: Dump) {
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = image;
    }
}

/// A store in memory over a disk.
pub struct Lasting {
    memory: Memory,
    disk: Arc<Disk>,
    /// True while this one holds the lock of the disk.
    holds: AtomicBool,
    jobs: bool,
    /// Held by commits together, and alone by whoever takes an image: an older one must not replace a newer.
    writing: RwLock<()>,
}

impl Lasting {
    pub(super) async fn open(disk: Arc<Disk>, jobs: bool) -> Result<Lasting> {
        if disk.open.swap(true, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Locked, "somebody has this store open"));
        }
        let memory = Memory::new();
        let mut batch = WriteBatch::new();
        for (keyspace, key, value) in disk.image() {
            batch.put(eidetica_contract::Keyspace::new(keyspace), key, value);
        }
        memory.commit(batch).await?;
        Ok(Lasting { memory, disk, holds: AtomicBool::new(true), jobs, writing: RwLock::default() })
    }

    fn release(&self) {
        if self.holds.swap(false, Ordering::SeqCst) {
            self.disk.open.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.release();
    }
}

#[async_trait]
impl Backend for Lasting {
    fn info(&self) -> BackendInfo {
        let mut info = BackendInfo::new("lasting", "a disk in memory");
        let can = Capabilities::none().durable();
        info.capabilities = if self.jobs { can.compact().check() } else { can };
        info
    }

    async fn commit(&self, batch: WriteBatch) -> Result<()> {
        let _together = self.writing.read().await;
        self.memory.commit(batch).await
    }

    async fn flush(&self) -> Result<()> {
        let _alone = self.writing.write().await;
        self.disk.keep(dump(&*self.memory.snapshot().await?).await);
        Ok(())
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.memory.snapshot().await
    }

    async fn maintain(&self, job: Maintenance) -> Result<()> {
        // A store in memory has nothing to do, and knows whether it is closed.
        self.memory.snapshot().await?;
        match self.jobs {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unsupported, "there is no such job").with("job", format!("{job:?}"))),
        }
    }

    async fn close(&self) -> Result<()> {
        let _alone = self.writing.write().await;
        if self.holds.load(Ordering::SeqCst) {
            self.disk.keep(dump(&*self.memory.snapshot().await?).await);
        }
        self.memory.close().await?;
        self.release();
        Ok(())
    }
}
