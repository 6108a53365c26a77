//! What judging costs where many limits are concurrent.

use super::delta::{Setting, Subject};
use super::judge::{Case, Need};
use super::own_tests::looked_at;
use super::right::Right;
use super::rights::{Rank, Rights, SettingsEntry};
use crate::dag::{Numbers, Seen};
use crate::key::SecretKey;

fn entry(number: u64, by: u8, below: &Seen, rank: Rank, rights: &[(u8, Setting)]) -> SettingsEntry {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]).public();
    let rights = rights.iter().map(|(whom, setting)| (Subject::Key(key(*whom)), *setting)).collect();
    let void_below = Numbers::default();
    SettingsEntry { number, author: key(by), below: below.clone(), rank, steps_down: false, rights, void_below }
}

/// Of so many limits on one key, all concurrent, by a junior admin: what it costs to judge one more, and to judge an entry of the key.
fn cost(limits: u64) -> (usize, usize) {
    let mut rights = Rights::default();
    let begin = Seen::all_before(2);
    let root = entry(0, 1, &Seen::nothing(), Rank::AboveAll, &[(1, Setting::Grant(Right::admin(9)))]);
    rights.add(root);
    let granted = [(2, Setting::Grant(Right::admin(5))), (3, Setting::Grant(Right::admin(3)))];
    rights.add(entry(1, 1, &Seen::all_before(1), Rank::Of(Right::admin(9)), &granted));
    // It has made a setting of its own, which each of the limits would strike.
    rights.add(entry(2, 3, &begin, Rank::Of(Right::admin(3)), &[(4, Setting::Grant(Right::WRITE))]));
    let limit = |number: u64| entry(number, 2, &begin, Rank::Of(Right::admin(5)), &[(3, Setting::Limit(Right::READ))]);
    for number in 3..3 + limits {
        rights.add(limit(number));
    }
    assert_eq!(rights.void(), &Numbers::of(2));
    let next = 3 + limits;
    let (void, one_more) = looked_at(|| rights.void_with(&limit(next)));
    assert_eq!(void, Numbers::of(2));
    let author = SecretKey::from_seed(&[3; 32]).public();
    let case = Case { number: next, author, below: &begin, need: Need::Right(Right::WRITE), is_settings: false };
    let (counts, data) = looked_at(|| rights.upholds(&case, &Seen::all_before(next), rights.void()));
    assert!(!counts);
    (one_more, data)
}

#[test]
fn many_limits_at_once_cost_what_they_are() {
    for limits in [100, 200, 400] {
        let (one_more, data) = cost(limits);
        assert!(one_more <= 20 * limits as usize && data <= 10 * limits as usize, "{limits}: {one_more}, {data}");
    }
}
