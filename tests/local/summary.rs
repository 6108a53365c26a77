//! Fingerprints of ranges of entries: that they are right in any history, and what they cost.

use std::collections::BTreeSet;
use std::ops::Range;

use eidetica::backend::database::{Memory, Sqlite};
use eidetica::backend::{Backend, Keyspace, WriteBatch};
use eidetica::core::{Fingerprint, Point};
use eidetica::entry::VerifiedEntry;
use eidetica::store::DocStore;
use eidetica::{Database, Durability, ErrorKind, Id, Instance, Options};

use super::big::big;
use super::counting::{Asked, Counting, Row, Shared, dump, load};
use super::kit::{Forge, check, hand_in_all, seed, splitmix};

/// Where the fingerprints of blocks lie.
const BLOCKS: Keyspace = Keyspace::new(10);
/// The most rows that one fingerprint of a history of 100,000 entries may read.
const READ: u64 = 200;

/// Random choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        (splitmix(&mut self.0) % end.max(1) as u64) as usize
    }
}

/// A history of chains, forks, merges and wide heights, each entry after its parents; the root is not in it.
fn history(forge: &Forge, dice: &mut Dice, length: usize) -> Vec<VerifiedEntry> {
    let mut all = vec![forge.root.clone()];
    let mut top = forge.root.clone();
    while all.len() <= length {
        let key = format!("key {}", all.len());
        match dice.below(40) {
            0 => {
                // A branch from an old place: late entries, if the rest is here.
                let from = all[dice.below(all.len())].clone();
                all.extend(forge.chain(&from, 1 + dice.below(20), |n| format!("{key} {n}")));
            }
            1 => {
                let wide = 1 + dice.below(60);
                let entries = (0..wide).map(|n| forge.entry(&[&top], &format!("{key} {n}"), n as i64));
                all.extend(entries.collect::<Vec<_>>());
                top = all.last().unwrap().clone();
            }
            2 => {
                let one = forge.entry(&[&top], &key, "one");
                let other = forge.entry(&[&top], &key, "other");
                top = forge.entry(&[&one, &other], &key, "both");
                all.extend([one, other, top.clone()]);
            }
            _ => {
                top = forge.entry(&[&top], &key, 1i64);
                all.push(top.clone());
            }
        }
    }
    all.split_off(1)
}

/// The same entries in another order in which each comes after its parents.
fn another_order(forge: &Forge, dice: &mut Dice, entries: &[VerifiedEntry]) -> Vec<VerifiedEntry> {
    let mut here = BTreeSet::from([forge.root.id()]);
    let mut waiting = entries.to_vec();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        // Mostly the way up, so that other branches come long after.
        let from = if dice.below(4) == 0 { dice.below(waiting.len()) } else { 0 };
        let can_come = |entry: &VerifiedEntry| entry.header().parents.iter().all(|parent| here.contains(parent));
        let at = (from..waiting.len()).find(|at| can_come(&waiting[*at])).unwrap_or(0);
        let skipped = at == from && dice.below(30) == 0 && waiting.len() > 1;
        if skipped || !can_come(&waiting[at]) {
            let later = waiting.remove(at);
            waiting.push(later);
            continue;
        }
        let entry = waiting.remove(at);
        here.insert(entry.id());
        order.push(entry);
    }
    order
}

async fn hand_in_batches(database: &Database, dice: &mut Dice, entries: &[VerifiedEntry]) {
    let mut rest = entries;
    while !rest.is_empty() {
        let most = [1, 3, 40, 700][dice.below(4)];
        let (now, later) = rest.split_at((1 + dice.below(most)).min(rest.len()));
        hand_in_all(database, now).await;
        rest = later;
    }
}

/// All entries, the root among them, by height and id.
fn ordered(forge: &Forge, entries: &[VerifiedEntry]) -> Vec<Point> {
    let all = entries.iter().chain([&forge.root]);
    let mut points: Vec<_> = all.map(|entry| Point { height: entry.header().height, id: entry.id() }).collect();
    points.sort_unstable();
    points
}

