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
fn a_damaged_export_is_refused_before_anything_is_made() {
    let place = Place::with_airports();
    let file = place.path("travel.eidetica");
    place.run(&["export", "travel", file.to_str().unwrap()]).ok();
    let whole = std::fs::read(&file).unwrap();
    let other = place.on("other.db");
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    // The last one lies within a body, not within a header: the signatures alone would not show it.
    let in_body = whole.windows(5).rposition(|bytes| bytes == b" Intl").unwrap();
    for (name, bytes, message) in [
        ("cut", whole[..whole.len() / 2].to_vec(), "cut off"),
        ("flipped", flipped(whole.len() / 2), "damaged"),
        ("end", flipped(whole.len() - 1), "damaged"),
        ("body", flipped(in_body), "damaged"),
        ("more", [&whole[..], b"\n"].concat(), "damaged"),
        ("twice", [&whole[..], &whole[..]].concat(), "damaged"),
        ("empty", Vec::new(), "no export"),
        ("short", b"eidetica".to_vec(), "no export"),
        ("other", std::fs::read(crate::kit::airports()).unwrap(), "no export"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let (code, error) = other.error(&["restore", file.to_str().unwrap()]);
        assert_eq!((code, &error["kind"]), (1, &json!("InvalidInput")), "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{name}: {error}");
        assert_eq!(error["context"]["file"], file.to_str().unwrap(), "{name}: {error}");
        assert!(!other.path("other.db").exists(), "{name}: nothing is left");
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(other.json(&["restore", file.to_str().unwrap()])[0]["name"], "travel");
    assert_eq!(other.lines(&["rows", "travel", "airports"]).len(), 3377);
}

/// Takes the body of the latest entry out of the rows of a store, as if the entry had come without it.
fn drop_a_body(place: &Place) {
    use eidetica::backend::database::Sqlite;
    use eidetica::entry::RawEntry;
    let (from, to) = (place.path("store.db"), place.path("partial.db"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let open = async |path| eidetica::Instance::open(Box::new(Sqlite::open(path).await.unwrap())).await.unwrap();
        let (whole, partial) = (open(from).await, open(to).await);
        let id = whole.databases().await.unwrap()[0];
        let database = whole.open_database_with_key(&id, None).await.unwrap();
        let root = database.get_entry(&id).await.unwrap().to_raw();
        let copy = partial.engine().adopt_database(root, None).await.unwrap();
        let mut entries: Vec<RawEntry> = Vec::new();
        for id in database.difference(&database.get_tips().await.unwrap(), &[id]).await.unwrap() {
            entries.push(database.get_entry(&id).await.unwrap().to_raw());
        }
        entries.last_mut().unwrap().bodies = vec![None];
        copy.ingest(entries, "test").await.unwrap();
        whole.close().await.unwrap();
        partial.close().await.unwrap();
    });
}

#[test]
fn a_missing_body_is_named_wherever_it_matters() {
    let place = Place::with_airports();
    let sound = place.path("sound.eidetica");
    place.run(&["export", "travel", sound.to_str().unwrap()]).ok();
    drop_a_body(&place);
    let partial = place.on("partial.db");

    let ended = partial.run(&["verify", "travel"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.out.contains("NOT WHOLE") && ended.out.contains("airports (table), since 1 of"), "{ended:?}");
    let ended = partial.run(&["--json", "verify", "travel"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["clean"], &report["whole"]), (&json!(true), &json!(false)), "{report}");
    assert_eq!(report["missing_bodies"], json!([{ "store": "airports", "kind": "table", "entries": 1 }]));
    let info = partial.lines(&["info", "travel"]).join("\n");
    assert!(info.contains("airports (table), NOT WHOLE"), "{info}");

    // An export of it warns, and what is restored from it is not whole either.
    let file = partial.path("partial.eidetica");
    let ended = partial.run(&["export", "travel", file.to_str().unwrap()]).ok();
    assert!(ended.err.contains("1 times an entry lacks"), "{ended:?}");
    let copy = partial.on("copy.db");
    assert_eq!(copy.json(&["restore", file.to_str().unwrap()])[0]["missing_bodies"], 1);
    assert_eq!(copy.run(&["verify"]).code, Some(4));

    // A whole one completes it.
    copy.run(&["restore", sound.to_str().unwrap()]).ok();
    copy.run(&["verify"]).ok();
    assert_eq!(copy.lines(&["rows", "travel", "airports"]).len(), 3377);
}

#[test]
fn a_backup_is_a_store() {
    let place = Place::with_airports();
    let rows = place.lines(&["rows", "travel", "airports"]);
    let file = place.path("copy.db");
    place.run(&["backup", file.to_str().unwrap()]).ok();
    let names = std::fs::read_dir(place.path("")).unwrap().map(|file| file.unwrap().file_name());
    let names: Vec<_> = names.filter(|name| !name.to_string_lossy().starts_with("store.db")).collect();
    assert_eq!(names, ["copy.db"], "nothing else is left");
    assert_eq!(place.error(&["backup", file.to_str().unwrap()]).1["kind"], "AlreadyExists");
    let copy = place.on("copy.db");
    copy.run(&["verify"]).ok();
    assert_eq!(copy.lines(&["rows", "travel", "airports"]), rows);
    // Users and their keys are in it, too.
    copy.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
}
