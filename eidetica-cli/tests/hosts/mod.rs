//! Three hosts with addresses of their own, in two networks and a third between two of them: what one writes reaches the
//! others over whatever cables are whole, through a host that may only read, and nothing that was told to be durable is lost.
//!
//! It needs network namespaces of Linux, and so to be root. `EIDETICA_NO_NETNS=1` leaves it out, openly.

mod cable;
mod found;
mod host;

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use self::cable::Cable;
use self::host::{Host, can_make_hosts};
use crate::kit::{Place, until};
use crate::serving::{Serving, serve_with};

/// How long it may take until a cable that is dead is noticed, and another way is taken: a request waits for 30 s, a watch for
/// 55 s, and then it is tried again.
const PATIENCE: Duration = Duration::from_secs(150);
const PORT: u16 = 8421;

/// The transport over which the hosts talk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Iroh,
}

/// A store on a host of its own, and the process that serves it.
struct Peer {
    name: &'static str,
    way: Way,
    host: Host,
    place: Place,
    serving: Option<Serving>,
    /// The ids of all entries that were told to be durable here.
    durable: Vec<String>,
}

impl Peer {
    fn new(name: &'static str, way: Way, place: Place) -> Peer {
        Peer { name, way, host: Host::new(name), place, serving: None, durable: Vec::new() }
    }

    /// Begins to serve, on all its cables.
    fn serve(&mut self) {
        let here = format!("0.0.0.0:{PORT}");
        let way = if self.way == Way::Http { "--http" } else { "--iroh" };
        let command = self.place.command(&["--json", "serve", way, &here]);
        self.serving = Some(serve_with(self.host.on(&command)));
    }

    /// The process is gone in the middle of whatever it does.
    fn kill(&mut self) {
        let ended = self.serving.take().expect("it serves").stop("KILL");
        assert_eq!(ended.code, None, "{ended:?}");
    }

    fn device(&self) -> &str {
        &self.serving.as_ref().expect("it serves").device
    }

    /// How it is called over the cable that has this address here.
    fn address(&self, here: &str) -> String {
        match self.way {
            Way::Http => format!("{here}:{PORT}"),
            // A ticket has the addresses of all cables.
            Way::Iroh => self.serving.as_ref().expect("it serves").at("iroh").to_owned(),
        }
    }

    /// Writes a field of an airport. On return it is durable.
    fn write(&mut self, key: &str, value: &str) {
        let ended =
            self.place.run(&["--json", "set", "travel", "airports", key, &format!("by_{}={value}", self.name)]).ok();
        let told: Json = serde_json::from_str(&ended.out).unwrap();
        self.durable.push(told["entry"].as_str().expect("the id of the entry").to_owned());
    }

    /// What a peer has written to an airport, as it is here.
    fn reads(&self, key: &str, of: &Peer) -> String {
        self.place.run(&["get", "travel", "airports", key, &format!("by_{}", of.name)]).out.trim().to_owned()
    }

    fn heads(&self) -> Json {
        self.place.json(&["info", "travel"])[0]["heads"].clone()
    }

    /// Gets access from another peer, over this cable.
    fn join(&self, admin: &Peer, here: &str, id: &str, right: &str) {
        let address = admin.address(here);
        let (code, error) = self.place.error(&["join", &address, id, "--permission", right]);
        assert_eq!((code, &error["kind"]), (5, &json!("Pending")), "{error}");
        until("the request is there", || !admin.place.json(&["requests"]).is_empty());
        let request = admin.place.json(&["requests"])[0]["request"].as_str().unwrap().to_owned();
        admin.place.run(&["approve", &request]).ok();
        let joined = self.place.json(&["join", &address, id]).remove(0);
        assert_eq!(joined["name"], "travel", "{joined}");
    }
}

