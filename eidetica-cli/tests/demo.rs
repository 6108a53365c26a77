use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use crate::kit::{Place, until, wait_for};

/// It bounds itself; this is for when it does not.
const PATIENCE: Duration = Duration::from_secs(400);

/// The directories of demos that run, or have left something: in a place of its own for each test.
fn left(place: &Place) -> usize {
    std::fs::read_dir(place.path("tmp")).unwrap().count()
}

fn demo(place: &Place, arguments: &[&str]) -> Command {
    let _ = std::fs::create_dir(place.path("tmp"));
    let small = ["demo", "--entries", "1500", "--pushes", "5"];
    let arguments = if arguments.is_empty() { &small[..] } else { arguments };
    let mut command = place.command(arguments);
    command.env("TMPDIR", place.path("tmp")).env_remove("EIDETICA_STORE");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[test]
fn the_demo_shows_that_it_is_so_and_leaves_nothing() {
    let place = Place::new();
    let ended = wait_for(demo(&place, &[]).spawn().unwrap(), PATIENCE).ok();
    let last: Json = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["demo"], &last["rows"]), (&"ok".into(), &3376.into()), "{ended:?}");
    let cut = &last["interrupted"];
    let number = |name: &str| cut[name].as_u64().unwrap();
    assert_eq!(number("arrived_before") + number("came_after"), 1500, "{cut}");
    assert_eq!(number("came_again"), 0, "{cut}");
    assert!(last["push"]["ben_to_anna"]["median_ms"].as_f64().unwrap() > 0.0, "{last}");
    assert_eq!(left(&place), 0);
    // Programs get the last line alone, and what cannot be done in time is said so.
    let ended =
        wait_for(demo(&place, &["demo", "--json", "--limit", "10", "--entries", "1000000"]).spawn().unwrap(), PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let line: Json = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(line["demo"], "failed", "{line}");
    assert!(ended.err.contains("--limit"), "{ended:?}");
    assert_eq!(left(&place), 0);
}

#[test]
fn ctrl_c_ends_the_demo_and_its_processes() {
    let place = Place::new();
    let child = demo(&place, &[]).spawn().unwrap();
    let socket = || {
        let mut found = std::fs::read_dir(place.path("tmp")).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        found.next().is_some_and(|directory| directory.join("ben.db.socket").exists())
    };
    until("both nodes serve", socket);
    let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let ended = wait_for(child, PATIENCE);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert_eq!(left(&place), 0, "{ended:?}");
}
