use super::places::{ALL, ANYBODY, DEVICE, KEY, ROOM, SURE};
use super::*;
use crate::node::{Pace, Rate};

fn key(number: u32) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn hall() -> Hall {
    let rate = Rate { burst: 1, per_second: 1 };
    let [members, anybody] = [0, 1].map(|_| Pace::new(rate, rate, Duration::ZERO));
    Hall::new(key(u32::MAX), 1, members, anybody)
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

const SAYS: Says = Says { payload: Bytes::new(), lifetime: Duration::from_secs(20), reach: 1 };

fn statement(word: Word) -> Statement {
    Statement {
        device: key(word.device),
        claim: None,
        serial: word.serial,
        lifetime: word.lifetime,
        reach: word.reach,
        payload: Bytes::new(),
        signature: [0; 64],
    }
}

fn say(hall: &Hall, database: &Id, word: Word, now: Instant) -> bool {
    let (anybody, device, user) = (word.anybody, word.device, word.user);
    let statement = statement(word);
    let speaker = Speaker { device: key(device), user: Some(key(user)) };
    let brought = Brought { statement, from: key(device), hops: 1, key: key(user), anybody };
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
    assert_eq!(all, ALL + SURE, "the last of them has the places that are sure");
    // What is said here always has a place.
    let before = hall.seats(&one, false, now).len();
    let mine = statement(Word { serial: 1, ..WORD });
    hall.attend(one, None);
    hall.say(one, None, SAYS, now);
    hall.said(hall.due(now).remove(0), Statement { device: hall.device(), ..mine }, Time::from_millis(5), now);
    assert_eq!(hall.seats(&one, false, now).len(), before + 1);
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

#[tokio::test(start_paused = true)]
async fn those_who_are_gone_take_no_places_and_are_remembered_within_a_bound() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    let visit = |number: u32, serial, lifetime, now| {
        let word = Word { device: number, user: number, anybody: true, reach: 2, serial, lifetime };
        say(&hall, &one, word, now)
    };
    for number in 0..ROOM as u32 + 50 {
        assert!(visit(number, 1, 20, now), "visitor {number} finds a place");
        assert!(visit(number, 2, 0, now));
    }
    assert_eq!(hall.seats(&one, true, now).len(), ROOM);
    assert!(!visit(ROOM as u32 + 40, 1, 20, now), "whoever left last is still remembered");
}

#[tokio::test(start_paused = true)]
async fn a_word_that_went_far_is_remembered_though_later_ones_do_not() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    for (serial, reach, lifetime) in [(5, 4, 20), (6, 1, 20), (7, 1, 0)] {
        assert!(say(&hall, &one, Word { reach, serial, lifetime, ..WORD }, now));
    }
    for passed in [1, 61, 299] {
        let later = now + Duration::from_secs(passed);
        hall.sweep(later);
        assert!(!say(&hall, &one, Word { reach: 4, serial: 5, ..WORD }, later), "{passed} s later");
    }
}

/// Signs what is due, as the heralds do.
fn sign(hall: &Hall, due: Due, now: Instant) {
    let serial = hall.serial(&due.0, None, Time::from_millis(5));
    let lifetime = due.2.lifetime.as_secs() as u16;
    let said = Statement { device: hall.device(), ..statement(Word { serial, lifetime, ..WORD }) };
    hall.said(due, said, Time::from_millis(5), now);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_and_comes_again_takes_his_leave_once() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    hall.attend(one, None);
    hall.say(one, None, SAYS, now);
    sign(&hall, hall.due(now).remove(0), now);
    hall.leave(one, None, now);
    hall.attend(one, None);
    assert!(!hall.is_farewell_said(&one, None));
    sign(&hall, hall.due(now).remove(0), now);
    // The new handle has said nothing, and nothing is said for it: neither now nor ever.
    assert!(hall.due(now + Duration::from_secs(3600)).is_empty());
    // Who has another handle is still here, and nobody has to hear that he is not.
    hall.attend(one, None);
    hall.say(one, None, SAYS, now);
    hall.leave(one, None, now);
    assert!(hall.is_farewell_said(&one, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_while_something_is_being_signed_is_said_next() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    hall.attend(one, None);
    hall.say(one, None, SAYS, now);
    let being_signed = hall.due(now).remove(0);
    hall.say(one, None, Says { payload: Bytes::from_static(b"next"), ..SAYS }, now);
    sign(&hall, being_signed, now);
    assert_eq!(hall.due(now + GAP).remove(0).2.payload, b"next"[..]);
    let being_signed = hall.due(now + GAP).remove(0);
    hall.leave(one, None, now + GAP);
    sign(&hall, being_signed, now + GAP);
    assert_eq!(hall.due(now + GAP).remove(0).2.lifetime, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn those_who_may_because_everybody_may_are_counted_apart() {
    let (hall, now) = (hall(), Instant::now());
    assert!(hall.admit(&key(1), false, now));
    assert!(!hall.admit(&key(2), false, now), "they have said what they may together");
    assert!(hall.admit(&key(3), true, now));
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_do_not_wake_each_other() {
    let (hall, now, one) = (hall(), Instant::now(), Id::of(b"one"));
    let before = hall.rings();
    let asking = hall.listen(key(1), BTreeSet::from([one]));
    asking.given(7);
    hall.note_told(key(2), Some(1));
    drop(asking);
    hall.sweep(now + 2 * BETWEEN);
    assert_eq!(hall.bell().rings(), before[0]);
    assert!(hall.rings()[1] >= before[1] + 5, "whoever calls others, or takes his leave, looks each time");
    assert!(say(&hall, &one, WORD, now));
    assert!(hall.bell().rings() > before[0]);
}
