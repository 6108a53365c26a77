//! Finding the difference of two sets by comparing fingerprints of ranges: what is equal is left, what is not is cut.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use eidetica_contract::Result;
use eidetica_core::{Database, Fingerprint, Id, Point, Stand};

use super::answer::LEAF;
use super::exchange::Run;
use super::message::{Reply, Request};
use super::outcome::broken;
use super::ranges::{Claim, Content, Finding, MAX_CLAIMS, MAX_LISTED, MAX_PARTS, Print};
use super::short::{Short, Width};

/// How often ranges are compared in search of one instalment.
const ASKS: usize = 64;
/// The most entries of a range that are read at once.
const READ: usize = 16_384;
/// How many ranges may be open: the lowest are looked at first, so honest answers leave far fewer.
const OPEN: usize = 65_536;
/// How many heights the topmost band has.
const BAND: u64 = 16;

/// What was found.
pub(super) struct Found {
    /// What the other side has and this one lacks, each entry after those below it.
    pub(super) wanted: Vec<Short>,
    /// What this side has and the other lacks, likewise.
    pub(super) give: Vec<Id>,
    /// False if there is more to be found.
    pub(super) whole: bool,
}

/// A search under way.
pub(super) struct Descent {
    width: Width,
    /// Ranges that differ, or may, by where they begin.
    open: BTreeMap<Point, Point>,
    /// What was found in ranges that are done, by where they begin.
    found: BTreeMap<Point, (Vec<Short>, Vec<Id>)>,
}

impl Descent {
    pub(super) fn new(width: Width) -> Descent {
        Descent { width, open: BTreeMap::new(), found: BTreeMap::new() }
    }

    /// The first claims: bands that grow downwards from the top, since most differences lie near it. In a second attempt the same
    /// entries are cut at other places, so that ranges which look the same and are not do not do so twice.
    pub(super) async fn begin(&mut self, run: &Run<'_>, stand: &Stand) -> Result<Vec<Claim>> {
        let mut starts = vec![Point::START];
        match self.width {
            Width::Short => {
                let mut height = BAND;
                while let Some(bottom) = stand.top.checked_sub(height) {
                    starts.insert(1, Point::at_height(bottom + 1));
                    height = height.saturating_mul(BAND);
                }
            }
            Width::Whole => {
                let parts = run.db.split(Point::START..Point::END, MAX_PARTS - 1).await?;
                starts.extend(parts.into_iter().skip(1).map(|(start, _)| start));
            }
        }
        let ends = starts.iter().skip(1).copied().chain([Point::END]);
        self.open = starts.iter().copied().zip(ends).collect();
        self.next_claims(run).await
    }

    /// Compares until all is found, or enough for now.
    pub(super) async fn descend(
        mut self,
        run: &Run<'_>,
        mut claims: Vec<Claim>,
        mut findings: Vec<Finding>,
    ) -> Result<Found> {
        for _ in 0..ASKS {
            if findings.is_empty() || findings.len() > claims.len() {
                return Err(broken("it answers for other ranges than were asked for"));
            }
            for (claim, finding) in claims.iter().zip(findings) {
                self.open.remove(&claim.range.start);
                self.note(run.db, claim, finding).await?;
            }
            if self.open.is_empty() || self.ready() >= run.options.instalment.max(1) {
                break;
            }
            if self.open.len() > OPEN {
                return Err(broken("it cuts ranges without end"));
            }
            claims = self.next_claims(run).await?;
            let (width, most) = (self.width, run.most());
            let request = Request::Probe { width, ids: Vec::new(), claims: claims.clone(), list: 0, most };
            let Reply::Probed { findings: next, .. } = run.ask(request).await? else {
                return Err(broken("the answer is to something else"));
            };
            findings = next;
        }
        Ok(self.done())
    }

    /// How many entries lie below the lowest open range.
    fn ready(&self) -> usize {
        let floor = self.open.keys().next().copied().unwrap_or(Point::END);
        self.found.range(..floor).map(|(_, (wanted, give))| wanted.len() + give.len()).sum()
    }

    /// What lies below the lowest open range: nothing that is to be found elsewhere is below it.
    fn done(self) -> Found {
        let floor = self.open.keys().next().copied();
        let (mut wanted, mut give) = (Vec::new(), Vec::new());
        for (start, (lacking, lacked)) in self.found {
            if floor.is_none_or(|floor| start < floor) {
                wanted.extend(lacking);
                give.extend(lacked);
            }
        }
        Found { wanted, give, whole: floor.is_none() }
    }

