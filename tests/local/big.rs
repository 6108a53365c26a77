//! A history of a hundred thousand entries with all the shapes that counts are asked of, built once.

use eidetica::backend::Backend;
use eidetica::backend::database::Memory;
use eidetica::core::store::table::{RowAction, TableDelta};
use eidetica::entry::VerifiedEntry;
use eidetica::store::doc::{Action, Path, Step};
use eidetica::{Id, Options};
use tokio::sync::OnceCell;

use super::counting::{Row, Shared, dump};
use super::kit::{Forge, hand_in_all, set};

/// How many entries the whole history has.
pub const ALL: usize = 100_000;
/// Every so many entries of the chain write the same key.
pub const HOT_EVERY: usize = 10;

/// Part of the history, as rows of a backend.
pub struct Stage {
    pub entries: usize,
    pub rows: Vec<Row>,
}

/// The history.
pub struct Big {
    pub forge: Forge,
    /// After 100, 10,000 and 100,000 entries.
    pub stages: Vec<Stage>,
    /// A chain from the root on.
    pub chain: Vec<Id>,
    /// One entry beside the chain, above its fifth, that arrived last.
    pub side: Id,
    /// Two branches of a thousand entries each, which arrived in turns.
    pub branches: [Vec<Id>; 2],
    /// The heads of five hundred merges of two entries each, in their order.
    pub merges: Vec<Id>,
    /// The only head at the end.
    pub head: Id,
}

static BIG: OnceCell<Big> = OnceCell::const_new();

/// The history, built when it is first asked for.
pub async fn big() -> &'static Big {
    BIG.get_or_init(build).await
}

/// The key that an entry of the chain sets.
pub fn key_of(index: usize) -> String {
    if index.is_multiple_of(HOT_EVERY) { "hot".to_owned() } else { format!("key {}", index % 20_000) }
}

async fn build() -> Big {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let mut stages = Vec::new();
    let mut stage = async || {
        let rows = backend.snapshot().await.unwrap();
        let entries = database.entry_count().await.unwrap() as usize;
        stages.push(Stage { entries, rows: dump(&*rows).await });
    };

    let branches: [usize; 2] = [1000, 1000];
    let merges = 500;
    let chain_length = ALL - 2 - branches[0] - branches[1] - 3 * merges - 1;
    let mut first = vec![with_all_stores(&forge)];
    let below = first[0].clone();
    first.extend(forge.chain(&below, chain_length - 1, |n| key_of(n + 1)));
    hand_in_all(&database, &first[..99]).await;
    stage().await;
    hand_in_all(&database, &first[99..9_999]).await;
    stage().await;
    hand_in_all(&database, &first[9_999..]).await;
    let chain = first;

    let end = chain.last().unwrap();
    let mut both =
        [forge.chain(end, branches[0], |n| format!("a {n}")), forge.chain(end, branches[1], |n| format!("b {n}"))];
    // One by one: a page that holds both is put in order.
    for (one, other) in both[0].iter().zip(&both[1]) {
        hand_in_all(&database, std::slice::from_ref(one)).await;
        hand_in_all(&database, std::slice::from_ref(other)).await;
    }

    let mut top = forge.entry(&[both[0].last().unwrap(), both[1].last().unwrap()], "joined", 1i64);
    let mut late = vec![top.clone()];
    let mut merge_ids = Vec::new();
    for n in 0..merges {
        let (one, other) = (forge.entry(&[&top], "one", n as i64), forge.entry(&[&top], "other", n as i64));
        top = forge.entry(&[&one, &other], "merge", n as i64);
        merge_ids.push(top.id());
        late.extend([one, other, top.clone()]);
    }
    hand_in_all(&database, &late).await;
    let side = forge.entry(&[&chain[5]], "side", 1i64);
    hand_in_all(&database, std::slice::from_ref(&side)).await;
    stage().await;
    assert_eq!(database.entry_count().await.unwrap() as usize, ALL);
    let ids = |entries: &[VerifiedEntry]| entries.iter().map(VerifiedEntry::id).collect::<Vec<_>>();
    let branches = [ids(&std::mem::take(&mut both[0])), ids(&std::mem::take(&mut both[1]))];
    Big { chain: ids(&chain), side: side.id(), branches, merges: merge_ids, head: top.id(), forge, stages }
}

/// The first entry after the root: it touches all the stores that commits are counted on.
fn with_all_stores(forge: &Forge) -> VerifiedEntry {
    let fields = ["name", "state"].into_iter().map(|field| (field.to_owned(), encoded(field))).collect();
    let table = TableDelta(vec![("row".into(), RowAction::Insert(fields))]).to_bytes();
    let counter = Path(vec![Step::Key("counter".into())]);
    let counter = eidetica::store::doc::DocDelta(vec![(counter, Action::Create(0))]).to_bytes();
    let deltas = vec![
        set("notes", "hot", 0i64),
        ("counters".into(), "doc".into(), counter),
        ("rows".into(), "table".into(), table),
    ];
    forge.sign(forge.header(&[&forge.root]), deltas)
}

/// A short text as the value of a field.
fn encoded(text: &str) -> bytes::Bytes {
    [&[0x60 + text.len() as u8], text.as_bytes()].concat().into()
}