fn within(points: &[Point], range: &Range<Point>) -> Vec<Point> {
    points.iter().filter(|point| range.contains(point)).copied().collect()
}

fn naive(points: &[Point]) -> Fingerprint {
    let mut print = Fingerprint::EMPTY;
    points.iter().for_each(|point| print.add(&point.id));
    print
}

/// A point at an entry, between entries, at the beginning of a height, of a block, or outside.
fn any_point(dice: &mut Dice, points: &[Point]) -> Point {
    let entry = points[dice.below(points.len())];
    match dice.below(8) {
        0 => Point::START,
        1 => Point::END,
        2 => Point::at_height(entry.height),
        3 => Point::at_height(entry.height / 16 * 16),
        4 => Point::at_height(entry.height / 256 * 256),
        5 => Point { height: entry.height + dice.below(20) as u64, id: Id::from_bytes([dice.below(256) as u8; 32]) },
        _ => entry,
    }
}

async fn ranges_are_right(database: &Database, dice: &mut Dice, points: &[Point]) {
    for _ in 0..60 {
        let range = any_point(dice, points)..any_point(dice, points);
        let inside = within(points, &range);
        let print = database.fingerprint(range.clone()).await.unwrap();
        assert_eq!(print, naive(&inside), "{range:?}");
        let limit = [usize::MAX, 5, 0][dice.below(3)];
        let listed: Vec<_> = inside.iter().take(limit).map(|point| (point.height, point.id)).collect();
        assert_eq!(database.entries_in(range.clone(), limit).await.unwrap(), listed, "{range:?}");
        let parts = 1 + dice.below(16);
        let split = database.split(range.clone(), parts).await.unwrap();
        parts_are_right(&split, &range, &inside, parts);
    }
}

/// The parts cover the range, say what is in them, and are of about equal count.
fn parts_are_right(split: &[(Point, Fingerprint)], range: &Range<Point>, inside: &[Point], parts: usize) {
    assert_eq!(split.len(), parts.min(inside.len()).max(1));
    assert_eq!(split[0].0, range.start);
    for (at, (start, print)) in split.iter().enumerate() {
        let end = split.get(at + 1).map_or(range.end, |(next, _)| *next);
        let part = within(inside, &(*start..end));
        assert_eq!(*print, naive(&part), "part {at} of {range:?}");
        let (count, average) = (part.len() as f64, inside.len() as f64 / split.len() as f64);
        assert!(
            count >= average / 2.0 - 1.0 && count <= average * 1.5 + 1.0,
            "{count} in a part, on average {average}"
        );
    }
}

