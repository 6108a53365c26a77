//! What is asked and answered about one database, to the byte: `docs/spec/wire.md`, chapter 9.

use bytes::Bytes;
use eidetica_core::Id;

use super::bytes::{Input, Output};
use super::page::Page;
use super::ranges::{Claim, Finding, read_claims, read_findings, write_claims, write_findings};
use super::short::{Short, Width, read_list, write_list};

/// The most heads, or other entries that are named by whole ids, of one message.
pub const MAX_IDS: usize = 4096;
/// The most entries of one message that are named by the first bytes of their ids.
pub const MAX_SHORTS: usize = 4096;

/// What the calling side asks about one database. Nothing that an answer needs is kept between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The root entry.
    Root,
    /// Here is where I stand.
    Compare {
        /// Hash of the heads.
        digest: [u8; 32],
        /// The heads. They are left out where there are more than a short message holds, and then the answer tells less.
        heads: Option<Vec<Id>>,
        /// What the other side probably lacks. It is taken in before anything is compared.
        give: Option<Page>,
        /// Whether a first page may come with the answer.
        pull: bool,
        /// Whether the answer is to list the heads of the other side.
        tell: bool,
        /// The most bytes of the answer.
        most: u32,
    },
    /// The entries that are not below those that I have, from a place on.
    Pull {
        /// What I have, with everything below; the answering side must have them, too.
        have: Vec<Id>,
        /// What I have besides.
        except: Vec<Short>,
        /// The width of those.
        width: Width,
        /// Where to go on: what the last answer said, at first 0.
        from: u64,
        /// Where to end: what the last answer said, at first 0.
        until: u64,
        /// The most bytes of the answer.
        most: u32,
    },
    /// Which of these entries do you have? And what do you have in these ranges?
    Probe {
        /// The width of all ids of this message and its answer.
        width: Width,
        /// Entries that I have, with everything below them.
        ids: Vec<Short>,
        /// What I have in some ranges. They are looked at only if the list of the answer would be too long.
        claims: Vec<Claim>,
        /// How long that list may be. 0: none is asked for.
        list: u16,
        /// The most bytes of the answer.
        most: u32,
    },
    /// Take these, and give me those.
    Trade {
        /// Entries that the other side lacks.
        give: Option<Page>,
        /// The width of the next.
        width: Width,
        /// The entries that I lack, each after those below it.
        want: Vec<Short>,
        /// The most bytes of the answer.
        most: u32,
    },
}

/// What the answering side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The root entry, alone on its page.
    Root(Page),
    /// Our heads are the same.
    Same {
        /// What became of what was given.
        given: Option<Given>,
    },
    /// They are not.
    Differ {
        /// What became of what was given.
        given: Option<Given>,
        /// Hash of the heads of the answering side.
        digest: [u8; 32],
        /// How many entries it has.
        entries: u64,
        /// Its heads; left out if they were not asked for, or are too many.
        heads: Option<Vec<Id>>,
        /// Which of the caller's heads it has.
        known: Vec<bool>,
        /// If it has all of them: the first page of what is not below them.
        first: Option<Piece>,
    },
    /// The answer to [`Request::Pull`].
    Pulled {
        /// Which of the excepted entries are here; in the first answer alone.
        held: Vec<bool>,
        /// The page.
        piece: Piece,
    },
    /// The answer to [`Request::Probe`].
    Probed {
        /// The width of all ids of this message.
        width: Width,
        /// Which of the entries are here.
        known: Vec<bool>,
        /// How many entries the answering side has that are not below those.
        count: u64,
        /// Their ids, each after those below it, if they are few.
        list: Option<Vec<Short>>,
        /// Otherwise, what it has in the ranges: one answer for each claim, or for the first of them.
        findings: Vec<Finding>,
    },
    /// The answer to [`Request::Trade`].
    Traded {
        /// What became of what was given.
        given: Option<Given>,
        /// How many of the wanted entries, from the first on, have been looked for.
        covered: u16,
        /// Those of them that are here.
        page: Option<Page>,
        /// Hash of the heads of the answering side.
        digest: [u8; 32],
    },
}

