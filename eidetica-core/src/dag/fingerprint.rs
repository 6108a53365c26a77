//! Fingerprints of sets of entries.

use crate::id::Id;

/// What an id is hashed under before it is added.
const ENTRY_CONTEXT: &str = "eidetica fingerprint 1 entry";
/// What count and sum are hashed under before they are compared.
const DIGEST_CONTEXT: &str = "eidetica fingerprint 1 digest";

/// How many 64-bit digits a sum has.
const LIMBS: usize = 4;

/// The fingerprint of a set of entries: how many they are, and the sum of a hash of each id modulo 2^256.
///
/// The hash of an id is `blake3::derive_key("eidetica fingerprint 1 entry", id)`, read as a number whose least byte comes
/// first. Ids themselves are not added, so that nobody who chooses entries chooses summands. It is a sum and not an XOR,
/// because for XOR a set with a given fingerprint is found by solving linear equations.
///
/// Fingerprints of sets without a common entry are [combined](Fingerprint::combined); what is compared with those of a
/// stranger is the [digest](Fingerprint::digest).
///
/// It is not proof against everybody: whoever may write, and spends about 2^32 steps or more and very many entries, may
/// find two sets with one sum (Wagner's generalised birthdays). What that gains is that two peers take ranges for equal that
/// are not, until they compare other ranges; no entry is believed on account of a fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// How many entries the set has.
    pub count: u64,
    /// The sum, its lowest digit first.
    sum: [u64; LIMBS],
}

impl Fingerprint {
    /// That of no entries.
    pub const EMPTY: Fingerprint = Fingerprint { count: 0, sum: [0; LIMBS] };
    /// How many bytes one takes.
    pub const LENGTH: usize = 8 + 8 * LIMBS;

    /// That of one entry.
    pub fn of(id: &Id) -> Fingerprint {
        let hash = blake3::derive_key(ENTRY_CONTEXT, id.as_bytes());
        Fingerprint { count: 1, sum: limbs(&hash) }
    }

    /// Adds one entry, which must not be in the set yet.
    pub fn add(&mut self, id: &Id) {
        *self = self.combined(&Fingerprint::of(id));
    }

    /// Takes one entry out, which must be in the set.
    pub fn subtract(&mut self, id: &Id) {
        *self = self.without(&Fingerprint::of(id));
    }

    /// That of both sets together, which must have no entry in common.
    #[must_use]
    pub fn combined(&self, other: &Fingerprint) -> Fingerprint {
        let mut sum = [0; LIMBS];
        let mut carry = false;
        for (at, digit) in sum.iter_mut().enumerate() {
            let (partial, first) = self.sum[at].overflowing_add(other.sum[at]);
            let (total, second) = partial.overflowing_add(u64::from(carry));
            (*digit, carry) = (total, first || second);
        }
        Fingerprint { count: self.count.wrapping_add(other.count), sum }
    }

    /// That of the set without a part of it.
    #[must_use]
    pub fn without(&self, part: &Fingerprint) -> Fingerprint {
        let mut sum = [0; LIMBS];
        let mut borrow = false;
        for (at, digit) in sum.iter_mut().enumerate() {
            let (partial, first) = self.sum[at].overflowing_sub(part.sum[at]);
            let (rest, second) = partial.overflowing_sub(u64::from(borrow));
            (*digit, borrow) = (rest, first || second);
        }
        Fingerprint { count: self.count.wrapping_sub(part.count), sum }
    }

    /// What is compared: `blake3::derive_key("eidetica fingerprint 1 digest", bytes)` of [`to_bytes`](Fingerprint::to_bytes).
    pub fn digest(&self) -> [u8; 32] {
        blake3::derive_key(DIGEST_CONTEXT, &self.to_bytes())
    }

    /// The sum, its least byte first.
    pub fn sum(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, digit) in bytes.chunks_exact_mut(8).zip(self.sum) {
            chunk.copy_from_slice(&digit.to_le_bytes());
        }
        bytes
    }

    /// The count in eight bytes, the greatest first, and the sum, the least first.
    pub fn to_bytes(&self) -> [u8; Fingerprint::LENGTH] {
        let mut bytes = [0; Fingerprint::LENGTH];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sum());
        bytes
    }

    /// That with these [bytes](Fingerprint::to_bytes); `None` if they are too many or too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Fingerprint> {
        let (count, sum) = bytes.split_first_chunk::<8>()?;
        Some(Fingerprint { count: u64::from_be_bytes(*count), sum: limbs(sum.try_into().ok()?) })
    }
}