fn until_long(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

#[test]
fn over_http_a_dead_cable_kills_and_a_middle_that_may_only_read_lose_nothing() {
    three_hosts(Way::Http);
}

#[test]
fn over_iroh_a_dead_cable_kills_and_a_middle_that_may_only_read_lose_nothing() {
    three_hosts(Way::Iroh);
}

fn three_hosts(way: Way) {
    if !can_make_hosts() {
        return;
    }
    let [mut anna, mut relay, mut ben] = match way {
        Way::Http => ["h-anna", "h-relay", "h-ben"],
        Way::Iroh => ["i-anna", "i-relay", "i-ben"],
    }
    .map(|name| Peer::new(name, way, if name.ends_with("anna") { Place::with_airports() } else { Place::new() }));
    let left = Cable::between(&anna.host, &relay.host, 1);
    let right = Cable::between(&relay.host, &ben.host, 2);
    let direct = Cable::between(&anna.host, &ben.host, 3);
    for peer in [&mut anna, &mut relay, &mut ben] {
        peer.serve();
    }
    let id = anna.place.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    relay.join(&anna, &left.addresses[0], &id, "read");
    ben.join(&anna, &direct.addresses[0], &id, "write");
    let middle = relay.address(&right.addresses[0]);
    ben.place.run(&["peers", "add", relay.device(), "travel", "--address", &middle]).ok();
    let (code, error) = relay.place.error(&["set", "travel", "airports", "SEA", "by_relay=1"]);
    assert_eq!((code, &error["kind"]), (1, &json!("PermissionDenied")), "{error}");

    // All cables are whole.
    anna.write("SEA", "1");
    ben.write("PDX", "1");
    until_long("what both have written is everywhere", || same(&anna, &relay, &ben));

    // Without the cable between them the way leads through the host in the middle, in both directions.
    direct.cut();
    anna.write("SEA", "2");
    ben.write("PDX", "2");
    let took = until_long("it has come through the middle", || {
        ben.reads("SEA", &anna) == "2" && anna.reads("PDX", &ben) == "2"
    });
    println!("with a dead cable beside it: {took:?} through the middle");

    // Both ways are gone: the middle dies while there is something to be sent.
    anna.write("SEA", "3");
    relay.kill();
    anna.write("SFO", "4");
    ben.write("SJC", "4");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((ben.reads("SFO", &anna), anna.reads("SJC", &ben)), Default::default(), "there is no way for it");
    relay.serve();
    let took = until_long("the middle is found again", || same(&anna, &relay, &ben));
    println!("after the middle was killed and has come back: {took:?}");

    // The cable between them is whole again, and the only way.
    direct.heal();
    relay.kill();
    anna.write("SEA", "5");
    let took = until_long("the direct way is found again", || ben.reads("SEA", &anna) == "5");
    println!("after the cable has healed: {took:?}");
    relay.serve();

    // And a writer dies directly after it was told that something is durable.
    for number in 0..5 {
        ben.write("PDX", &format!("durable {number}"));
    }
    ben.kill();
    anna.write("SEA", "6");
    ben.serve();
    let took = until_long("all have all", || same(&anna, &relay, &ben));
    println!("after a writer was killed and has come back: {took:?}");

    assert_eq!(anna.reads("PDX", &ben), "durable 4");
    assert_eq!(ben.reads("SEA", &anna), "6");
    let durable: Vec<&String> = anna.durable.iter().chain(&ben.durable).collect();
    for peer in [&anna, &relay, &ben] {
        let log = peer.place.json(&["log", "travel"]);
        let there: std::collections::HashSet<&str> = log.iter().filter_map(|entry| entry["id"].as_str()).collect();
        let lost: Vec<_> = durable.iter().filter(|id| !there.contains(id.as_str())).collect();
        assert!(lost.is_empty(), "{} has lost {lost:?}", peer.name);
        peer.place.run(&["verify"]).ok();
    }
}

fn same(anna: &Peer, relay: &Peer, ben: &Peer) -> bool {
    let heads = anna.heads();
    heads == relay.heads() && heads == ben.heads()
}
