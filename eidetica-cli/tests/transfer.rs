use serde_json::json;

use crate::kit::Place;

#[test]
fn an_export_is_the_whole_history() {
    let place = Place::with_airports();
    place.run(&["set", "travel", "airports", "SEA", "city=SeaTac"]).ok();
    let (rows, log) = (place.lines(&["rows", "travel", "airports"]), place.json(&["log", "travel"]));
    let file = place.path("travel.eidetica");
    let file = file.to_str().unwrap();
    place.run(&["export", "travel", file]).ok();
    let (code, error) = place.error(&["export", "travel", file]);
    assert_eq!((code, &error["kind"]), (1, &json!("AlreadyExists")), "{error}");
    // Into the store that it is from: known already, under its name.
    assert_eq!(place.json(&["restore", file])[0]["name"], "travel");

    let other = place.on("other.db");
    let restored = other.json(&["restore", file]).remove(0);
    assert_eq!(
        (&restored["name"], &restored["entries"], &restored["writable"]),
        (&json!("travel"), &json!(6), &json!(false))
    );
    assert_eq!(other.lines(&["rows", "travel", "airports"]), rows);
    let ids = |log: Vec<serde_json::Value>| log.iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(other.json(&["log", "travel"])), ids(log));
    other.run(&["verify"]).ok();
    assert_eq!(other.error(&["set", "travel", "airports", "SEA", "city=x"]).0, 3);

    // In a store that has a key, the key has no right there.
    let csv = other.write("own.csv", "iata,name\nA,B\n");
    other.run(&["import", csv.to_str().unwrap(), "--database", "own", "--table", "airports", "--key", "iata"]).ok();
    let (code, error) = other.error(&["set", "travel", "airports", "SEA", "city=x"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let place = Place::with_airports();
    let file = place.path("travel.eidetica");
    place.run(&["export", "travel", file.to_str().unwrap()]).ok();
    let other = place.on("other.db");
    other.import(&crate::kit::airports()).ok();
    let (code, error) = other.error(&["restore", file.to_str().unwrap(), "--name", "travel"]);
    assert_eq!((code, &error["kind"]), (1, &json!("AlreadyExists")), "{error}");
    assert_eq!(other.json(&["list"]).len(), 1);
    assert_eq!(other.json(&["restore", file.to_str().unwrap()])[0]["name"], "travel-2");
    assert_eq!(other.json(&["list"]).len(), 2);
}

#[test]
fn a_damaged_export_is_refused() {
    let place = Place::with_airports();
    let file = place.path("travel.eidetica");
    place.run(&["export", "travel", file.to_str().unwrap()]).ok();
    let whole = std::fs::read(&file).unwrap();
    let other = place.on("other.db");
    for (name, bytes) in [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("flipped", {
            let mut bytes = whole.clone();
            bytes[whole.len() / 2] ^= 1;
            bytes
        }),
        ("end", {
            let mut bytes = whole.clone();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }),
        ("empty", Vec::new()),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let (code, error) = other.error(&["restore", file.to_str().unwrap()]);
        assert_eq!((code, &error["kind"]), (1, &json!("InvalidInput")), "{name}: {error}");
    }
    // What came before the damage is sound, and the whole file completes it.
    other.run(&["verify"]).ok();
    std::fs::write(&file, whole).unwrap();
    assert_eq!(other.json(&["restore", file.to_str().unwrap()])[0]["name"], "travel");
    assert_eq!(other.lines(&["rows", "travel", "airports"]).len(), 3377);
}

#[test]
fn a_backup_is_a_store() {
    let place = Place::with_airports();
    let rows = place.lines(&["rows", "travel", "airports"]);
    let file = place.path("copy.db");
    place.run(&["backup", file.to_str().unwrap()]).ok();
    assert_eq!(place.error(&["backup", file.to_str().unwrap()]).1["kind"], "AlreadyExists");
    let copy = place.on("copy.db");
    copy.run(&["verify"]).ok();
    assert_eq!(copy.lines(&["rows", "travel", "airports"]), rows);
    // Users and their keys are in it, too.
    copy.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
}