    /// Claims about the lowest open ranges, as many as go into one request.
    async fn next_claims(&self, run: &Run<'_>) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        let (mut room, mut listed) = (run.max_request() / 2, 0);
        for (start, end) in self.open.iter().take(MAX_CLAIMS) {
            let claim = self.claim(run.db, *start..*end).await?;
            let list = if let Content::List(list) = &claim.content { list.len() } else { 0 };
            // Two points and a print, or the list.
            let size = 100 + list * self.width.bytes();
            listed += list;
            if (size > room || listed > MAX_LISTED) && !claims.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            claims.push(claim);
        }
        Ok(claims)
    }

    async fn claim(&self, db: &Database, range: Range<Point>) -> Result<Claim> {
        let print = db.fingerprint(range.clone()).await?;
        let content = match print.count <= LEAF as u64 {
            true => {
                let entries = db.entries_in(range.clone(), LEAF).await?;
                Content::List(entries.iter().map(|(_, id)| Short::of(id, self.width)).collect())
            }
            false => Content::Print(Print::of(&print)),
        };
        Ok(Claim { range, content })
    }

    async fn note(&mut self, db: &Database, claim: &Claim, finding: Finding) -> Result<()> {
        let range = claim.range.clone();
        match (finding, &claim.content) {
            (Finding::Same, _) => Ok(()),
            (Finding::Parts(parts), _) => self.cut(db, range, parts).await,
            (Finding::List(theirs), Content::Print(_)) => self.compare(db, range, theirs).await,
            (Finding::Compared { here, more }, Content::List(listed)) if here.len() == listed.len() => {
                let own = db.entries_in(range.clone(), usize::from(u16::MAX)).await?;
                let own: HashMap<Short, Id> = own.into_iter().map(|(_, id)| (Short::of(&id, self.width), id)).collect();
                let lacked = listed.iter().zip(here).filter(|(_, here)| !here);
                let give = lacked.filter_map(|(short, _)| own.get(short).copied()).collect();
                let wanted = more.into_iter().filter(|short| !own.contains_key(short)).collect();
                self.keep(range.start, wanted, give);
                Ok(())
            }
            _ => Err(broken("its finding does not fit the claim")),
        }
    }

    /// The other side has these entries in a range and no others.
    async fn compare(&mut self, db: &Database, range: Range<Point>, theirs: Vec<Short>) -> Result<()> {
        let own = db.entries_in(range.clone(), READ).await?;
        if let (READ, Some((height, id))) = (own.len(), own.last()) {
            // The rest is compared later. What it holds of the list is found out here.
            let rest = Point { height: *height, id: *id }..range.end;
            if rest.start > range.start {
                self.open.insert(rest.start, rest.end);
            }
        }
        let found = super::resolve(db, &theirs).await?;
        let listed: HashSet<&Short> = theirs.iter().collect();
        let give = own.iter().map(|(_, id)| *id).filter(|id| !listed.contains(&Short::of(id, self.width))).collect();
        let wanted = theirs.iter().zip(found).filter(|(_, found)| found.is_empty()).map(|(short, _)| *short).collect();
        self.keep(range.start, wanted, give);
        Ok(())
    }

    /// The other side has cut a range: the parts that differ stay open.
    async fn cut(&mut self, db: &Database, range: Range<Point>, parts: Vec<(Point, Print)>) -> Result<()> {
        let starts: Vec<Point> = parts.iter().map(|(start, _)| *start).collect();
        let within = starts.first() == Some(&range.start) && starts.last().is_some_and(|last| *last < range.end);
        if parts.len() < 2 || !within || !starts.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(broken("the parts of a range are not in it"));
        }
        let ends = starts.iter().skip(1).copied().chain([range.end]);
        for ((start, theirs), end) in parts.iter().zip(ends) {
            let own: Fingerprint = db.fingerprint(*start..end).await?;
            if Print::of(&own) != *theirs {
                self.open.insert(*start, end);
            }
        }
        Ok(())
    }

    fn keep(&mut self, start: Point, wanted: Vec<Short>, give: Vec<Id>) {
        if !wanted.is_empty() || !give.is_empty() {
            self.found.insert(start, (wanted, give));
        }
    }
}
