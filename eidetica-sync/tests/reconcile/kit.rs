//! Two peers without a network between them: every message is encoded, counted, and looked into.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::auth::{Right, Setting, SettingsDelta, Subject};
use eidetica_core::entry::{Header, Origin, VerifiedEntry};
use eidetica_core::store::doc::{Action, DocDelta, Path, Plain, Step};
use eidetica_core::{Database, Engine, Id, Memory, SecretKey, Time};
use eidetica_sync::reconcile::{Ask, Limits, Options, Outcome, Page, Reply, Request, answer, exchange};

/// When the histories begin, in milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;

/// The next number of a generator whose seed is its state (Steele, Lea and Flood, 2014).
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Random choices.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        (splitmix(&mut self.0) % end.max(1) as u64) as usize
    }
}

/// The seed of a random test: printed, and taken from `EIDETICA_SEED` if that is set.
pub fn seed() -> u64 {
    let given = std::env::var("EIDETICA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_000
    });
    println!("EIDETICA_SEED={seed}");
    seed
}

/// Makes entries of one database by hand.
pub struct Forge {
    pub root: VerifiedEntry,
    pub key: SecretKey,
}

impl Forge {
    pub fn new(seed: u8) -> Forge {
        let key = SecretKey::from_seed(&[seed; 32]);
        let rights = vec![(Subject::Key(key.public()), Setting::Grant(Right::admin(u32::MAX)))];
        let settings = SettingsDelta { rights, values: DocDelta::default() }.to_bytes();
        let header = Header {
            origin: Origin::Root { nonce: [seed; 16] },
            parents: Vec::new(),
            height: 0,
            time: Time::from_millis(BEGIN),
            author: key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        let deltas = vec![("_settings".to_owned(), "settings".to_owned(), settings)];
        Forge { root: VerifiedEntry::sign(header, deltas, &key).unwrap(), key }
    }

    /// An honest entry above these, with a body of about so many bytes that do not compress.
    pub fn sized(&self, parents: &[&VerifiedEntry], key: &str, bytes: usize) -> VerifiedEntry {
        let mut ids: Vec<Id> = parents.iter().map(|parent| parent.id()).collect();
        ids.sort_unstable();
        let latest = parents.iter().map(|parent| parent.header().time.number()).max().unwrap();
        let header = Header {
            origin: Origin::Database(self.root.id()),
            parents: ids,
            height: parents.iter().map(|parent| parent.header().height + 1).max().unwrap(),
            time: Time::from_number(latest + 1),
            author: self.key.public(),
            stores: Vec::new(),
            signature: [0; 64],
        };
        let mut state = key.bytes().fold(latest, |state, byte| state.wrapping_mul(31) + u64::from(byte));
        let value: Vec<u8> = (0..bytes).map(|_| splitmix(&mut state) as u8).collect();
        let path = Path(vec![Step::Key(key.to_owned())]);
        let delta = DocDelta(vec![(path, Action::Set(Plain::Scalar(value.into())))]);
        let deltas = vec![("notes".to_owned(), "doc".to_owned(), delta.to_bytes())];
        VerifiedEntry::sign(header, deltas, &self.key).unwrap()
    }

    pub fn entry(&self, parents: &[&VerifiedEntry], key: &str) -> VerifiedEntry {
        self.sized(parents, key, 30)
    }

    /// Entries in a row, each above the one before.
    pub fn chain(&self, from: &VerifiedEntry, length: usize, name: &str) -> Vec<VerifiedEntry> {
        let mut chain: Vec<VerifiedEntry> = Vec::with_capacity(length);
        for index in 0..length {
            let below = chain.last().unwrap_or(from);
            chain.push(self.entry(&[below], &format!("{name} {}", index % 100)));
        }
        chain
    }

    /// A peer that has the root, and these entries.
    pub async fn peer(&self, entries: &[&[VerifiedEntry]]) -> Database {
        let engine = Engine::open(Box::new(Memory::new()), Default::default()).await.unwrap();
        let db = engine.adopt_database(self.root.to_raw(), Some(self.key.clone())).await.unwrap();
        for entries in entries {
            hand_in(&db, entries).await;
        }
        db
    }
}

pub async fn hand_in(db: &Database, entries: &[VerifiedEntry]) {
    for page in entries.chunks(4096) {
        let outcomes = db.ingest(page.iter().map(VerifiedEntry::to_raw).collect(), "test").await.unwrap();
        let other = outcomes.iter().find(|outcome| **outcome != eidetica_core::Outcome::Accepted);
        assert!(other.is_none(), "{other:?}");
    }
}

/// What has crossed.
#[derive(Clone, Debug, Default)]
pub struct Crossed {
    /// Bytes of each request and its reply.
    pub messages: Vec<(usize, usize)>,
    /// Bytes of the pages in them.
    pub pages: usize,
    /// Entries in these pages.
    pub entries: usize,
    /// Bytes of these entries, headers and bodies, before they were packed.
    pub unpacked: usize,
    /// Entries that the side to which they went had.
    pub needless: usize,
}

impl Crossed {
    pub fn round_trips(&self) -> usize {
        self.messages.len()
    }

    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|(there, back)| there + back).sum()
    }

    /// What was not entries.
    pub fn beside(&self) -> usize {
        self.bytes() - self.pages
    }
}

