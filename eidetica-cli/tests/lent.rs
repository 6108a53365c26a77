//! A store whose engine lets one process in at a time: commands borrow it from whoever serves it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::json;

use crate::kit::{Place, until, wait};
use crate::serving::{let_in, same, serve};

#[test]
fn whatever_works_on_a_store_works_while_it_is_served() {
    let place = Place::of("redb").and_airports();
    let mut serving = serve(&place);
    // Reading: what is there, and what was.
    let rows = place.lines(&["rows", "travel", "airports"]);
    assert_eq!(rows.len(), 3377);
    place.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    assert_eq!(place.lines(&["get", "travel", "airports", "SEA", "n"]), ["1"]);
    assert_eq!(place.lines(&["at", "travel", "~1", "rows", "airports"]), rows);
    place.run(&["delete", "travel", "airports", "PDX"]).ok();
    assert_eq!(place.error(&["get", "travel", "airports", "PDX"]).0, 3);
    assert!(place.lines(&["log", "travel"]).len() > 2);
    assert_eq!(place.json(&["info"]).len(), 1);
    // An import beside it, a user with a password, an index, a rebuild, a check.
    let file = place.write("more.csv", "k,v\n1,2\n");
    place.run(&["import", file.to_str().unwrap(), "--database", "more", "--table", "t", "--key", "k"]).ok();
    let mut add = place.command(&["user", "add", "alice", "--password", "--password-stdin"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"sesame\n").unwrap();
    wait(add).ok();
    assert_eq!(place.lines(&["user", "list"]), ["user", "alice", "default"]);
    place.run(&["index", "add", "travel", "airports", "state"]).ok();
    place.run(&["reindex", "travel"]).ok();
    place.run(&["verify"]).ok();
    // Out of it and into it.
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    place.run(&["export", "travel", &path("travel.eid")]).ok();
    place.run(&["backup", &path("copy.db")]).ok();
    place.run(&["copy", place.store(), &format!("sqlite:{}", path("moved.db"))]).ok();
    let other = Place::of("redb");
    let other_serving = serve(&other);
    other.run(&["restore", &path("travel.eid"), "--name", "travel"]).ok();
    assert!(same(&place, &other));
    drop(other_serving);
    // A second one that would serve is refused, and what was written lasts.
    let (code, error) = place.error(&["serve", "--http", "127.0.0.1:0"]);
    assert_eq!((code, &error["kind"]), (1, &json!("Locked")), "{error}");
    let before = place.lines(&["rows", "travel", "airports"]);
    assert_eq!(serving.stop("KILL").code, None);
    assert_eq!(place.lines(&["rows", "travel", "airports"]), before);
    assert_eq!(place.lines(&["user", "list"]), ["user", "alice", "default"]);
}

/// Many commands at once write to a store that is served, and a peer gets it all.
#[test]
fn commands_that_borrow_at_once_lose_nothing() {
    let (anna, ben) = (Place::of("redb").and_airports(), Place::new());
    let serving = serve(&anna);
    let _other = serve(&ben);
    let_in(&anna, &serving, &ben);
    let all: Vec<_> = (0..6).map(|n| anna.start(&["set", "travel", "airports", "SEA", &format!("n{n}={n}")])).collect();
    for one in all {
        wait(one).ok();
    }
    let fields: Vec<String> =
        (0..6).map(|n| anna.lines(&["get", "travel", "airports", "SEA", &format!("n{n}")]).remove(0)).collect();
    assert_eq!(fields, ["0", "1", "2", "3", "4", "5"]);
    until("ben has it all", || same(&anna, &ben));
    anna.run(&["verify"]).ok();
}

/// Nobody serves the store: a command waits for the one before it, and for no longer than that one takes.
#[test]
fn commands_take_turns_where_nobody_serves() {
    let place = Place::of("redb").and_airports();
    let all: Vec<_> =
        (0..3).map(|n| place.start(&["set", "travel", "airports", "SEA", &format!("n{n}={n}")])).collect();
    for one in all {
        wait(one).ok();
    }
    for n in 0..3 {
        assert_eq!(place.lines(&["get", "travel", "airports", "SEA", &format!("n{n}")]), [n.to_string()]);
    }
}

/// A command that is cut off by the end of the server says so.
#[test]
fn a_command_whose_lender_ends_says_so() {
    let place = Place::of("redb").and_airports();
    let mut serving = serve(&place);
    // It has more to say than a pipe holds, so that it is under way until somebody reads on.
    let mut rows = place.start(&["--json", "rows", "travel", "airports"]);
    let mut said = BufReader::new(rows.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    assert_eq!(serving.stop("INT").code, Some(0));
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    let ended = wait(rows);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let error: serde_json::Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!((&error["error"]["kind"], &error["error"]["retryable"]), (&json!("Closed"), &json!(true)), "{error}");
    place.run(&["verify"]).ok();
}

/// A process of another version that serves the store does not come to understand the command by being asked again.
#[test]
fn a_server_of_another_version_is_told_as_such() {
    let place = Place::of("redb").and_airports();
    let _serving = serve(&place);
    // Whoever answers at the place of the server knows nothing of lending.
    let socket = place.path("other.socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = place.store().strip_prefix("redb:").unwrap().to_owned() + ".serve";
    std::fs::write(file, socket.to_str().unwrap()).unwrap();
    let answering = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut asked = String::new();
        BufReader::new(&stream).read_line(&mut asked).unwrap();
        let kind = eidetica::ErrorKind::Unsupported.number();
        let error = json!({ "kind": kind, "message": "start it again", "context": [], "causes": [], "retry": 0 });
        writeln!(&stream, "{}", json!({ "failed": error })).unwrap();
        asked
    });
    let (code, error) = place.error(&["rows", "travel", "airports"]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unsupported")), "{error}");
    assert!(answering.join().unwrap().contains("borrow"));
}
