use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use crate::kit::{Place, until, wait};
use crate::serving::{id, let_in, same, serve, serve_at};

#[test]
fn two_stores_come_to_the_same_state_over_http() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let mut serving = serve(&anna);
    let id = let_in(&anna, &serving, &ben);
    let rows = ["rows", "travel", "airports"];
    assert_eq!(ben.lines(&rows), anna.lines(&rows));

    // Nobody serves ben's store: his commands are the node.
    ben.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    let synced = ben.json(&["sync"]).remove(0);
    assert_eq!((&synced["complete"], &synced["sent"], &synced["name"]), (&json!(true), &json!(1), &json!("travel")));
    assert_eq!(anna.lines(&["get", "travel", "airports", "SEA", "n"]), ["1"]);
    let again = ben.json(&["sync", &serving.address, "--database", "travel"]).remove(0);
    assert_eq!((&again["sent"], &again["received"]), (&json!(0), &json!(0)), "{again}");

    let peers = ben.json(&["peers"]);
    assert_eq!(peers.len(), 1);
    assert_eq!((&peers[0]["peer"], &peers[0]["databases"]), (&json!(serving.device), &json!([id])));
    assert_eq!(peers[0]["addresses"], json!([serving.address]));
    let status = ben.json(&["status"]).remove(0);
    assert_eq!((&status["serving"], &status["relationships"][0]["name"]), (&Json::Null, &json!("travel")));
    // Ben has no address: he calls, and anna's own sync passes over him. That he is in step is known from his rounds.
    let passed = anna.json(&["sync"]);
    assert_eq!((passed.len(), &passed[0]["passed_over"], &passed[0]["name"]), (1, &json!(true), &json!("travel")));
    let text = anna.run(&["sync"]).ok().out;
    assert!(text.contains("calls by itself"), "{text}");
    let one = anna.json(&["status"])[0]["relationships"][0].clone();
    assert_eq!(
        (&one["state"], &one["unsent"], &one["behind"]),
        (&json!("no address"), &json!(false), &json!(0)),
        "{one}"
    );
    assert!(one["last_success_seconds"].is_number(), "{one}");
    let ended = serving.stop("INT");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(!anna.path("store.db.socket").exists(), "the socket is left");
    // Nobody answers any longer, and that is said with the address.
    let ended = ben.run(&["--json", "sync"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("Unreachable") && ended.err.contains(&serving.address), "{ended:?}");
    // On both streams in the form that errors have everywhere.
    let (line, error): (Json, Json) =
        (serde_json::from_str(&ended.out).unwrap(), serde_json::from_str(&ended.err).unwrap());
    assert_eq!(line["failed"], error["error"], "{ended:?}");
    ben.run(&["peers", "remove", &serving.device[..20]]).ok();
    assert_eq!(ben.json(&["peers"]).len(), 0);
    assert_eq!(ben.error(&["sync"]).0, 3);
}

#[test]
fn all_commands_work_on_a_store_that_is_served() {
    for scheme in ["sqlite", "redb"] {
        all_commands_work_on_a_store_of(scheme);
    }
}

