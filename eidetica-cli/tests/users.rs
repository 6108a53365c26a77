use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value as Json, json};

use crate::kit::{Ended, Place, airports, import_of, wait};

/// The seed and the public key of the store in [`old_store`].
const SEED: [u8; 32] = [7; 32];

/// A store as the command made it before there were users: no rows of users, and the key in a file beside.
fn old_store() -> (Place, String) {
    let place = Place::with_airports();
    let id = place.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let export = place.path("travel.eidetica");
    place.run(&["export", "travel", export.to_str().unwrap()]).ok();
    let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
    // The key that wrote the database moves from the row of the user into a file. It is sealed by the master key, which
    // lies open in the row of the user; so the store is written anew here, by a user whose key is known.
    file.execute("DELETE FROM k15 WHERE CAST(k AS TEXT) NOT LIKE 'db-name/%'", []).unwrap();
    drop(file);
    (place, id)
}

fn put_key(place: &Place) {
    let key = place.write("store.db.key", "eidetica-key-1 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn with_password(place: &Place, password: &str, arguments: &[&str]) -> Ended {
    let arguments = [&["--json", "--password-stdin"], arguments].concat();
    let mut command = place.command(&arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    wait(child)
}

fn error_of(ended: Ended) -> Json {
    assert_ne!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str::<Json>(&ended.err).unwrap()["error"].clone()
}

#[test]
fn the_first_database_makes_the_default_user_and_no_key_file() {
    let place = Place::with_airports();
    assert_eq!(place.json(&["user", "list"]), [json!({ "user": "default" })]);
    assert!(!place.path("store.db.key").exists());
    let info = place.json(&["info"]).remove(0);
    assert_eq!((&info["users"], &info["key_file"]), (&json!(["default"]), &Json::Null));
    assert_eq!(info["author"], place.json(&["log", "travel"])[0]["author"]);
    assert!(info["device"].as_str().unwrap().starts_with("ed25519:") && info["device"] != info["author"]);
    for name in ["store.db", "store.db.lock"] {
        assert_eq!(std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_key_of_an_older_store_is_taken_in_and_its_file_stays() {
    // An older store whose database was made with the key in the file.
    let (place, _) = old_store();
    put_key(&place);
    let csv = place.write("own.csv", "id,v\na,1\n");
    let import = ["import", csv.to_str().unwrap(), "--database", "own", "--table", "t", "--key", "id"];
    place.run(&import).ok();
    let author = place.json(&["log", "own"])[0]["author"].clone();
    assert_eq!(place.json(&["info"])[0]["author"], author);
    // The same store once more as it was before there were users: databases, names, and the file.
    let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
    file.execute("DELETE FROM k15 WHERE CAST(k AS TEXT) NOT LIKE 'db-name/%'", []).unwrap();
    drop(file);
    assert_eq!(place.json(&["user", "list"]), Vec::<Json>::new());
    assert_eq!(place.json(&["info"])[0]["author"], author, "looking at it shows the key in the file");
    assert_eq!(place.json(&["user", "list"]), Vec::<Json>::new(), "and changes nothing");

    place.run(&["set", "own", "t", "a", "v=2"]).ok();
    assert_eq!(place.json(&["log", "own"])[0]["author"], author);
    assert_eq!(place.json(&["user", "list"]), [json!({ "user": "default" })]);
    let text = std::fs::read(place.path("store.db.key")).unwrap();
    assert!(text.starts_with(b"eidetica-key-1 "), "the file stays as it was");
    // From now on the store does without the file.
    std::fs::remove_file(place.path("store.db.key")).unwrap();
    place.run(&["set", "own", "t", "a", "v=3"]).ok();
    assert_eq!(place.lines(&["get", "own", "t", "a", "v"]), ["3"]);
    assert_eq!(place.json(&["list"]).len(), 2, "no database is lost");
    // The other one was written by a key that is not here.
    assert_eq!(place.error(&["set", "travel", "airports", "SEA", "n=1"]).1["kind"], "PermissionDenied");
    assert_eq!(SEED.len(), 32);
}

#[test]
fn a_key_file_that_comes_later_is_taken_in_beside_the_keys_that_are_there() {
    let place = Place::with_airports();
    let before = place.json(&["info"])[0]["author"].clone();
    put_key(&place);
    place.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    assert_eq!(place.json(&["info"])[0]["author"], before);
    assert_eq!(place.json(&["log", "travel"])[0]["author"], before);
}

#[test]
fn a_user_with_a_password_writes_with_it_and_not_without() {
    let place = Place::new();
    with_password(&place, "secret", &["user", "add", "alice"]).ok();
    assert_eq!(place.run(&["user", "add", "bob"]).ok().code, Some(0));
    assert_eq!(place.json(&["user", "list"]), [json!({ "user": "alice" }), json!({ "user": "bob" })]);
    assert_eq!(place.error(&["user", "add", "bob"]).1["kind"], "AlreadyExists");

    let file = airports();
    let import = [&["--user", "alice"], &import_of(&file)[..]].concat();
    with_password(&place, "secret", &import).ok();
    let set = ["--user", "alice", "set", "travel", "airports", "SEA", "n=1"];
    assert_eq!(error_of(with_password(&place, "Secret", &set))["context"]["reason"], "wrong_password");
    assert_eq!(place.error(&set).1["context"]["reason"], "missing_password");
    with_password(&place, "secret", &set).ok();
    // Reading takes no user, and others have no right to write.
    assert_eq!(place.lines(&["get", "travel", "airports", "SEA", "n"]), ["1"]);
    let (code, error) = place.error(&["--user", "bob", "set", "travel", "airports", "SEA", "n=2"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
    let (code, error) = place.error(&["--user", "carol", "set", "travel", "airports", "SEA", "n=2"]);
    assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{error}");

    let password = place.write("password", "secret\n");
    let mut command = place.command(&set);
    let child = command.env("EIDETICA_PASSWORD_FILE", password).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    wait(child.unwrap()).ok();
}
