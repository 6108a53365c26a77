//! A peer that says of who is here what it likes. It is written from `docs/spec/wire.md`, and knows nothing of the code.

use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{CallOptions, ErrorKind, PublicKey, Transport as _};
use eidetica_core::{Environment as _, Id, SecretKey};
use eidetica_sync::access::{Claim, Grant, Scope};
use eidetica_sync::session::{Identity, Offer, SessionChannel, SessionLimits};
use eidetica_sync::sim::{SimTransport, World};

use super::kit::{Node, address};

const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Heckler {
    channel: SessionChannel,
    // Closed when it is dropped, and the channel with it.
    _transport: SimTransport,
    device: SecretKey,
    user: SecretKey,
    database: Id,
    tag: [u8; 16],
    now: u64,
}

/// A statement before it is signed.
#[derive(Clone)]
pub struct Draft {
    pub device: PublicKey,
    pub claim: Option<Claim>,
    pub serial: u64,
    pub lifetime: u16,
    pub reach: u8,
    pub payload: Vec<u8>,
}

impl Heckler {
    /// Calls a node as another one, and introduces itself; with presence among its capabilities or without.
    pub async fn call(world: &World, node: &Node, as_other: &Node, database: Id, presence: bool) -> Heckler {
        let (device, user) = (as_other.device.clone(), as_other.user.clone());
        let transport = world.network.transport(&as_other.name);
        let channel = transport.dial(&address(&node.name), CallOptions::timeout(TIMEOUT)).await.unwrap();
        let identity = Identity::new(device.clone(), as_other.environment.clone()).unwrap();
        let offer = Offer::versions(1, 1).capabilities(u64::from(presence));
        let limits = SessionLimits::default();
        let channel = SessionChannel::new(channel.into(), 1 << 20, identity, offer, limits, None).unwrap();
        let devices = [*device.public().as_bytes(), *node.key().as_bytes()].concat();
        let key = blake3::derive_key("eidetica 2026 sync 1, the tags of databases", &devices);
        let tag = blake3::keyed_hash(&key, database.as_bytes()).as_bytes()[..16].try_into().unwrap();
        let now = as_other.environment.now().number();
        let heckler = Heckler { channel, _transport: transport, device, user, database, tag, now };
        // No addresses, one database with its claims, no claims for listing.
        let claims = Claim::write_all(&[heckler.claim(&heckler.device.public())]);
        let introduction = [&[1, 0, 0, 1][..], &heckler.tag, &claims, &[0]].concat();
        heckler.ask(introduction).await.unwrap();
        heckler
    }

    fn claim(&self, device: &PublicKey) -> Claim {
        Grant::sign(&self.user, *device, Scope::Database(self.database), 1).claim().clone()
    }

    /// What another user is to have signed.
    pub fn claim_of(&self, user: &PublicKey) -> Claim {
        Claim { user: *user, ..self.claim(&self.device.public()) }
    }

    /// A statement of this device for its user, to be changed and signed.
    pub fn statement(&self, payload: &[u8]) -> Draft {
        let device = self.device.public();
        let claim = Some(self.claim(&device));
        Draft { device, claim, serial: self.now, lifetime: 20, reach: 1, payload: payload.to_vec() }
    }

    /// The bytes of a statement, signed by this device, whatever device it names.
    pub fn signed(&self, draft: Draft) -> Vec<u8> {
        self.signed_by(&self.device, draft)
    }

    /// A statement of another device of this user, to be handed on.
    pub fn of_device(&self, number: u8, serial: u64) -> Vec<u8> {
        let device = SecretKey::from_seed(&[number; 32]);
        let claim = Some(self.claim(&device.public()));
        let draft = Draft { device: device.public(), claim, serial, lifetime: 60, reach: 2, payload: vec![number] };
        self.signed_by(&device, draft)
    }

    fn signed_by(&self, key: &SecretKey, draft: Draft) -> Vec<u8> {
        let mut out = draft.device.as_bytes().to_vec();
        out.extend_from_slice(&Claim::write_all(draft.claim.as_slice()));
        out.extend_from_slice(&draft.serial.to_be_bytes());
        out.extend_from_slice(&draft.lifetime.to_be_bytes());
        out.push(draft.reach);
        out.extend_from_slice(&(draft.payload.len() as u16).to_be_bytes());
        out.extend_from_slice(&draft.payload);
        let signature = key.attest("eidetica-sync 1 presence", &[self.database.as_bytes(), &out[..]].concat());
        out.extend_from_slice(&signature);
        out
    }

    /// Tells these, each with its number of hops.
    pub async fn tell(&self, said: &[(u8, Vec<u8>)]) -> Result<(), ErrorKind> {
        let mut message = vec![0x0b];
        for (hops, statement) in said {
            message.extend_from_slice(&self.tag);
            message.push(*hops);
            message.extend_from_slice(statement);
        }
        assert_eq!(self.ask(message).await?[..], [0x07], "taken");
        Ok(())
    }

    /// What it is told within a second, each statement as it came.
    pub async fn listen(&self) -> Vec<Vec<u8>> {
        let message = [&[0x0c][..], &1000u32.to_be_bytes(), &[0; 16], &self.tag].concat();
        let heard = self.ask(message).await.unwrap();
        assert_eq!(heard[0], 0x0c);
        let (mut rest, mut said) = (&heard[17..], Vec::new());
        while !rest.is_empty() {
            assert_eq!(rest[..16], self.tag);
            let claims = 1 + usize::from(rest[17 + 32]) * Claim::LEN;
            let length = 17 + 32 + claims + 8 + 2 + 1;
            let payload = usize::from(u16::from_be_bytes([rest[length], rest[length + 1]]));
            let end = length + 2 + payload + 64;
            said.push(rest[17..end].to_vec());
            rest = &rest[end..];
        }
        said
    }

    async fn ask(&self, message: Vec<u8>) -> Result<Bytes, ErrorKind> {
        self.channel.request(message.into(), CallOptions::timeout(TIMEOUT)).await.map_err(|error| error.kind())
    }
}
