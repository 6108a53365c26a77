//! Rebuilding gives the rows that were there; kinds that come later catch up.

use std::collections::BTreeSet;

use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::entry::VerifiedEntry;
use eidetica::store::{Cells, DocStore, Lattice, Semilattice, StoreHandle, StoreType, Table};
use eidetica::{Database, Instance, Options};

use super::counting::{Row, Shared, dump};
use super::kit::{Forge, check, hand_in_all, put, raw, set};

#[derive(serde::Serialize, serde::Deserialize, Clone, Debug, PartialEq)]
struct Airport {
    name: String,
    state: String,
}

/// All rows but those that count openings and changes.
async fn rows(backend: &Shared) -> BTreeSet<Row> {
    let snapshot = backend.snapshot().await.unwrap();
    dump(&*snapshot).await.into_iter().filter(|(keyspace, ..)| keyspace.number() != 0).collect()
}

async fn same_after_reindex(backend: &Shared, database: &Database) {
    check(database).await;
    let before = rows(backend).await;
    let tips = database.get_tips().await.unwrap();
    database.reindex().await.unwrap();
    assert_eq!(database.get_tips().await.unwrap(), tips);
    let after = rows(backend).await;
    let (lost, new): (Vec<_>, Vec<_>) = (before.difference(&after).collect(), after.difference(&before).collect());
    assert!(lost.is_empty() && new.is_empty(), "lost: {lost:#?}\nnew: {new:#?}");
    check(database).await;
}

/// Branches, overwrites, deletes, merges, in several stores, one of them with a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_database_has_the_same_rows() {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let mut tips = vec![forge.root.clone()];
    for round in 0..300usize {
        let below: Vec<&VerifiedEntry> = match round % 7 {
            0 => tips.iter().collect(),
            _ => vec![&tips[round % tips.len()]],
        };
        let mut deltas = vec![set("notes", &format!("key {}", round % 11), round as i64)];
        if round % 3 == 0 {
            deltas.push(put("cells", "some.kind", "cell", b"value"));
        }
        let entry = forge.sign(forge.header(&below), deltas);
        let below: BTreeSet<_> = entry.header().parents.iter().copied().collect();
        // Some stay, so that a second branch begins there.
        tips.retain(|tip| !below.contains(&tip.id()) || round % 10 == 0);
        tips.push(entry.clone());
        let mut raw = raw(&[entry]);
        if round == 100 {
            raw[0].bodies[0] = None;
        }
        let outcome = database.ingest(raw, "peer").await.unwrap();
        assert_eq!(outcome, [eidetica::Outcome::Accepted]);
    }
    for round in 0..40i64 {
        let transaction = database.new_transaction().await.unwrap();
        let table = transaction.get_store::<Table<Airport>>("airports").await.unwrap();
        let key = format!("row {}", round % 7);
        match round % 5 {
            4 => drop(table.delete(&key).await.unwrap()),
            _ => table.set(&key, &Airport { name: key.clone(), state: format!("S{}", round % 3) }).await.unwrap(),
        }
        let doc = transaction.get_store::<DocStore>("doc").await.unwrap();
        doc.increment("visits", round).await.unwrap();
        doc.list_push("list", round).await.unwrap();
        transaction.commit().await.unwrap();
    }
    same_after_reindex(&backend, &database).await;
    database.ensure_index("airports", "state").await.unwrap();
    database.ensure_index("airports", "name").await.unwrap();
    database.drop_index("airports", "state").await.unwrap();
    same_after_reindex(&backend, &database).await;
}

/// One entry brings two stores, and only the second has an index.
#[tokio::test(flavor = "multi_thread")]
async fn stores_keep_their_numbers() {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("a").await.unwrap().set("key", 1i64).await.unwrap();
    let table = transaction.get_store::<Table<Airport>>("b").await.unwrap();
    table.set("SEA", &Airport { name: "Seattle".into(), state: "WA".into() }).await.unwrap();
    transaction.commit().await.unwrap();
    database.ensure_index("b", "state").await.unwrap();
    same_after_reindex(&backend, &database).await;
}

/// A kind of our own: the highest score of each player.
struct Scores(Cells);

impl StoreType for Scores {
    const KIND: &'static str = "test.scores";

    fn open(handle: StoreHandle) -> Self {
        Scores(Cells::new(handle))
    }
}

impl Scores {
    async fn record(&self, player: &str, score: u8) {
        let best = self.best(player).await.unwrap_or(0).max(score);
        self.0.put(player.as_bytes(), vec![best]).await.unwrap();
    }