/// A page of what one side lacks, and where the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The entries.
    pub page: Page,
    /// Where the next page begins; 0: this is the last.
    pub next: u64,
    /// Where the last page ends.
    pub until: u64,
    /// How many entries are still to come, excepted ones among them.
    pub left: u64,
    /// Hash of the heads of the answering side.
    pub digest: [u8; 32],
}

/// What became of entries that were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// They are in.
    pub accepted: u32,
    /// They were in already.
    pub known: u32,
    /// They wait, or were put off, and must be given again.
    pub waiting: u32,
    /// They were left aside, since what is below them is not there.
    pub loose: u32,
    /// They are refused, everywhere and for ever.
    pub refused: u32,
    /// They do not count there, and nothing that counts stands on them: they are not in, and need not be given again before the
    /// heads of either side are others.
    pub void: u32,
}

impl Given {
    /// How many they were.
    pub fn total(&self) -> u64 {
        self.numbers().into_iter().map(u64::from).sum()
    }

    /// True if all of them are in.
    pub fn all_in(&self) -> bool {
        self.waiting == 0 && self.loose == 0 && self.refused == 0 && self.void == 0
    }

    fn write(&self, out: &mut Output) {
        for number in self.numbers() {
            out.u32(number);
        }
    }

    fn numbers(&self) -> [u32; 6] {
        [self.accepted, self.known, self.waiting, self.loose, self.refused, self.void]
    }

    fn read(input: &mut Input) -> Option<Given> {
        let (accepted, known, waiting) = (input.u32()?, input.u32()?, input.u32()?);
        let (loose, refused, void) = (input.u32()?, input.u32()?, input.u32()?);
        Some(Given { accepted, known, waiting, loose, refused, void })
    }
}

impl Request {
    /// True if it brings entries: to be let in, its sender must be one from whom entries are taken.
    pub fn gives(&self) -> bool {
        matches!(self, Request::Compare { give: Some(_), .. } | Request::Trade { give: Some(_), .. })
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Output::default();
        match self {
            Request::Root => {
                out.byte(0);
            }
            Request::Compare { digest, heads, give, pull, tell, most } => {
                out.byte(1).bytes(digest).flag(*pull).flag(*tell).u32(*most);
                out.option(heads.as_ref(), |out, heads| {
                    out.ids(heads);
                });
                out.option(give.as_ref(), |out, page| page.write(out));
            }
            Request::Pull { have, except, width, from, until, most } => {
                width.write(out.byte(2));
                out.u64(*from).u64(*until).u32(*most).ids(have);
                write_list(&mut out, except);
            }
            Request::Probe { width, ids, claims, list, most } => {
                width.write(out.byte(3));
                out.u16(usize::from(*list)).u32(*most);
                write_list(&mut out, ids);
                write_claims(&mut out, claims);
            }
            Request::Trade { give, width, want, most } => {
                width.write(out.byte(4));
                write_list(out.u32(*most), want);
                out.option(give.as_ref(), |out, page| page.write(out));
            }
        }
        out.finish()
    }

