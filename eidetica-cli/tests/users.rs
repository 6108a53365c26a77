use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::{Instance, SecretKey};
use serde_json::{Value as Json, json};

use crate::kit::{Ended, Place, airports, import_of, wait};

/// The key file of [`old_store`]: 32 times the byte 7.
const OLD_KEY: &str = "eidetica-key-1 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

/// A store as the command made it before there were users: databases, their names, and a key in a file beside.
fn old_store() -> (Place, String) {
    let place = Place::new();
    let key = SecretKey::from_seed(&[7; 32]);
    let fill = async || {
        let instance = Instance::open_url(&format!("sqlite:{}", place.path("store.db").display())).await?;
        for name in ["travel", "other"] {
            let settings: Doc = [("name", name)].into_iter().collect();
            let database = instance.create_database_with_key(settings, &key).await?;
            instance.engine().set_local(&format!("db-name/{name}"), None, database.root_id().to_string()).await?;
            let transaction = database.new_transaction().await?;
            let table = transaction.get_store::<Table<Doc>>("airports").await?;
            table.set("SEA", &[("city", "Seattle")].into_iter().collect()).await?;
            transaction.commit().await?;
        }
        instance.close().await
    };
    tokio::runtime::Runtime::new().unwrap().block_on(fill()).unwrap();
    put_key(&place);
    (place, key.public().to_string())
}

fn put_key(place: &Place) {
    let key = place.write("store.db.key", OLD_KEY);
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What the user `default` tracks, and with which key.
fn tracked(place: &Place) -> Vec<(String, String)> {
    let read = async || {
        let instance = Instance::open_url(&format!("sqlite:{}", place.path("store.db").display())).await?;
        let tracked = instance.login_user("default", None).await?.databases().await?;
        instance.close().await?;
        Ok::<_, eidetica::Error>(tracked)
    };
    let tracked = tokio::runtime::Runtime::new().unwrap().block_on(read()).unwrap();
    tracked.iter().map(|one| (one.database_id.to_string(), one.key_id.to_string())).collect()
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
    let (place, author) = old_store();
    assert_eq!(place.json(&["info"])[0]["author"], author.as_str(), "looking at it shows the key in the file");
    assert_eq!(place.json(&["list"]).len(), 2);
    assert_eq!(place.json(&["user", "list"]), Vec::<Json>::new(), "and changes nothing");

    place.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    assert_eq!(place.json(&["log", "travel"])[0]["author"], author.as_str());
    assert_eq!(place.json(&["user", "list"]), [json!({ "user": "default" })]);
    assert_eq!(std::fs::read(place.path("store.db.key")).unwrap(), OLD_KEY.as_bytes(), "the file stays as it was");
    let databases = place.json(&["list"]);
    let mut expected: Vec<_> =
        databases.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), author.clone())).collect();
    expected.sort();
    let mut found = tracked(&place);
    found.sort();
    assert_eq!(found, expected, "all databases of the key are tracked with it");

    // From now on the store does without the file.
    std::fs::remove_file(place.path("store.db.key")).unwrap();
    place.run(&["set", "other", "airports", "SEA", "n=2"]).ok();
    assert_eq!(place.lines(&["get", "other", "airports", "SEA", "n"]), ["2"]);
    assert_eq!(place.json(&["list"]).len(), 2, "no database is lost");
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
