//! `keys`, `grant`, `limit`, `remove`, `rotate` and `log --void`; and what a removal comes to between processes.

use serde_json::{Value as Json, json};

use crate::kit::{Place, airports, until};
use crate::serving::{Serving, id, let_in_by, same, serve, serve_by};

/// The key that a store writes with.
fn key(place: &Place) -> String {
    place.json(&["info"])[0]["author"].as_str().unwrap().to_owned()
}

/// Who may do what, as `keys` says.
fn rights(place: &Place) -> Vec<(String, String)> {
    let text = |one: &Json, name: &str| one[name].as_str().unwrap().to_owned();
    place.json(&["keys", "travel"]).iter().map(|one| (text(one, "key"), text(one, "right"))).collect()
}

fn right_of(place: &Place, key: &str) -> Option<String> {
    rights(place).into_iter().find(|(other, _)| other == key).map(|(_, right)| right)
}

/// A key that nobody has used.
fn stranger(number: u8) -> String {
    format!("ed25519:{}", format!("{number:02x}").repeat(32))
}

fn field(place: &Place, name: &str) -> String {
    place.run(&["get", "travel", "airports", "SEA", name]).out.trim().to_owned()
}

fn entries(place: &Place) -> u64 {
    place.json(&["info", "travel"])[0]["entries"].as_u64().unwrap()
}

