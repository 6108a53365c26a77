//! Random worlds: whatever goes wrong, in the end all that may read have the same.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind, PublicKey};
use eidetica_core::auth::{Permission, Right};
use eidetica_core::crdt::Value;
use eidetica_core::store::{DocStore, SettingsStore, Table};
use eidetica_core::{Database, Durability, Id, SecretKey};
use eidetica_sync::SyncPeerInfo;
use eidetica_sync::access::Scope;
use eidetica_sync::schedule::Wish;
use eidetica_sync::session::{Identity, Offer, SessionChannel, SessionLimits};
use eidetica_sync::sim::{self, Conditions, Dice, Reach, World, check, check::Ledger};

use super::kit::*;

/// How long it may take, after all has healed, until all are in step. A peer may be silent for a request of 30 s and a
/// watch of 55 s until it counts as gone, and be left alone for a minute then.
const HEALED: Duration = Duration::from_secs(150);

/// By how much the clock of an entry may be ahead, in milliseconds.
const ALLOWED_SKEW: i64 = 300_000;

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    name: String,
    count: i64,
}

/// One who takes part, and what must not be lost there.
struct Member {
    node: Node,
    /// Whom it asks, and never forgets for long.
    parent: Option<SyncPeerInfo>,
    ledger: Ledger,
    /// What it wishes, while it does not.
    wish: Option<Wish>,
    /// The heads of which the history was looked at last, by a process that runs still.
    seen: Option<[u8; 32]>,
}

/// Who has no right to anything, and tries all the same.
struct Stranger {
    node: Node,
}

struct Story {
    world: World,
    dice: Dice,
    members: Vec<Member>,
    stranger: Stranger,
    id: Id,
}

impl Story {
    async fn begin(world: World, sqlite: bool) -> Story {
        let mut dice = world.dice("story");
        let count = 3 + dice.below(3) as usize;
        // A tree, so that all are connected. Whoever has nothing yet knows whom to ask.
        let parents: Vec<usize> = (1..count).map(|number| dice.below(number as u64) as usize).collect();
        let mut nodes = Vec::new();
        for number in 0..count {
            let sqlite = sqlite && dice.chance(0.4);
            let mut node = Node::stopped(&world, &format!("n{number}"), sqlite).await;
            node.environment.set_skew(dice.below(4_000) as i64 - 2_000);
            node.max_message = if dice.chance(0.3) { 16 << 10 } else { 1 << 20 };
            node.listens = parents.contains(&number) || dice.chance(0.7);
            node.begin().await;
            nodes.push(node);
        }
        let users: Vec<_> = nodes[1..].iter().map(|node| node.user.public()).collect();
        let database = nodes[0].create(&users).await;
        let id = *database.root_id();
        for node in &nodes {
            let wish = match dice.below(4) {
                0 => Wish::every(Duration::from_secs(1 + dice.below(5))),
                1 => Wish { enabled: true, on_commit: true, interval: Some(Duration::from_secs(3)) },
                _ => Wish::live(),
            };
            node.track(id, wish).await;
        }
        for (number, parent) in parents.iter().enumerate() {
            nodes[number + 1].know(&nodes[*parent], id).await;
        }
        // And some more ways.
        for _ in 0..dice.below(3) {
            let (one, other) = (dice.below(count as u64) as usize, dice.below(count as u64) as usize);
            if one != other {
                nodes[one].know(&nodes[other], id).await;
            }
        }
        let stranger = Stranger { node: Node::start(&world, "eve").await };
        stranger.node.track(id, Wish { enabled: true, on_commit: true, interval: Some(Duration::from_secs(1)) }).await;
        for node in &nodes {
            stranger.node.know(node, id).await;
        }
        let mut members = Vec::new();
        for (number, node) in nodes.into_iter().enumerate() {
            let parent = number.checked_sub(1).and_then(|before| members.get(parents[before]));
            let parent = parent.map(|parent: &Member| parent.node.info(id));
            members.push(Member { node, parent, ledger: Ledger::new(), wish: None, seen: None });
        }
        Story { world, dice, members, stranger, id }
    }

    fn pick(&mut self) -> usize {
        self.dice.below(self.members.len() as u64) as usize
    }

