//! Entries that are void and carry nothing: what each of them costs, and that many of them keep nobody from what stands on them.

use std::sync::Arc;

use eidetica::auth::{Permission, Right, Setting, Subject};
use eidetica::backend::database::Memory;
use eidetica::core::auth::SettingsDelta;
use eidetica::entry::{Origin, VerifiedEntry};
use eidetica::store::doc::{Action, DocDelta, Path, Plain, Step};
use eidetica::store::{DocStore, SettingsStore};
use eidetica::{Database, Instance, Options, Outcome, Refused, SecretKey};

use super::counting::{Asked, Counting, Counts, Shared};
use super::kit::{Forge, check, hand_in, key, raw, set};

/// A database whose owner has removed a rogue admin; all but the owner write on what was there before.
struct Scene {
    _instance: Instance,
    forge: Forge,
    owner: Database,
    counts: Arc<Counts>,
    /// What lets in the rogue, and a friend who may write.
    begin: VerifiedEntry,
    rogue: Forge,
    friend: Forge,
}

impl Scene {
    async fn new() -> Scene {
        let forge = Forge::new(1);
        let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
        let (instance, owner) = forge.database_with(Box::new(backend), Options::default()).await;
        let by = |seed: u8| Forge { root: forge.root.clone(), key: key(seed) };
        let (rogue, friend) = (by(2), by(3));
        let transaction = owner.new_transaction().await.unwrap();
        let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
        settings.grant(&rogue.key.public(), Permission::Admin, 7).await.unwrap();
        settings.grant(&friend.key.public(), Permission::Write, 0).await.unwrap();
        let begin = owner.get_entry(&transaction.commit().await.unwrap()).await.unwrap();
        let transaction = owner.new_transaction().await.unwrap();
        transaction.get_store::<SettingsStore>("_settings").await.unwrap().remove(&rogue.key.public()).await.unwrap();
        transaction.commit().await.unwrap();
        Scene { _instance: instance, forge, owner, counts, begin, rogue, friend }
    }

    /// What it costs to hand in an entry that is void.
    async fn void(&self, entry: &VerifiedEntry) -> Asked {
        let (outcome, asked) = self.counts.of(hand_in(&self.owner, entry.to_raw())).await;
        assert_eq!(outcome, Outcome::Void);
        asked
    }
}

/// An entry that sets keys of a document.
fn cells(by: &Forge, below: &VerifiedEntry, count: usize) -> VerifiedEntry {
    let path = |at: usize| Path(vec![Step::Key(format!("cell {at:04}"))]);
    let operations = (0..count).map(|at| (path(at), Action::Set(Plain::Scalar((at as i64).into()))));
    let delta = DocDelta(operations.collect()).to_bytes();
    by.sign(by.header(&[below]), vec![("notes".to_owned(), "doc".to_owned(), delta)])
}

/// An entry that lets somebody write.
fn grant(by: &Forge, below: &[&VerifiedEntry], whom: &SecretKey) -> VerifiedEntry {
    set_right(by, below, whom, Setting::Grant(Right::WRITE))
}

/// An entry that removes somebody.
fn remove(by: &Forge, below: &VerifiedEntry, whom: &SecretKey) -> VerifiedEntry {
    set_right(by, &[below], whom, Setting::Limit(Right::NONE))
}

fn set_right(by: &Forge, below: &[&VerifiedEntry], whom: &SecretKey, setting: Setting) -> VerifiedEntry {
    let rights = vec![(Subject::Key(whom.public()), setting)];
    let delta = SettingsDelta { rights, values: DocDelta::default() }.to_bytes();
    by.sign(by.header(below), vec![("_settings".to_owned(), "settings".to_owned(), delta)])
}

#[tokio::test]
async fn what_is_void_is_judged_and_not_applied() {
    let scene = Scene::new().await;
    let many = cells(&scene.forge, &scene.begin, 1_000);
    assert_eq!(hand_in(&scene.owner, many.to_raw()).await, Outcome::Accepted);
    let one = scene.void(&cells(&scene.rogue, &many, 1)).await;
    let thousand = scene.void(&cells(&scene.rogue, &many, 1_000)).await;
    assert_eq!(thousand, one);
    assert!(one.read <= 4 && one.written == 0, "{one:?}");
    // With what stands on it it comes in, and its cells still show what counts.
    let carrier = scene.friend.entry(&[&cells(&scene.rogue, &many, 1_000)], "friend", 7);
    assert_eq!(hand_in(&scene.owner, carrier.to_raw()).await, Outcome::Accepted);
    let notes: DocStore = scene.owner.get_store_viewer("notes").await.unwrap();
    assert_eq!(notes.get("cell 0999").await.unwrap().as_int(), Some(999));
    assert_eq!(scene.owner.void_log(None, 100).await.unwrap().len(), 1);
    check(&scene.owner).await;
}

