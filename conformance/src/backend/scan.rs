//! Ranges, page by page.

use bytes::Bytes;
use eidetica_contract::{Direction, ErrorKind, Page, Scan, WriteBatch};

use super::{Ground, ONE, OTHER, Store, kind};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Backend, must "backend.scan.is-ordered-by-bytes",
        "Each maps byte strings to byte strings, ordered by their bytes.", is_ordered),
    case!(Backend, must "backend.scan.stays-in-its-range",
        "One page of a range, in the order that the scan asks for.", stays_in_its_range),
    case!(Backend, must "backend.scan.ends-at-its-rows",
        "The page holds at most `scan.max_rows` rows, and ends after the row with which its keys and values reach `scan.max_bytes`.", ends_at_its_rows),
    case!(Backend, must "backend.scan.ends-at-its-bytes",
        "The page holds at most `scan.max_rows` rows, and ends after the row with which its keys and values reach `scan.max_bytes`; but it always holds at least one row if the range has one.",
        ends_at_its_bytes),
    case!(Backend, must "backend.scan.knows-of-more",
        "[`Page::more`] is true if and only if the range holds further rows.", knows_of_more),
    case!(Backend, must "backend.scan.for-no-rows-is-refused",
        "`max_rows` of 0 is [`ErrorKind::InvalidInput`].", for_no_rows),
    case!(Backend, must "backend.scan.empty-range-is-empty",
        "A start that is not below the end is an empty range.", empty_range),
    case!(Backend, must "backend.scan.goes-on-where-it-stopped",
        "One page of a range, in the order that the scan asks for.", goes_on),
];

const KEYS: [&[u8]; 10] = [b"", b"\0", b"\0\0", b"\x01", b"A", b"a", b"a\0", b"aa", b"b", b"\xff\xff"];

/// A store with those keys, of which the value of the one at `n` has `n` bytes.
async fn filled(ground: &Ground) -> Store {
    let store = ground.fresh().await;
    let mut batch = WriteBatch::new();
    // In an order of their own, so that none comes of the order of writing.
    for at in [7, 2, 9, 0, 4, 1, 8, 3, 6, 5] {
        batch.put(ONE, KEYS[at], vec![b'v'; at]);
        batch.put(OTHER, KEYS[at], "other");
    }
    store.commit(batch).await;
    store
}

async fn page(store: &Store, scan: Scan) -> Page {
    store.snapshot().await.scan(scan).await.expect("a range can be read")
}

fn keys(page: &Page) -> Vec<&[u8]> {
    page.rows.iter().map(|(key, _)| &key[..]).collect()
}

async fn is_ordered(ground: Ground) {
    let store = filled(&ground).await;
    let found = page(&store, Scan::new(ONE)).await;
    assert_eq!(keys(&found), KEYS);
    assert!(found.rows.iter().enumerate().all(|(at, (_, value))| value.len() == at), "values belong to other keys");
    let back = page(&store, Scan::new(ONE).backward()).await;
    assert_eq!(keys(&back), KEYS.iter().rev().copied().collect::<Vec<_>>());
}

async fn stays_in_its_range(ground: Ground) {
    let store = filled(&ground).await;
    for from in 0..KEYS.len() {
        for to in 0..=KEYS.len() {
            let end = KEYS.get(to).map(|key| Bytes::from_static(key));
            let expected = &KEYS[from.min(to)..to];
            let scan = Scan::range(ONE, KEYS[from], end);
            assert_eq!(keys(&page(&store, scan.clone()).await), expected, "{from} to {to}");
            let back: Vec<&[u8]> = expected.iter().rev().copied().collect();
            assert_eq!(keys(&page(&store, scan.backward()).await), back, "{from} to {to}, backward");
        }
    }
    // Between two keys that are there.
    assert_eq!(keys(&page(&store, Scan::range(ONE, "B", Some("aZ".into()))).await), [&b"a"[..], b"a\0"]);
    assert_eq!(keys(&page(&store, Scan::prefix(ONE, b"a")).await), [&b"a"[..], b"a\0", b"aa"]);
    assert_eq!(keys(&page(&store, Scan::prefix(ONE, b"\xff")).await), [b"\xff\xff"]);
}

