//! A device that was let in, and means no good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eidetica::auth::Permission;
use eidetica::sync::access::{Answer, Claim, Grant, Request, Scope, Wanted};
use eidetica::sync::session::{Exchange, Identity, Offer, Outbound, Session, SessionLimits, Step};
use eidetica::{PublicKey, Result, SecretKey, SystemEnvironment};

use super::ground::Ground;
use super::peer::approve_request;
use super::raw::Raw;

/// A device, its user, and what it takes to make sessions with the process that is attacked.
#[derive(Clone)]
pub struct Device {
    identity: Identity,
    user: Arc<SecretKey>,
    server: PublicKey,
    socket: std::net::SocketAddr,
}

/// One session of it, over one connection.
pub struct Line {
    raw: Raw,
    session: Arc<Session>,
    start: Instant,
}

impl Device {
    /// A device that nobody knows.
    pub fn new(ground: &Ground) -> Device {
        let secret = || SecretKey::generate(&SystemEnvironment).unwrap();
        let identity = Identity::new(secret(), Arc::new(SystemEnvironment)).unwrap();
        let server = ground.serving.device.parse().unwrap();
        Device { identity, user: Arc::new(secret()), server, socket: ground.socket() }
    }

    /// One that may write, as far as the process that is attacked knows.
    pub async fn let_in(ground: &Ground) -> Device {
        let device = Device::new(ground);
        let mut line = device.line(200).await.unwrap();
        let key = device.user.public();
        let wanted = Wanted::new(ground.id, key, Some(Permission::Write), "mallory");
        let request = Request::sign(wanted, device.identity.device(), device.server, &device.user).unwrap();
        let answer = line.ask([&[4], &request.to_bytes()[..]].concat()).await.unwrap();
        let Some(Answer::Pending(id)) = Answer::parse(&answer[1..]) else { panic!("{answer:?}") };
        approve_request(&ground.place, &id.to_string());
        line.introduce(&device, ground).await;
        device
    }

    pub fn key(&self) -> PublicKey {
        self.identity.device()
    }

    pub fn user_key(&self) -> PublicKey {
        self.user.public()
    }

    /// The tag of the database between this device and the process (`docs/spec/wire.md`, chapter 12).
    pub fn tag(&self, ground: &Ground) -> [u8; 16] {
        let devices = [*self.key().as_bytes(), *self.server.as_bytes()].concat();
        let key = blake3::derive_key("eidetica 2026 sync 1, the tags of databases", &devices);
        let mut tag = [0; 16];
        tag.copy_from_slice(&blake3::keyed_hash(&key, ground.id.as_bytes()).as_bytes()[..16]);
        tag
    }

    /// What introduces it: no address, one database with a grant of its user, no listing.
    fn introduction(&self, ground: &Ground) -> Vec<u8> {
        let grant = Grant::sign(&self.user, self.key(), Scope::Database(ground.id), 1);
        let claims = Claim::write_all(&[grant.claim().clone()]);
        [&[1, 0, 0, 1], &self.tag(ground)[..], &claims, &[0]].concat()
    }

    /// A session over a new connection from this origin. `None` if it is not taken.
    pub async fn line(&self, origin: u8) -> Option<Line> {
        self.line_of(origin, 4 << 20).await
    }

    /// One that carries messages of this size.
    pub async fn line_of(&self, origin: u8, max_message: usize) -> Option<Line> {
        let mut raw = Raw::from(origin, self.socket).await?;
        let (limits, start) = (SessionLimits::default(), Instant::now());
        let identity = self.identity.clone();
        let offer = Offer::versions(1, 1);
        let mut outbound = Outbound::new(identity, offer, limits, max_message, None, Some(self.server)).ok()?;
        let greeting = outbound.greet().ok()?;
        let answer = raw.post(&greeting.message()).await?;
        let session = outbound.welcome(Duration::ZERO, greeting, &answer).ok()?;
        Some(Line { raw, session, start })
    }
}

impl Line {
    /// The same session over one more connection.
    pub async fn also(&self, origin: u8, socket: std::net::SocketAddr) -> Option<Line> {
        let raw = Raw::from(origin, socket).await?;
        Some(Line { raw, session: self.session.clone(), start: self.start })
    }

    /// The messages of a request, up to where an answer is needed.
    pub fn messages(&self, payload: Vec<u8>) -> Result<(Exchange, Vec<(u32, Bytes)>)> {
        let mut exchange = Exchange::new(self.session.clone(), payload.into())?;
        let mut messages = Vec::new();
        while let Step::Send(number, message) = exchange.step()? {
            messages.push((number, message));
        }
        Ok((exchange, messages))
    }

    /// Sends bytes as they are.
    pub async fn post(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.raw.post(message).await
    }

    /// The reply to a request. `None` if there is none.
    pub async fn ask(&mut self, payload: Vec<u8>) -> Option<Bytes> {
        let mut exchange = Exchange::new(self.session.clone(), payload.into()).ok()?;
        loop {
            match exchange.step().ok()? {
                Step::Send(number, message) => {
                    let answer = self.raw.post(&message).await?;
                    exchange.answer(number, &answer.into(), self.start.elapsed()).ok()?;
                }
                Step::Done(reply) => return Some(reply),
                Step::Wait | Step::Renew => return None,
            }
        }
    }

    /// Sends a request that goes in parts, but for the last of them. How many bytes of it were taken.
    pub async fn begin(&mut self, length: usize) -> usize {
        let mut exchange = Exchange::new(self.session.clone(), vec![7; length].into()).unwrap();
        let mut taken = 0;
        while let Ok(Step::Send(number, message)) = exchange.step() {
            if taken + message.len() >= length {
                break;
            }
            let Some(answer) = self.raw.post(&message).await else { break };
            if exchange.answer(number, &answer.into(), self.start.elapsed()).is_err() {
                break;
            }
            taken += message.len();
        }
        taken
    }

    pub async fn introduce(&mut self, device: &Device, ground: &Ground) {
        let reply = self.ask(device.introduction(ground)).await.unwrap();
        assert!(reply.len() > 20 && reply[0] == 1, "the process serves it: {reply:?}");
    }
}