    /// One thing happens.
    async fn step(&mut self) {
        let number = self.pick();
        match self.dice.below(26) {
            0..=8 => self.write(number).await,
            9 => self.weather(),
            10 | 11 => self.cut(),
            12 => self.world.network.heal(),
            13 | 14 => self.members[number].node.crash_now().await,
            15 => self.members[number].node.end().await,
            16 if self.members[number].node.runs() => self.members[number].node.disk.crash_after(self.dice.below(6)),
            17 => self.flush(number).await,
            18 => self.garbage(number).await,
            19 => self.members[number].by_hand(&self.id, &mut self.dice).await,
            20 => self.members[number].change_mind(&self.id).await,
            21 => self.change_right().await,
            22 => self.clock(number),
            23 => self.change_key().await,
            _ => self.sleep(4_000).await,
        }
        self.sleep(400).await;
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            member.node.has_fallen().await;
            if !member.node.runs() && self.dice.chance(0.5) {
                member.rise(&self.id).await;
            }
        }
        let rows = self.pick();
        for (number, member) in self.members.iter_mut().enumerate() {
            member.look(&self.id, number == rows).await;
        }
    }

    async fn sleep(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.dice.below(most))).await;
    }

    /// The weather changes.
    fn weather(&mut self) {
        let conditions = match self.dice.below(4) {
            0 => Conditions::default(),
            1 => Conditions::hostile(),
            2 => Conditions::poor().loss(0.3),
            _ => Conditions::poor(),
        };
        self.world.network.everywhere(conditions);
    }

    /// One way or all ways between two are cut.
    fn cut(&mut self) {
        let (one, other) = (self.pick(), self.pick());
        let (one, other) = (self.members[one].node.name.clone(), self.members[other].node.name.clone());
        let network = &self.world.network;
        match self.dice.below(4) {
            0 => network.cut(&one, &other),
            1 => network.set_reach(&one, &other, Reach::Refused),
            2 => {
                // All around one.
                for member in self.members.iter().filter(|member| member.node.name != one) {
                    network.partition(&[&one], &[&member.node.name]);
                }
            }
            _ => network.partition(&[&one], &[&other]),
        }
    }

    /// Some commits, one after the other or at once.
    async fn write(&mut self, number: usize) {
        let member = &mut self.members[number];
        if !member.node.runs() {
            return;
        }
        let Some(database) = member.node.database(&self.id).await else { return };
        for _ in 0..1 + self.dice.below(3) {
            match change(&database, &mut self.dice).await {
                Ok(Some(id)) => member.ledger.note(id),
                Ok(None) => {}
                // The disk has crashed.
                Err(error) if error.kind() == ErrorKind::Closed => return,
                // The settings have not come yet by which this user may write.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
                Err(error) => panic!("a commit at {} has failed: {error}", member.node.name),
            }
        }
    }

    async fn flush(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.node.runs()
            && let Some(database) = member.node.database(&self.id).await
        {
            // It fails if the disk crashes meanwhile.
            let _ = member.ledger.flush(&database).await;
        }
    }

    /// The stranger sends what means nothing, as it is and within a session.
    async fn garbage(&mut self, number: usize) {
        let (transport, name) = (self.world.network.transport("eve"), self.members[number].node.name.clone());
        let mut bytes = vec![0; self.dice.below(300) as usize];
        bytes.iter_mut().for_each(|byte| *byte = self.dice.number() as u8);
        let options = CallOptions::timeout(Duration::from_millis(500));
        use eidetica_contract::Transport as _;
        let Ok(channel) = transport.dial(&address(&name), options).await else { return };
        let _ = channel.request(bytes.clone().into(), options).await;
        let identity =
            Identity::new(self.stranger.node.device.clone(), self.stranger.node.environment.clone()).unwrap();
        let (offer, limits) = (Offer::versions(1, 1), SessionLimits::default());
        let session = SessionChannel::new(channel.into(), 1 << 20, identity, offer, limits, None).unwrap();
        for _ in 0..3 {
            bytes.iter_mut().take(2).for_each(|byte| *byte = self.dice.below(8) as u8);
            let _ = session.request(bytes.clone().into(), options).await;
        }
    }

    /// The clock of one is set: mostly by so little that nobody minds, at times so far ahead that others wait with what it writes.
    fn clock(&mut self, number: usize) {
        let skew = match self.dice.below(4) {
            0 => ALLOWED_SKEW + self.dice.below(30_000) as i64,
            _ => self.dice.below(120_000) as i64 - 60_000,
        };
        self.members[number].node.environment.set_skew(skew);
    }

    /// The user of another changes the key: the first puts the new one in the place of the old one.
    async fn change_key(&mut self) {
        let number = 1 + self.dice.below(self.members.len() as u64 - 1) as usize;
        if !self.members[0].node.runs() || !self.members[number].node.runs() {
            return;
        }
        let successor = SecretKey::from_seed(blake3::hash(&self.dice.number().to_be_bytes()).as_bytes());
        let Some(database) = self.members[0].node.database(&self.id).await else { return };
        let old = self.members[number].node.user.public();
        match replace(&database, &old, &successor.public()).await {
            Ok(id) => self.members[0].ledger.note(id),
            // The disk has crashed.
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => panic!("a key cannot be replaced: {error}"),
        }
        let member = &mut self.members[number];
        member.node.user = successor;
        // It fails if the disk crashes meanwhile; whoever starts anew shows it again.
        let _ = member.show(&self.id).await;
    }

    /// The first, who has made the database, takes the right of another, or gives it back.
    async fn change_right(&mut self) {
        let number = 1 + self.dice.below(self.members.len() as u64 - 1) as usize;
        let user = self.members[number].node.user.public();
        let first = &mut self.members[0];
        if !first.node.runs() {
            return;
        }
        let Some(database) = first.node.database(&self.id).await else { return };
        match set_right(&database, user, None).await {
            Ok(id) => first.ledger.note(id),
            // The disk has crashed.
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => panic!("a right cannot be changed: {error}"),
        }
    }

    /// All may write again; tells whether one could not.
    async fn restore_rights(&self) -> bool {
        let users: Vec<PublicKey> = self.members[1..].iter().map(|member| member.node.user.public()).collect();
        let database = self.members[0].node.open(&self.id).await;
        let mut restored = false;
        for user in users {
            if database.now().right_of(user).await.unwrap() < Right::WRITE {
                set_right(&database, user, Some(Permission::Write)).await.unwrap();
                restored = true;
            }
        }
        restored
    }

    /// All come in step, and may write. A crash of the first may have lost that it has taken a right, while others know of it: it
    /// hears so from them, and gives it back then.
    async fn come_in_step(&self) -> Duration {
        let nodes: Vec<&Node> = self.members.iter().map(|member| &member.node).collect();
        let mut took = Duration::ZERO;
        loop {
            let (mut waited, second) = (Duration::ZERO, Duration::from_secs(1));
            while !self.restore_rights().await {
                if in_step(&nodes, &self.id).await || waited > HEALED {
                    // If they are not, it says how they stand.
                    return took + waited + come_in_step(&nodes, &self.id, Duration::ZERO).await;
                }
                tokio::time::sleep(second).await;
                waited += second;
            }
            took += waited;
        }
    }

    /// All heals, and all come in step.
    async fn end(&mut self) -> Duration {
        self.world.network.heal();
        self.world.network.everywhere(Conditions::default());
        for member in &mut self.members {
            member.node.environment.set_skew(0);
            member.node.has_fallen().await;
            if !member.node.runs() {
                member.rise(&self.id).await;
            }
            // No disk crashes any longer.
            member.node.disk.crash_after(u64::MAX - 1);
            if member.wish.is_some() {
                member.change_mind(&self.id).await;
            }
            if let Some(parent) = member.parent.clone() {
                member.node.syncer().register_sync_peer(parent).await.unwrap();
            }
        }
        let took = self.come_in_step().await;
        let mut databases = Vec::new();
        for member in &self.members {
            let database = member.node.open(&self.id).await;
            check::all(&database, &mut self.dice).await.unwrap();
            member.ledger.check(&database).await.unwrap();
            databases.push(database);
        }
        check::converged(&databases.iter().collect::<Vec<_>>()).await.unwrap();
        self.nothing_for_strangers().await;
        took
    }

    async fn nothing_for_strangers(&self) {
        let eve = &self.stranger.node;
        assert_eq!(eve.engine().databases().await.unwrap(), [], "the stranger has got something");
        for member in &self.members {
            let name = &member.node.name;
            let (to, from) = (self.world.network.traffic(name, "eve"), self.world.network.traffic("eve", name));
            assert_eq!(to.requests, 0, "{name} has asked the stranger for something");
            assert!(to.bytes <= 1_000 + 300 * from.requests, "{name} has told the stranger much: {to:?} for {from:?}");
        }
    }
}