/// Also on top of what is held back the door asks first whose an entry is.
#[tokio::test]
async fn an_entry_of_another_database_is_refused_on_what_is_held_back_too() {
    let scene = Scene::new().await;
    let held = scene.rogue.entry(&[&scene.begin], "held", 1);
    scene.void(&held).await;
    let mut header = scene.rogue.header(&[&held]);
    header.origin = Origin::Database(held.id());
    let foreign = scene.rogue.sign(header, vec![]);
    let outcomes = scene.owner.ingest(vec![foreign.to_raw(), held.to_raw()], "rogue").await.unwrap();
    assert_eq!(outcomes, [Outcome::Refused(Refused::ForeignDatabase), Outcome::Void]);
    // Nor does it come in with what it claims to stand on.
    let carrier = scene.friend.entry(&[&held], "friend", 7);
    let outcomes = scene.owner.ingest(vec![carrier.to_raw(), foreign.to_raw()], "friend").await.unwrap();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Refused(Refused::ForeignDatabase)]);
    check(&scene.owner).await;
}

/// Whoever was removed lets others in, who let others in, and so on, or stands on very many heads. Each entry is judged by what is known of the one
/// below it.
#[tokio::test]
async fn what_stands_on_held_back_entries_costs_what_it_adds() {
    let scene = Scene::new().await;
    let mut asked = Vec::new();
    let mut chain = vec![grant(&scene.rogue, &[&scene.begin], &key(100))];
    asked.push(scene.void(&chain[0]).await);
    for at in 1..200 {
        let below = &chain[at - 1];
        chain.push(match at % 2 {
            0 => grant(&scene.rogue, &[below], &key(100 + (at / 2) as u8)),
            // By somebody who may write by what is below, and by nothing else.
            _ => Forge { key: key(100 + (at / 2) as u8), ..scene.rogue.clone() }.entry(&[below], "invited", at as i64),
        });
        asked.push(scene.void(&chain[at]).await);
    }
    let first = asked[1];
    assert!(asked.iter().all(|asked| asked.read <= first.read.max(4) && asked.written == 0), "{asked:?}");

    let heads: Vec<VerifiedEntry> =
        (0..200).map(|at| scene.friend.entry(&[&scene.begin], &format!("head {at}"), at)).collect();
    for page in heads.chunks(50) {
        assert!(scene.owner.ingest(raw(page), "friend").await.unwrap().iter().all(|one| *one == Outcome::Accepted));
    }
    let mut wide = Vec::new();
    for part in heads.chunks(50) {
        let mut parents: Vec<&VerifiedEntry> = part.iter().chain(wide.last()).collect();
        parents.extend(chain.last());
        let entry = scene.rogue.entry(&parents, "wide", 1);
        scene.void(&entry).await;
        wide.push(entry);
    }
    let mut above = wide.last().unwrap().clone();
    for at in 0..20 {
        above = scene.rogue.entry(&[&above], "above", at);
        let asked = scene.void(&above).await;
        assert!(asked.read <= 4 && asked.written == 0, "{asked:?}");
    }

    // All of it is there for whoever has a right to stand on it.
    let carrier = scene.friend.entry(&[&above], "friend", 7);
    assert_eq!(hand_in(&scene.owner, carrier.to_raw()).await, Outcome::Accepted);
    assert_eq!(scene.owner.void_log(None, 1_000).await.unwrap().len(), 200 + 4 + 20);
    let notes: DocStore = scene.owner.get_store_viewer("notes").await.unwrap();
    assert!(notes.get("friend").await.is_ok() && notes.get("invited").await.is_err());
    check(&scene.owner).await;
}

/// One that passes no door is refused, also where all that it stands on is held back; and one of whom nobody below has said anything, too.
#[tokio::test]
async fn the_door_sees_settings_that_are_held_back() {
    let scene = Scene::new().await;
    let stranger = Forge { key: key(99), ..scene.rogue.clone() };
    let letting_in = grant(&scene.rogue, &[&scene.begin], &stranger.key);
    let beside = grant(&scene.rogue, &[&scene.begin], &key(98));
    scene.void(&letting_in).await;
    scene.void(&beside).await;
    scene.void(&stranger.entry(&[&letting_in], "a", 1)).await;
    let refused = hand_in(&scene.owner, stranger.entry(&[&beside], "a", 1).to_raw()).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
    let both = stranger.entry(&[&beside, &letting_in], "a", 1);
    scene.void(&both).await;
    // Twice the same gives nothing, and is refused for it.
    let refused = hand_in(&scene.owner, grant(&scene.rogue, &[&both], &key(98)).to_raw()).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
}