    async fn best(&self, player: &str) -> Option<u8> {
        self.0.get(player.as_bytes()).await.unwrap().iter().map(|live| live.value[0]).max()
    }
}

async fn everything(database: &Database) -> Vec<VerifiedEntry> {
    let log = database.log(None, usize::MAX).await.unwrap();
    let mut entries = Vec::new();
    for entry in log.iter().rev().filter(|entry| entry.height > 0) {
        entries.push(database.get_entry(&entry.id).await.unwrap());
    }
    entries
}

async fn score(database: &Database, player: &str, score: u8) {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<Scores>("scores").await.unwrap().record(player, score).await;
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_kept_unread_and_catches_up() {
    let forge = Forge::new(1);
    let (_one, author) = forge.database().await;
    for n in 0..600usize {
        score(&author, &format!("player {}", n % 5), (n % 200) as u8).await;
    }
    let backend = Shared::in_turns(Memory::new());
    let (other, reader) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    hand_in_all(&reader, &everything(&author).await).await;
    let known = async |database: &Database| {
        let stores = database.stores().await.unwrap();
        stores.iter().find(|store| store.kind == Scores::KIND).unwrap().known
    };
    assert!(!known(&reader).await);
    assert_eq!(check(&reader).await.unknown_kinds, ["scores"]);
    // Another name for the same store does not exist; another kind under this name is refused.
    let error = reader.get_store_viewer::<DocStore>("scores").await.err().unwrap();
    assert_eq!(error.kind(), eidetica::ErrorKind::WrongType);
    let scores = reader.get_store_viewer::<Scores>("scores").await.unwrap();
    assert!(known(&reader).await);
    assert_eq!(scores.best("player 4").await, Some(199));
    check(&reader).await;
    assert!(reader.verify().await.unwrap().unknown_kinds.is_empty());
    other.close().await.unwrap();

    // A later run of the program that does not know the kind falls behind, and then catches up again.
    score(&author, "player 4", 250).await;
    let again = Instance::open(Box::new(backend.clone())).await.unwrap();
    let reader = again.open_database_with_key(&forge.root.id(), Some(forge.key.clone())).await.unwrap();
    hand_in_all(&reader, &everything(&author).await[600..]).await;
    assert!(!known(&reader).await);
    let scores = reader.get_store_viewer::<Scores>("scores").await.unwrap();
    assert_eq!(scores.best("player 4").await, Some(250));
    check(&reader).await;
    same_after_reindex(&backend, &reader).await;
    score(&reader, "player 4", 3).await;
    assert_eq!(scores.best("player 4").await, Some(250));
}

/// A set that only grows.
#[derive(Clone, Default, PartialEq, Debug)]
struct Tags(BTreeSet<String>);

impl Semilattice for Tags {
    const KIND: &'static str = "test.tags";

    fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n").into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Tags(std::str::from_utf8(bytes).ok()?.lines().map(str::to_owned).collect()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lattice_joins_what_was_written_apart() {
    let forge = Forge::new(1);
    let (_one, a) = forge.database().await;
    let (_other, b) = forge.database().await;
    let tag = async |database: &Database, tag: &str| {
        let transaction = database.new_transaction().await.unwrap();
        let tags = transaction.get_store::<Lattice<Tags>>("tags").await.unwrap();
        tags.update("note", |tags| {
            tags.0.insert(tag.to_owned());
        })
        .await
        .unwrap();
        transaction.commit().await.unwrap();
    };
    for (database, tags) in [(&a, ["one", "two"]), (&b, ["two", "three"])] {
        tag(database, tags[0]).await;
        tag(database, tags[1]).await;
    }
    let (from_a, from_b) = (everything(&a).await, everything(&b).await);
    hand_in_all(&a, &from_b).await;
    hand_in_all(&b, &from_a).await;
    for database in [&a, &b] {
        let tags = database.get_store_viewer::<Lattice<Tags>>("tags").await.unwrap();
        let all: BTreeSet<String> = ["one", "two", "three"].map(str::to_owned).into();
        assert_eq!(tags.get("note").await.unwrap().0, all);
        assert_eq!(tags.all().await.unwrap(), [("note".to_owned(), Tags(all))]);
        check(database).await;
    }
    tag(&a, "four").await;
    assert_eq!(a.get_store_viewer::<Lattice<Tags>>("tags").await.unwrap().get("note").await.unwrap().0.len(), 4);
}
