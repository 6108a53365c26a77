//! Taking times: by the clock on the wall, and on the processors.
//!
//! On a machine that others use, too, only the second says what something costs; the first says how long it took.

use std::time::{Duration, Instant};

/// A running clock.
pub struct Watch {
    start: Instant,
    cpu: Duration,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// By the clock on the wall.
    pub wall: Duration,
    /// On the processors, all threads of this process together. Zero where it was not measured.
    pub cpu: Duration,
}

impl Watch {
    /// Starts it.
    pub fn start() -> Watch {
        let cpu = processors();
        Watch { start: Instant::now(), cpu }
    }

    /// Reads it.
    pub fn stop(self) -> Took {
        let wall = self.start.elapsed();
        Took { wall, cpu: processors().saturating_sub(self.cpu) }
    }
}

/// What all threads of this process have spent on processors, to the nanosecond. What the files in `/proc` say of a running
/// thread is as old as its last tick, which is too coarse for what takes milliseconds.
fn processors() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

/// Times per item, one for each round.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rounds {
    /// Adds a round: so many items took so long.
    pub fn add(&mut self, took: Took, items: u64) {
        let items = items.max(1) as f64;
        self.wall.push(took.wall.as_secs_f64() / items);
        self.cpu.push(took.cpu.as_secs_f64() / items);
    }

    /// Rounds of one.
    pub fn once(took: Took, items: u64) -> Rounds {
        let mut rounds = Rounds::default();
        rounds.add(took, items);
        rounds
    }

    /// Seconds per item in the middle round.
    pub fn median(&self) -> f64 {
        middle(&self.wall)
    }

    /// Seconds per item on the processors in the middle round.
    pub fn cpu(&self) -> f64 {
        middle(&self.cpu)
    }
}

fn middle(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A time in a unit that fits.
pub fn human(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A rate, from seconds per item.
pub fn rate(seconds: f64) -> String {
    format!("{}/s", thousands((1.0 / seconds) as u64))
}

/// A number with its thousands apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