fn limbs(bytes: &[u8; 32]) -> [u64; LIMBS] {
    let mut limbs = [0; LIMBS];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *limb = u64::from_le_bytes(*chunk);
    }
    limbs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte by byte, as on paper.
    fn naive_add(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        let (mut sum, mut carry) = ([0; 32], 0u16);
        for at in 0..32 {
            carry += u16::from(a[at]) + u16::from(b[at]);
            sum[at] = (carry % 256) as u8;
            carry /= 256;
        }
        sum
    }

    fn naive_negative(a: [u8; 32]) -> [u8; 32] {
        let mut one = [0; 32];
        one[0] = 1;
        naive_add(a.map(|byte| !byte), one)
    }

    fn print(count: u64, sum: [u8; 32]) -> Fingerprint {
        Fingerprint { count, sum: limbs(&sum) }
    }

    /// Numbers in which carries run far: bytes are mostly all zeros or all ones.
    fn number() -> impl Strategy<Value = [u8; 32]> {
        let byte = prop_oneof![3 => Just(0u8), 3 => Just(255u8), 1 => Just(1u8), 1 => Just(254u8), 1 => any::<u8>()];
        prop_oneof![any::<[u8; 32]>(), proptest::collection::vec(byte, 32).prop_map(|v| v.try_into().unwrap())]
    }

    proptest! {
        #[test]
        fn sums_are_those_on_paper(a in number(), b in number(), n in 0u64..1 << 40, m in 0u64..1 << 40) {
            let both = print(n, a).combined(&print(m, b));
            prop_assert_eq!((both.count, both.sum()), (n + m, naive_add(a, b)));
            prop_assert_eq!(both.without(&print(m, b)), print(n, a));
            prop_assert_eq!(print(n + m, a).without(&print(m, b)), print(n, naive_add(a, naive_negative(b))));
            prop_assert_eq!(print(m, b).combined(&print(n, a)), both);
        }

        #[test]
        fn bytes_come_back(a in number(), n in any::<u64>(), other in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Fingerprint::from_bytes(&print(n, a).to_bytes()), Some(print(n, a)));
            prop_assert_eq!(Fingerprint::from_bytes(&other).is_some(), other.len() == Fingerprint::LENGTH);
        }

        #[test]
        fn a_set_has_one_fingerprint(ids in proptest::collection::btree_set(any::<[u8; 32]>(), 1..20), cut in 0usize..20) {
            let ids: Vec<Id> = ids.into_iter().map(Id::from_bytes).collect();
            let (mut up, mut down) = (Fingerprint::EMPTY, Fingerprint::EMPTY);
            ids.iter().for_each(|id| up.add(id));
            ids.iter().rev().for_each(|id| down.add(id));
            prop_assert_eq!(up, down);
            let kept = cut % ids.len();
            ids[kept..].iter().for_each(|id| up.subtract(id));
            let mut first = Fingerprint::EMPTY;
            ids[..kept].iter().for_each(|id| first.add(id));
            prop_assert_eq!(up, first);
        }
    }

    #[test]
    fn the_greatest_sum_wraps_around() {
        let one = print(1, std::array::from_fn(|at| u8::from(at == 0)));
        assert_eq!(print(1, [255; 32]).combined(&one), print(2, [0; 32]));
        assert_eq!(print(2, [0; 32]).without(&one), print(1, [255; 32]));
    }

    /// Sets that cannot be told apart by adding or by XOR of the ids themselves.
    #[test]
    fn ids_themselves_are_not_added() {
        let id = |last: u8| Id::from_bytes(std::array::from_fn(|at| if at == 31 { last } else { 7 }));
        let set =
            |ids: [u8; 4]| ids.map(id).iter().map(Fingerprint::of).fold(Fingerprint::EMPTY, |a, b| a.combined(&b));
        let (one, other) = (set([0, 5, 6, 3]), set([1, 4, 7, 2]));
        assert_eq!(one.count, other.count);
        assert_ne!(one.digest(), other.digest());
    }

    /// Peers compare these for ever.
    #[test]
    fn the_numbers_are_fixed() {
        let print = Fingerprint::of(&Id::from_bytes([1; 32]));
        assert_eq!(print.sum(), blake3::derive_key("eidetica fingerprint 1 entry", &[1; 32]));
        let bytes = [&1u64.to_be_bytes()[..], &print.sum()].concat();
        assert_eq!(print.digest(), blake3::derive_key("eidetica fingerprint 1 digest", &bytes));
        // Count is part of it: the sum alone does not tell no entry from two whose hashes cancel.
        assert_ne!(Fingerprint { count: 2, ..print }.digest(), print.digest());
    }
}