/// A chain of void entries that is longer than the room for them.
fn long_chain(scene: &Scene, count: usize) -> Vec<VerifiedEntry> {
    let mut chain: Vec<VerifiedEntry> = Vec::new();
    for at in 0..count {
        let below = chain.last().unwrap_or(&scene.begin);
        let entry = scene.rogue.sign(scene.rogue.header(&[below]), vec![set("notes", "long", "x".repeat(4 << 20))]);
        assert!(at == 0 || entry.header().height > below.header().height);
        chain.push(entry);
    }
    chain
}

#[tokio::test]
async fn more_void_entries_than_there_is_room_for_come_in_below_one_that_counts() {
    let scene = Scene::new().await;
    let chain = long_chain(&scene, 8);
    for entry in &chain {
        scene.void(entry).await;
    }
    let (_, bytes) = scene.owner.waiting().await.unwrap();
    assert!(bytes <= (16 << 20) + 8 * 1024, "{bytes}");
    let entries = scene.owner.entry_count().await.unwrap();
    // Offered again they are as void as before, for as long as nothing stands on them.
    scene.void(&chain[7]).await;
    let carrier = scene.friend.entry(&[&chain[7]], "friend", 7);
    let waits = Outcome::Parked(eidetica::Parked::Parents(vec![chain[7].id()]));
    assert_eq!(hand_in(&scene.owner, carrier.to_raw()).await, waits);
    assert_eq!(scene.owner.entry_count().await.unwrap(), entries, "what nothing stands on is shown to nobody");
    check(&scene.owner).await;
    let mut outcomes = Vec::new();
    for entry in &chain {
        outcomes.push(hand_in(&scene.owner, entry.to_raw()).await);
    }
    assert!(outcomes[4..].iter().all(|outcome| *outcome == Outcome::Accepted), "{outcomes:?}");
    assert!(scene.owner.get_tips().await.unwrap().contains(&carrier.id()));
    assert_eq!(scene.owner.entry_count().await.unwrap(), entries + 9);
    check(&scene.owner).await;

    // A whole history with them goes from store to store.
    let mut exported = Vec::new();
    scene.owner.export(&mut exported).await.unwrap();
    let other = Instance::open(Box::new(Memory::new())).await.unwrap();
    let (copy, _) = other.engine().import(&mut &exported[..], None).await.unwrap();
    assert_eq!(copy.get_tips().await.unwrap(), scene.owner.get_tips().await.unwrap());
    assert_eq!(copy.entry_count().await.unwrap(), entries + 9);
    check(&copy).await;
}

/// What is kept in mind is judged by the settings of that time.
#[tokio::test]
async fn what_was_kept_in_mind_is_offered_anew_once_settings_have_come() {
    let scene = Scene::new().await;
    let chain = long_chain(&scene, 6);
    for entry in &chain {
        scene.void(entry).await;
    }
    let transaction = scene.owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.grant(&key(50).public(), Permission::Read, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let carrier = scene.friend.entry(&[&chain[5]], "friend", 7);
    for _ in 0..2 {
        hand_in(&scene.owner, carrier.to_raw()).await;
        for entry in &chain {
            hand_in(&scene.owner, entry.to_raw()).await;
        }
    }
    assert!(scene.owner.get_tips().await.unwrap().contains(&carrier.id()));
    check(&scene.owner).await;
}

/// What is void when its turn comes may count by what stands behind it on its page.
#[tokio::test]
async fn what_its_own_page_lifts_is_accepted() {
    let forge = Forge::new(1);
    let (_instance, owner) = forge.database().await;
    let by = |seed: u8| Forge { root: forge.root.clone(), key: key(seed) };
    let (member, helper) = (by(2), by(3));
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.grant(&member.key.public(), Permission::Write, 0).await.unwrap();
    settings.grant(&helper.key.public(), Permission::Admin, 7).await.unwrap();
    let begin = owner.get_entry(&transaction.commit().await.unwrap()).await.unwrap();
    assert_eq!(hand_in(&owner, remove(&helper, &begin, &member.key).to_raw()).await, Outcome::Accepted);
    let page = [member.entry(&[&begin], "a", 1), remove(&forge, &begin, &helper.key)];
    let outcomes = owner.ingest(raw(&page), "peer").await.unwrap();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
    let notes: DocStore = owner.get_store_viewer("notes").await.unwrap();
    assert_eq!(notes.get("a").await.unwrap().as_int(), Some(1));
    check(&owner).await;
}
