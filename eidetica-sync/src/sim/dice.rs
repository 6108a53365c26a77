//! Randomness that repeats.

/// A stream of numbers that follows from a seed. The same seed gives the same numbers on every machine.
///
/// ```
/// use eidetica_sync::sim::Dice;
///
/// let (mut one, mut same) = (Dice::new(7), Dice::new(7));
/// assert_eq!(one.number(), same.number());
/// assert!(one.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The stream of this seed for one purpose. What is drawn for other purposes does not change it.
    pub fn named(seed: u64, purpose: &str) -> Dice {
        let mut hasher = blake3::Hasher::new_derive_key("eidetica-sync simulation, dice");
        let hash = hasher.update(&seed.to_be_bytes()).update(purpose.as_bytes()).finalize();
        Dice(hash.as_bytes().first_chunk().copied().map_or(seed, u64::from_be_bytes))
    }

    /// Any number (splitmix64: Steele, Lea and Flood, 2014).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the end; 0 if the end is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        scaled(self.number(), end)
    }

    /// True with this probability, from 0 (never) to 1 (always).
    pub fn chance(&mut self, probability: f64) -> bool {
        meets(self.number(), probability)
    }

    /// One of these; `None` if there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }

    /// Puts these into an order of which each is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end as u64 + 1) as usize);
        }
    }
}

/// A number that was drawn, brought below an end.
pub(super) fn scaled(drawn: u64, end: u64) -> u64 {
    // The bias is below 2^-40 for the small ends that a simulation asks for.
    ((u128::from(drawn) * u128::from(end)) >> 64) as u64
}

/// True if a number that was drawn meets a probability.
pub(super) fn meets(drawn: u64, probability: f64) -> bool {
    ((drawn >> 11) as f64) < probability * (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_out_as_often_as_they_say() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.chance(0.3)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| dice.chance(1.0) && !dice.chance(0.0)));
    }

    #[test]
    fn streams_of_other_purposes_differ() {
        assert_ne!(Dice::named(1, "a").number(), Dice::named(1, "b").number());
        assert_ne!(Dice::named(1, "a").number(), Dice::named(2, "a").number());
    }

    #[test]
    fn a_shuffle_keeps_what_is_there() {
        let mut items: Vec<u32> = (0..50).collect();
        Dice::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