/// The way from one peer to another.
pub struct Wire<'a> {
    pub client: &'a Database,
    pub server: &'a Database,
    pub limits: Limits,
    pub max: usize,
    /// After how many requests the way is cut.
    pub cut: Option<usize>,
    /// True if the request that is cut off arrives, and its answer does not.
    pub lose_reply: bool,
    pub crossed: Mutex<Crossed>,
    /// What was said, to the byte.
    pub said: Mutex<Vec<(Bytes, Bytes)>>,
}

impl<'a> Wire<'a> {
    pub fn new(client: &'a Database, server: &'a Database) -> Wire<'a> {
        let (crossed, said) = Default::default();
        Wire { client, server, limits: Limits::default(), max: 16 << 20, cut: None, lose_reply: false, crossed, said }
    }

    pub fn crossed(&self) -> Crossed {
        self.crossed.lock().unwrap().clone()
    }

    async fn look(&self, page: Option<&Page>, to: &Database) {
        let Some(page) = page else { return };
        let entries = page.unpack().expect("a page that can be unpacked");
        let ids: Vec<Id> = entries.iter().map(|entry| Id::of(&entry.header)).collect();
        let known = to.known(&ids).await.unwrap();
        let mut crossed = self.crossed.lock().unwrap();
        let distinct: HashSet<&Id> = ids.iter().collect();
        crossed.needless += known.iter().filter(|known| **known).count() + ids.len() - distinct.len();
        crossed.entries += ids.len();
        crossed.pages += page.len();
        let bytes = |entry: &eidetica_core::entry::RawEntry| {
            entry.header.len() + entry.bodies.iter().flatten().map(Bytes::len).sum::<usize>()
        };
        crossed.unpacked += entries.iter().map(bytes).sum::<usize>();
    }
}

/// The page of a request or a reply.
pub fn page_of_request(request: &Request) -> Option<&Page> {
    match request {
        Request::Compare { give, .. } | Request::Trade { give, .. } => give.as_ref(),
        _ => None,
    }
}

pub fn page_of_reply(reply: &Reply) -> Option<&Page> {
    match reply {
        Reply::Root(page) | Reply::Pulled { piece: eidetica_sync::reconcile::Piece { page, .. }, .. } => Some(page),
        Reply::Differ { first, .. } => first.as_ref().map(|piece| &piece.page),
        Reply::Traded { page, .. } => page.as_ref(),
        _ => None,
    }
}

#[async_trait]
impl Ask for Wire<'_> {
    async fn ask(&self, request: Request) -> Result<Reply> {
        let cut = self.cut.is_some_and(|cut| self.crossed().round_trips() >= cut);
        if cut && !self.lose_reply {
            return Err(Error::new(ErrorKind::Unreachable, "the way is cut"));
        }
        let there = request.to_bytes();
        assert!(there.len() <= self.max, "a request of {} bytes", there.len());
        let read = Request::parse(&there).expect("a request that can be read");
        assert_eq!(read, request);
        self.look(page_of_request(&request), self.server).await;
        let reply = answer(self.server, read, &self.limits, "client").await?;
        let back = reply.to_bytes();
        assert!(back.len() <= self.max, "a reply of {} bytes", back.len());
        assert_eq!(Reply::parse(&back).as_ref(), Some(&reply));
        self.look(page_of_reply(&reply), self.client).await;
        self.crossed.lock().unwrap().messages.push((there.len(), back.len()));
        self.said.lock().unwrap().push((there, back));
        if cut {
            return Err(Error::new(ErrorKind::Unreachable, "the way is cut"));
        }
        Ok(reply)
    }

    fn max_reply(&self) -> usize {
        self.max
    }

    fn max_request(&self) -> usize {
        self.max
    }
}

/// An exchange in both directions, which must come to its end.
pub async fn sync(client: &Database, server: &Database, options: &Options) -> (Outcome, Crossed) {
    let wire = Wire::new(client, server);
    // Exchanges are tasks of whoever drives them.
    let task: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(exchange(client, &wire, options, &|_| ()));
    let outcome = task.await.unwrap();
    let crossed = wire.crossed();
    assert!(outcome.complete, "{outcome:?} {crossed:?}");
    assert_eq!(outcome.round_trips, crossed.round_trips() as u64);
    assert_smooth(&outcome);
    (outcome, crossed)
}

/// Everything that was sent came in, at the first attempt.
pub fn assert_smooth(outcome: &Outcome) {
    let Outcome { repeated, sent_again, parked, parked_there, loose, refused, refused_there, .. } = *outcome;
    assert_eq!([repeated, sent_again, parked, parked_there, loose, refused, refused_there], [0; 7], "{outcome:?}");
}

pub async fn assert_same(one: &Database, other: &Database) {
    assert_eq!(one.get_tips().await.unwrap(), other.get_tips().await.unwrap());
    assert_eq!(one.entry_count().await.unwrap(), other.entry_count().await.unwrap());
}