impl Member {
    /// What must hold at any time of the history, unless it is the one that was looked at last; and, which costs more, of the rows.
    async fn look(&mut self, id: &Id, rows: bool) {
        if !self.node.runs() {
            self.seen = None;
            return;
        }
        let Some(database) = self.node.database(id).await else { return };
        let look = async {
            let digest = Some(database.heads_digest().await?);
            if self.seen != digest {
                check::history(&database).await?;
                self.seen = digest;
            }
            if rows { check::rows(&database).await } else { Ok(()) }
        };
        match look.await {
            Err(error) if error.kind() == ErrorKind::Closed => self.seen = None,
            held => held.unwrap_or_else(|error| panic!("at {}: {error}", self.node.name)),
        }
    }

    /// Something is done by hand. Whatever it comes to, it comes to an end.
    async fn by_hand(&mut self, id: &Id, dice: &mut Dice) {
        let Some(parent) = self.parent.clone().filter(|_| self.node.runs()) else { return };
        let (syncer, key) = (self.node.syncer().clone(), parent.peer_pubkey.parse::<PublicKey>().unwrap());
        let work = async {
            match dice.below(4) {
                0 => drop(syncer.flush().await),
                1 => drop(syncer.sync_tree_with_peer(&key, id).await),
                2 => drop(syncer.sync_with_peer(&parent.addresses[0], None).await),
                _ => drop(syncer.remove_peer(&key).await),
            }
        };
        tokio::time::timeout(Duration::from_secs(100), work).await.expect("what is done by hand ends");
    }