async fn ends_at_its_rows(ground: Ground) {
    let store = filled(&ground).await;
    for rows in 1..=KEYS.len() + 1 {
        let found = page(&store, Scan::new(ONE).rows(rows)).await;
        assert_eq!(keys(&found), KEYS[..rows.min(KEYS.len())], "{rows} rows");
        let back = page(&store, Scan::new(ONE).rows(rows).backward()).await;
        assert_eq!(back.rows.len(), rows.min(KEYS.len()), "{rows} rows, backward");
    }
}

async fn ends_at_its_bytes(ground: Ground) {
    let store = filled(&ground).await;
    for direction in [Direction::Forward, Direction::Backward] {
        let mut order: Vec<usize> = (0..KEYS.len()).collect();
        if direction == Direction::Backward {
            order.reverse();
        }
        for budget in 0..70 {
            let mut bytes = 0;
            let mut expected = Vec::new();
            for &at in &order {
                expected.push(KEYS[at]);
                bytes += KEYS[at].len() + at;
                if bytes >= budget {
                    break;
                }
            }
            let mut scan = Scan::new(ONE).bytes(budget);
            scan.direction = direction;
            let found = page(&store, scan).await;
            assert_eq!(keys(&found), expected, "{budget} bytes, {direction:?}");
            assert_eq!(found.more, expected.len() < KEYS.len(), "{budget} bytes, {direction:?}");
        }
    }
}

async fn knows_of_more(ground: Ground) {
    let store = filled(&ground).await;
    for rows in 1..=KEYS.len() + 1 {
        for backward in [false, true] {
            let scan = Scan::new(ONE).rows(rows);
            let scan = if backward { scan.backward() } else { scan };
            assert_eq!(page(&store, scan).await.more, rows < KEYS.len(), "{rows} rows, backward: {backward}");
        }
        // The range, and not the keyspace.
        let end = KEYS.get(rows).map(|key| Bytes::from_static(key));
        assert!(!page(&store, Scan::range(ONE, "", end).rows(rows)).await.more, "a range of {rows} rows");
    }
    assert!(!page(&ground.fresh().await, Scan::new(ONE)).await.more);
}

async fn for_no_rows(ground: Ground) {
    for store in [ground.fresh().await, filled(&ground).await] {
        let view = store.snapshot().await;
        assert_eq!(kind(view.scan(Scan::new(ONE).rows(0)).await), Some(ErrorKind::InvalidInput));
    }
}

async fn empty_range(ground: Ground) {
    let store = filled(&ground).await;
    for (start, end) in [("a", "a"), ("b", "a"), ("", "")] {
        for backward in [false, true] {
            let scan = Scan::range(ONE, start, Some(end.into()));
            let found = page(&store, if backward { scan.backward() } else { scan }).await;
            assert_eq!((found.rows.len(), found.more), (0, false), "{start:?} to {end:?}");
        }
    }
}

async fn goes_on(ground: Ground) {
    let store = filled(&ground).await;
    for rows in 1..5 {
        for backward in [false, true] {
            let mut scan = Scan::new(ONE).rows(rows);
            if backward {
                scan = scan.backward();
            }
            let mut all: Vec<Bytes> = Vec::new();
            let view = store.snapshot().await;
            loop {
                let page = view.scan(scan.clone()).await.unwrap();
                all.extend(page.rows.iter().map(|(key, _)| key.clone()));
                assert!(all.len() <= KEYS.len(), "pages of {rows} rows come again, backward: {backward}");
                if !page.more {
                    break;
                }
                scan = scan.after(all.last().expect("a page with more behind it has a row"));
            }
            if backward {
                all.reverse();
            }
            assert_eq!(all, KEYS, "in pages of {rows} rows, backward: {backward}");
        }
    }
}
