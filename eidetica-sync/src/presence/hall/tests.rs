use super::places::{ALL, ANYBODY, DEVICE, KEY, ROOM};
use super::*;
use crate::node::{Pace, Rate};

fn key(number: u32) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn hall() -> Hall {
    let rate = Rate { burst: 1, per_second: 1 };
    Hall::new(key(u32::MAX), 1, Pace::new(rate, rate, Duration::ZERO))
}

struct Word {
    device: u32,
    user: u32,
    anybody: bool,
    serial: u64,
    lifetime: u16,
    reach: u8,
}

const WORD: Word = Word { device: 0, user: 0, anybody: false, serial: 1, lifetime: 20, reach: 1 };

fn say(hall: &Hall, database: &Id, word: Word, now: Instant) -> bool {
    let statement = Statement {
        device: key(word.device),
        claim: None,
        serial: word.serial,
        lifetime: word.lifetime,
        reach: word.reach,
        payload: Bytes::new(),
        signature: [0; 64],
    };
    let speaker = Speaker { device: key(word.device), user: Some(key(word.user)) };
    let from = key(word.device);
    let brought = Brought { statement, from, hops: 1, key: key(word.user), anybody: word.anybody };
    hall.seat(*database, speaker, brought, Time::from_millis(5), now)
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_the_places_of_others() {
    let (hall, now) = (hall(), Instant::now());
    let one = Id::of(b"one");
    let count = |words: &mut dyn Iterator<Item = Word>| {
        words.map(|word| say(&hall, &one, word, now)).filter(|taken| *taken).count()
    };
    assert_eq!(count(&mut (0..99).map(|user| Word { device: 1, user, ..WORD })), DEVICE);
    assert_eq!(count(&mut (100..199).map(|device| Word { device, user: 200, ..WORD })), KEY);
    assert_eq!(
        count(&mut (200..299).map(|number| Word { device: number, user: number, anybody: true, ..WORD })),
        ANYBODY
    );
    let left = ROOM - DEVICE - KEY - ANYBODY;
    assert_eq!(count(&mut (1000..1999).map(|number| Word { device: number, user: number, ..WORD })), left);
    let mut all = ROOM;
    for database in 0..16u8 {
        let words = (0..ROOM as u32).map(|number| Word { device: number, user: number, ..WORD });
        all += words.map(|word| say(&hall, &Id::of(&[database]), word, now)).filter(|taken| *taken).count();
    }
    assert_eq!(all, ALL);
    // Whose time is over makes room for others, unless an old word of his could be brought again.
    let later = now + Duration::from_secs(21);
    hall.sweep(later);
    assert!(say(&hall, &one, Word { device: 5000, user: 5000, ..WORD }, later));
}

#[tokio::test(start_paused = true)]
async fn an_old_word_is_known_for_as_long_as_it_could_be_believed() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    assert!(say(&hall, &one, Word { reach: 2, serial: 5, ..WORD }, now));
    assert!(!say(&hall, &one, Word { reach: 2, serial: 5, ..WORD }, now));
    assert!(say(&hall, &one, Word { reach: 2, serial: 6, lifetime: 0, ..WORD }, now));
    for passed in [1, 61, 599] {
        let later = now + Duration::from_secs(passed);
        hall.sweep(later);
        assert!(!say(&hall, &one, Word { reach: 2, serial: 5, ..WORD }, later), "{passed} s later");
    }
    // By then its time is so long ago that it is not believed anyway.
    assert_eq!(hall.sweep(now + 2 * SKEW), None);
    assert!(hall.seats(&one, true, now).is_empty());
    // An end that nobody has waited for counts as well.
    assert!(say(&hall, &one, Word { reach: 2, serial: 9, lifetime: 0, ..WORD }, now));
    assert!(!say(&hall, &one, Word { reach: 2, serial: 8, ..WORD }, now));
}

#[tokio::test(start_paused = true)]
async fn news_come_in_instalments_and_each_once() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    let (ids, peer) = (BTreeSet::from([one]), key(9999));
    for number in 0..150 {
        assert!(say(&hall, &one, Word { device: number, user: number, reach: 2, ..WORD }, now));
    }
    let (mut after, mut told) = (0, Vec::new());
    loop {
        let (news, upto) = hall.news(&ids, after, &peer, now);
        assert!(news.len() <= MAX_SAID);
        if news.is_empty() {
            break;
        }
        told.extend(news.into_iter().map(|(_, hops, statement)| (hops, statement.device)));
        after = upto;
    }
    told.sort();
    assert_eq!(told, (0..150).map(|number| (2, key(number))).collect::<Vec<_>>());
    // Who has said it, or has brought it, is not told; and nobody is told of what may not go further.
    assert_eq!(hall.news(&ids, 0, &key(3), now).0.iter().filter(|(_, _, said)| said.device == key(3)).count(), 0);
    assert!(say(&hall, &one, Word { device: 3, user: 3, serial: 2, ..WORD }, now));
    assert!(hall.news(&ids, after, &peer, now).0.is_empty());
}