    /// Ends the wish, or wishes again.
    async fn change_mind(&mut self, id: &Id) {
        if !self.node.runs() {
            return;
        }
        self.wish = match self.wish.take() {
            Some(wish) => {
                self.node.wishes.set(*id, Some(wish));
                None
            }
            None => self.node.wishes.set(*id, None),
        };
        // The store may have crashed.
        let _ = self.node.syncer().settle_wishes().await;
    }

    /// Shows peers the key of its user from now on.
    async fn show(&self, id: &Id) -> eidetica_contract::Result<()> {
        self.node.grants().save(&self.node.user, Scope::Database(*id)).await?;
        self.node.syncer().settle_wishes().await
    }

    /// Starts anew, with all that was told to be durable.
    async fn rise(&mut self, id: &Id) {
        self.seen = None;
        self.node.begin().await;
        // The disk may crash again.
        let _ = self.show(id).await;
        if let Some(database) = self.node.database(id).await {
            self.ledger.check(&database).await.unwrap();
        } else {
            assert!(self.ledger.is_empty(), "{} has lost a database that was flushed", self.node.name);
        }
    }
}

/// Gives a user this right; without one, takes that which it has, or gives it back.
async fn set_right(database: &Database, user: PublicKey, right: Option<Permission>) -> eidetica_contract::Result<Id> {
    let may_write = database.now().right_of(user).await? >= Right::WRITE;
    let transaction = database.new_transaction().await?;
    let settings = transaction.get_store::<SettingsStore>("_settings").await?;
    match right {
        None if may_write => settings.revoke_auth_key(&user).await?,
        _ => settings.set_auth_key(&user, right.unwrap_or(Permission::Write), 0).await?,
    }
    transaction.commit().await
}

/// Puts one key in the place of another.
async fn replace(database: &Database, old: &PublicKey, new: &PublicKey) -> eidetica_contract::Result<Id> {
    let transaction = database.new_transaction().await?;
    let settings = transaction.get_store::<SettingsStore>("_settings").await?;
    settings.grant(new, Permission::Write, 0).await?;
    settings.remove(old).await?;
    transaction.commit().await
}

