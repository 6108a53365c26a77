//! What a link does to the messages on it.

use std::time::Duration;

use super::dice::{meets, scaled};

/// How long something takes. In whole milliseconds, which is as finely as the paused clock tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Anything from the first to the second, each equally likely.
    Between(Duration, Duration),
    /// About the first; one in sixteen anything up to the second.
    Tailed(Duration, Duration),
}

impl Delay {
    /// Always so many milliseconds.
    pub const fn millis(millis: u64) -> Delay {
        Delay::Fixed(Duration::from_millis(millis))
    }

    /// The delay that a number that was drawn stands for.
    pub(super) fn of(self, drawn: u64) -> Duration {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let between =
            |least: u64, most: u64, drawn| least + scaled(drawn, most.saturating_sub(least).saturating_add(1));
        Duration::from_millis(match self {
            Delay::Fixed(delay) => millis(delay),
            Delay::Between(least, most) => between(millis(least), millis(most), drawn),
            Delay::Tailed(usual, most) => match drawn >> 60 {
                0 => between(millis(usual), millis(most), drawn << 4),
                _ => between(millis(usual) / 2, millis(usual) + millis(usual) / 2, drawn << 4),
            },
        })
    }
}

/// What a link does to each message that goes over it, one way: each chance is a probability from 0 to 1, drawn for each
/// message from the stream of the link.
///
/// Every message draws the same numbers whatever the conditions are, so changing one chance does not change what becomes of
/// messages that it does not concern.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conditions {
    /// How long a message is on its way. Messages keep their order, as within one connection.
    pub delay: Delay,
    /// How many bytes go over the link in a second, one message after the other; `None`: any number.
    pub bandwidth: Option<u64>,
    /// The message vanishes, and nobody is told.
    pub loss: f64,
    /// The connection breaks, and the caller learns it: half of the requests are lost before they arrive, the other half
    /// while the service is at work on them, which is then dropped.
    pub breaking: f64,
    /// The message is held back, while those behind it overtake it.
    pub reordering: f64,
    /// How much longer a message is on its way that is held back, and how much later a copy comes.
    pub held_back: Delay,
    /// A request comes twice, which no honest transport lets happen, but everybody on the way can do. The caller gets
    /// whichever answer comes first.
    pub duplication: f64,
    /// Somebody sends a request once more, later, and keeps the answer to himself.
    pub replaying: f64,
    /// One byte of the message is another one when it arrives, which again takes somebody on the way.
    pub tampering: f64,
    /// The service is dropped at an await when its caller does not wait any more.
    pub abandoning: f64,
}

impl Default for Conditions {
    /// 10 ms, and nothing goes wrong; a service whose caller has gone is dropped half of the time.
    fn default() -> Conditions {
        Conditions {
            delay: Delay::millis(10),
            bandwidth: None,
            loss: 0.0,
            breaking: 0.0,
            reordering: 0.0,
            held_back: Delay::Between(Duration::from_millis(1), Duration::from_millis(200)),
            duplication: 0.0,
            replaying: 0.0,
            tampering: 0.0,
            abandoning: 0.5,
        }
    }
}

impl Conditions {
    /// A poor line: slow now and then, it loses, breaks and reorders.
    pub fn poor() -> Conditions {
        let delay = Delay::Tailed(Duration::from_millis(40), Duration::from_secs(2));
        Conditions { delay, loss: 0.05, breaking: 0.03, reordering: 0.1, ..Conditions::default() }
    }

    /// A poor line on which somebody sends messages once more and changes them.
    pub fn hostile() -> Conditions {
        Conditions { duplication: 0.05, replaying: 0.1, tampering: 0.05, ..Conditions::poor() }
    }

    /// Sets how long a message is on its way.
    #[must_use]
    pub fn delay(mut self, delay: Delay) -> Conditions {
        self.delay = delay;
        self
    }

    /// Sets how many bytes go over the link in a second.
    #[must_use]
    pub fn bandwidth(mut self, bytes: u64) -> Conditions {
        self.bandwidth = Some(bytes);
        self
    }

