//! A peer that answers and runs an older program, or pretends to. It is written from `docs/spec/wire.md`: it serves one database,
//! of which it has nothing to tell, and puts down what it is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind, PublicKey, Result, Service};
use eidetica_core::Id;
use eidetica_sync::access::{Claim, Grant, Scope};
use eidetica_sync::session::{Identity, Offer, Received, SessionLimits, Sessions};
use tokio::time::Instant;

use super::kit::Node;

const INTRODUCTION: u8 = 1;

pub struct Elder {
    sessions: Mutex<Sessions>,
    introduction: Vec<u8>,
    /// The first byte of each request.
    asked: Mutex<Vec<u8>>,
    start: Instant,
}

impl Elder {
    /// One that answers as another node would, to this caller; with presence among its capabilities or without.
    pub fn new(as_other: &Node, caller: PublicKey, database: Id, presence: bool) -> Arc<Elder> {
        let identity = Identity::new(as_other.device.clone(), as_other.environment.clone()).unwrap();
        let offer = Offer::versions(1, 1).capabilities(u64::from(presence));
        let devices = [*caller.as_bytes(), *as_other.key().as_bytes()].concat();
        let key = blake3::derive_key("eidetica 2026 sync 1, the tags of databases", &devices);
        let tag = blake3::keyed_hash(&key, database.as_bytes());
        let grant = Grant::sign(&as_other.user, as_other.key(), Scope::Database(database), 1);
        let claims = Claim::write_all(&[grant.claim().clone()]);
        Arc::new(Elder {
            sessions: Mutex::new(Sessions::new(identity, offer, SessionLimits::default())),
            // No addresses, one database with its claims, no claims for listing.
            introduction: [&[INTRODUCTION, 0, 0, 1], &tag.as_bytes()[..16], &claims, &[0]].concat(),
            asked: Mutex::default(),
            start: Instant::now(),
        })
    }

    pub fn was_asked(&self, what: u8) -> bool {
        self.asked.lock().unwrap().contains(&what)
    }
}

#[async_trait]
impl Service for Elder {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        let now = self.start.elapsed();
        let received = self.sessions.lock().unwrap().receive(now, &caller, 1 << 20, &message)?;
        let request = match received {
            Received::Answer(answer) => return Ok(answer),
            Received::Request(request) => request,
        };
        let what = request.payload[0];
        self.asked.lock().unwrap().push(what);
        if what == INTRODUCTION {
            let introduction = self.introduction.clone().into();
            return Ok(self.sessions.lock().unwrap().reply(now, request.token, introduction).seal());
        }
        // There are no news, and nothing else is understood.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(self.sessions.lock().unwrap().fail(request.token, ErrorKind::InvalidInput).seal())
    }
}
