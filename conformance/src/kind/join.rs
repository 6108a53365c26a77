//! The laws of a semilattice, on its states alone.

use super::Ground;
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Kind, must "kind.join.commutes",
        "Whichever of two takes up the other, the bytes are the same.", commutes, need Join, sees ["two differ"]),
    case!(Kind, must "kind.join.is-associative",
        "Of three it does not matter which two are joined first.", is_associative, need Join),
    case!(Kind, must "kind.join.is-idempotent",
        "What was taken up already changes nothing.", is_idempotent, need Join),
    case!(Kind, must "kind.join.begins-at-the-bottom",
        "The default is the bottom: joined with it, every state stays what it is.", begins_at_the_bottom, need Join),
    case!(Kind, must "kind.join.bytes-are-the-state",
        "Equal states have equal bytes, and reading the bytes of a state gives that state.", bytes, need Join),
    case!(Kind, must "kind.join.foreign-bytes-do-no-harm",
        "`None` if they are not of that form. Any bytes may come here, and none may panic.", foreign, need Join),
];

/// Three states: some made on their own, some that have taken up others.
fn three(ground: &Ground, dice: &mut crate::Dice) -> [Vec<u8>; 3] {
    let laws = ground.laws();
    [(); 3].map(|()| {
        let one = laws.any(dice);
        if dice.below(3) == 0 { laws.join(&one, &laws.any(dice)) } else { one }
    })
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

async fn commutes(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    for _ in 0..ground.times(300) {
        let [a, b, _] = three(&ground, &mut dice);
        if a != b {
            ground.saw("two differ");
        }
        let (one, other) = (laws.join(&a, &b), laws.join(&b, &a));
        assert!(one == other, "{} and {} make {} or {}", shown(&a), shown(&b), shown(&one), shown(&other));
    }
}

async fn is_associative(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    for _ in 0..ground.times(300) {
        let [a, b, c] = three(&ground, &mut dice);
        let (one, other) = (laws.join(&laws.join(&a, &b), &c), laws.join(&a, &laws.join(&b, &c)));
        assert!(
            one == other,
            "{}, {} and {} make {} or {}",
            shown(&a),
            shown(&b),
            shown(&c),
            shown(&one),
            shown(&other)
        );
    }
}

async fn is_idempotent(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    for _ in 0..ground.times(300) {
        let [a, b, _] = three(&ground, &mut dice);
        let both = laws.join(&a, &b);
        for (what, again) in [("itself", laws.join(&a, &a)), ("what it has", laws.join(&both, &b))] {
            let expected = if what == "itself" { &a } else { &both };
            assert!(again == *expected, "{} and {what} make {}", shown(expected), shown(&again));
        }
    }
}

async fn begins_at_the_bottom(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    let bottom = laws.bottom();
    for _ in 0..ground.times(300) {
        let [a, _, _] = three(&ground, &mut dice);
        for joined in [laws.join(&bottom, &a), laws.join(&a, &bottom)] {
            assert!(joined == a, "{} and the default make {}", shown(&a), shown(&joined));
        }
    }
}

async fn bytes(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    for _ in 0..ground.times(300) {
        let states = three(&ground, &mut dice);
        for state in states.into_iter().chain([laws.bottom()]) {
            let read = laws.read(&state).unwrap_or_else(|| panic!("its own bytes {} are not read", shown(&state)));
            assert!(read == state, "{} is read as {}", shown(&state), shown(&read));
        }
    }
}

async fn foreign(ground: Ground) {
    let (mut dice, laws) = (ground.dice(), ground.laws());
    for _ in 0..ground.times(500) {
        let mut bytes = if dice.below(2) == 0 { dice.bytes(40) } else { laws.any(&mut dice) };
        match dice.below(3) {
            0 => bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize),
            1 if !bytes.is_empty() => {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << dice.below(8);
            }
            _ => bytes.extend(dice.bytes(5)),
        }
        // What is taken for a state is one.
        if let Some(state) = laws.read(&bytes) {
            let again = laws.read(&state);
            assert!(again.as_ref() == Some(&state), "{} is taken for a state, and is none", shown(&bytes));
        }
    }
}