    /// Sets how likely a message vanishes.
    #[must_use]
    pub fn loss(mut self, probability: f64) -> Conditions {
        self.loss = probability;
        self
    }

    /// Sets how likely the connection breaks under a message.
    #[must_use]
    pub fn breaking(mut self, probability: f64) -> Conditions {
        self.breaking = probability;
        self
    }

    /// Sets how likely a message is held back, and by how much.
    #[must_use]
    pub fn reordering(mut self, probability: f64, held_back: Delay) -> Conditions {
        self.reordering = probability;
        self.held_back = held_back;
        self
    }

    /// Sets how likely a request comes twice.
    #[must_use]
    pub fn duplication(mut self, probability: f64) -> Conditions {
        self.duplication = probability;
        self
    }

    /// Sets how likely somebody sends a request once more.
    #[must_use]
    pub fn replaying(mut self, probability: f64) -> Conditions {
        self.replaying = probability;
        self
    }

    /// Sets how likely a message arrives changed.
    #[must_use]
    pub fn tampering(mut self, probability: f64) -> Conditions {
        self.tampering = probability;
        self
    }

    /// Sets how likely a service is dropped whose caller does not wait any more.
    #[must_use]
    pub fn abandoning(mut self, probability: f64) -> Conditions {
        self.abandoning = probability;
        self
    }

    pub(super) fn roll(&self, numbers: [u64; Roll::NUMBERS]) -> Roll {
        let [
            delay,
            loss,
            breaking,
            reordering,
            held,
            duplication,
            again,
            tampering,
            place,
            abandoning,
            replaying,
            later,
        ] = numbers;
        Roll {
            delay: self.delay.of(delay),
            lost: meets(loss, self.loss),
            // The same number says whether, and its last bit where.
            broken: meets(breaking, self.breaking).then_some(breaking & 1 == 1),
            held_back: meets(reordering, self.reordering).then(|| self.held_back.of(held)),
            twice: meets(duplication, self.duplication).then(|| self.held_back.of(again)),
            replayed: meets(replaying, self.replaying).then(|| self.held_back.of(later)),
            changed: meets(tampering, self.tampering).then_some(place),
            abandoned: meets(abandoning, self.abandoning),
        }
    }
}

/// What was drawn for one message.
pub(super) struct Roll {
    pub delay: Duration,
    pub lost: bool,
    /// True: while the service is at work; false: on the way.
    pub broken: Option<bool>,
    pub held_back: Option<Duration>,
    pub twice: Option<Duration>,
    pub replayed: Option<Duration>,
    /// Where and how it is changed.
    pub changed: Option<u64>,
    pub abandoned: bool,
}

impl Roll {
    pub const NUMBERS: usize = 12;
}

/// Whether messages come through a link at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// They do, as the conditions say.
    #[default]
    Open,
    /// They vanish, also those that are on their way, and nobody is told.
    BlackHole,
    /// The other side says that nobody is there.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    #[test]
    fn delays_stay_within_what_they_say_and_use_it() {
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(400));
        let mut dice = Dice::new(1);
        let mut draw = |delay: Delay| -> Vec<Duration> { (0..4_000).map(|_| delay.of(dice.number())).collect() };
        let even = draw(Delay::Between(least, most));
        assert!(even.iter().all(|delay| (least..=most).contains(delay)));
        assert!(even.contains(&least) && even.contains(&most));
        let tailed = draw(Delay::Tailed(least, most));
        assert!(tailed.iter().all(|delay| (least / 2..=most).contains(delay)));
        let late = tailed.iter().filter(|delay| **delay > 2 * least).count();
        assert!((120..400).contains(&late), "{late} of 4000 in the tail");
        assert!(draw(Delay::millis(3)).iter().all(|delay| *delay == Duration::from_millis(3)));
        assert_eq!(Delay::Between(most, least).of(u64::MAX), most);
    }
}
