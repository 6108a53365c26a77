use serde_json::json;

use crate::kit::{Place, airports, import_of};

#[test]
fn a_sound_store_verifies_and_can_be_rebuilt() {
    let place = Place::with_airports();
    place.run(&["index", "add", "travel", "airports", "state"]).ok();
    let report = place.json(&["verify"]).remove(0);
    assert_eq!((&report["clean"], &report["entries"], &report["index_rows"]), (&json!(true), &json!(5), &json!(3376)));
    let before = place.lines(&["rows", "travel", "airports"]);
    place.run(&["reindex", "travel"]).ok();
    assert_eq!(place.lines(&["rows", "travel", "airports"]), before);
    assert_eq!(place.json(&["verify", "travel"])[0], report);
}

/// Where the entries are.
const ENTRIES: &str = "k1";

/// Changes one byte in the middle of the greatest value of each of these keyspaces, below everything that checks what it
/// writes.
fn damage(place: &Place, keyspaces: &str) {
    let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
    let tables: Vec<String> = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?1")
        .unwrap()
        .query_map([keyspaces], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut damaged = 0;
    for table in tables {
        let found = file.query_row(
            &format!("SELECT k, v FROM {table} WHERE length(v) > 100 ORDER BY length(v) DESC LIMIT 1"),
            [],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
        );
        if let Ok((key, mut value)) = found {
            let middle = value.len() / 2;
            value[middle] ^= 1;
            damaged += file.execute(&format!("UPDATE {table} SET v = ?2 WHERE k = ?1"), (key, value)).unwrap();
        }
    }
    assert!(damaged > 0);
}

#[test]
fn damage_is_found() {
    let place = Place::with_airports();
    damage(&place, "k[0-9]*");
    let ended = place.run(&["--json", "verify"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["clean"], false);
    assert!(report["problems"][0]["what"].is_string());
}

/// The rows that are there are the only good copy of what a damaged entry says.
#[test]
fn a_rebuild_from_damaged_entries_changes_nothing() {
    let place = Place::with_airports();
    let before = place.lines(&["rows", "travel", "airports"]);
    damage(&place, ENTRIES);
    let (code, error) = place.error(&["reindex", "travel"]);
    assert_eq!((code, &error["kind"]), (1, &json!("Corrupted")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("from a backup"), "{error}");
    assert_eq!(place.lines(&["rows", "travel", "airports"]), before);
    let (code, error) = place.error(&["export", "travel", place.path("out").to_str().unwrap()]);
    assert_eq!((code, &error["kind"]), (1, &json!("Corrupted")), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let place = Place::with_airports();
    let whole = std::fs::read(place.path("store.db")).unwrap();
    let mut torn = whole.clone();
    torn[..4096].fill(0x5a);
    for (bytes, kind) in [(&torn[..], "Corrupted"), (&b"some text, which is no store of anything"[..], "Corrupted")] {
        std::fs::write(place.path("store.db"), bytes).unwrap();
        for arguments in [&["list"][..], &["verify"], &import_of(&airports())] {
            let (code, error) = place.error(arguments);
            assert_eq!((code, &error["kind"]), (1, &json!(kind)), "{arguments:?}: {error}");
        }
        assert_eq!(std::fs::read(place.path("store.db")).unwrap(), bytes);
    }
}

/// Damages the row that says where a database stands.
fn damage_head(place: &Place, number: u8) {
    let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
    let key = [&b"d"[..], &[0, 0, 0, number]].concat();
    assert_eq!(file.execute("UPDATE k0 SET v = x'00' WHERE k = ?1", [key]).unwrap(), 1);
}

/// A database that cannot be opened is in the list, with the reason, and hides no other one.
#[test]
fn the_list_shows_what_cannot_be_opened() {
    let place = Place::with_airports();
    let few = place.write("few.csv", "k,v\n1,2\n");
    place.run(&["import", few.to_str().unwrap(), "--database", "another", "--table", "few", "--key", "k"]).ok();
    damage_head(&place, 0);
    let list = place.json(&["list"]);
    let names: Vec<&str> = list.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["another", "travel"]);
    assert!(list[0]["entries"].is_number() && list[0]["error"].is_null(), "{list:?}");
    assert!(list[1]["entries"].is_null(), "{list:?}");
    assert_eq!(list[1]["error"]["kind"], "Corrupted", "{list:?}");
    let lines = place.lines(&["list"]);
    assert!(lines.iter().any(|line| line.contains("travel") && line.contains("cannot be opened")), "{lines:?}");
    assert_eq!(place.error(&["rows", "travel", "airports"]).1["kind"], json!("Corrupted"));
}

/// Neither the row of a database nor the list of databases is needed to get to what makes them anew.
#[test]
fn what_leads_to_the_entries_is_made_anew_from_them() {
    let place = Place::with_airports();
    let before = place.lines(&["rows", "travel", "airports"]);
    for damage in
        ["UPDATE k0 SET v = x'00' WHERE k >= x'64' AND k < x'65'", "DELETE FROM k0 WHERE k >= x'69' AND k < x'6a'"]
    {
        let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
        assert_eq!(file.execute(damage, []).unwrap(), 1, "{damage}");
        drop(file);
        let ended = place.run(&["--json", "verify"]);
        assert_eq!(ended.code, Some(4), "{damage}: {ended:?}");
        assert!(ended.out.contains("\"reindex_mends\":true"), "{damage}: {ended:?}");
        place.run(&["reindex"]).ok();
        place.run(&["verify"]).ok();
        assert_eq!(place.lines(&["rows", "travel", "airports"]), before);
    }
}

/// A name of this store that leads nowhere keeps nobody from the databases.
#[test]
fn a_damaged_name_is_told_and_hides_nothing() {
    let place = Place::with_airports();
    let file = rusqlite::Connection::open(place.path("store.db")).unwrap();
    let named = "UPDATE k15 SET v = x'00' WHERE CAST(k AS TEXT) GLOB 'db-name/*'";
    assert_eq!(file.execute(named, []).unwrap(), 1);
    drop(file);
    let ended = place.run(&["verify"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.out.contains("the name travel leads nowhere"), "{ended:?}");
    assert!(place.lines(&["rows", "travel", "airports"]).len() > 3000);
}
