//! A peer that is named by its key alone is found on the local network, by multicast DNS.

use crate::kit::Place;
use crate::serving::{let_in_by, same, serve_with};

use super::PORT;
use super::cable::Cable;
use super::host::{Host, can_make_hosts};
use super::until_long;

#[test]
fn a_key_is_address_enough_on_the_local_network() {
    if !can_make_hosts() {
        return;
    }
    let (anna, ben) = (Place::with_airports(), Place::new());
    let (host, other) = (Host::new("m-anna"), Host::new("m-ben"));
    let cable = Cable::between(&host, &other, 9);
    cable.carry_multicast();
    let here = format!("0.0.0.0:{PORT}");
    let serve = |place: &Place, host: &Host| {
        serve_with(host.on(&place.command(&["--json", "serve", "--iroh", &here, "--mdns"])))
    };
    let (mut serving, _other) = (serve(&anna, &host), serve(&ben, &other));
    // No address of it is written anywhere: ben has nothing but the key.
    let_in_by(&anna, &serving.device, &ben);
    anna.run(&["set", "travel", "airports", "SEA", "by=anna"]).ok();
    until_long("what anna has written is there", || same(&anna, &ben));

    // And is found again at another port, though nobody has told.
    serving.stop("TERM");
    let here = format!("0.0.0.0:{}", PORT + 1);
    let _again = serve_with(host.on(&anna.command(&["--json", "serve", "--iroh", &here, "--mdns"])));
    anna.run(&["set", "travel", "airports", "SEA", "by=anna at another port"]).ok();
    until_long("she is found again", || same(&anna, &ben));
}
