//! The libraries measured, behind one small trait. Each is used the way its own documentation
//! shows, with its default settings unless the name of the variant says otherwise.

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, ChangeHash, ROOT, ReadDoc};
use loro::{ExportMode, LoroDoc, LoroMap, VersionVector};
use yrs::updates::decoder::Decode;
use yrs::{Any, Doc, Map, MapRef, Out, ReadTxn, StateVector, Transact, Update};

use crate::workloads::Put;

/// One replica of a document that is a flat map from text to text.
pub trait Replica: Sized {
    /// The crate's name, as in `Cargo.lock`.
    const CRATE: &'static str;
    /// What distinguishes this from the library's defaults; empty for the defaults.
    const VARIANT: &'static str;
    /// A point in the history, for [`Replica::since`].
    type Version;

    /// An empty replica that writes as `actor`.
    fn new(actor: u64) -> Self;
    /// Sets all of `puts` in one commit and returns its bytes, ready to be sent.
    fn commit(&mut self, puts: &[Put]) -> Vec<u8>;
    /// Where the history stands.
    fn version(&self) -> Self::Version;
    /// All that was added after `version`, as one message.
    fn since(&self, version: &Self::Version) -> Vec<u8>;
    /// Decodes and applies bytes from [`Replica::commit`] or [`Replica::since`].
    fn apply(&mut self, bytes: &[u8]);
    /// The value of a key.
    fn get(&self, key: &str) -> Option<String>;
    /// How many keys are set.
    fn len(&self) -> usize;
}

/// Loro. With `APART = false` its defaults, by which neighbouring commits of one peer are joined
/// into one change of the history. With `APART = true` every commit stays a change of its own, as
/// it must where each is signed.
pub struct Loro<const APART: bool> {
    doc: LoroDoc,
    map: LoroMap,
    commits: i64,
}

#[cfg(test)]
impl<const APART: bool> Loro<APART> {
    /// How many changes the history consists of.
    pub fn changes(&self) -> usize {
        self.doc.len_changes()
    }
}

impl<const APART: bool> Replica for Loro<APART> {
    const CRATE: &'static str = "loro";
    const VARIANT: &'static str = if APART { "changes kept apart" } else { "" };
    type Version = VersionVector;

    fn new(actor: u64) -> Self {
        let doc = LoroDoc::new();
        doc.set_peer_id(actor).expect("a new document takes any peer id");
        if APART {
            // Commits are joined when their times differ by at most this. `commit` gives each a
            // time of its own; with equal times a negative interval would keep them apart here,
            // but not in what is exported.
            doc.set_change_merge_interval(0);
        }
        let map = doc.get_map("map");
        Self { doc, map, commits: 0 }
    }

    fn commit(&mut self, puts: &[Put]) -> Vec<u8> {
        let before = self.doc.oplog_vv();
        for (key, value) in puts {
            self.map.insert(key, value.as_str()).expect("insert");
        }
        if APART {
            self.commits += 1;
            self.doc.set_next_commit_timestamp(self.commits);
        }
        self.doc.commit();
        self.doc.export(ExportMode::updates(&before)).expect("export")
    }

    fn version(&self) -> VersionVector {
        self.doc.oplog_vv()
    }

    fn since(&self, version: &VersionVector) -> Vec<u8> {
        self.doc.export(ExportMode::updates(version)).expect("export")
    }

    fn apply(&mut self, bytes: &[u8]) {
        let status = self.doc.import(bytes).expect("import");
        assert!(status.pending.is_none(), "an update came before what it depends on");
    }

    fn get(&self, key: &str) -> Option<String> {
        let value = self.map.get(key)?.into_value().ok()?.into_string().ok()?;
        Some(value.as_str().to_owned())
    }

    fn len(&self) -> usize {
        self.map.len()
    }
}

/// yrs, the Rust port of Yjs, with its encoding v1.
pub struct Yrs {
    doc: Doc,
    map: MapRef,
}

impl Replica for Yrs {
    const CRATE: &'static str = "yrs";
    const VARIANT: &'static str = "";
    type Version = StateVector;

    fn new(actor: u64) -> Self {
        let doc = Doc::with_client_id(actor);
        let map = doc.get_or_insert_map("map");
        Self { doc, map }
    }

    fn commit(&mut self, puts: &[Put]) -> Vec<u8> {
        let mut txn = self.doc.transact_mut();
        for (key, value) in puts {
            self.map.insert(&mut txn, key.as_str(), value.as_str());
        }
        txn.commit();
        txn.encode_update_v1()
    }

    fn version(&self) -> StateVector {
        self.doc.transact().state_vector()
    }

    fn since(&self, version: &StateVector) -> Vec<u8> {
        self.doc.transact().encode_diff_v1(version)
    }

    fn apply(&mut self, bytes: &[u8]) {
        let update = Update::decode_v1(bytes).expect("decode");
        self.doc.transact_mut().apply_update(update).expect("apply");
    }

    fn get(&self, key: &str) -> Option<String> {
        match self.map.get(&self.doc.transact(), key)? {
            Out::Any(Any::String(value)) => Some(value.to_string()),
            other => panic!("expected text, found {other:?}"),
        }
    }

    fn len(&self) -> usize {
        self.map.len(&self.doc.transact()) as usize
    }
}

/// automerge, without the log of patches, which is its faster form.
pub struct Am {
    doc: Automerge,
}

impl Replica for Am {
    const CRATE: &'static str = "automerge";
    const VARIANT: &'static str = "";
    type Version = Vec<ChangeHash>;

    fn new(actor: u64) -> Self {
        Self { doc: Automerge::new().with_actor(ActorId::from(actor.to_be_bytes())) }
    }

    fn commit(&mut self, puts: &[Put]) -> Vec<u8> {
        let mut txn = self.doc.transaction();
        for (key, value) in puts {
            txn.put(ROOT, key.as_str(), value.as_str()).expect("put");
        }
        txn.commit();
        self.doc.get_last_local_change().expect("a change was just made").raw_bytes().to_vec()
    }

    fn version(&self) -> Vec<ChangeHash> {
        self.doc.get_heads()
    }

    fn since(&self, version: &Vec<ChangeHash>) -> Vec<u8> {
        self.doc.save_after(version)
    }

    fn apply(&mut self, bytes: &[u8]) {
        self.doc.load_incremental(bytes).expect("apply");
    }

    fn get(&self, key: &str) -> Option<String> {
        let (value, _) = self.doc.get(ROOT, key).expect("get")?;
        value.into_string().ok()
    }

    fn len(&self) -> usize {
        self.doc.length(ROOT)
    }
}
