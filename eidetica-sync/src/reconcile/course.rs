//! Whether an exchange goes on after a reply, as far as its answering side can tell.

use super::message::{Reply, Request};

/// A page of so many bytes, before it is compressed, is hardly the last one.
const FULL: usize = 256 << 10;

/// What is remembered of a request while it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// True for a request by which an exchange carries entries, or finds out which.
    carries: bool,
    /// How many entries it asks for.
    wanted: usize,
    /// How many bytes of entries it brings, as they travel.
    given: usize,
    /// Whether these fill a page.
    full: bool,
}

impl Course {
    /// Of a request.
    pub fn of(request: &Request) -> Course {
        let course = Course { carries: true, wanted: 0, given: 0, full: false };
        match request {
            Request::Root | Request::Compare { .. } => Course { carries: false, ..course },
            Request::Pull { .. } | Request::Probe { .. } => course,
            Request::Trade { give, want, .. } => {
                let (given, full) = give.as_ref().map_or((0, false), |page| (page.len(), page.unpacked() >= FULL));
                Course { wanted: want.len(), given, full, ..course }
            }
        }
    }

    /// True if entries are carried by then: what both sides have was compared before.
    pub fn carries(&self) -> bool {
        self.carries
    }

    /// If whoever has asked this goes on carrying entries after this reply: how many bytes of them are on their way before its next
    /// request is here, about. Where entries are only sent, the last page is not marked, and is taken for one that is not full.
    pub fn leads_on(&self, reply: &Reply) -> Option<usize> {
        let (goes_on, bytes) = match reply {
            Reply::Root(_) | Reply::Same { .. } => (false, 0),
            Reply::Differ { first, .. } => {
                first.as_ref().map_or((false, 0), |first| (first.next != 0, first.page.len()))
            }
            Reply::Pulled { piece, .. } => (piece.next != 0, piece.page.len()),
            Reply::Probed { .. } => (true, 0),
            Reply::Traded { covered, page, .. } => {
                let bytes = self.given + page.as_ref().map_or(0, |page| page.len());
                (usize::from(*covered) < self.wanted || self.full, bytes)
            }
        };
        goes_on.then_some(bytes)
    }
}
