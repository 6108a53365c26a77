use std::fmt::Write;
use std::process::Command;

use crate::kit::{Place, import_of, until, wait};

const ROWS: usize = 200_000;

/// The rows that can be read now; none while there is no such table.
fn count(place: &Place) -> usize {
    let ended = place.run(&["info", "travel", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&ended.out).unwrap_or_default();
    info["entries"].as_u64().unwrap_or(0).saturating_sub(1) as usize * 1000
}

#[test]
fn ctrl_c_keeps_whole_batches_and_a_second_import_completes_them() {
    let place = Place::new();
    let mut text = "iata,name,city,state,country,latitude,longitude\n".to_owned();
    for number in 0..ROWS {
        writeln!(text, "{number:06},Name {number},City {},WA,USA,{}.5,-{number}.25", number % 977, number % 90)
            .unwrap();
    }
    let file = place.write("big.csv", &text);
    let child = place.start(&import_of(&file));
    until("rows can be read", || count(&place) > 0);
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let ended = wait(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.out.contains("import again to complete it"), "{ended:?}");

    let rows = place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1;
    assert!(rows > 0 && rows < ROWS && rows.is_multiple_of(1000), "{rows}");
    assert!(ended.out.contains(&format!("stopped after row {rows} of {ROWS}")), "{rows}: {ended:?}");
    place.run(&["verify"]).ok();

    let again = place.json(&import_of(&file)).remove(0);
    assert_eq!(
        (again["unchanged"].as_u64(), again["written"].as_u64()),
        (Some(rows as u64), Some((ROWS - rows) as u64))
    );
    assert_eq!(place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1, ROWS);
}
