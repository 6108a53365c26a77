//! Limits of this process. They protect it and decide nothing that peers have to agree on.

use std::time::Duration;

/// How long sessions live and how much they may hold. The defaults suit a device; all sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionLimits {
    /// After this time a session is replaced by a new one. Default: one hour.
    pub age: Duration,
    /// After this time without a frame a session is forgotten. Default: ten minutes.
    pub idle: Duration,
    /// How many frames one side sends in a session before a new one is made; at most 2^31. Default: 2^20.
    pub frames: u32,
    /// The largest message taken, all parts together; at most 2^30. Default: 16 MiB.
    pub max_whole: usize,
    /// The largest message taken from a peer that is not known: a page of entries for a database that everybody may write to.
    /// Default: 2 MiB.
    pub stranger_whole: usize,
    /// Messages in parts, coming and going, that one session may have under way. Default: 16.
    pub partial: usize,
    /// What they may take together, for one session. Default: 64 MiB.
    pub session_bytes: usize,
    /// What they may take together, for all sessions. Default: 256 MiB.
    pub all_bytes: usize,
    /// What they may take together, for all sessions of peers that are not known. Default: 32 MiB.
    pub stranger_bytes: usize,
    /// After this time without a part, a message in parts is forgotten. Default: one minute.
    pub partial_age: Duration,
    /// Answers on their way to known peers, in all: handed to a transport, which holds them until they were read. More are answered
    /// [`Busy`](eidetica_contract::ErrorKind::Busy) instead. Default: 128 MiB.
    pub unread: usize,
    /// Those on their way to one of them. A larger one goes alone. Default: 16 MiB.
    pub unread_per_peer: usize,
    /// Answers on their way to peers that are not known, in all. Default: 32 MiB.
    pub unread_strangers: usize,
    /// Those of them that go to one origin. A larger one goes alone. Default: 8 MiB.
    pub unread_per_origin: usize,
    /// Sessions of known peers. Default: 1,024.
    pub known: usize,
    /// Sessions of one device key. Default: 8.
    pub per_peer: usize,
    /// Sessions of peers that are not known. Default: 256.
    pub strangers: usize,
    /// Those of them that come from one origin. Default: 32.
    pub per_origin: usize,
    /// Handshakes that wait for their third message. Default: 128.
    pub handshakes: usize,
    /// Those of them that come from one origin. Default: 16.
    pub handshakes_per_origin: usize,
    /// How long a handshake may take. Default: ten seconds.
    pub handshake_age: Duration,
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits {
            age: Duration::from_secs(3600),
            idle: Duration::from_secs(600),
            frames: 1 << 20,
            max_whole: 16 << 20,
            stranger_whole: 2 << 20,
            partial: 16,
            session_bytes: 64 << 20,
            all_bytes: 256 << 20,
            stranger_bytes: 32 << 20,
            partial_age: Duration::from_secs(60),
            unread: 128 << 20,
            unread_per_peer: 16 << 20,
            unread_strangers: 32 << 20,
            unread_per_origin: 8 << 20,
            known: 1024,
            per_peer: 8,
            strangers: 256,
            per_origin: 32,
            handshakes: 128,
            handshakes_per_origin: 16,
            handshake_age: Duration::from_secs(10),
        }
    }
}

impl SessionLimits {
    /// One origin gets as much as all together.
    pub(crate) fn one_origin(mut self) -> SessionLimits {
        (self.per_origin, self.handshakes_per_origin) = (self.strangers, self.handshakes);
        self.unread_per_origin = self.unread_strangers;
        self
    }
}
