//! Holding back what is void: judging it before it is applied, by what is known of what it stands on.

use std::sync::Arc;

use eidetica_contract::Result;

use super::coming::Coming;
use super::held::{Ground, Held};
use super::ingest::{Outcome, Parked, Refused};
use super::work::Work;
use super::writer::Writer;
use crate::auth;
use crate::clock::Time;
use crate::entry::VerifiedEntry;
use crate::id::Id;

/// What will become of an entry, as far as it can be said without taking it in.
pub(super) enum Foreseen {
    /// It does not count.
    Void(Held),
    /// It passes the door, and counts.
    Counts,
    /// This, whatever comes with it.
    Other(Outcome),
    /// It is not known on what it stands.
    Unknown,
}

impl Writer {
    /// What will become of an entry of which a parent is held back. It is judged by what is below it, held back or not, so that taking in
    /// what is held back is left for an entry that counts.
    ///
    /// Without this, whoever has lost a right could have much judged again for each little entry.
    pub(super) async fn foresee(&mut self, work: &Work<'_>, entry: &VerifiedEntry) -> Result<Foreseen> {
        // What was held back without a look at what it stands on, or on numbers that were not to last.
        for below in self.parking.groundless(&entry.header().parents) {
            if let Foreseen::Void(held) = self.foresee_on(work, &below).await? {
                self.parking.found(&below.id(), held);
            }
        }
        self.foresee_on(work, entry).await
    }

    /// The same, where it is known of the parents on what they stand, or they are stored.
    async fn foresee_on(&mut self, work: &Work<'_>, entry: &VerifiedEntry) -> Result<Foreseen> {
        let header = entry.header();
        if entry.database() != work.core.id {
            return Ok(Foreseen::Other(Outcome::Refused(Refused::ForeignDatabase)));
        }
        if entry.touches_settings() && entry.settings().is_none() {
            return Ok(Foreseen::Other(Outcome::Parked(Parked::Settings)));
        }
        let Some(ground) = self.ground(work, &header.parents).await? else { return Ok(Foreseen::Unknown) };
        if header.height != ground.top.0 + 1 {
            return Ok(Foreseen::Other(Outcome::Refused(Refused::WrongHeight)));
        }
        if header.time <= ground.top.1 {
            return Ok(Foreseen::Other(Outcome::Refused(Refused::NotAfterParents)));
        }
        let number = self.parking.number();
        let Some(rights) = self.parking.rights(&work.state.rights, ground.settings()) else {
            return Ok(Foreseen::Unknown);
        };
        let settings = entry.settings().and_then(|body| auth::Settings::parse(body).ok());
        let below = ground.below();
        Ok(match auth::admit(rights, &below, header, settings.as_ref()) {
            Err(denied) => Foreseen::Other(Outcome::Refused(Refused::Denied(denied))),
            Ok(admission) => match Coming::new(rights, admission, number, header, below) {
                Coming { void: true, settings, .. } => {
                    Foreseen::Void(Held { ground, settings: settings.map(Arc::new) })
                }
                _ => Foreseen::Counts,
            },
        })
    }

    /// On what an entry with these parents stands. `None` if that is not known.
    async fn ground(&self, work: &Work<'_>, parents: &[Id]) -> Result<Option<Ground>> {
        let holds = self.parking.holds(parents);
        let held = self.parking.ground(parents);
        if held.is_none() && holds.contains(&true) {
            return Ok(None);
        }
        let stored: Vec<Id> = parents.iter().zip(holds).filter(|(_, holds)| !holds).map(|(id, _)| *id).collect();
        let Some(places) = work.places(&stored).await?.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        if places.is_empty() {
            return Ok(held);
        }
        let numbers: Vec<u64> = places.iter().map(|place| place.number).collect();
        let top =
            places.iter().fold((0, Time::default()), |top, place| (top.0.max(place.height), top.1.max(place.time)));
        let on = Ground::on(work.core.graph.seen_by_fresh(&work.rows, &work.fresh, &numbers).await?, top);
        Ok(Some(match held {
            Some(held) => held.and(on),
            None => on,
        }))
    }

    /// Holds back an entry that is void. Where there is no room for it, on what it stands is kept in mind; where there is none for that
    /// either, it waits no longer. `None` if there is no room, and its page brings in what is void for good.
    pub(super) async fn hold_back(
        &mut self,
        work: &Work<'_>,
        at: usize,
        entry: &VerifiedEntry,
        source: &Arc<str>,
        held: Option<Held>,
    ) -> Result<Option<Outcome>> {
        let now = self.now();
        if self.parking.keep_unsupported(entry.clone(), source, held.clone(), now) {
            return Ok(Some(Outcome::Void));
        }
        if self.pages[at].arrivals.keeps_void {
            return Ok(None);
        }
        let held = match held {
            Some(held) => Some(held),
            None => match self.foresee(work, entry).await? {
                Foreseen::Void(held) => Some(held),
                _ => None,
            },
        };
        let kept = held.is_some_and(|held| self.parking.keep_in_mind(entry, source, held, now));
        Ok(Some(if kept { Outcome::Void } else { Outcome::Deferred }))
    }
}
