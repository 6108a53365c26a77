//! What an exchange is told to do, and what it reports.

use eidetica_contract::{Error, ErrorKind, Retry};
use eidetica_core::Id;

/// How many refused entries are named in an [`Outcome`].
pub const NAMED: usize = 16;

/// What an exchange is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Fetch what the other side has.
    pub pull: bool,
    /// Send what the other side lacks.
    pub push: bool,
    /// Heads that both sides held once. A hint: if it is wrong, something takes longer, and nothing goes wrong.
    pub remembered: Option<Vec<Id>>,
    /// Where both sides stood when one last had entries that do not count at the other. If they stand there still, nothing is
    /// offered again.
    pub standoff: Option<Standoff>,
    /// For whom entries wait that come in and cannot be judged yet.
    pub source: String,
    /// How many bytes of entries go into one page before it is compressed. At most 1 MiB counts.
    pub page: usize,
    /// How long a list of ids may be before ranges are compared instead. At most 4,096 count.
    pub list: usize,
    /// How many differing entries are looked for in ranges before what was found is exchanged: it bounds memory.
    pub instalment: usize,
}

impl Default for Options {
    fn default() -> Options {
        let source = "peer".to_owned();
        let (page, list, instalment) = (1 << 20, 1024, 16_384);
        Options { pull: true, push: true, remembered: None, standoff: None, source, page, list, instalment }
    }
}

/// Two sides that differ by entries which do not count at one of them, and to which a whole round has changed nothing: while both have
/// these heads, and no more may be carried than was, another round would change nothing either.
///
/// It happens where what has struck them cannot reach the other side yet: its clock is behind, or it may not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standoff {
    /// The hash of the heads of the asking side.
    pub own: [u8; 32],
    /// That of the answering side.
    pub theirs: [u8; 32],
    /// Whether entries were fetched.
    pub pull: bool,
    /// Whether entries were sent.
    pub push: bool,
}

/// What the answering side does at most for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of entries in one page, before it is compressed; one entry may be longer. Default: 1 MiB.
    pub page: usize,
    /// Ids in one list. Default: 1,024.
    pub list: usize,
    /// Ranges looked at. Default: 256.
    pub claims: usize,
    /// Bytes of one answer. Default: 16 MiB.
    pub reply: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { page: 1 << 20, list: 1024, claims: 256, reply: 16 << 20 }
    }
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Entries that have come in.
    pub received: u64,
    /// Entries that were sent.
    pub sent: u64,
    /// Entries that are still to come, as far as is known.
    pub left: u64,
    /// Entries that are still to be sent, as far as is known.
    pub unsent: u64,
}

/// What an exchange has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Entries that have come in.
    pub received: u64,
    /// Entries that came and were here already.
    pub repeated: u64,
    /// Entries that were sent.
    pub sent: u64,
    /// Entries that were sent and were there already.
    pub sent_again: u64,
    /// Entries that came and wait here, or were put off: for the clock, a newer program, fewer heads.
    pub parked: u64,
    /// Entries that were sent and wait there.
    pub parked_there: u64,
    /// Entries that came and were left aside, since what is below them is not here.
    pub loose: u64,
    /// Entries that came and were refused.
    pub refused: u64,
    /// The first of them, and why.
    pub refusals: Vec<(Id, String)>,
    /// Entries that were sent and are refused there.
    pub refused_there: u64,
    /// Entries that came and do not count here.
    pub void: u64,
    /// Entries that were sent and do not count there.
    pub void_there: u64,
    /// Where both sides stand if they are apart by entries that do not count on one side, and by nothing else: there is nothing
    /// to do until the heads of either are others.
    pub standoff: Option<Standoff>,
    /// Heads that both sides have, with all that is below them.
    pub frontier: Vec<Id>,
    /// Requests that were answered.
    pub round_trips: u64,
    /// True if all that was asked for is done: what was to be fetched is here, and what was to be sent is there.
    pub complete: bool,
}

impl Outcome {
    /// How many entries have come in, here or there.
    pub(super) fn moved(&self) -> u64 {
        let in_vain = self.sent_again + self.parked_there + self.refused_there + self.void_there;
        self.received + self.sent.saturating_sub(in_vain)
    }

    /// How many entries came for nothing.
    pub(super) fn useless(&self) -> u64 {
        self.repeated + self.loose + self.refused
    }
}

/// The other side has said something that no honest peer says.
pub(super) fn broken(how: &'static str) -> Error {
    let message = "the other side does not keep to the protocol of synchronisation";
    Error::new(ErrorKind::InvalidInput, message).with("broken", how).retry(Retry::Later)
}
