//! How a row of a peer changes by what is declared and what is learnt.

use eidetica_contract::{Address, Error, ErrorKind, Result};

use super::info::PeerName;
use super::record::PeerLimits;
use super::rows::{AddressRow, PeerRow};

/// The largest text that names a peer, in bytes.
const NAME: usize = 256;
/// The largest name of a kind of transport, and the largest address, in bytes.
const ADDRESS: (usize, usize) = (64, 4096);
/// Times of contact that are closer than this are the same: one hour in milliseconds.
const COARSE: u64 = 3_600_000;
/// A learnt address that has failed so often is the first to go.
const HOPELESS: u32 = 16;

/// What a peer that has proven its key tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Where it can be reached. What is too long is left out, and so are those beyond the number that is kept.
    pub addresses: Vec<Address>,
    /// What it calls itself; cut off after 256 bytes.
    pub display_name: Option<String>,
}

pub(super) fn check_name(name: &PeerName) -> Result<()> {
    match name {
        PeerName::Text(text) if text.len() > NAME => Err(too_large("the key of a peer", text.len(), NAME)),
        _ => Ok(()),
    }
}

pub(super) fn check_display_name(name: &str) -> Result<()> {
    if name.len() <= NAME { Ok(()) } else { Err(too_large("the name of a peer", name.len(), NAME)) }
}

pub(super) fn check_address(address: &Address) -> Result<()> {
    match (address.transport_type.len(), address.address.len()) {
        (len, _) if len > ADDRESS.0 => Err(too_large("the kind of an address", len, ADDRESS.0)),
        (_, len) if len > ADDRESS.1 => Err(too_large("the address of a peer", len, ADDRESS.1)),
        _ => Ok(()),
    }
}

fn too_large(what: &'static str, bytes: usize, limit: usize) -> Error {
    let error = Error::new(ErrorKind::TooLarge, format!("{what} is longer than what is kept"));
    error.with("bytes", bytes).with("limit", limit)
}

impl PeerRow {
    /// A peer that was not known before.
    pub fn new(name: &PeerName, now: u64) -> PeerRow {
        PeerRow {
            text: name.to_string(),
            display_name: None,
            declared: false,
            since: now,
            seen: None,
            addresses: Vec::new(),
            name_declared: false,
        }
    }

    pub fn declare_name(&mut self, name: Option<&str>) {
        (self.display_name, self.name_declared) = (name.map(str::to_owned), name.is_some());
    }

    /// Adds an address, or declares one that was learnt. Errors: `Full`.
    pub fn declare_address(&mut self, address: &Address, now: u64, limits: &PeerLimits) -> Result<bool> {
        if let Some(known) = self.addresses.iter_mut().find(|known| known.is(address)) {
            return Ok(!std::mem::replace(&mut known.declared, true));
        }
        if self.addresses.iter().filter(|known| known.declared).count() >= limits.declared_addresses {
            let message = "the peer has as many addresses as are kept; remove one";
            let limit = limits.declared_addresses;
            return Err(Error::new(ErrorKind::Full, message).with("peer", &self.text).with("limit", limit));
        }
        self.addresses.push(AddressRow::new(address, true, now));
        Ok(true)
    }

    /// Takes up what a peer tells of itself. Gives whether there is an address among it that was not known.
    pub fn learn(&mut self, contact: &Contact, now: u64, limits: &PeerLimits) -> bool {
        // A clock that was set back would keep this from being written for long.
        if self.seen.is_none_or(|seen| seen > now || now - seen >= COARSE) {
            self.seen = Some(now);
        }
        if let (Some(name), false) = (&contact.display_name, self.name_declared) {
            let mut name = name.clone();
            name.truncate(name.floor_char_boundary(NAME));
            self.display_name = Some(name);
        }
        let mut new = false;
        for address in
            contact.addresses.iter().filter(|address| check_address(address).is_ok()).take(limits.learnt_addresses)
        {
            if !self.addresses.iter().any(|known| known.is(address)) {
                self.addresses.push(AddressRow::new(address, false, now));
                new = true;
            }
        }
        while self.addresses.iter().filter(|known| !known.declared).count() > limits.learnt_addresses {
            let learnt = self.addresses.iter().enumerate().filter(|(_, known)| !known.declared);
            // Hopeless ones first, then those that have neither worked nor been told for the longest time.
            let worst =
                learnt.min_by_key(|(_, known)| (known.failures < HOPELESS, known.worked.max(Some(known.since))));
            let Some((at, _)) = worst else { break };
            self.addresses.remove(at);
        }
        new
    }

    /// Notes that the peer was reached by this address, or was not.
    pub fn tried(&mut self, address: &Address, worked: bool, now: u64) {
        let Some(known) = self.addresses.iter_mut().find(|known| known.is(address)) else { return };
        if !worked {
            known.failures = known.failures.saturating_add(1);
            return;
        }
        known.failures = 0;
        if known.worked.is_none_or(|worked| worked > now || now - worked >= COARSE) {
            known.worked = Some(now);
        }
    }
}

impl AddressRow {
    fn new(address: &Address, declared: bool, since: u64) -> AddressRow {
        let Address { transport_type, address } = address.clone();
        AddressRow { transport_type, address, declared, since, worked: None, failures: 0 }
    }
}
