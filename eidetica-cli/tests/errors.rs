use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::kit::{Place, airports, import_of};

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let place = Place::with_airports();
    for (arguments, context, expected) in [
        (&["rows", "trvel", "airports"][..], "there_are", "travel"),
        (&["log", "trvel"], "there_are", "travel"),
        (&["verify", "trvel"], "there_are", "travel"),
        (&["rows", "travel", "airport"], "there_are", "airports"),
        (&["index", "add", "travel", "airport", "x"], "there_are", "airports"),
        (&["get", "travel", "airports", "SEA", "cty"], "there_are", "city, country, latitude, longitude, name, state"),
        (&["get", "travel", "airports", "NOPE"], "key", "NOPE"),
        (&["import", "/nowhere/x.csv", "--database", "d", "--table", "t", "--key", "k"], "file", "/nowhere/x.csv"),
        (&["restore", "/nowhere/x"], "file", "/nowhere/x"),
    ] {
        let (code, error) = place.error(arguments);
        assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{arguments:?}: {error}");
        assert_eq!(error["context"][context], expected, "{arguments:?}: {error}");
    }
    let file = airports();
    let mut import = import_of(&file);
    import[7] = "code";
    let (code, error) = place.error(&import);
    assert_eq!(code, 3);
    assert_eq!(error["context"]["columns"], "iata, name, city, state, country, latitude, longitude");

    let empty = place.on("other.db");
    for arguments in [&["list"][..], &["verify"], &["backup", "/nowhere/x"]] {
        assert_eq!(empty.error(arguments).0, 3);
    }
    assert!(!empty.path("other.db").exists(), "a store is not made by looking for it");
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_apart() {
    let place = Place::new();
    for arguments in [&["frobnicate"][..], &["rows"], &["rows", "a", "b", "--where", "x"], &["import", "x.csv"], &[]] {
        let (code, error) = place.error(arguments);
        assert_eq!((code, &error["kind"]), (2, &json!("Usage")), "{arguments:?}: {error}");
    }
    for arguments in [
        &["set", "u", "t", "1", "name"][..],
        &["set", "u", "t", "1", "=x"],
        &["set", "u", "t", "1", "a:=x"],
        &["list", "--store", "foo"],
        &["at", "u", "", "rows", "t"],
        &["at", "u", "~x", "rows", "t"],
        &["at", "u", "a,,b", "rows", "t"],
        &["log", "u", "--limit", "-1"],
        &["rows", "u", "t", "--limit", "-1"],
        &["rows", "u", "t", "--limit", "many"],
        &["serve", "--http", "127.0.0.1:0", "--origin-header", "X-Forwarded-For"],
    ] {
        let (code, error) = place.error(arguments);
        assert_eq!((code, &error["kind"]), (2, &json!("Usage")), "{arguments:?}: {error}");
    }
    let error = place.error(&["log", "u", "--limit", "-1"]).1;
    assert!(error["message"].as_str().unwrap().contains("a whole number from 0 up"), "{error}");
    let place = Place::with_airports();
    let (code, error) = place.error(&["set", "travel", "airports", "SEA", "a=1", "b=2", "a=2"]);
    assert_eq!((code, &error["context"]["field"]), (2, &json!("a")), "{error}");
    let serve = ["serve", "--http", "127.0.0.1:0", "--behind-proxy", "--origin-header", "from where"];
    let (code, error) = place.error(&serve);
    assert_eq!((code, &error["context"]["header"]), (2, &json!("from where")), "{error}");
    let help = place.run(&["--help"]).ok();
    assert!(help.out.contains("Exit codes:") && help.out.contains("130"));
}

#[test]
fn an_error_says_the_same_in_words() {
    let place = Place::with_airports();
    let ended = place.run(&["rows", "trvel", "airports"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.starts_with("error: ") && ended.err.contains("there_are: travel"), "{}", ended.err);
}

/// A key file as older versions of the command have left it.
const OLD_KEY: &str = "eidetica-key-1 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

#[test]
fn an_old_key_file_that_others_may_read_is_not_used_and_never_replaced() {
    let place = Place::with_airports();
    let key = place.write("store.db.key", OLD_KEY);
    let mode = || std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    for open in [0o640, 0o604, 0o620, 0o666] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(open)).unwrap();
        let (code, error) = place.error(&["set", "travel", "airports", "SEA", "n=1"]);
        assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
        assert_eq!(error["context"]["mode"], format!("{open:04o}"));
        let file = place.write("new.csv", "id\na\n");
        let new = ["import", file.to_str().unwrap(), "--database", "new", "--table", "t", "--key", "id"];
        assert_eq!(place.error(&new).1["kind"], "PermissionDenied");
        // Reading needs no key.
        place.run(&["get", "travel", "airports", "SEA"]).ok();
        assert_eq!(mode(), open);
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    place.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    assert_eq!(std::fs::read(&key).unwrap(), OLD_KEY.as_bytes());

    for damaged in [&b""[..], b"eidetica-key-1 AAAA\n", b"eidetica-key-1 !\n", b"\xff\xfe"] {
        std::fs::write(&key, damaged).unwrap();
        let (code, error) = place.error(&["set", "travel", "airports", "SEA", "n=2"]);
        assert_eq!(code, 1, "{error}");
        assert_eq!(std::fs::read(&key).unwrap(), damaged);
    }
}

#[test]
fn a_scheme_that_is_unknown_is_named_with_those_there_are() {
    let place = Place::new();
    for arguments in [&["list"][..], &["restore", "x"], &import_of(&airports())] {
        let (code, error) = place.error(&[arguments, &["--store", "nosuch:file"]].concat());
        if arguments[0] != "restore" {
            assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{error}");
            assert_eq!(error["context"]["scheme"], "nosuch", "{error}");
            assert_eq!(error["context"]["known"], "memory, redb, sqlite", "{error}");
        }
    }
}

#[test]
fn an_empty_file_is_no_store_and_stays_empty() {
    let place = Place::new();
    let file = place.write("store.db", "");
    for arguments in [&["list"][..], &["info"], &["verify"], &["reindex"], &["set", "a", "b", "c", "d=1"]] {
        let (code, error) = place.error(arguments);
        assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 1);
    place.import(&airports()).ok();
    place.run(&["verify"]).ok();
}

#[test]
fn numbers_and_depths_that_fit_nowhere_are_named() {
    let place = Place::with_airports();
    let deep = format!("a:={}{}", "[".repeat(65), "]".repeat(65));
    for (assignment, code, words) in [
        ("a:=1e999", 2, "out of range"),
        (deep.as_str(), 2, "nested too deeply"),
        ("a:={\"x\":1,\"x\":2}", 2, "stands twice"),
        ("a:=18446744073709551615", 2, "64-bit"),
    ] {
        let (found, error) = place.error(&["set", "travel", "airports", "SEA", assignment]);
        assert_eq!(found, code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
}
