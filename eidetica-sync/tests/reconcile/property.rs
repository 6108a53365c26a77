//! Any two histories: they become one, and nothing is sent to who has it.

use eidetica_core::entry::VerifiedEntry;
use eidetica_sync::reconcile::{Options, exchange};

use super::kit::*;

/// Chains, forks, merges, wide heights and late branches; each entry after its parents. The root is not in it.
fn history(forge: &Forge, dice: &mut Dice, length: usize) -> Vec<VerifiedEntry> {
    let mut all = vec![forge.root.clone()];
    let mut top = forge.root.clone();
    let wide = dice.below(3) == 0;
    while all.len() <= length {
        let key = format!("key {}", all.len());
        match dice.below(if wide { 8 } else { 30 }) {
            0 => {
                let from = all[dice.below(all.len())].clone();
                let length = 1 + dice.below(15);
                all.extend(forge.chain(&from, length, &key));
            }
            1 => {
                let entries: Vec<_> =
                    (0..1 + dice.below(30)).map(|n| forge.entry(&[&top], &format!("{key} {n}"))).collect();
                all.extend(entries);
                top = all.last().unwrap().clone();
            }
            2 => {
                let (one, other) = (all[dice.below(all.len())].clone(), top.clone());
                if one.id() != other.id() {
                    top = forge.entry(&[&one, &other], &key);
                    all.push(top.clone());
                }
            }
            _ => {
                top = forge.entry(&[&top], &key);
                all.push(top.clone());
            }
        }
    }
    all.split_off(1)
}

/// A part of a history with everything below it, in an order of its own.
fn part(forge: &Forge, dice: &mut Dice, all: &[VerifiedEntry]) -> Vec<VerifiedEntry> {
    let mut here = std::collections::HashSet::from([forge.root.id()]);
    let mut taken = Vec::new();
    // Mostly all but the neighbourhood of a few entries that are left out, or only what lies low.
    let rarely = [2, 20, 200, 100_000][dice.below(4)];
    let end = if dice.below(3) == 0 { dice.below(all.len() + 1) } else { all.len() };
    for entry in &all[..end] {
        let stands = entry.header().parents.iter().all(|parent| here.contains(parent));
        if stands && dice.below(rarely) != 0 {
            here.insert(entry.id());
            taken.push(entry.clone());
        }
    }
    // Another order of arrival: what can come earlier sometimes does.
    for _ in 0..taken.len() {
        if taken.len() < 2 {
            break;
        }
        let at = 1 + dice.below(taken.len() - 1);
        if !taken[at].header().parents.contains(&taken[at - 1].id()) {
            taken.swap(at - 1, at);
        }
    }
    taken
}

#[tokio::test]
async fn any_two_histories_become_one() {
    let cases = std::env::var("EIDETICA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    let mut dice = Dice(seed());
    for case in 0..cases {
        let forge = Forge::new((case % 200) as u8);
        let most = [20, 200, 600][dice.below(3)];
        let length = 1 + dice.below(most);
        let all = history(&forge, &mut dice, length);
        let (left, right) = (part(&forge, &mut dice, &all), part(&forge, &mut dice, &all));
        let (one, other) = (forge.peer(&[&left]).await, forge.peer(&[&right]).await);
        let ids = |entries: &[VerifiedEntry]| entries.iter().map(|e| e.id()).collect::<std::collections::HashSet<_>>();
        let (left, right) = (ids(&left), ids(&right));
        let options = Options {
            list: [1024, 1024, 16, 0][dice.below(4)],
            page: [1 << 20, 3000][dice.below(2)],
            instalment: [16_384, 20][dice.below(2)],
            // Right or wrong, it is a hint.
            remembered: (dice.below(2) == 0).then(|| vec![all[dice.below(all.len())].id()]),
            ..Options::default()
        };
        let mut wire = Wire::new(&one, &other);
        wire.max = [16 << 20, 16 << 10][dice.below(2)];
        wire.limits.page = [1 << 20, 3000][dice.below(2)];
        let outcome = exchange(&one, &wire, &options, &|_| ()).await.unwrap();
        let crossed = wire.crossed();
        let about = format!("case {case}, {options:?}, {outcome:?}, {crossed:?}");
        assert!(outcome.complete, "{about}");
        assert_eq!(crossed.needless, 0, "{about}");
        assert_smooth(&outcome);
        assert_eq!(outcome.sent, left.difference(&right).count() as u64, "{about}");
        assert_eq!(outcome.received, right.difference(&left).count() as u64, "{about}");
        assert_same(&one, &other).await;
        assert_eq!(outcome.frontier, one.get_tips().await.unwrap(), "{about}");
    }
}
