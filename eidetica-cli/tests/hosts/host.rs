//! Hosts with addresses of their own: network namespaces of Linux.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Set, it says openly that hosts cannot be made here, and what they are for is not tested.
const WITHOUT: &str = "EIDETICA_NO_NETNS";

/// A host. It goes with its cables when it is dropped.
pub struct Host {
    pub namespace: String,
}

/// False if that was asked for; a machine that cannot make hosts without saying so is a failure.
pub fn can_make_hosts() -> bool {
    if std::env::var_os(WITHOUT).is_some_and(|value| value == "1") {
        eprintln!("NOT TESTED, as {WITHOUT} says: hosts with networks of their own");
        return false;
    }
    static MADE: OnceLock<bool> = OnceLock::new();
    let made = *MADE
        .get_or_init(|| ip_quietly(&["netns", "add", &name("try")]) && ip_quietly(&["netns", "delete", &name("try")]));
    assert!(
        made,
        "hosts with networks of their own cannot be made (it takes root, and `ip`); set {WITHOUT}=1 to do without"
    );
    true
}

impl Host {
    pub fn new(called: &str) -> Host {
        let namespace = name(called);
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        Host { namespace }
    }

    /// The same command, on this host.
    pub fn on(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there.stdin(Stdio::null());
        there
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The cables go with it. Whatever is left is left to be seen.
        ip_quietly(&["netns", "delete", &self.namespace]);
    }
}

/// What a host sends to this address gets nowhere, and it is not told: it goes to a network card that is not there.
pub fn lose(namespace: &str, interface: &str, to: &str) {
    let nobody = ["lladdr", "02:00:00:00:00:99", "nud", "permanent"];
    let entry = ["-n", namespace, "neighbour", "replace", to, "dev", interface];
    ip(&[&entry[..], &nobody[..]].concat());
}

/// It gets there again.
pub fn regain(namespace: &str, interface: &str, to: &str) {
    ip(&["-n", namespace, "neighbour", "delete", to, "dev", interface]);
}

pub fn ip(arguments: &[&str]) {
    assert!(ip_quietly(arguments), "`ip {}` has failed", arguments.join(" "));
}

/// A name that no other run of the tests uses.
fn name(called: &str) -> String {
    format!("eidetica-{}-{called}", std::process::id())
}

fn ip_quietly(arguments: &[&str]) -> bool {
    let status = Command::new("ip").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
