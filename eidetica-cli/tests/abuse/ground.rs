//! The process that is attacked, and the peers who go on beside the attack.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eidetica::Id;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

use super::peer::{Peer, newcomer};
use crate::kit::Place;
use crate::serving::{Serving, serve_with};

/// Within this time a commit of a peer who behaves shows at another one, whatever else comes in at the port, and a device
/// that was never seen before is let in. On a machine with nothing else to do the former takes a few milliseconds.
pub const WITHIN: Duration = Duration::from_secs(10);

/// An attack goes on for so long, and until the peers beside it have had so many turns.
const WHILE: Duration = Duration::from_secs(2);
const TURNS: usize = 3;

/// How many files the process may have open: what many systems give, whatever the one who tests is given.
pub const FILES: usize = 1024;

pub struct Ground {
    pub place: Place,
    pub serving: Serving,
    pub id: Id,
    peers: [Peer; 2],
    turns: AtomicUsize,
    on: Arc<AtomicBool>,
    _alone: MutexGuard<'static, ()>,
}

/// One attack at a time, or each would be measured by the processors that the others leave it.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Whether an attack is to go on.
#[derive(Clone)]
pub struct On(Arc<AtomicBool>);

impl On {
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ground {
    pub async fn new() -> Ground {
        let _alone = ALONE.lock().await;
        let place = Place::new();
        let file = place.write("few.csv", "k,v\n1,2\n");
        let import = ["import", file.to_str().unwrap(), "--database", "travel", "--table", "few", "--key", "k"];
        let (serving, id) = tokio::task::block_in_place(|| {
            place.run(&import).ok();
            let id = place.json(&["list"])[0]["id"].as_str().unwrap().parse().unwrap();
            (serve_with(place.command_with_files(FILES, &["--json", "serve", "--http", "127.0.0.1:0"])), id)
        });
        let peers = [Peer::join("ben", &id, &place, &serving).await, Peer::join("carl", &id, &place, &serving).await];
        let (turns, on) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(true)));
        let ground = Ground { place, serving, id, peers, turns, on, _alone };
        ground.turn().await;
        ground
    }

    pub fn socket(&self) -> SocketAddr {
        self.serving.address.parse().unwrap()
    }

    pub fn on(&self) -> On {
        On(self.on.clone())
    }

    /// Runs an attack, and insists that nobody else notices, and that it costs no more memory than so many MiB. The attack ends
    /// once it is not [`on`](Ground::on) any longer.
    ///
    /// With `strangers`, that includes devices that come for the first time meanwhile.
    pub async fn stands<T>(&self, what: &str, mebibytes: usize, strangers: bool, attack: impl Future<Output = T>) -> T {
        let before = self.serving.peak();
        let (mut slowest, mut latest, mut turns) = (Duration::ZERO, Duration::ZERO, 0);
        let (began, mut let_in) = (Instant::now(), Instant::now());
        let beside = async {
            loop {
                slowest = slowest.max(self.turn().await);
                // One origin may begin eight handshakes a second.
                if strangers && (turns == 0 || let_in.elapsed() > Duration::from_millis(250)) {
                    latest = latest.max(self.newcomer().await);
                    let_in = Instant::now();
                }
                turns += 1;
                self.on.store(turns < TURNS || began.elapsed() < WHILE, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // The peers are never cut off in the middle of what is asserted: the last turn comes after the attack.
        let attacked = tokio::select! {
            attacked = attack => attacked,
            () = beside => unreachable!("it never ends"),
        };
        let after = self.turn().await.max(self.newcomer().await);
        let grown = self.serving.peak() - before;
        println!(
            "{what}: {grown} KiB more than {before}; {turns} turns beside it took {slowest:?} at most, devices that came \
             {latest:?}, afterwards {after:?}"
        );
        assert!(turns >= TURNS, "{what}: the attack has ended before it was to: {turns} turns");
        assert!(grown <= mebibytes << 10, "{what}: {grown} KiB more than before");
        attacked
    }

    /// Stops all of it, and looks over what the process leaves.
    pub async fn end(self) {
        let Ground { place, mut serving, peers, .. } = self;
        for peer in peers {
            peer.close().await;
        }
        tokio::task::block_in_place(|| {
            assert_eq!(serving.stop("INT").code, Some(0));
            place.run(&["verify"]).ok();
        });
    }

    /// What one commits shows at the other, by way of the process that is attacked.
    async fn turn(&self) -> Duration {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let [from, to] = if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }.map(|number: usize| &self.peers[number]);
        let (key, value) = (format!("turn of {}", turn % 2), turn.to_string());
        from.set(&key, &value).await.unwrap();
        match to.sees(&key, &value, WITHIN).await {
            Some(took) => took,
            None => panic!("what one peer has committed does not show at the other within {WITHIN:?}"),
        }
    }

    async fn newcomer(&self) -> Duration {
        let began = Instant::now();
        match newcomer(&self.serving, WITHIN).await {
            Ok(took) => took,
            Err(error) => panic!("a new device is not let in, after {:?}: {error}", began.elapsed()),
        }
    }
}

/// Runs so many of something at once.
pub async fn many<F: Future<Output = ()> + Send + 'static>(count: usize, one: impl Fn(usize) -> F) {
    let mut all: JoinSet<()> = (0..count).map(one).collect();
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

/// Sees to it that this process may have so many files open. False, and said, where it may not.
pub fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: limit.maximum.map_or(Some(files), |most| Some(files.min(most))), ..limit };
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let may = getrlimit(Resource::Nofile).current.is_none_or(|current| current >= files);
    if !may {
        println!("NOT TESTED: {files} files cannot be open at once here");
    }
    may
}

/// An origin of its own for each so many, beside that of the peers who behave (1).
pub fn origin(number: usize, each: usize) -> u8 {
    u8::try_from(2 + number / each).unwrap()
}
