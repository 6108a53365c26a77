//! How many may be here at once, and that nobody takes the places of others.

use std::collections::BTreeMap;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use super::hall::{Room, Seat, Speaker};

/// The most places in one database.
pub(super) const ROOM: usize = 256;
/// Those of them that go to readers who are nobody in particular, since everybody may read.
pub(super) const ANYBODY: usize = 64;
/// Those that go to one key, on whichever devices.
pub(super) const KEY: usize = 16;
/// Those that go to one device, for whichever users.
pub(super) const DEVICE: usize = 8;
/// The most places in all databases.
pub(super) const ALL: usize = 4096;

/// Makes a place for one more, at the cost of those that are gone and need not be remembered. False if there is none.
pub(super) fn make(
    rooms: &mut BTreeMap<Id, Room>,
    database: &Id,
    of: &Speaker,
    key: &PublicKey,
    anybody: bool,
) -> bool {
    if has(rooms, database, of, key, anybody) {
        return true;
    }
    for room in rooms.values_mut() {
        room.retain(|_, seat| seat.gone.is_none() || seat.may_be_repeated());
    }
    has(rooms, database, of, key, anybody)
}

fn has(rooms: &BTreeMap<Id, Room>, database: &Id, of: &Speaker, key: &PublicKey, anybody: bool) -> bool {
    let all: usize = rooms.values().map(BTreeMap::len).sum();
    let Some(room) = rooms.get(database) else { return all < ALL };
    let count = |which: &dyn Fn(&Speaker, &Seat) -> bool| room.iter().filter(|(by, seat)| which(by, seat)).count();
    all < ALL
        && room.len() < ROOM
        && count(&|by, _| by.device == of.device) < DEVICE
        && count(&|_, seat| seat.key == *key) < KEY
        && (!anybody || count(&|_, seat| seat.anybody) < ANYBODY)
}
