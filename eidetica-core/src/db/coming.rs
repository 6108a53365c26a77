//! An entry on its way in: whether it counts among what is here.

use eidetica_contract::Result;

use super::core::State;
use super::entries::{Place, places};
use super::ingest::{Outcome, Refused};
use super::parking::Ground;
use super::work::Work;
use crate::auth::{self, Admission, Case, SettingsEntry};
use crate::dag::Seen;
use crate::entry::{Header, VerifiedEntry};
use crate::id::Id;

/// An entry that has passed the door and is about to come in.
pub(crate) struct Coming {
    pub settings: Option<SettingsEntry>,
    /// True if it does not count.
    pub void: bool,
    /// Everything below it.
    pub below: Seen,
}

impl Coming {
    pub fn new(state: &State, admission: Admission, number: u64, header: &Header, below: Seen) -> Coming {
        let rights = &state.rights;
        let need = admission.need;
        let settings = admission.settings_entry(number, header, &below);
        let void = match &settings {
            Some(entry) => rights.void_with(entry).contains(number),
            None => {
                let case = Case { number, author: header.author, below: &below, need, is_settings: false };
                !rights.upholds(&case, &Seen::all_before(number), rights.void())
            }
        };
        Coming { settings, void, below }
    }
}

impl Work<'_> {
    /// What will become of an entry that stands on void ones which are held back, if it is void or refused itself. Between it and
    /// the ground there is nothing that counts, so that rights are those of the ground; taking in what is held back, to judge
    /// the entry on top of it, is left for one that would count.
    ///
    /// Without this, whoever has lost a right could have much judged again for each little entry.
    pub(super) async fn foresee(&self, entry: &VerifiedEntry, ground: &Ground) -> Result<Option<Outcome>> {
        if ground.settings || (entry.touches_settings() && entry.settings().is_none()) {
            return Ok(None);
        }
        let ids: Vec<Id> = ground.ids.iter().copied().collect();
        let known: Option<Vec<Place>> = places(&self.rows, self.core.number, &ids).await?.into_iter().collect();
        let Some(known) = known else { return Ok(None) };
        let header = entry.header();
        let direct = known.iter().zip(&ids).filter(|(_, id)| header.parents.contains(id)).map(|(place, _)| place);
        let (height, time) =
            direct.fold(ground.top, |(height, time), place| (height.max(place.height), time.max(place.time)));
        if header.height != height + 1 {
            return Ok(Some(Outcome::Refused(Refused::WrongHeight)));
        }
        if header.time <= time {
            return Ok(Some(Outcome::Refused(Refused::NotAfterParents)));
        }
        let numbers: Vec<u64> = known.iter().map(|place| place.number).collect();
        let below = self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &numbers).await?;
        let settings = entry.settings().and_then(|body| auth::Settings::parse(body).ok());
        Ok(match auth::admit(&self.state.rights, &below, header, settings.as_ref()) {
            Err(denied) => Some(Outcome::Refused(Refused::Denied(denied))),
            Ok(admission) => {
                let coming = Coming::new(&self.state, admission, self.next(), header, below);
                coming.void.then_some(Outcome::Void)
            }
        })
    }
}
