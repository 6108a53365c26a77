//! Transports that reach each other in one network in memory, each under a name of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use eidetica_conformance::TransportSubject;
use eidetica_contract::{Result, TransportBuilder};
use eidetica_sync::transport::MemoryNetwork;

pub struct Memory {
    network: MemoryNetwork,
    names: AtomicU64,
}

impl Memory {
    pub fn new() -> Memory {
        Memory { network: MemoryNetwork::new(), names: AtomicU64::new(0) }
    }

    fn new_name(&self) -> String {
        self.names.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

impl TransportSubject for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn listening(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(Box::new(self.network.builder(self.new_name())))
    }

    fn dialling(&self) -> Result<Box<dyn TransportBuilder>> {
        Ok(Box::new(self.network.builder(self.new_name()).dial_only()))
    }

    fn one_place(&self) -> Result<Option<[Box<dyn TransportBuilder>; 2]>> {
        let name = self.new_name();
        Ok(Some([Box::new(self.network.builder(name.clone())), Box::new(self.network.builder(name))]))
    }
}
