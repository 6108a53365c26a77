//! Removing people: what it strikes, what it costs, and what whoever is removed is told.

use std::sync::Arc;

use eidetica::auth::{Permission, Right};
use eidetica::backend::database::Memory;
use eidetica::store::{DocStore, SettingsStore};
use eidetica::{Database, Durability, ErrorKind, Id, Instance, Options, SecretKey, Snapshot};

use super::big::{Big, Stage, big};
use super::counting::{Asked, Counting, Counts, Shared, load};
use super::kit::{check, key};

/// A database with an owner and a member who may write.
struct Pair {
    _instance: Instance,
    owner: Database,
    member: Database,
    counts: Arc<Counts>,
}

fn member() -> SecretKey {
    key(2)
}

async fn with_member(_instance: Instance, owner: Database, counts: Arc<Counts>) -> Pair {
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.grant(&member().public(), Permission::Write, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let member = owner.with_key(Some(member()));
    Pair { _instance, owner, member, counts }
}

async fn pair() -> Pair {
    let (backend, counts) = Counting::new(Shared::in_turns(Memory::new()));
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let owner = instance.create_database_with_key(Default::default(), &key(1)).await.unwrap();
    with_member(instance, owner, counts).await
}

async fn write(database: &Database, key: &str, value: i64) -> Id {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, value).await.unwrap();
    transaction.commit_with(Durability::Buffered).await.unwrap().id
}

async fn read(database: &Database, key: &str) -> Option<i64> {
    let notes: DocStore = database.get_store_viewer("notes").await.unwrap();
    notes.get(key).await.ok().and_then(|value| value.as_int())
}

/// A stage of the long history, opened by its owner, with a member who may write.
async fn on_top_of(stage: &Stage, big: &Big) -> Pair {
    let backend = Shared::in_turns(Memory::new());
    load(&backend, &stage.rows).await;
    let (backend, counts) = Counting::new(backend);
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let owner = instance.open_database_with_key(&big.forge.root.id(), Some(big.forge.key.clone())).await.unwrap();
    with_member(instance, owner, counts).await
}

/// What it costs to strike ten entries on top of others.
async fn strike_ten(Pair { owner, member, counts, _instance }: Pair) -> Asked {
    write(&owner, "key 3", 3).await;
    let before: Snapshot = owner.snapshot().await.unwrap();
    let others = owner.entry_count().await.unwrap();
    let mut struck = Vec::new();
    for at in 0..10 {
        struck.push(write(&member, &format!("key {at}"), -1).await);
    }
    assert_eq!(read(&owner, "key 3").await, Some(-1));
    let mut watch = owner.watch().await.unwrap();
    let (removed, asked) = counts.of(owner.remove_as_of(&self::member().public(), &before)).await;
    assert_eq!(read(&owner, "key 3").await, Some(3));
    assert_eq!(owner.entry_count().await.unwrap(), others + 1);
    assert_eq!(owner.get_tips().await.unwrap(), [removed.unwrap().id]);
    assert_eq!(watch.next().await.unwrap().struck, struck);
    if others < 1_000 {
        check(&owner).await;
    }
    asked
}

#[tokio::test]
async fn a_strike_costs_what_it_strikes() {
    let big = big().await;
    let mut asked = Vec::new();
    for stage in &big.stages {
        asked.push((stage.entries, strike_ten(on_top_of(stage, big).await).await));
    }
    println!("{asked:?}");
    let few = asked[0].1;
    for (entries, many) in &asked {
        // What differs is where blocks of heights end: a row of each level is written, and up to sixteen are read for it.
        assert!(many.written <= few.written + 8 && many.written <= 110, "at {entries}: {asked:?}");
        assert!(many.read <= few.read + 48, "at {entries}: {asked:?}");
    }
}

/// What the commits of a member read at least, one by one.
async fn usual(Pair { member, counts, _instance, .. }: &Pair) -> u64 {
    let mut least = u64::MAX;
    for at in 0..8 {
        let (_, asked) = counts.of(write(member, "mine", at)).await;
        least = least.min(asked.read);
    }
    least
}