/// A commit; its id if it is durable.
async fn change(database: &Database, dice: &mut Dice) -> eidetica_contract::Result<Option<Id>> {
    let transaction = database.new_transaction().await?;
    let key = format!("k{}", dice.below(4));
    let notes = async || transaction.get_store::<DocStore>("notes").await;
    let list = format!("list {}", dice.below(2));
    match dice.below(12) {
        0 => drop(notes().await?.delete(&key).await?),
        1 | 2 => {
            let row = Row { name: key.clone(), count: dice.below(9) as i64 };
            transaction.get_store::<Table<Row>>("rows").await?.set(&key, &row).await?;
        }
        3 => drop(transaction.get_store::<Table<Row>>("rows").await?.delete(&key).await?),
        4 => notes().await?.increment("count", 1).await?,
        5 => notes().await?.set("count", Value::Counter(dice.below(9) as i64)).await?,
        6 => notes().await?.set_path(&format!("k0.{key}"), dice.below(100) as i64).await?,
        7 => notes().await?.list_push(&list, dice.below(100) as i64).await?,
        8 => elements(&notes().await?, &list, dice).await?,
        9 => drop(notes().await?.delete(&list).await?),
        _ => notes().await?.set(&key, dice.below(100) as i64).await?,
    }
    if dice.chance(0.4) {
        return transaction.commit().await.map(Some);
    }
    transaction.commit_with(Durability::Buffered).await.map(|_| None)
}

/// Something is done to an element of a list, if it has any.
async fn elements(notes: &DocStore, list: &str, dice: &mut Dice) -> eidetica_contract::Result<()> {
    let Ok(Value::List(elements)) = notes.get(list).await else { return Ok(()) };
    let Some(most) = (elements.len() as u64).checked_sub(1) else { return Ok(()) };
    let (at, to) = (dice.below(most + 1) as usize, dice.below(most + 1) as usize);
    match dice.below(4) {
        0 => notes.list_remove(list, at).await,
        1 => notes.list_set(list, at, dice.below(100) as i64).await,
        2 => notes.list_insert(list, at, dice.below(100) as i64).await,
        _ => notes.list_move(list, at, to).await,
    }
}

impl Node {
    async fn crash_now(&mut self) {
        if self.runs() {
            self.crash().await;
        }
    }
}

/// How it ended: how long they took to come in step, and all that the network has seen.
struct Ended {
    took: Duration,
    events: u64,
    digest: [u8; 32],
    trace: Vec<sim::Event>,
}

async fn story(world: World, sqlite: bool) -> Ended {
    let mut story = Story::begin(world, sqlite).await;
    let steps = 10 + story.dice.below(12);
    for _ in 0..steps {
        story.step().await;
    }
    let took = story.end().await;
    let network = &story.world.network;
    let (events, digest) = network.trace_digest();
    Ended { took, events, digest, trace: network.trace() }
}

/// In CI so many seeds are run; more by hand.
const SEEDS: u64 = 2_000;

#[test]
fn whatever_goes_wrong_all_come_in_step() {
    let seeds: Vec<u64> = sim::seeds(SEEDS).collect();
    let (next, events, ended) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let failed = Mutex::new(BTreeSet::new());
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let run = std::panic::catch_unwind(|| sim::run(*seed, |world| story(world, true)));
                    match run {
                        Ok(run) => {
                            events.fetch_add(run.events, Ordering::Relaxed);
                            ended.lock().unwrap().insert((run.took, *seed));
                        }
                        Err(_) => drop(failed.lock().unwrap().insert(*seed)),
                    }
                }
            });
        }
    });
    let (failed, ended) = (failed.into_inner().unwrap(), ended.into_inner().unwrap());
    println!(
        "{} seeds, {events:?} events, in {:?}; slowest: {:?}",
        seeds.len(),
        begun.elapsed(),
        ended.iter().rev().take(5).collect::<Vec<_>>()
    );
    assert!(failed.is_empty(), "these seeds have failed: {failed:?}");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in sim::seeds(5) {
        let (one, same) = (sim::run(seed, |world| story(world, false)), sim::run(seed, |world| story(world, false)));
        let different = one.trace.iter().zip(&same.trace).find(|(one, same)| one != same);
        assert!(different.is_none(), "seed {seed}: first {different:?}");
        assert_eq!((one.took, one.events, one.digest), (same.took, same.events, same.digest), "seed {seed}");
    }
}
