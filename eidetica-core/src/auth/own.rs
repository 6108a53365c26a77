//! What the settings on one subject come to (rule 4).

use std::collections::BTreeSet;

use super::right::Right;
use super::rights::Effect;
use crate::dag::{Numbers, Seen};

/// Rule 4 for the operations on one subject. `value` answers by their place.
pub(super) fn own_of(
    effects: &[Effect],
    set: &Seen,
    counts: &dyn Fn(&Effect) -> bool,
    value: &dyn Fn(usize) -> Right,
) -> Right {
    // The common history of a key is one grant, or a chain of settings whose last decides.
    match &deciding(effects, set, counts)[..] {
        [] => Right::NONE,
        [only] => value(*only),
        several => decide(effects, several, value),
    }
}

/// The places of the effects in a set that can decide, latest arrival first.
///
/// Walks down from the latest arrival until everything that is left in the set is below everything that it has come by. What
/// is left is then concurrent with nothing of it, so neither side leaves out anything of the other; and of what it has come
/// by the strongest one stays, so nothing that is left is topmost. On a chain that is after one step. What the set has not seen is
/// stepped over, however much it is.
fn deciding(effects: &[Effect], set: &Seen, counts: &dyn Fn(&Effect) -> bool) -> Vec<usize> {
    let mut deciding: Vec<usize> = Vec::new();
    // The lowest number in the set that is not below something in `deciding`.
    let mut lowest: Option<u64> = None;
    let mut upper = effects.len();
    while let Some(at) = upper.checked_sub(1) {
        let effect = &effects[at];
        #[cfg(test)]
        super::own_tests::count(1);
        if !deciding.is_empty() && lowest.is_none_or(|lowest| effect.number < lowest) {
            break;
        }
        upper = at;
        if let Some(start) = set.hole(effect.number) {
            upper = effects[..at].partition_point(|effect| effect.number < start);
        } else if counts(effect) {
            let unseen = set.difference(&effect.seen).below(effect.number);
            lowest = lowest.into_iter().chain(unseen.first()).min();
            deciding.push(at);
        }
    }
    deciding
}

/// Rule 4a and b for effects of which none was arrived at later than the one before it.
fn decide(effects: &[Effect], places: &[usize], value: &dyn Fn(usize) -> Right) -> Right {
    #[cfg(test)]
    super::own_tests::count(places.len());
    let mut ordered: Vec<&Effect> = places.iter().map(|at| &effects[*at]).collect();
    // Among equals the order does not matter: nothing leaves out what is of its own kind.
    ordered.sort_by_key(|effect| (std::cmp::Reverse(effect.rank), !effect.limits));
    let (mut grants, mut limits) = (Stayed::default(), Stayed::default());
    for effect in ordered {
        let (same, other) = if effect.limits { (&mut limits, &grants) } else { (&mut grants, &limits) };
        if !other.holds_concurrent(effect) {
            same.add(effect);
        }
    }
    let (mut limit, mut grant) = (None, None);
    // What none of the topmost so far has seen; all that is above an effect arrived after it.
    let mut uncovered: Option<Numbers> = None;
    for at in places {
        let effect = &effects[*at];
        let stayed = if effect.limits { &limits } else { &grants };
        if !stayed.numbers.contains(&effect.number) {
            continue;
        }
        let hidden = effect.seen.hidden();
        uncovered = match uncovered {
            Some(uncovered) if !uncovered.contains(effect.number) => Some(uncovered),
            covered => {
                let value = value(*at);
                if effect.limits {
                    limit = Some(limit.map_or(value, |least: Right| least.min(value)));
                } else {
                    grant = Some(grant.map_or(value, |most: Right| most.max(value)));
                }
                Some(covered.map_or_else(|| hidden.clone(), |covered| covered.intersection(hidden)))
            }
        };
    }
    limit.or(grant).unwrap_or(Right::NONE)
}

/// Effects of one kind that stayed.
#[derive(Default)]
struct Stayed {
    numbers: BTreeSet<u64>,
    /// What some of them have not seen of what arrived before them.
    hidden: Numbers,
}

impl Stayed {
    fn add(&mut self, effect: &Effect) {
        self.numbers.insert(effect.number);
        self.hidden = self.hidden.union(effect.seen.hidden());
    }

    /// True if one of them and this one have not seen each other.
    fn holds_concurrent(&self, effect: &Effect) -> bool {
        let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) else { return false };
        let unseen = |(start, end): &(u64, u64)| self.numbers.range(start..end).next().is_some();
        // Of two that are concurrent, the one that arrived later has not seen the other.
        let ranges = effect.seen.hidden().ranges();
        let near = ranges.partition_point(|(_, end)| end <= first)..ranges.partition_point(|(start, _)| start <= last);
        self.hidden.contains(effect.number) || ranges[near].iter().any(unseen)
    }
}
