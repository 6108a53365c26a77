//! Where a list element sorts among its siblings.
//!
//! A position is a byte string that ends with the byte 128; positions compare as bytes. Between any two different ones
//! there is room for another, but for the limit of their length. Elements may share a position, if they were inserted apart.

use crate::limits::MAX_POSITION;

/// The last byte of every position.
const LAST: u8 = 128;
/// A run of inserts at one place counts in this many bytes at most before it takes up another one.
const MAX_COUNT: usize = 4;

/// True if the bytes are a position that the format admits.
pub(super) fn is_position(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_POSITION && bytes.last() == Some(&LAST)
}

/// A position after `left` and before `right`, for any two positions that the format admits, whoever chose them; `None`
/// stands for the beginning and for the end. Inserting on in one direction makes positions longer by the logarithm of how
/// often that was done.
///
/// `None` if `left` is not before `right`, or if there is no room within the limit of the format; then the list is to be
/// [spread](spread).
pub(super) fn between(left: Option<&[u8]>, right: Option<&[u8]>) -> Option<Vec<u8>> {
    let position = match (left, right) {
        (None, None) => vec![LAST],
        (Some(left), None) => after(left),
        (None, Some(right)) => before(right)?,
        (Some(left), Some(right)) => inside(left, right)?,
    };
    is_position(&position).then_some(position)
}

/// A greater position. As many bytes as are 255 in front tell how many bytes behind them are counted up, so that a list
/// which grows at its end has short positions.
fn after(left: &[u8]) -> Vec<u8> {
    let full = left.iter().take_while(|byte| **byte == u8::MAX).count();
    let mut position = head(left, full);
    // The first byte behind those that are 255 is not, so the carry ends there.
    for byte in position[full..].iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    position.push(LAST);
    position
}

/// A smaller position, by the same means with 0 in place of 255. `None` for bytes that are no position: zeros alone.
fn before(right: &[u8]) -> Option<Vec<u8>> {
    let empty = right.iter().take_while(|byte| **byte == 0).count();
    if empty == right.len() {
        return None;
    }
    let mut position = head(right, empty);
    for byte in position[empty..].iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != u8::MAX {
            break;
        }
    }
    position.push(LAST);
    Some(position)
}

/// The first bytes up to the end of the count that follows `leading` of them, filled up with zeros.
fn head(bytes: &[u8], leading: usize) -> Vec<u8> {
    let length = leading + (leading + 1).min(MAX_COUNT);
    let mut head = bytes[..bytes.len().min(length)].to_vec();
    head.resize(length, 0);
    head
}

fn inside(left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
    if left >= right {
        return None;
    }
    let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let (mut position, above) = (left[..same].to_vec(), &left[same..]);
    match (above.first(), right[same]) {
        // Everything that goes on from `left` is after it.
        (None, _) => position.extend(before(&right[same..])?),
        (Some(&low), high) if low < LAST && LAST < high => position.push(LAST),
        (Some(&low), high) if high - low > 1 => position.extend([low + (high - low) / 2, LAST]),
        (Some(&low), _) => {
            position.push(low);
            position.extend(if above.len() > 1 { after(&above[1..]) } else { vec![LAST] });
        }
    }
    Some(position)
}

/// So many short positions in ascending order, evenly apart.
pub(super) fn spread(count: usize) -> impl Iterator<Item = Vec<u8>> {
    // Wide enough that sixteen more fit between any two without any of them getting longer.
    let parts = count as u128 + 1;
    let width = (1..).find(|width| 1u128 << (8 * width) >= 16 * parts).unwrap_or(1);
    (1..parts).map(move |part| {
        let digits = ((part << (8 * width)) / parts).to_be_bytes();
        let mut position = digits[digits.len() - width..].to_vec();
        position.push(LAST);
        position
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Positions as the format admits them, those included that leave little room: zeros and 255 in front, close
    /// relatives of each other, and the longest ones.
    fn position() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(0u8), 3 => Just(255u8), 2 => Just(127u8), 2 => Just(128u8), 1 => any::<u8>()];
        let short = proptest::collection::vec(byte.clone(), 0..6);
        let long = (prop_oneof![Just(0u8), Just(255u8), Just(128u8)], 240..=255usize).prop_map(|(b, n)| vec![b; n]);
        let tailed = (long.clone(), proptest::collection::vec(byte, 0..3)).prop_map(|(mut long, tail)| {
            long.truncate(MAX_POSITION - 1 - tail.len());
            long.extend(tail);
            long
        });
        prop_oneof![6 => short, 1 => long, 1 => tailed].prop_map(|mut bytes| {
            bytes.push(LAST);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn there_is_a_short_position_between_any_two(a in position(), b in position()) {
            prop_assert!(is_position(&a) && is_position(&b));
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            let (low, high) = (&low[..], &high[..]);
            for (left, right) in [(None, Some(low)), (Some(low), Some(high)), (Some(high), None), (None, None)] {
                let longest = left.map_or(0, <[u8]>::len).max(right.map_or(0, <[u8]>::len));
                match between(left, right) {
                    Some(found) => {
                        prop_assert!(is_position(&found));
                        prop_assert!(left.is_none_or(|left| left < &found[..]), "{left:?} {found:?}");
                        prop_assert!(right.is_none_or(|right| &found[..] < right), "{found:?} {right:?}");
                        prop_assert!(found.len() <= longest + 1 + MAX_COUNT, "{left:?} {found:?} {right:?}");
                    }
                    // Equal neighbours, or no room within the limit.
                    None => prop_assert!(low == high || longest + 1 + MAX_COUNT > MAX_POSITION, "{left:?} {right:?}"),
                }
            }
        }

        /// Also bytes that no position ends like, as a damaged disk may hold them.
        #[test]
        fn nothing_panics(a in proptest::collection::vec(any::<u8>(), 0..4), b in proptest::collection::vec(0u8..2, 0..4)) {
            for (left, right) in [(&a, &b), (&b, &a), (&a, &a), (&b, &b)] {
                let _ = between(Some(left), Some(right));
                let _ = (between(None, Some(left)), between(Some(right), None));
            }
        }

        #[test]
        fn a_spread_list_is_in_order_and_short(count in 0usize..5000) {
            let all: Vec<Vec<u8>> = spread(count).collect();
            prop_assert_eq!(all.len(), count);
            prop_assert!(all.iter().all(|position| is_position(position) && position.len() <= 4));
            prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn inserting_on_in_one_direction_stays_short() {
        let anchors = [vec![128], vec![0, 128], vec![255, 128], vec![127, 255, 128], vec![128, 0, 0, 128]];
        for anchor in &anchors {
            let (mut up, mut down, mut within, mut without) =
                (anchor.clone(), anchor.clone(), anchor.clone(), [&anchor[..], &[128]].concat());
            let end = without.clone();
            for _ in 0..20_000 {
                up = between(Some(&up), None).unwrap();
                down = between(None, Some(&down)).unwrap();
                within = between(Some(&within), Some(&end)).unwrap();
                without = between(Some(anchor), Some(&without)).unwrap();
                let lengths = [&up, &down, &within, &without].map(|position| position.len());
                assert!(lengths.iter().all(|length| *length <= 16), "{anchor:?}: {lengths:?}");
            }
        }
    }
}