    /// Reads a message; `None` if it is malformed or breaks a limit. Memory: a few times its bytes.
    pub fn parse(bytes: &Bytes) -> Option<Request> {
        let mut input = Input::new(bytes.clone());
        let request = match input.byte()? {
            0 => Request::Root,
            1 => {
                let (digest, pull, tell, most) = (input.array()?, input.flag()?, input.flag()?, input.u32()?);
                let heads = input.option(|input| input.ids(MAX_IDS))?;
                Request::Compare { digest, heads, give: input.option(Page::read)?, pull, tell, most }
            }
            2 => {
                let width = Width::read(&mut input)?;
                let (from, until, most) = (input.u64()?, input.u64()?, input.u32()?);
                let have = input.ids(MAX_IDS)?;
                let except = read_list(&mut input, width, MAX_SHORTS)?;
                Request::Pull { have, except, width, from, until, most }
            }
            3 => {
                let width = Width::read(&mut input)?;
                let (list, most) = (input.u16()?, input.u32()?);
                let ids = read_list(&mut input, width, MAX_SHORTS)?;
                let claims = read_claims(&mut input, width)?;
                Request::Probe { width, ids, claims, list, most }
            }
            4 => {
                let width = Width::read(&mut input)?;
                let most = input.u32()?;
                let want = read_list(&mut input, width, MAX_SHORTS)?;
                Request::Trade { give: input.option(Page::read)?, width, want, most }
            }
            _ => return None,
        };
        input.end(request)
    }
}

impl Piece {
    fn write(&self, out: &mut Output) {
        out.u64(self.next).u64(self.until).u64(self.left).bytes(&self.digest);
        self.page.write(out);
    }

    fn read(input: &mut Input) -> Option<Piece> {
        let (next, until, left, digest) = (input.u64()?, input.u64()?, input.u64()?, input.array()?);
        Some(Piece { page: Page::read(input)?, next, until, left, digest })
    }
}

impl Reply {
    /// As it travels.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Output::default();
        let given = |out: &mut Output, given: &Option<Given>| {
            out.option(given.as_ref(), |out, it| it.write(out));
        };
        match self {
            Reply::Root(page) => page.write(out.byte(0)),
            Reply::Same { given: it } => given(out.byte(1), it),
            Reply::Differ { given: it, digest, entries, heads, known, first } => {
                given(out.byte(2), it);
                out.bytes(digest).u64(*entries).option(heads.as_ref(), |out, heads| {
                    out.ids(heads);
                });
                out.bits(known).option(first.as_ref(), |out, piece| piece.write(out));
            }
            Reply::Pulled { held, piece } => piece.write(out.byte(3).bits(held)),
            Reply::Probed { width, known, count, list, findings } => {
                width.write(out.byte(4));
                out.bits(known).u64(*count).option(list.as_ref(), |out, list| write_list(out, list));
                write_findings(&mut out, findings);
            }
            Reply::Traded { given: it, covered, page, digest } => {
                given(out.byte(5), it);
                out.u16(usize::from(*covered)).bytes(digest).option(page.as_ref(), |out, page| page.write(out));
            }
        }
        out.finish()
    }

    /// Reads a message; `None` if it is malformed or breaks a limit. Memory: a few times its bytes.
    pub fn parse(bytes: &Bytes) -> Option<Reply> {
        let mut input = Input::new(bytes.clone());
        let reply = match input.byte()? {
            0 => Reply::Root(Page::read(&mut input)?),
            1 => Reply::Same { given: input.option(Given::read)? },
            2 => {
                let (given, digest, entries) = (input.option(Given::read)?, input.array()?, input.u64()?);
                let heads = input.option(|input| input.ids(MAX_IDS))?;
                let known = input.bits()?;
                Reply::Differ { given, digest, entries, heads, known, first: input.option(Piece::read)? }
            }
            3 => Reply::Pulled { held: input.bits()?, piece: Piece::read(&mut input)? },
            4 => {
                let width = Width::read(&mut input)?;
                let (known, count) = (input.bits()?, input.u64()?);
                let list = input.option(|input| read_list(input, width, MAX_SHORTS))?;
                Reply::Probed { width, known, count, list, findings: read_findings(&mut input, width)? }
            }
            5 => {
                let (given, covered, digest) = (input.option(Given::read)?, input.u16()?, input.array()?);
                Reply::Traded { given, covered, page: input.option(Page::read)?, digest }
            }
            _ => return None,
        };
        input.end(reply)
    }
}