async fn any_history_has_the_right_fingerprints(sqlite: bool) {
    let mut dice = Dice(seed());
    for (round, length) in [30, 700, 2000].into_iter().enumerate() {
        let forge = Forge::new(1 + round as u8);
        let entries = history(&forge, &mut dice, length);
        let backend = match sqlite {
            true => Shared::in_turns(Sqlite::in_memory().await.unwrap()),
            false => Shared::in_turns(Memory::new()),
        };
        let (instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
        let order = another_order(&forge, &mut dice, &entries);
        // Also halfway, when other blocks are open.
        let (first, second) = order.split_at(dice.below(order.len()));
        for now in [first, second] {
            hand_in_batches(&database, &mut dice, now).await;
            let here = if now.len() == first.len() { first } else { &order[..] };
            if database.entry_count().await.unwrap() as usize == here.len() + 1 {
                ranges_are_right(&database, &mut dice, &ordered(&forge, here)).await;
            }
        }
        ranges_are_right(&database, &mut dice, &ordered(&forge, &order)).await;
        check(&database).await;
        instance.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_history_has_the_right_fingerprints_in_memory() {
    any_history_has_the_right_fingerprints(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_history_has_the_right_fingerprints_in_sqlite() {
    any_history_has_the_right_fingerprints(true).await;
}

/// The rows of the fingerprints.
async fn blocks(backend: &Shared) -> Vec<Row> {
    let rows = dump(&*backend.snapshot().await.unwrap()).await;
    rows.into_iter().filter(|(keyspace, ..)| *keyspace == BLOCKS).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_entries_have_the_same_blocks_in_whatever_order_they_came() {
    let mut dice = Dice(seed());
    let forge = Forge::new(1);
    let mut entries = history(&forge, &mut dice, 1500);
    // High enough that a block of 4,096 heights closes, and wide enough at one old height.
    let top = entries.iter().max_by_key(|entry| entry.header().height).unwrap().clone();
    entries.extend(forge.chain(&top, 4100 - top.header().height as usize, |n| format!("up {n}")));
    let late: Vec<_> = (0..500).map(|n| forge.entry(&[&entries[3]], &format!("late {n}"), 1i64)).collect();
    entries.extend(late);
    let mut seen: Option<Vec<Row>> = None;
    for order in
        [entries.clone(), another_order(&forge, &mut dice, &entries), another_order(&forge, &mut dice, &entries)]
    {
        let backend = Shared::in_turns(Memory::new());
        let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
        hand_in_batches(&database, &mut dice, &order).await;
        let rows = blocks(&backend).await;
        assert_eq!(rows.len(), 256 + 16 + 1);
        assert_eq!(*seen.get_or_insert_with(|| rows.clone()), rows);
        database.reindex().await.unwrap();
        assert_eq!(blocks(&backend).await, rows);
        check(&database).await;
    }
}

/// Five thousand entries at one height, open and closed: they are cut by id.
#[tokio::test(flavor = "multi_thread")]
async fn a_wide_height_is_cut_by_id() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let mut entries: Vec<_> = (0..5000).map(|n| forge.entry(&[&forge.root], &format!("key {n}"), 1i64)).collect();
    hand_in_all(&database, &entries).await;
    let range = Point::START..Point::END;
    let points = ordered(&forge, &entries);
    parts_are_right(&database.split(range.clone(), 16).await.unwrap(), &range, &points, 16);
    let chain = forge.chain(&entries[0], 300, |n| format!("up {n}"));
    hand_in_all(&database, &chain).await;
    entries.extend(chain);
    let points = ordered(&forge, &entries);
    let split = database.split(range.clone(), 16).await.unwrap();
    parts_are_right(&split, &range, &points, 16);
    // And a part of it again.
    let part = split[3].0..split[4].0;
    parts_are_right(&database.split(part.clone(), 16).await.unwrap(), &part, &within(&points, &part), 16);
    check(&database).await;
}

/// With few entries for each part, every part still gets some, wherever blocks end.
#[tokio::test(flavor = "multi_thread")]
async fn few_entries_are_cut_into_as_many_parts_as_asked_for() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let chain = forge.chain(&forge.root, 80, |n| format!("key {n}"));
    hand_in_all(&database, &chain).await;
    let points = ordered(&forge, &chain);
    for start in (0..40).map(Point::at_height) {
        for end in (start.height..81).map(Point::at_height) {
            let range = start..end;
            for parts in [2, 7, 13, 15, 16] {
                let split = database.split(range.clone(), parts).await.unwrap();
                parts_are_right(&split, &range, &within(&points, &range), parts);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_not_cut_into_no_part_or_too_many() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    for parts in [0, 17, usize::MAX] {
        let error = database.split(Point::START..Point::END, parts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let backward = database.split(Point::END..Point::START, 16).await.unwrap();
    assert_eq!(backward, [(Point::END, Fingerprint::EMPTY)]);
}

/// As many entries, of the same author, at the same heights, but others.
#[tokio::test(flavor = "multi_thread")]
async fn other_entries_have_another_digest() {
    let forge = Forge::new(1);
    let mut digests = BTreeSet::new();
    for variant in 0..8 {
        let (_instance, database) = forge.database().await;
        let mut chain = forge.chain(&forge.root, 300, |n| format!("key {n}"));
        if variant > 0 {
            chain.push(forge.entry(&[&chain[100]], "other", variant as i64));
        } else {
            chain.push(forge.entry(&[&chain[100]], "another", 1i64));
        }
        hand_in_all(&database, &chain).await;
        let print = database.fingerprint(Point::START..Point::END).await.unwrap();
        assert_eq!(print.count, 302);
        assert!(digests.insert(print.digest()));
        // What lies beside the difference is the same.
        let above = database.fingerprint(Point::at_height(103)..Point::END).await.unwrap();
        assert_eq!(above.count, 198);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_costs_a_few_rows() {
    let big = big().await;
    let mut most = Vec::new();
    for stage in &big.stages[1..] {
        let backend = Shared::in_turns(Memory::new());
        load(&backend, &stage.rows).await;
        let (backend, counts) = Counting::new(backend);
        let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
        let root = big.forge.root.id();
        let database = instance.open_database_with_key(&root, Some(big.forge.key.clone())).await.unwrap();
        // Not that of the latest arrival, which is a late one near the root.
        let mut height = 0;
        for tip in database.get_tips().await.unwrap() {
            height = height.max(database.get_entry(&tip).await.unwrap().header().height);
        }
        assert!(height as usize > stage.entries * 9 / 10, "{height}");
        let point = |height: u64| Point { height, id: Id::from_bytes([128; 32]) };
        let mut ranges = vec![Point::START..Point::END, point(1)..point(9_998), point(17)..point(4095)];
        ranges.extend([point(1)..point(height), point(15)..Point::END, point(300)..point(301)]);
        ranges.extend((0..50).map(|n| point(1 + n * 37)..point(height - 1 - n * (height / 100))));
        let (mut print, mut split) = (0, 0);
        for range in ranges {
            let (found, asked) = counts.of(database.fingerprint(range.clone())).await;
            let (parts, cut) = counts.of(database.split(range.clone(), 16)).await;
            let all = parts.unwrap().iter().fold(Fingerprint::EMPTY, |all, (_, part)| all.combined(part));
            assert_eq!(found.unwrap(), all);
            (print, split) = (print.max(asked.read), split.max(cut.read));
        }
        let (_, whole) = counts.of(database.fingerprint(Point::START..Point::END)).await;
        println!(
            "n = {}: {} rows for all, at most {print} for a range, {split} for a split",
            stage.entries, whole.read
        );
        assert!(print <= READ, "{print} rows");
        most.push((print, split));
        instance.close().await.unwrap();
    }
    // Ten times the history is one level more.
    assert!(most[1].0 <= most[0].0 + 48, "{most:?}");
    assert!(most[1].1 <= 1000, "{most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_writes_at_most_eight_rows_at_whatever_height() {
    let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
    let forge = Forge::new(1);
    let (instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    let mut asked: Vec<Asked> = Vec::new();
    for height in 1..=4_200u64 {
        let transaction = database.new_transaction().await.unwrap();
        transaction.get_store::<DocStore>("notes").await.unwrap().set("key", height as i64).await.unwrap();
        let (committed, cost) = counts.of(transaction.commit_with(Durability::Buffered)).await;
        assert!(committed.unwrap().written);
        assert!(cost.written <= 8, "at height {height}: {cost:?}");
        asked.push(cost);
    }
    let at = |height: usize| asked[height - 1];
    // A block of 16 heights, of 256, of 4,096 closes.
    for height in [16, 32, 256, 257, 272, 4096, 4097, 4098] {
        assert_eq!(at(height).written, 8, "at height {height}: {:?}", at(height));
    }
    for height in [17, 31, 255, 258, 4095, 4099] {
        assert_eq!((at(height).written, at(height).read), (7, at(1_003).read), "at height {height}: {:?}", at(height));
    }
    let closing = asked.iter().skip(1).filter(|cost| cost.written == 8).count();
    assert_eq!(closing, 262 + 16 + 1);
    let (usual, most) = (at(1_003).read, asked.iter().map(|cost| cost.read).max().unwrap());
    println!("a commit reads {usual} rows, and {most} where a block closes");
    // The live record. Its parent is a head, which is known, and an entry later than all others cannot be here yet; of blocks
    // nothing is read.
    assert_eq!(usual, 1);
    assert!(most <= usual + 16);
    check(&database).await;
    instance.close().await.unwrap();
}

/// Late entries write each block that contains them once in a group, and not once each.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_late_entries_writes_each_block_once() {
    let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
    let forge = Forge::new(1);
    let (instance, database) = forge.database_with(Box::new(backend), Options::default()).await;
    let chain = forge.chain(&forge.root, 300, |n| format!("key {n}"));
    hand_in_all(&database, &chain).await;
    let late: Vec<_> = (0..100).map(|n| forge.entry(&[&chain[20]], &format!("late {n}"), 1i64)).collect();
    let ((), asked) = counts.of(hand_in_all(&database, &late)).await;
    // Each: entry, id, height, index of the store, live record. Each group: the row of the database and two blocks.
    assert!(asked.written <= 5 * 100 + 3 * asked.commits, "{asked:?}");
    assert!(asked.written >= 5 * 100 + 3, "{asked:?}");
    check(&database).await;
    instance.close().await.unwrap();
}

/// Wrong, missing and surplus rows are found, and a rebuild mends them. What is missing is never taken for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_mended() {
    let forge = Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (_instance, database) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let chain = forge.chain(&forge.root, 300, |n| format!("key {n}"));
    hand_in_all(&database, &chain[..290]).await;
    let sound = blocks(&backend).await;
    let all = Point::START..Point::END;
    let print = database.fingerprint(all.clone()).await.unwrap();
    let (_, key, value) = sound[0].clone();
    let mut other = value.to_vec();
    other[39] ^= 1;
    let mut cases: Vec<WriteBatch> = (0..6).map(|_| WriteBatch::new()).collect();
    cases[0].put(BLOCKS, key.clone(), other);
    cases[1].delete(BLOCKS, key.clone());
    cases[2].put(BLOCKS, key.clone(), value.slice(..39));
    cases[3].put(BLOCKS, [&key[..12], &[200]].concat(), value.clone());
    cases[4].put(BLOCKS, [&key[..], &[0]].concat(), value.clone());
    // As in a database that was written when there were no such rows.
    cases[5].delete_range(BLOCKS, &b""[..], None);
    for (case, batch) in cases.into_iter().enumerate() {
        backend.commit(batch).await.unwrap();
        let report = database.verify().await.unwrap();
        assert!(!report.is_clean(), "case {case}");
        assert!(report.problems.iter().all(|problem| problem.reindex_mends), "{:?}", report.problems);
        if case == 5 {
            let error = database.fingerprint(all.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            // It can be used on, and says of nothing that it is whole that is not.
            hand_in_all(&database, &chain[290..]).await;
            hand_in_all(&database, &[forge.entry(&[&chain[4]], "late", 1i64)]).await;
            assert!(!database.verify().await.unwrap().is_clean());
            assert_eq!(database.fingerprint(all.clone()).await.unwrap_err().kind(), ErrorKind::Corrupted);
        }
        database.reindex().await.unwrap();
        check(&database).await;
        if case < 5 {
            assert_eq!(blocks(&backend).await, sound);
            assert_eq!(database.fingerprint(all.clone()).await.unwrap(), print);
        }
    }
    assert_eq!(database.fingerprint(all).await.unwrap().count, 302);
}