#[test]
fn rights_are_given_and_taken_and_it_is_said_what_that_does() {
    let place = Place::with_airports();
    let (own, ben) = (key(&place), stranger(7));
    assert_eq!(rights(&place), [(own.clone(), "admin".to_owned())]);
    let given = place.json(&["grant", "travel", &ben, "admin", "--priority", "5"]).remove(0);
    assert_eq!((&given["done"], &given["by"], &given["strikes"]), (&json!(true), &json!(own), &json!([])), "{given}");
    assert_eq!(place.json(&["keys", "travel"])[1]["priority"], 5);

    // By its beginning; and what takes something is asked about, or said to be meant.
    let (code, error) = place.error(&["limit", "travel", &ben[8..20], "write"]);
    assert_eq!((code, &error["context"]["reason"]), (1, &json!("nobody_to_ask")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("--dry-run"), "{error}");
    assert_eq!(right_of(&place, &ben).as_deref(), Some("admin"), "nothing was changed");
    let look = place.json(&["limit", "travel", &ben[..20], "write", "--dry-run"]).remove(0);
    assert_eq!((&look["done"], &look["entry"], &look["key"]), (&json!(false), &Json::Null, &json!(ben)), "{look}");
    let change = &look["rights"][0];
    assert_eq!((&change["before"], &change["after"]), (&json!("admin"), &json!("write")), "{look}");
    assert_eq!(right_of(&place, &ben).as_deref(), Some("admin"), "a look changes nothing");
    let text = place.run(&["limit", "travel", &ben, "write", "--yes"]).ok().out;
    assert!(text.contains("write") && text.contains("will not count"), "{text}");
    assert_eq!(right_of(&place, &ben).as_deref(), Some("write"));

    let everybody = place.json(&["grant", "travel", "*", "read"]).remove(0);
    assert_eq!((&everybody["key"], &everybody["right"]), (&json!("*"), &json!("read")), "{everybody}");
    assert_eq!(place.json(&["limit", "travel", "*", "none", "--yes"])[0]["done"], true);
    place.run(&["remove", "travel", &ben, "--yes"]).ok();
    assert_eq!(right_of(&place, &ben).as_deref(), Some("removed"));
    let before = place.json(&["keys", "travel", "--at", "~1"]);
    assert!(before.iter().any(|one| one["key"] == json!(ben) && one["right"] == "write"), "{before:?}");
    assert!(place.run(&["keys", "travel"]).ok().out.contains("default (here)"));
}

#[test]
fn errors_of_rights_say_what_to_do() {
    let place = Place::with_airports();
    let (own, ben) = (key(&place), stranger(7));
    for (arguments, code, word) in [
        (&["grant", "travel", &ben, "none"][..], 2, "remove"),
        (&["grant", "travel", "*", "admin"], 2, "at most"),
        (&["limit", "travel", "*", "read"], 1, "no more"),
        (&["limit", "travel", &ben, "none"], 2, "remove"),
        (&["grant", "travel", &ben, "read", "--priority", "3"], 2, "priority"),
        (&["grant", "travel", "ab", "read"], 3, "64 digits"),
        (&["remove", "travel", "*", "--yes"], 2, "limit"),
        (&["grant", "elsewhere", &ben, "read"], 3, "there_are"),
        (&["grant", "travel", &ben, "admin", "--priority", "4294967295"], 1, "below his own"),
        (&["limit", "travel", &ben, "read", "--yes"], 1, "below his own"),
        (&["rotate", "travel", "--key", &ben, "--to", &own, "--yes"], 3, "no right"),
        (&["rotate", "travel", "--to", &own, "--yes"], 1, "own successor"),
        (&["rotate", "travel", "--recovery", "/nowhere/at/all", "--yes"], 3, "import --recovery-key"),
    ] {
        let (ended, error) = place.error(arguments);
        assert_eq!(ended, code, "{arguments:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{arguments:?}: {error}");
    }
    assert_eq!(rights(&place), [(own, "admin".to_owned())], "nothing was changed");
}

/// A rogue is undone as of an older state, over a store that another process serves.
#[test]
fn a_rogue_is_undone_as_of_an_older_state() {
    for scheme in ["sqlite", "redb"] {
        let (anna, ben) = (Place::of(scheme).and_airports(), Place::new());
        let serving = serve(&anna);
        let_in_by(&anna, &serving.address, &ben);
        let (before, rogue) = (anna.json(&["log", "travel"])[0]["id"].as_str().unwrap().to_owned(), key(&ben));
        for number in ["n=1", "n=2", "n=3"] {
            ben.run(&["set", "travel", "airports", "SEA", number]).ok();
        }
        assert_eq!(ben.json(&["sync"])[0]["sent"], 3);
        assert_eq!(field(&anna, "n"), "3");
        let remove = ["remove", "travel", &rogue, "--as-of", &before];
        let look = anna.json(&[&remove[..], &["--dry-run"]].concat()).remove(0);
        assert_eq!(look["strikes"], json!([{ "author": rogue, "entries": 3 }]), "{look}");
        assert_eq!(field(&anna, "n"), "3");
        let text = anna.run(&[&remove[..], &["--yes"]].concat()).ok().out;
        assert!(text.contains("strikes 3 entries"), "{text}");
        assert!(text.contains("default"), "it says whose: {text}");
        assert_eq!(field(&anna, "n"), "");
        let log = anna.json(&["log", "travel"]);
        assert!(log.iter().all(|entry| entry["author"] != json!(rogue) && entry["void"] == false));
        let void = anna.json(&["log", "travel", "--void"]);
        assert_eq!(void.len(), 3);
        assert!(
            void.iter().all(|entry| entry["author"] == json!(rogue) && entry["void"] == true && entry["live"] == false)
        );
        assert_eq!(anna.json(&["log", "travel", "--void", "--limit", "2"]), void[..2]);
        anna.run(&["verify"]).ok();
    }
}

#[test]
fn a_key_is_rotated_while_the_store_is_served() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let serving = serve(&anna);
    let_in_by(&anna, &serving.address, &ben);
    let old = key(&anna);
    let look = anna.json(&["rotate", "travel", "--dry-run"]).remove(0);
    assert_eq!(
        (&look["hands_over"], &look["key"], &look["done"]),
        (&json!(true), &json!(old), &json!(false)),
        "{look}"
    );
    assert_eq!(right_of(&anna, &old).as_deref(), Some("admin"));
    let done = anna.json(&["rotate", "travel", "--yes"]).remove(0);
    let new = done["successor"].as_str().unwrap().to_owned();
    assert_eq!((&done["strikes"], &done["priority"]), (&json!([]), &json!(u32::MAX - 1)), "{done}");
    assert_eq!((right_of(&anna, &old).as_deref(), right_of(&anna, &new).as_deref()), (Some("removed"), Some("admin")));
    // Commands write with the new one from now on, and it reaches the other side.
    anna.run(&["set", "travel", "airports", "SEA", "by=new"]).ok();
    assert_eq!(anna.json(&["log", "travel"])[0]["author"], json!(new));
    assert_eq!(anna.json(&["info", "travel"])[0]["right"], format!("admin of priority {}", u32::MAX - 1));
    ben.json(&["sync"]);
    assert_eq!(field(&ben, "by"), "new");
    ben.run(&["verify"]).ok();
    // Ben cannot rotate his by himself; anna puts one in its place, with the same right.
    let (weak, fresh) = (key(&ben), stranger(9));
    let (code, error) = ben.error(&["rotate", "travel", "--to", &fresh, "--yes"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
    let replaced = anna.json(&["rotate", "travel", "--key", &weak, "--to", &fresh, "--yes"]).remove(0);
    assert_eq!((&replaced["hands_over"], &replaced["right"]), (&json!(false), &json!("write")), "{replaced}");
    assert_eq!(
        (right_of(&anna, &weak).as_deref(), right_of(&anna, &fresh).as_deref()),
        (Some("removed"), Some("write"))
    );
}

#[cfg(unix)]
#[test]
fn a_recovery_key_is_made_with_a_database_and_takes_it_back() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let file = place.path("recovery.key");
    let recovery = file.to_str().unwrap();
    let table = airports();
    let import = ["import", table.to_str().unwrap(), "--database", "travel", "--table", "airports", "--key", "iata"];
    let import = [&import[..], &["--recovery-key", recovery]].concat();
    let said = place.run(&import).ok();
    assert!(said.err.contains("keep it apart"), "{said:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, error) = place.error(&import);
    assert_eq!((code, &error["kind"]), (1, &json!("AlreadyExists")), "{error}");
    assert_eq!(rights(&place).iter().filter(|(_, right)| right == "admin").count(), 2);

    // The day key was stolen: the thief lets himself in.
    let (stolen, thief) = (key(&place), stranger(66));
    let before = place.json(&["log", "travel"])[0]["id"].as_str().unwrap().to_owned();
    place.run(&["grant", "travel", &thief, "admin", "--priority", "9"]).ok();
    let rotate = ["rotate", "travel", "--recovery", recovery, "--as-of", &before];
    let done = place.json(&[&rotate[..], &["--yes"]].concat()).remove(0);
    assert_eq!(done["strikes"], json!([{ "author": stolen, "entries": 1 }]), "{done}");
    assert_eq!((&done["hands_over"], &done["priority"]), (&json!(false), &json!(u32::MAX - 1)), "{done}");
    assert_eq!((right_of(&place, &stolen).as_deref(), right_of(&place, &thief)), (Some("removed"), None));
    place.run(&["set", "travel", "airports", "SEA", "again=mine"]).ok();
    assert_eq!(place.json(&["log", "travel"])[0]["author"], done["successor"]);
    place.run(&["verify"]).ok();
}

/// How a store says that it stands with the peer that has removed it.
fn is_told(place: &Place) -> bool {
    let status = place.json(&["status"]).remove(0);
    status["relationships"].as_array().unwrap().iter().any(|one| one.to_string().contains("this device was removed"))
}

/// What a removed member writes, who cannot know of it, shows nowhere: not by himself, and not by a friend.
fn a_removed_member_is_out(arguments: &[&str]) {
    let (anna, ben, cleo) = (Place::with_airports(), Place::new(), Place::new());
    let mut serving = serve_by(&anna, arguments);
    let friend = serve_by(&cleo, arguments);
    let_in_by(&anna, &serving.address, &ben);
    let_in_again(&anna, &serving, &cleo);
    until("cleo is in step", || same(&anna, &cleo));
    // So that ben knows that cleo may have what he writes.
    ben.run(&["sync"]).ok();
    assert!(same(&anna, &ben));
    let (rogue, had) = (key(&ben), entries(&ben));
    ben.run(&["peers", "add", &friend.device, "travel", "--address", &friend.address]).ok();
    let mut calling = serve_by(&ben, &[]);

    // Anna is away while ben writes, and cleo does not know.
    assert_eq!(serving.stop("TERM").code, Some(0));
    anna.run(&["remove", "travel", &rogue, "--yes"]).ok();
    anna.run(&["set", "travel", "airports", "SEA", "after=removal"]).ok();
    ben.run(&["set", "travel", "airports", "SEA", "n=backdated"]).ok();
    until("cleo has it", || field(&cleo, "n") == "backdated");
    assert_eq!(field(&anna, "n"), "");

    // She comes back: cleo learns of it, and what she had taken from ben counts no longer.
    let back = match arguments[0] {
        "--http" => serve_by(&anna, &["--http", &serving.address]),
        _ => serve_by(&anna, arguments),
    };
    until("cleo knows", || field(&cleo, "after") == "removal");
    until("both are in step", || same(&anna, &cleo));
    until("ben is told", || is_told(&ben));
    for place in [&anna, &cleo] {
        assert_eq!((field(place, "n"), field(place, "after")), (String::new(), "removal".to_owned()));
        place.run(&["verify"]).ok();
    }
    // He goes on, in vain: nothing goes out, and not one entry comes in.
    assert_eq!(calling.stop("TERM").code, Some(0));
    ben.run(&["set", "travel", "airports", "SEA", "n=again"]).ok();
    for address in [&back.address, &friend.address] {
        let (code, error) = ben.error(&["sync", address, "--database", "travel"]);
        assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
        assert_eq!(error["context"]["reason"], "removed", "{error}");
    }
    assert_eq!((entries(&ben), field(&ben, "after")), (had + 2, String::new()));
    for place in [&anna, &cleo] {
        assert_eq!(field(place, "n"), "");
        let log = place.json(&["log", "travel", "--limit", "100"]);
        assert!(log.iter().all(|entry| entry["void"] == true || entry["author"] != json!(rogue)), "{log:?}");
    }
    assert!(anna.json(&["requests"]).is_empty(), "nothing asks for access by itself");
}

/// Lets one more in; another one was let in before.
fn let_in_again(anna: &Place, serving: &Serving, other: &Place) {
    let id = id(anna);
    other.error(&["join", &serving.address, &id]);
    until("the request is there", || !anna.json(&["requests"]).is_empty());
    anna.run(&["approve", anna.json(&["requests"])[0]["request"].as_str().unwrap()]).ok();
    until("it has joined", || other.run(&["join", &serving.address, &id]).code == Some(0));
}

#[test]
fn a_removed_member_is_out_over_http() {
    a_removed_member_is_out(&["--http", "127.0.0.1:0"]);
}

#[test]
fn a_removed_member_is_out_over_iroh() {
    a_removed_member_is_out(&["--iroh", "127.0.0.1:0"]);
}

#[test]
fn whoever_takes_the_last_admin_away_is_told_before() {
    let place = Place::with_airports();
    let (own, ben) = (key(&place), stranger(7));
    let look = |place: &Place| {
        let text = place.run(&["remove", "travel", &own, "--dry-run"]).ok().out;
        let look = place.json(&["remove", "travel", &own, "--dry-run"]).remove(0);
        assert_eq!(text.contains("leaves no admin"), look["leaves_no_admin"] == true, "{text} {look}");
        look["leaves_no_admin"] == true
    };
    assert!(look(&place));
    place.run(&["grant", "travel", &ben, "admin"]).ok();
    assert!(!look(&place));
    assert_eq!(right_of(&place, &own).as_deref(), Some("admin"));
}
