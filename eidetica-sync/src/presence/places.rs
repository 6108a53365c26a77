//! How many may be here at once, and that nobody takes the places of others.

use std::collections::BTreeMap;

use eidetica_contract::PublicKey;
use eidetica_core::Id;
use tokio::time::Instant;

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
/// So many places a database has whatever goes on in others.
pub(super) const SURE: usize = 16;

/// Whether there is a place for one more. Those who are gone take none.
pub(super) fn has(rooms: &BTreeMap<Id, Room>, database: &Id, of: &Speaker, key: &PublicKey, anybody: bool) -> bool {
    let here = |room: &Room| room.values().filter(|seat| seat.gone.is_none()).count();
    let room = rooms.get(database);
    let in_room = room.map_or(0, here);
    if in_room >= SURE && rooms.values().map(here).sum::<usize>() >= ALL {
        return false;
    }
    let count = |which: &dyn Fn(&Speaker, &Seat) -> bool| {
        let seats = room.into_iter().flatten();
        seats.filter(|(by, seat)| seat.gone.is_none() && which(by, seat)).count()
    };
    in_room < ROOM
        && count(&|by, _| by.device == of.device) < DEVICE
        && count(&|_, seat| seat.key == *key) < KEY
        && (!anybody || count(&|_, seat| seat.anybody) < ANYBODY)
}

/// Bounds what is remembered of those in a database who are gone: to as many as may be here. First those go whom nobody can bring again,
/// then those whose words are the oldest, of whom one that is brought again shows for as long as it lasts.
pub(super) fn forget_some(rooms: &mut BTreeMap<Id, Room>, database: &Id, now: Instant) {
    let Some(room) = rooms.get_mut(database) else { return };
    let mut gone: Vec<_> = room.iter().filter(|(_, seat)| seat.gone.is_some()).collect();
    if gone.len() <= ROOM {
        return;
    }
    gone.sort_by_key(|(_, seat)| (seat.may_be_repeated(now), seat.remembered()));
    let first: Vec<Speaker> = gone[..gone.len() - ROOM].iter().map(|(by, _)| **by).collect();
    first.iter().for_each(|by| drop(room.remove(by)));
}