/// A right is found in memory, however many settings there are and whatever was struck.
#[tokio::test]
async fn the_right_of_a_usual_entry_takes_no_row() {
    let quiet = usual(&pair().await).await;
    let busy = pair().await;
    let owner = &busy.owner;
    let rogue = key(3);
    let set = async |right: Option<Permission>| {
        let transaction = owner.new_transaction().await.unwrap();
        let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
        match right {
            Some(right) => settings.grant(&rogue.public(), right, 0).await.unwrap(),
            None => settings.limit(&rogue.public(), Permission::Read, 0).await.unwrap(),
        }
        transaction.commit().await.unwrap();
    };
    for _ in 0..50 {
        set(Some(Permission::Write)).await;
        set(None).await;
    }
    set(Some(Permission::Write)).await;
    let before = owner.snapshot().await.unwrap();
    for at in 0..20 {
        write(&owner.with_key(Some(rogue.clone())), &format!("rogue {at}"), at).await;
    }
    owner.remove_as_of(&rogue.public(), &before).await.unwrap();
    assert_eq!(usual(&busy).await, quiet);
    check(owner).await;
}

#[tokio::test]
async fn whoever_is_removed_is_told_at_the_commit() {
    let Pair { owner, member, .. } = pair().await;
    write(&owner, "a", 1).await;
    let late = member.new_transaction().await.unwrap();
    late.get_store::<DocStore>("notes").await.unwrap().set("a", 2).await.unwrap();
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.remove(&self::member().public()).await.unwrap();
    let removal = transaction.commit().await.unwrap();
    let (heads, count) = (owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap());
    let error = late.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.context("struck_by"), Some(&removal.to_string()[..]));
    assert_eq!((owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap()), (heads, count));
    assert_eq!(read(&owner, "a").await, Some(1));
    assert_eq!(member.current_permission().await.unwrap(), Right::REMOVED);
}

