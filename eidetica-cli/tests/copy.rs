use serde_json::json;

use crate::kit::Place;

fn url(place: &Place, scheme: &str, file: &str) -> String {
    format!("{scheme}:{}", place.path(file).display())
}

#[test]
fn a_store_moves_to_another_backend_and_back() {
    let place = Place::with_airports();
    place.run(&["set", "travel", "airports", "SEA", "city=SeaTac"]).ok();
    let (rows, log) = (place.lines(&["rows", "travel", "airports"]), place.lines(&["log", "travel"]));
    let (sqlite, redb, back) =
        (url(&place, "sqlite", "store.db"), url(&place, "redb", "b.redb"), url(&place, "sqlite", "c.db"));
    for (from, to) in [(&sqlite, &redb), (&redb, &back)] {
        let copied = place.json(&["copy", from, to]).remove(0);
        assert_eq!((&copied["databases"], &copied["store"]), (&json!(1), &json!(to)), "{copied}");
        assert_eq!(copied["entries"], json!(6), "{copied}");
        let on = |arguments: &[&str]| place.lines(&[&["--store", to], arguments].concat());
        assert_eq!(on(&["rows", "travel", "airports"]), rows);
        assert_eq!(on(&["log", "travel"]), log);
        on(&["verify"]);
        assert_eq!(on(&["user", "list"]), place.lines(&["user", "list"]));
    }
    // Users and their keys are in it, too.
    place.run(&["--store", &redb, "set", "travel", "airports", "SEA", "n=1"]).ok();
    assert_eq!(place.lines(&["rows", "travel", "airports"]), rows, "the store itself stays what it was");
}

#[test]
fn a_copy_takes_nobodys_place() {
    let place = Place::with_airports();
    let from = url(&place, "sqlite", "store.db");
    let taken = place.write("taken.redb", "something");
    let (code, error) = place.error(&["copy", &from, &url(&place, "redb", "taken.redb")]);
    assert_eq!((code, &error["kind"]), (1, &json!("AlreadyExists")), "{error}");
    assert_eq!(std::fs::read(taken).unwrap(), b"something");
    let (_, error) = place.error(&["copy", &from, "memory:"]);
    assert_eq!(error["kind"], "InvalidInput", "{error}");
    let (code, error) = place.error(&["copy", &from, "nosuch:file"]);
    assert_eq!((code, &error["context"]["known"]), (3, &json!("memory, redb, sqlite")), "{error}");
    let (code, _) = place.error(&["copy", &url(&place, "redb", "nothing.redb"), &url(&place, "redb", "new.redb")]);
    assert_eq!(code, 3);
    assert!(!place.path("new.redb").exists() && !place.path("nothing.redb").exists(), "nothing is left");
    let (_, error) = place.error(&["copy", &from, &url(&place, "redb", "missing/new.redb")]);
    assert_eq!(error["kind"], "NotFound", "{error}");
}

#[test]
fn what_is_part_of_the_program_is_listed() {
    let place = Place::new();
    let backends = place.json(&["backends"]);
    let schemes: Vec<_> = backends.iter().map(|backend| backend["scheme"].as_str().unwrap()).collect();
    assert_eq!(schemes, ["memory", "redb", "sqlite"]);
    assert_eq!(backends[1]["capabilities"], json!(["durable", "compact", "check"]));
    assert_eq!(backends[2]["capabilities"], json!(["durable", "shared", "compact", "check"]));
    assert!(backends[1]["origin"].as_str().unwrap().starts_with("eidetica-backend-redb "));
    assert!(place.lines(&["backends"]).iter().any(|line| line.starts_with("redb\t")));
    for transport in place.json(&["transports"]) {
        assert!(transport["scheme"].is_string() && transport["origin"].is_string());
    }
}