fn all_commands_work_on_a_store_of(scheme: &str) {
    let (anna, ben) = (Place::of(scheme).and_airports(), Place::of(scheme));
    let (serving, other) = (serve(&anna), serve(&ben));
    assert_eq!(anna.error(&["serve", "--advertise", "x:1"]).0, 2, "who is not let in is told no address");
    for name in ["store.db.socket", "store.db.serve"] {
        let mode = std::fs::metadata(anna.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (code, error) = anna.error(&["serve", "--http", "127.0.0.1:0"]);
    assert_eq!((code, &error["kind"]), (1, &json!("Locked")), "{error}");

    let_in(&anna, &serving, &ben);
    // What commands write goes to the other side by itself, both ways.
    anna.run(&["set", "travel", "airports", "SEA", "from=anna"]).ok();
    ben.run(&["set", "travel", "airports", "PDX", "from=ben"]).ok();
    until("both have both", || same(&anna, &ben));
    assert_eq!(ben.lines(&["get", "travel", "airports", "SEA", "from"]), ["anna"]);
    let status = ben.json(&["status", "--follow"]).pop().unwrap();
    assert_eq!(status["serving"]["addresses"], json!([other.address]));
    let one = &status["relationships"][0];
    assert_eq!((&one["peer"], &one["name"]), (&json!(serving.device), &json!("travel")), "{status}");
    assert_eq!((&one["state"], &one["connected"]), (&json!("idle"), &json!(true)), "{status}");
    let text = ben.run(&["status"]).ok().out;
    assert!(text.starts_with(&format!("served at {} by process ", other.address)), "{text}");
    assert_eq!(ben.json(&["sync"])[0]["complete"], true);

    // A database that is made while the store is served can be joined at once, by its name once one may see it.
    let file = anna.write("more.csv", "k,v\n1,2\n");
    anna.run(&["import", file.to_str().unwrap(), "--database", "more", "--table", "t", "--key", "k"]).ok();
    let more = anna.json(&["list"]).into_iter().find(|one| one["name"] == "more").unwrap();
    let more = more["id"].as_str().unwrap();
    let wait_for = ["join", &serving.address, more, "--wait", "50", "--permission", "read", "--name", "less"];
    let waiting = ben.start(&[&["--json"], &wait_for[..]].concat());
    until("it is asked for", || anna.json(&["requests"]).len() == 1);
    anna.run(&["approve", anna.json(&["requests"])[0]["request"].as_str().unwrap()]).ok();
    let joined: Json = serde_json::from_str(&wait(waiting).ok().out).unwrap();
    assert_eq!((&joined["name"], &joined["permission"]), (&json!("less"), &json!("Read")));
    let (code, error) = ben.error(&["set", "less", "t", "1", "v=3"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
    // An index, a check and a backup of a store that is served.
    ben.run(&["index", "add", "travel", "airports", "state"]).ok();
    ben.run(&["verify"]).ok();
    ben.run(&["backup", ben.path("copy.db").to_str().unwrap()]).ok();
}

#[test]
fn a_killed_server_is_found_again_and_leaves_nothing_that_stands_in_the_way() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let mut serving = serve(&anna);
    let _other = serve(&ben);
    let_in(&anna, &serving, &ben);
    let ended = serving.stop("KILL");
    assert_eq!(ended.code, None);
    assert_eq!(anna.json(&["status"])[0]["serving"], Json::Null, "a dead process serves nothing");
    anna.run(&["set", "travel", "airports", "SEA", "while=dead"]).ok();
    let mut again = serve_at(&anna, &serving.address);
    until("ben has found it again", || same(&anna, &ben));
    assert_eq!(again.stop("TERM").code, Some(0));
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let serving = serve(&anna);
    let id = id(&anna);
    ben.error(&["join", &serving.address, &id, "--permission", "admin"]);
    until("the request is there", || !anna.json(&["requests"]).is_empty());
    let request = anna.json(&["requests"])[0]["request"].as_str().unwrap().to_owned();
    assert_eq!(ben.json(&["status"])[0]["asked"][0]["state"], "pending");
    let rejected = anna.json(&["reject", &request, "--reason", "not today"]).remove(0);
    assert_eq!(rejected["state"], "rejected");
    let (code, error) = ben.error(&["join", &serving.address, &id, "--permission", "admin"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");
    assert!(error.to_string().contains("not today"), "{error}");
    assert_eq!(anna.error(&["approve", "ffff"]).0, 3);
    assert!(ben.json(&["list"]).is_empty());
    // She thinks better of it.
    assert_eq!(anna.json(&["requests", "--all"])[0]["state"], "rejected");
    assert_eq!(anna.json(&["approve", &request])[0]["state"], "approved");
    let (code, error) = anna.error(&["approve", &request]);
    assert_eq!((code, &error["kind"]), (1, &json!("Conflict")), "{error}");
    ben.json(&["join", &serving.address, &id, "--permission", "admin"]);
    assert_eq!(ben.json(&["list"]).len(), 1);
}

#[test]
fn errors_of_the_network_say_what_to_do() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let id = id(&anna);
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        let (code, error) = anna.error(&["serve", "--http", address]);
        assert_ne!(code, 0, "{address}: {error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = anna.error(&["serve", "--http", &address]);
    assert_eq!((code, &error["kind"]), (1, &json!("Locked")), "{error}");
    drop(taken);
    let (code, error) = ben.error(&["join", &address, &id]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unreachable")), "{error}");
    assert_eq!(ben.json(&["list"]), Vec::<Json>::new());
    let serving = serve(&anna);
    let (code, error) = ben.error(&["join", &serving.address, "travel"]);
    assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("list --json"), "{error}");
    let (code, error) = ben.error(&["sync", &serving.address]);
    assert_eq!((code, &error["kind"]), (3, &json!("NotFound")), "{error}");
    assert_eq!(ben.error(&["peers", "remove", "ed25519:00"]).0, 3);
    assert_eq!(anna.error(&["peers", "add", "nobody", "travel"]).0, 2);
    let (code, _) = ben.error(&["join", &serving.address, &id, "--wait", "0"]);
    assert_eq!(code, 2);
}
