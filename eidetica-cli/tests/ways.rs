//! Nodes as processes over iroh, and over both transports at once. On loopback, without relays.

use std::net::UdpSocket;

use serde_json::json;

use crate::kit::{Place, until};
use crate::serving::{id, let_in, let_in_by, same, serve, serve_by};

const IROH: &[&str] = &["--iroh", "127.0.0.1:0"];
const BOTH: &[&str] = &["--http", "127.0.0.1:0", "--iroh", "127.0.0.1:0"];

#[test]
fn two_stores_come_to_the_same_state_over_iroh() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let mut serving = serve_by(&anna, IROH);
    assert!(serving.at("iroh").starts_with("endpoint"), "{:?}", serving.listening);
    let_in(&anna, &serving, &ben);
    let rows = ["rows", "travel", "airports"];
    assert_eq!(ben.lines(&rows), anna.lines(&rows));

    // Nobody serves ben's store: his commands are the node, and find anna by what they know of her.
    ben.run(&["set", "travel", "airports", "SEA", "n=1"]).ok();
    let synced = ben.json(&["sync"]).remove(0);
    assert_eq!((&synced["complete"], &synced["sent"]), (&json!(true), &json!(1)), "{synced}");
    assert_eq!(anna.lines(&["get", "travel", "airports", "SEA", "n"]), ["1"]);
    let peers = ben.json(&["peers"]);
    assert_eq!((&peers[0]["peer"], &peers[0]["addresses"]), (&json!(serving.device), &json!([serving.address])));

    // She comes back where she was, without having been told where that is.
    let before = serving.address.clone();
    assert_eq!(serving.stop("INT").code, Some(0));
    let (code, error) = ben.error(&["sync", &before]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unreachable")), "{error}");
    anna.run(&["set", "travel", "airports", "SEA", "n=2"]).ok();
    let mut serving = serve_by(&anna, IROH);
    assert_eq!(serving.address, before);
    let synced = ben.json(&["sync", &format!("iroh:{before}")]).remove(0);
    assert_eq!(synced["received"], 1, "{synced}");
    // Also after a crash.
    assert_eq!(serving.stop("KILL").code, None);
    assert_eq!(serve_by(&anna, IROH).address, before);
}

#[test]
fn a_store_is_served_over_both_at_once() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let mut serving = serve_by(&anna, BOTH);
    let labels: Vec<&str> = serving.listening.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["http", "iroh"]);
    let _other = serve_by(&ben, BOTH);
    let_in_by(&anna, serving.at("iroh"), &ben);
    let status = anna.json(&["status"]).remove(0);
    let listening = serving.listening.iter();
    let listening: Vec<_> = listening.map(|(label, at)| json!({ "transport": label, "address": at })).collect();
    assert_eq!(status["serving"]["listening"], json!(listening));
    let text = anna.run(&["status"]).ok().out;
    let wanted = format!("served at {}, {} by process ", serving.at("http"), serving.at("iroh"));
    assert!(text.starts_with(&wanted), "{text}");
    // What anna tells of herself are both addresses, and they are those of one peer.
    until("ben knows both", || ben.json(&["peers"])[0]["addresses"].as_array().unwrap().len() == 2);
    let peers = ben.json(&["peers"]);
    assert_eq!((peers.len(), &peers[0]["peer"]), (1, &json!(serving.device)));
    for transport in ["http", "iroh"] {
        assert!(peers[0]["addresses"].as_array().unwrap().contains(&json!(serving.at(transport))), "{peers:?}");
        assert_eq!(ben.json(&["sync", serving.at(transport)])[0]["complete"], true);
    }
    assert_eq!(ben.json(&["status"])[0]["relationships"].as_array().unwrap().len(), 1);

    // One way after the other is gone, and the two find each other by what is left.
    for (transport, value) in [("http", "from=1"), ("iroh", "from=2")] {
        let arguments = [format!("--{transport}"), serving.at(transport).to_owned()];
        let arguments: Vec<&str> = match transport {
            "http" => arguments.iter().map(String::as_str).collect(),
            _ => IROH.to_vec(),
        };
        assert_eq!(serving.stop("TERM").code, Some(0));
        let again = serve_by(&anna, &arguments);
        assert_eq!(again.at(transport), serving.at(transport));
        anna.run(&["set", "travel", "airports", "SEA", value]).ok();
        until("both have it", || same(&anna, &ben));
        drop(again);
        serving = serve_by(&anna, &["--http", serving.at("http"), "--iroh", "127.0.0.1:0"]);
    }
}

#[test]
fn who_is_not_let_in_over_one_way_is_called_over_it() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    // Each lets others in over another transport, and calls over both.
    let (over_http, over_iroh) = (serve(&anna), serve_by(&ben, IROH));
    let_in_by(&anna, &over_http.address, &ben);
    anna.run(&["peers", "add", &over_iroh.device, "travel", "--address", &over_iroh.address]).ok();
    ben.run(&["set", "travel", "airports", "SEA", "from=ben"]).ok();
    until("anna has it", || same(&anna, &ben));
    anna.run(&["set", "travel", "airports", "SEA", "from=anna"]).ok();
    until("ben has it", || same(&anna, &ben));
    assert_eq!(anna.json(&["peers"])[0]["addresses"], json!([over_iroh.address]));
}

#[test]
fn everywhere_on_this_machine_unless_a_place_is_named() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    let serving = serve_by(&anna, &["--iroh"]);
    let_in(&anna, &serving, &ben);
    assert_eq!(ben.json(&["transports"]).iter().map(|one| one["scheme"].clone()).collect::<Vec<_>>(), ["http", "iroh"]);
}

#[test]
fn errors_of_iroh_say_what_to_do() {
    let (anna, ben) = (Place::with_airports(), Place::new());
    for arguments in [
        &["--iroh", "nonsense"][..],
        &["--iroh", "localhost:1"],
        &["--iroh", "127.0.0.1:0", "--relays", "nonsense"],
        &["--mdns"],
    ] {
        let (code, error) = anna.error(&[&["serve"], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (code, error) = anna.error(&["serve", "--iroh", &taken.local_addr().unwrap().to_string()]);
    assert_eq!((code, &error["kind"]), (1, &json!("Locked")), "{error}");

    let mut serving = serve_by(&anna, IROH);
    let id = id(&anna);
    let cut = &serving.address[..serving.address.len() - 3];
    let (code, error) = ben.error(&["join", cut, &id]);
    assert_eq!((code, &error["kind"]), (1, &json!("InvalidInput")), "{error}");
    // A key alone leads nowhere without discovery, and that is said at once.
    let (code, error) = ben.error(&["join", &serving.device, &id]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unreachable")), "{error}");
    assert!(error.to_string().contains("ticket"), "{error}");
    let address = serving.address.clone();
    serving.stop("INT");
    let (code, error) = ben.error(&["join", &address, &id]);
    assert_eq!((code, &error["kind"]), (1, &json!("Unreachable")), "{error}");
}
