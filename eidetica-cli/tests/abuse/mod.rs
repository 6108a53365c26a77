//! What strangers, and peers who mean no good, can do to the port of a real process.
//!
//! Each attack runs against the built command. Beside it two peers who behave keep in step through the process that is
//! attacked: what one of them commits shows at the other within [`ground::WITHIN`], in the middle of the attack and after it.
//! And the process has never used more memory than before by a bound that stands with each test (`VmHWM`, the most that it
//! ever had).

mod bodies;
mod bombs;
mod crowd;
mod ground;
mod handshakes;
mod insider;
mod noise;
mod parts;
mod peer;
mod raw;
mod revoked;