#[tokio::test]
async fn a_transaction_on_what_was_struck_is_to_be_done_again() {
    let Pair { owner, member, .. } = pair().await;
    let before = owner.snapshot().await.unwrap();
    let struck = write(&member, "a", 1).await;
    let transaction = owner.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set("b", 2).await.unwrap();
    owner.remove_as_of(&self::member().public(), &before).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    assert_eq!((read(&owner, "a").await, read(&owner, "b").await), (None, None));
    let error = owner.new_transaction_with_tips(&[struck]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    write(&owner, "b", 2).await;
    assert_eq!(read(&owner, "b").await, Some(2));
    check(&owner).await;
}

#[tokio::test]
async fn rights_are_those_of_the_snapshot() {
    let Pair { owner, member, .. } = pair().await;
    let before = owner.snapshot().await.unwrap();
    let transaction = member.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    settings.step_down(Some(Permission::Read)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(member.current_permission().await.unwrap(), Right::READ);
    let subject = eidetica::auth::Subject::Key(self::member().public());
    let then = owner.permissions_at(&before).await.unwrap();
    assert!(then.contains(&(subject, Right::WRITE)), "{then:?}");
    let transaction = owner.new_transaction().await.unwrap();
    let settings: SettingsStore = transaction.get_store("_settings").await.unwrap();
    // A limit that would raise is refused, and so is a grant that would give nothing.
    settings.limit(&self::member().public(), Permission::Write, 0).await.unwrap();
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

async fn settings(transaction: &eidetica::Transaction) -> SettingsStore {
    transaction.get_store("_settings").await.unwrap()
}

#[tokio::test]
async fn a_look_says_what_a_removal_strikes_and_changes_nothing() {
    let Pair { owner, member, .. } = pair().await;
    let (helper, invited) = (key(5), key(6));
    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.grant(&helper.public(), Permission::Admin, 7).await.unwrap();
    transaction.commit().await.unwrap();
    let before = owner.snapshot().await.unwrap();
    write(&member, "a", 1).await;
    // What is invited by who is removed goes with that.
    let transaction = owner.with_key(Some(helper.clone())).new_transaction().await.unwrap();
    settings(&transaction).await.grant(&invited.public(), Permission::Write, 0).await.unwrap();
    let grant = transaction.commit().await.unwrap();
    for at in 0..3 {
        write(&owner.with_key(Some(invited.clone())), "b", at).await;
    }
    let (heads, count) = (owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap());

    let transaction = owner.new_transaction_with_tips(&before.0).await.unwrap();
    settings(&transaction).await.remove(&helper.public()).await.unwrap();
    let foreseen = transaction.foresee().await.unwrap();
    assert_eq!(foreseen.struck, [(helper.public(), 1), (invited.public(), 3)].into());
    assert!(foreseen.lifted.is_empty());
    let rights: Vec<_> = foreseen.rights.iter().map(|one| (one.subject, one.before, one.after)).collect();
    let subject = |key: &SecretKey| eidetica::auth::Subject::Key(key.public());
    assert_eq!(rights.len(), 2, "{rights:?}");
    assert!(rights.contains(&(subject(&helper), Right::admin(7), Right::REMOVED)), "{rights:?}");
    assert!(rights.contains(&(subject(&invited), Right::WRITE, Right::NONE)), "{rights:?}");
    assert_eq!((owner.get_tips().await.unwrap(), owner.entry_count().await.unwrap()), (heads, count));
    assert_eq!(read(&owner, "b").await, Some(2));

    // It comes as it was said. What the member wrote stands above nothing of that, and counts.
    let mut watch = owner.watch().await.unwrap();
    transaction.commit().await.unwrap();
    let struck = watch.next().await.unwrap().struck;
    assert_eq!((struck.len(), struck.contains(&grant)), (4, true));
    assert_eq!((read(&owner, "a").await, read(&owner, "b").await), (Some(1), None));
    check(&owner).await;

    // One senior to the remover brings it back, and that is said, too; and what is not allowed is said as at a commit.
    let transaction = owner.with_key(Some(helper.clone())).new_transaction().await.unwrap();
    settings(&transaction).await.grant(&invited.public(), Permission::Write, 0).await.unwrap();
    assert_eq!(transaction.foresee().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let nothing = owner.new_transaction().await.unwrap().foresee().await.unwrap();
    assert_eq!(nothing, Default::default());

    // What was struck is in no log but that of the void.
    let log = owner.log(None, 100).await.unwrap();
    assert!(log.iter().all(|entry| entry.live && !struck.contains(&entry.id)));
    let void = owner.void_log(None, 100).await.unwrap();
    assert!(void.iter().all(|entry| entry.void && !entry.live && struck.contains(&entry.id)), "{void:?}");
    assert_eq!(void.len(), 4);
    let (first, rest) = (owner.void_log(None, 1).await.unwrap(), void[0].number);
    assert_eq!((&first[..], owner.void_log(Some(rest), 100).await.unwrap()), (&void[..1], void[1..].to_vec()));
}

#[tokio::test]
async fn a_look_says_what_is_brought_back() {
    let Pair { owner, member, .. } = pair().await;
    let junior = key(5);
    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.grant(&junior.public(), Permission::Admin, 7).await.unwrap();
    transaction.commit().await.unwrap();
    let before = owner.snapshot().await.unwrap();
    write(&member, "a", 1).await;
    owner.with_key(Some(junior.clone())).remove_as_of(&self::member().public(), &before).await.unwrap();
    assert_eq!(read(&owner, "a").await, None);
    let transaction = owner.new_transaction_with_tips(&before.0).await.unwrap();
    settings(&transaction).await.remove(&junior.public()).await.unwrap();
    let foreseen = transaction.foresee().await.unwrap();
    assert_eq!(foreseen.struck, [(junior.public(), 1)].into());
    assert_eq!(foreseen.lifted, [(self::member().public(), 1)].into());
    transaction.commit().await.unwrap();
    assert_eq!(read(&owner, "a").await, Some(1));
    check(&owner).await;
}

/// Two entries, since nobody can give as much as he has and a step down stands alone; and both, or none.
#[tokio::test]
async fn a_key_hands_its_right_over_in_one_batch() {
    let Pair { owner, member, .. } = pair().await;
    let successor = key(9);
    let data = write(&owner, "a", 1).await;
    let groups = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = groups.clone();
    let guard = owner.on_local_write(move |event| heard.lock().unwrap().push(event.entries.clone()));
    let transaction = owner.new_transaction().await.unwrap();
    let right = settings(&transaction).await.hand_over(&successor.public()).await.unwrap();
    assert_eq!(right, Right::admin(u32::MAX - 1));
    let foreseen = transaction.foresee().await.unwrap();
    assert!(foreseen.struck.is_empty(), "{foreseen:?}");
    assert_eq!(foreseen.rights.len(), 2, "{foreseen:?}");
    let last = transaction.commit().await.unwrap();
    drop(guard);
    let groups = groups.lock().unwrap().clone();
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!((groups[0][1], owner.get_tips().await.unwrap()), (last, vec![last]));
    assert_eq!(owner.get_entry(&last).await.unwrap().header().parents, [groups[0][0]]);
    assert_eq!(owner.get_entry(&groups[0][0]).await.unwrap().header().parents, [data]);
    let new = owner.with_key(Some(successor.clone()));
    assert_eq!(owner.current_permission().await.unwrap(), Right::REMOVED);
    assert_eq!(new.current_permission().await.unwrap(), right);
    assert_eq!(read(&owner, "a").await, Some(1));
    assert!(!owner.new_transaction().await.unwrap().commit_with(Durability::Buffered).await.unwrap().written);
    let late = owner.new_transaction().await.unwrap();
    late.get_store::<DocStore>("notes").await.unwrap().set("a", 2).await.unwrap();
    assert_eq!(late.commit().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    // The successor rules: it can remove the old key, too, which strikes what that writes beside it.
    let transaction = new.new_transaction().await.unwrap();
    settings(&transaction).await.remove(&key(1).public()).await.unwrap();
    transaction.commit().await.unwrap();

    // Whoever cannot give what he has is told so before anything is written.
    let lowest = key(10);
    let transaction = new.new_transaction().await.unwrap();
    settings(&transaction).await.grant(&lowest.public(), Permission::Admin, 0).await.unwrap();
    transaction.commit().await.unwrap();
    let count = new.entry_count().await.unwrap();
    for weak in [member, new.with_key(Some(lowest))] {
        let transaction = weak.new_transaction().await.unwrap();
        let error = settings(&transaction).await.hand_over(&key(11).public()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!transaction.commit_with(Durability::Buffered).await.unwrap().written);
    }
    assert_eq!(new.entry_count().await.unwrap(), count);
    check(&new).await;
}

/// The step down would strike settings of the same key that it has not seen.
#[tokio::test]
async fn a_key_hands_over_on_what_is_there_or_does_it_again() {
    let Pair { owner, .. } = pair().await;
    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.hand_over(&key(9).public()).await.unwrap();
    // Data that came in between is below both.
    write(&owner, "a", 1).await;
    let meanwhile = owner.new_transaction().await.unwrap();
    settings(&meanwhile).await.grant(&key(12).public(), Permission::Write, 0).await.unwrap();
    meanwhile.commit().await.unwrap();
    let (heads, error) = (owner.get_tips().await.unwrap(), transaction.commit().await.unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    assert_eq!(owner.get_tips().await.unwrap(), heads);

    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.hand_over(&key(9).public()).await.unwrap();
    write(&owner, "a", 2).await;
    transaction.commit().await.unwrap();
    assert_eq!((owner.get_tips().await.unwrap().len(), read(&owner, "a").await), (1, Some(2)));
    let right = owner.now().right_of(key(12).public()).await.unwrap();
    assert_eq!(right, Right::WRITE);
}

#[tokio::test]
async fn a_key_is_replaced_in_one_entry() {
    let Pair { owner, member, .. } = pair().await;
    let before = owner.snapshot().await.unwrap();
    write(&member, "a", 1).await;
    let successor = key(9);
    let count = owner.entry_count().await.unwrap();
    let transaction = owner.new_transaction_with_tips(&before.0).await.unwrap();
    let right = settings(&transaction).await.replace(&self::member().public(), &successor.public()).await.unwrap();
    assert_eq!(right, Right::WRITE);
    assert_eq!(transaction.foresee().await.unwrap().struck, [(self::member().public(), 1)].into());
    transaction.commit().await.unwrap();
    // One came, and one went.
    assert_eq!((owner.entry_count().await.unwrap(), read(&owner, "a").await), (count, None));
    assert_eq!(member.current_permission().await.unwrap(), Right::REMOVED);
    write(&owner.with_key(Some(successor.clone())), "a", 2).await;
    assert_eq!(read(&owner, "a").await, Some(2));
    let transaction = owner.new_transaction().await.unwrap();
    let settings = settings(&transaction).await;
    for (old, new, kind) in [
        (key(77).public(), successor.public(), ErrorKind::NotFound),
        (self::member().public(), successor.public(), ErrorKind::NotFound),
        (successor.public(), successor.public(), ErrorKind::InvalidInput),
    ] {
        assert_eq!(settings.replace(&old, &new).await.unwrap_err().kind(), kind);
    }
    check(&owner).await;
}

fn friend_key() -> SecretKey {
    key(3)
}

/// Somebody who may write makes entries of a removed key part of the database by standing on them. Others do not stand on that.
#[tokio::test]
async fn a_head_with_too_many_void_entries_below_it_is_left_out() {
    for (many, taken) in [(1024, true), (1025, false), (10_000, false)] {
        let forge = super::kit::Forge::new(1);
        let (_instance, owner) = forge.database().await;
        let (rogue, friend) = (key(2), friend_key());
        let transaction = owner.new_transaction().await.unwrap();
        let store = settings(&transaction).await;
        store.grant(&rogue.public(), Permission::Write, 0).await.unwrap();
        store.grant(&friend.public(), Permission::Admin, 0).await.unwrap();
        let begin = transaction.commit().await.unwrap();
        let begin = owner.get_entry(&begin).await.unwrap();
        write(&owner, "a", 1).await;
        let transaction = owner.new_transaction().await.unwrap();
        settings(&transaction).await.remove(&rogue.public()).await.unwrap();
        let removal = transaction.commit().await.unwrap();

        let by = |key: &SecretKey| super::kit::Forge { root: forge.root.clone(), key: key.clone() };
        let mut page = by(&rogue).chain(&begin, many, |at| format!("rogue {at}"));
        let carrier = by(&friend).entry(&[page.last().unwrap()], "friend", 7);
        page.push(carrier.clone());
        for part in page.chunks(1000) {
            owner.ingest(super::kit::raw(part), "friend").await.unwrap();
        }
        assert_eq!(read(&owner, "rogue 3").await, None);
        assert_eq!(read(&owner, "friend").await, Some(7), "who may write may, wherever it stands");
        let mut heads = vec![removal, carrier.id()];
        heads.sort_unstable();
        assert_eq!(owner.get_tips().await.unwrap(), heads);

        let transaction = owner.new_transaction().await.unwrap();
        let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
        notes.set("a", 2).await.unwrap();
        // What it does not stand on it does not see, either.
        assert_eq!(notes.contains_key("friend").await.unwrap(), taken);
        let committed = transaction.commit_with(Durability::Buffered).await.unwrap();
        let parents = owner.get_entry(&committed.id).await.unwrap().header().parents.clone();
        let left_out = eidetica::Warning::LeavesOut { head: carrier.id(), void: many as u64 };
        if taken {
            assert_eq!((parents, &committed.warnings[..]), (heads, &[][..]));
            assert_eq!(owner.left_out().await.unwrap(), []);
        } else {
            assert_eq!((parents, &committed.warnings[..]), (vec![removal], &[left_out][..]));
            assert_eq!(owner.left_out().await.unwrap(), [(carrier.id(), many as u64)]);
            // Who wrote it still stands on it: there is no other way to go on for it.
            let own = owner.with_key(Some(friend)).new_transaction_with_tips(&[carrier.id()]).await.unwrap();
            own.get_store::<DocStore>("notes").await.unwrap().set("b", 1).await.unwrap();
            let own = own.commit().await.unwrap();
            assert_eq!(read(&owner, "b").await, Some(1));
            // Nor for whoever was let in there.
            let guest = key(4);
            let letting_in = owner.with_key(Some(friend_key())).new_transaction_with_tips(&[own]).await.unwrap();
            settings(&letting_in).await.grant(&guest.public(), Permission::Write, 0).await.unwrap();
            letting_in.commit().await.unwrap();
            write(&owner.with_key(Some(guest)), "guest", 3).await;
            assert_eq!(read(&owner, "guest").await, Some(3));
        }
        check(&owner).await;
    }
}

/// Lets one in who may write; the entry that does so, and what writes with that key on whatever it likes.
async fn let_rogue_in(
    forge: &super::kit::Forge,
    owner: &Database,
) -> (eidetica::entry::VerifiedEntry, super::kit::Forge) {
    let rogue = key(2);
    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.grant(&rogue.public(), Permission::Write, 0).await.unwrap();
    let begin = owner.get_entry(&transaction.commit().await.unwrap()).await.unwrap();
    (begin, super::kit::Forge { root: forge.root.clone(), key: rogue })
}

/// Much that came in was struck since: whoever follows from before steps over it, however little is asked for at once.
#[tokio::test]
async fn a_long_run_of_struck_entries_is_stepped_over() {
    let forge = super::kit::Forge::new(1);
    let (_instance, owner) = forge.database().await;
    let (begin, by_rogue) = let_rogue_in(&forge, &owner).await;
    let before = owner.cursor().await.unwrap();
    let spam = by_rogue.chain(&begin, 4_000, |at| format!("spam {at}"));
    for part in spam.chunks(1000) {
        owner.ingest(super::kit::raw(part), "rogue").await.unwrap();
    }
    let transaction = owner.remove_as_of(&by_rogue.key.public(), &Snapshot(vec![begin.id()])).await.unwrap();
    let removal = transaction.id;
    let (changes, _) = owner.changes_since(before, 1).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.log.id).collect::<Vec<_>>(), [removal]);
    assert_eq!(changes[0].struck.len(), spam.len());
}

/// What was struck is no reason to stand on anything but what is there now, also after it was opened again.
#[tokio::test]
async fn transactions_at_once_make_one_line_beside_struck_entries() {
    let forge = super::kit::Forge::new(1);
    let backend = Shared::in_turns(Memory::new());
    let (instance, owner) = forge.database_with(Box::new(backend.clone()), Options::default()).await;
    let (begin, by_rogue) = let_rogue_in(&forge, &owner).await;
    owner.ingest(super::kit::raw(&by_rogue.chain(&begin, 3, |at| format!("spam {at}"))), "rogue").await.unwrap();
    owner.remove_as_of(&by_rogue.key.public(), &Snapshot(vec![begin.id()])).await.unwrap();
    instance.close().await.unwrap();
    let instance = Instance::open_with(Box::new(backend), Options::default()).await.unwrap();
    let owner = instance.open_database_with_key(owner.root_id(), Some(forge.key.clone())).await.unwrap();
    let both = [owner.new_transaction().await.unwrap(), owner.new_transaction().await.unwrap()];
    for (at, transaction) in both.into_iter().enumerate() {
        let notes = transaction.get_store::<DocStore>("notes").await.unwrap();
        notes.set(&format!("key {at}"), at as i64).await.unwrap();
        transaction.commit().await.unwrap();
    }
    assert_eq!(owner.get_tips().await.unwrap().len(), 1);
}

/// What cannot be taken back by anybody is said before.
#[tokio::test]
async fn a_look_says_that_no_admin_is_left() {
    let Pair { owner, .. } = pair().await;
    let step_down = async || {
        let transaction = owner.new_transaction().await.unwrap();
        settings(&transaction).await.step_down(Some(Permission::Write)).await.unwrap();
        transaction.foresee().await.unwrap().leaves_no_admin
    };
    assert!(step_down().await);
    let transaction = owner.new_transaction().await.unwrap();
    settings(&transaction).await.grant(&key(5).public(), Permission::Admin, 0).await.unwrap();
    assert!(!transaction.foresee().await.unwrap().leaves_no_admin);
    transaction.commit().await.unwrap();
    assert!(!step_down().await);
}

/// Whoever is struck may have brought more heads together than new ones are let in beside each other. All of them are heads then,
/// no new branch comes in beside them, and the next commit brings them together.
#[tokio::test]
async fn a_strike_may_uncover_more_heads_than_are_let_in() {
    const MOST: usize = 16_384;
    let forge = super::kit::Forge::new(1);
    let (_instance, owner) = forge.database().await;
    let (begin, by_rogue) = let_rogue_in(&forge, &owner).await;
    let heads = async |from: usize, count: usize| {
        let heads: Vec<_> = (from..from + count).map(|at| forge.entry(&[&begin], &format!("head {at}"), 1)).collect();
        super::kit::hand_in_all(&owner, &heads).await;
        heads
    };
    let mut merged = heads(0, 10_000).await;
    while merged.len() > 1 {
        let merges: Vec<_> =
            merged.chunks(64).map(|part| by_rogue.entry(&part.iter().collect::<Vec<_>>(), "merge", 1)).collect();
        super::kit::hand_in_all(&owner, &merges).await;
        merged = merges;
    }
    heads(10_000, 10_000).await;
    owner.remove_as_of(&by_rogue.key.public(), &Snapshot(vec![begin.id()])).await.unwrap();
    let uncovered = owner.get_tips().await.unwrap().len();
    assert!(uncovered == 20_001 && uncovered > MOST, "{uncovered}");
    let another = forge.entry(&[&begin], "one more", 1);
    let outcome = super::kit::hand_in(&owner, another.to_raw()).await;
    assert_eq!(outcome, eidetica::Outcome::Parked(eidetica::Parked::Heads));
    write(&owner, "all", 1).await;
    assert_eq!(owner.get_tips().await.unwrap().len(), 1);
    assert_eq!(super::kit::hand_in(&owner, another.to_raw()).await, eidetica::Outcome::Accepted);
    check(&owner).await;
}
