//! Eight peers in a random mesh, over mixed backends and transports, written to at random while their links are cut, and they are
//! stopped, killed, and started again. In the end all have the same, at once; nothing that was flushed is lost, and nobody has
//! grown but by what he keeps.
//!
//! Each is a process on a host of its own, so that a kill is a kill, and a cut one of every transport: peers over iroh find
//! out all ways to each other by themselves, and would go around whatever stands between two of them on one host. Without
//! network namespaces (`EIDETICA_NO_NETNS=1`) they are on one, and nothing is cut but connections of HTTP.
//!
//! Half a minute with all the other tests; `EIDETICA_SOAK=600` soaks for so many seconds, and then looks at the memory, too
//! (`cargo xtask soak`).

#[path = "../../../eidetica-cli/tests/hosts/host.rs"]
mod host;
mod peer;
mod process;
mod switch;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::thread::sleep;
use std::time::{Duration, Instant};

use eidetica_sync::sim::Dice;

use self::peer::{Settings, Store};
use self::process::Process;
use self::switch::Switch;

const PEERS: usize = 8;
/// For so long it soaks without being asked for more.
const SOAK: Duration = Duration::from_secs(30);
/// At the end of that nothing is hurt any longer; others go on writing.
const CALM: Duration = Duration::from_secs(4);
/// And before that nobody goes without a word: over iroh a connection to who has gone so is given up after ten seconds, and
/// the last question to him was five seconds ago.
const WORDS: Duration = Duration::from_secs(16);
/// Cuts that last for long end so long before the end: it is as long until TCP tries once more.
const LONG: Duration = Duration::from_secs(60);
/// So long after the last write all must have all.
const IN_STEP: Duration = Duration::from_secs(5);
/// From a soak of so many seconds on the memory is judged, but for the first fifth of it.
const JUDGED: u64 = 300;
/// How much memory may grow in a minute, in bytes.
const SLOPE: f64 = 1048576.0;

#[test]
fn eight_peers_come_to_the_same_whatever_happens_to_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("EIDETICA_SEED").unwrap_or_else(|| std::process::id().into());
    let time = number("EIDETICA_SOAK").map_or(SOAK, Duration::from_secs);
    println!("EIDETICA_SEED={seed}, {} s", time.as_secs());
    // What a store in memory keeps is memory, so it takes no part where memory is judged.
    let judged = time.as_secs() >= JUDGED;
    let mut mesh = Mesh::grow(seed, !judged);
    let began = Instant::now();
    let mut memory = Vec::new();
    while began.elapsed() < time {
        mesh.step(time.saturating_sub(began.elapsed()));
        if memory.len() < began.elapsed().as_secs() as usize {
            memory.push((began.elapsed().as_secs_f64(), mesh.resident() as f64));
        }
    }
    mesh.end();
    let slope = slope(&memory[memory.len() / 5..]) * 60.0;
    let last = memory.last().map_or(0.0, |(_, bytes)| *bytes);
    println!("memory of those who were never killed: {slope:.0} bytes more each minute, {last} in the end");
    assert!(!judged || slope < SLOPE, "memory grows by {slope:.0} bytes a minute: {memory:?}");
}

/// One who takes part.
struct Peer {
    settings: Settings,
    /// Every other one is killed, if its store outlives that; the others are stopped and go on in the same process.
    mortal: bool,
    /// `None` while it is gone.
    runs: Option<Process>,
    /// When it is to come back.
    back: Instant,
}

struct Mesh {
    dice: Dice,
    peers: Vec<Peer>,
    id: String,
    /// Links that are cut, in which direction, and until when.
    cut: Vec<(usize, usize, Instant)>,
    /// How many entries there were before anything was written.
    before: u64,
    wrote: Wrote,
    did: Did,
    switch: Option<Switch>,
    directory: tempfile::TempDir,
}

/// What was written.
#[derive(Default)]
struct Wrote {
    all: u64,
    /// What was told to be durable, or is by somebody who was never killed.
    safe: BTreeSet<String>,
    /// What may have been lost when its author was killed.
    risked: BTreeSet<String>,
}

/// What has happened.
#[derive(Debug, Default)]
struct Did {
    treatments: u32,
    cuts: u32,
    stops: u32,
    kills: u32,
}

impl Mesh {
    /// Peers that all write to one database, each connected with those that it was let in by, and some others.
    fn grow(seed: u64, memory: bool) -> Mesh {
        let switch = host::can_make_hosts().then(|| Switch::with(PEERS));
        let directory = tempfile::tempdir().unwrap();
        let dice = Dice::new(seed);
        let mut peers = Vec::new();
        let mut keys = Vec::new();
        for number in 0..PEERS {
            let store = match number % 3 {
                0 => Store::Sqlite,
                1 if memory => Store::Memory,
                _ => Store::Redb,
            };
            let (ip, ports) = match &switch {
                Some(_) => (switch::address(number), [8080, 8081]),
                None => (IpAddr::from(Ipv4Addr::LOCALHOST), free_ports()),
            };
            let settings = Settings { name: format!("peer{number}"), store, ip, ports, seed: seed + number as u64 };
            let mortal = number % 2 == 1 && store != Store::Memory;
            let host = switch.as_ref().map(|switch| switch.host(number));
            let (process, key) = Process::start(directory.path(), &settings, host);
            keys.push(key);
            peers.push(Peer { settings, mortal, runs: Some(process), back: Instant::now() });
        }
        let mut mesh = Mesh {
            dice,
            peers,
            id: String::new(),
            cut: Vec::new(),
            before: 0,
            wrote: Wrote::default(),
            did: Did::default(),
            switch,
            directory,
        };
        mesh.id = mesh.process(0).ask("create");
        for key in &keys[1..] {
            mesh.process(0).ask(&format!("let-in {key}"));
        }
        let id = mesh.id.clone();
        for number in 1..PEERS {
            // A tree, so that all are connected, and some more ways.
            let mut parents = vec![mesh.dice.below(number as u64) as usize];
            if number > 1 && mesh.dice.chance(0.6) {
                parents.push(mesh.dice.below(number as u64) as usize);
            }
            for parent in parents {
                let addresses = mesh.process(parent).ask("addresses");
                let addresses: Vec<&str> = addresses.split(' ').collect();
                assert_eq!(addresses.len(), 2, "over HTTP and over iroh");
                let address = addresses[mesh.dice.below(2) as usize];
                mesh.process(number).ask(&format!("join {id} {address}"));
            }
        }
        mesh.before = mesh.process(0).ask("count").parse().unwrap();
        mesh
    }

    fn process(&mut self, number: usize) -> &mut Process {
        self.peers[number].runs.as_mut().expect("it runs")
    }

    /// One thing happens, and what is over ends. The less time is `left`, the fewer things are done that take long to mend.
    fn step(&mut self, left: Duration) {
        let (calm, words) = (left <= CALM, left > CALM + WORDS);
        self.mend(calm);
        let number = self.dice.below(PEERS as u64) as usize;
        match self.dice.below(100) {
            0..=2 if !calm => self.treat(number),
            3..=6 if words => self.cut(number, left > LONG),
            7..=8 if words => self.reopen(number),
            9..=11 if words => self.kill(),
            _ => self.write(number),
        }
        sleep(Duration::from_millis(20 + self.dice.below(60)));
    }

    /// Heals and brings back what is due; all of it when it is to be calm.
    fn mend(&mut self, calm: bool) {
        let now = Instant::now();
        let (due, still) = std::mem::take(&mut self.cut).into_iter().partition(|(_, _, until)| calm || *until <= now);
        self.cut = still;
        for (from, to, _) in due {
            self.switch.as_ref().unwrap().heal(from, to);
        }
        for number in 0..PEERS {
            if self.peers[number].runs.is_none() && (calm || self.peers[number].back <= now) {
                let host = self.switch.as_ref().map(|switch| switch.host(number));
                let settings = &self.peers[number].settings;
                let (mut process, _) = Process::start(self.directory.path(), settings, host);
                process.ask(&format!("open {}", self.id));
                self.peers[number].runs = Some(process);
            }
            if calm {
                self.process(number).ask("treat pass");
            }
        }
    }

    /// Connections over HTTP to this peer are treated in some way.
    fn treat(&mut self, number: usize) {
        let treatment = self.dice.pick(&["cut", "delay", "throttle", "pass"]).copied().unwrap();
        if let Some(process) = &mut self.peers[number].runs {
            process.ask(&format!("treat {treatment}"));
            self.did.treatments += 1;
        }
    }

    /// Nothing gets through between two of them, whatever the transport, in both directions or in one.
    fn cut(&mut self, from: usize, long: bool) {
        let to = self.dice.below(PEERS as u64) as usize;
        let Some(switch) = self.switch.as_ref().filter(|_| from != to) else { return };
        let until = Instant::now() + Duration::from_millis(500 + self.dice.below(if long { 20_000 } else { 2_500 }));
        for (from, to) in [(from, to), (to, from)] {
            if !self.cut.iter().any(|link| (link.0, link.1) == (from, to)) {
                switch.cut(from, to);
                self.cut.push((from, to, until));
            }
            if self.dice.chance(0.3) {
                break;
            }
        }
        self.did.cuts += 1;
    }

    fn order(&mut self, how: &str) -> String {
        let (key, value) = (self.dice.below(50), self.dice.number());
        format!("write {how} key{key} {}-{value}", self.wrote.all)
    }

    fn write(&mut self, number: usize) {
        let how = if self.dice.chance(0.2) { "durable" } else { "buffered" };
        let order = self.order(how);
        let Some(process) = &mut self.peers[number].runs else { return };
        let written = process.ask(&order);
        self.note(number, &written);
    }

    /// Takes down an entry of this peer.
    fn note(&mut self, number: usize, written: &str) {
        let (how, id) = written.split_once(' ').expect("how, and what");
        let safe = how == "durable" || !self.peers[number].mortal;
        if safe { &mut self.wrote.safe } else { &mut self.wrote.risked }.insert(id.to_owned());
        self.wrote.all += 1;
    }

    /// Stops a peer, and starts it again in the same process, from its file.
    fn reopen(&mut self, number: usize) {
        let Peer { settings, runs, .. } = &self.peers[number];
        if settings.store != Store::Memory && runs.is_some() {
            self.process(number).ask("reopen");
            self.did.stops += 1;
        }
    }

    /// Kills a peer right after it has said that something is durable, in the middle of the next write. It comes back soon.
    fn kill(&mut self) {
        let here = (0..PEERS).filter(|number| self.peers[*number].mortal && self.peers[*number].runs.is_some());
        let here: Vec<usize> = here.collect();
        let Some(&number) = self.dice.pick(&here) else { return };
        let (durable, order) = (self.order("durable"), self.order("buffered"));
        let moment = Duration::from_micros(self.dice.below(2_000));
        let mut process = self.peers[number].runs.take().expect("it runs");
        let written = process.ask(&durable);
        self.note(number, &written);
        process.tell(&order);
        sleep(moment);
        for written in process.kill() {
            self.note(number, &written);
        }
        self.peers[number].back = Instant::now() + Duration::from_millis(self.dice.below(1_000));
        self.did.kills += 1;
    }

    /// The memory that those have now who were never killed.
    fn resident(&self) -> u64 {
        let living = self.peers.iter().filter(|peer| !peer.mortal);
        living.map(|peer| peer.runs.as_ref().expect("it runs").resident()).sum()
    }

    /// All have all, soon after the last write, and all of it is in order.
    fn end(mut self) {
        let last = Instant::now();
        let heads = |mesh: &mut Mesh| (0..PEERS).map(|number| mesh.process(number).ask("heads")).collect::<Vec<_>>();
        loop {
            let heads = heads(&mut self);
            if heads.iter().all(|others| *others == heads[0]) {
                break;
            }
            assert!(last.elapsed() < IN_STEP, "after {IN_STEP:?} not all have the same: {heads:#?}\n{:?}", self.did);
            sleep(Duration::from_millis(5));
        }
        println!("{} writes, {:?}; in step {:?} after the last", self.wrote.all, self.did, last.elapsed());
        let safe: Vec<&str> = self.wrote.safe.iter().map(String::as_str).collect();
        let lacks = format!("lacks {}", safe.join(" "));
        let maybe: Vec<&str> = self.wrote.risked.iter().map(String::as_str).collect();
        let maybe = format!("lacks {}", maybe.join(" "));
        let (before, mut counts) = (self.before, BTreeSet::new());
        for number in 0..PEERS {
            let process = self.process(number);
            assert_eq!(process.ask("verify"), "[]");
            assert_eq!(process.ask(&lacks), "", "peer{number} lacks what was durable");
            let lost = process.ask(&maybe).split_whitespace().count() as u64;
            let count = process.ask("count").parse::<u64>().unwrap();
            let writes = process.ask("writes").parse::<u64>().unwrap();
            assert_eq!(writes, count - before, "a write is lost or counted twice");
            counts.insert((count, lost));
        }
        let &[(count, lost)] = &counts.into_iter().collect::<Vec<_>>()[..] else { panic!("they differ") };
        // Of what was being written in the moment of a kill nobody has said what it is, and it may be there.
        let told = self.wrote.all - lost;
        let untold = (count - before).checked_sub(told).expect("what was told is there");
        assert!(untold <= self.did.kills.into(), "{untold} entries that nobody has written");
        println!("{lost} writes that were not flushed went with a killed process, {untold} came without a word");
        for peer in &mut self.peers {
            peer.runs.take().expect("it runs").end();
        }
    }
}

/// Ports of this machine that nobody uses now.
fn free_ports() -> [u16; 2] {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    free.map(|listener| listener.local_addr().unwrap().port())
}

/// The slope of the line through these points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}
