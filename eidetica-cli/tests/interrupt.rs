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
    let mut before = 0;
    for signal in ["INT", "TERM"] {
        let child = place.start(&import_of(&file));
        until("rows can be read", || count(&place) > before);
        send(signal, &child);
        let ended = wait(child);
        assert_eq!(ended.code, Some(130), "{signal}: {ended:?}");
        assert!(ended.out.contains("import again to complete it"), "{signal}: {ended:?}");

        let rows = place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1;
        assert!(rows > before && rows < ROWS && rows.is_multiple_of(1000), "{signal}: {rows}");
        assert!(ended.out.contains(&format!("stopped after row {rows} of {ROWS}")), "{signal}: {rows}: {ended:?}");
        before = rows;
    }
    let rows = before;
    place.run(&["verify"]).ok();

    let again = place.json(&import_of(&file)).remove(0);
    assert_eq!(
        (again["unchanged"].as_u64(), again["written"].as_u64()),
        (Some(rows as u64), Some((ROWS - rows) as u64))
    );
    assert_eq!(place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1, ROWS);

    // A rebuild that is stopped says so at once, keeps nobody waiting, and is done again by whoever opens the database next.
    let child = place.start(&["reindex", "travel"]);
    until("the rebuild is under way", || place.run(&["info", "travel"]).err.contains("rebuilding the database"));
    send("INT", &child);
    let ended = wait(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.err.contains("goes on"), "{ended:?}");
    let begun = std::time::Instant::now();
    assert_eq!(place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1, ROWS);
    println!("rebuilt and read in {:?}", begun.elapsed());
    place.run(&["verify"]).ok();

    // A backup that is stopped leaves nothing, and one that was faster is whole.
    let copy = place.path("copy.db");
    let child = place.start(&["backup", copy.to_str().unwrap()]);
    let begun = || names(&place).iter().any(|name| name.starts_with(".eidetica") || name == "copy.db");
    until("the backup has begun", begun);
    send("INT", &child);
    let ended = wait(child);
    assert!(!names(&place).iter().any(|name| name.starts_with(".eidetica")), "{ended:?}");
    match ended.code {
        Some(130) => assert!(!copy.exists(), "{ended:?}"),
        _ => drop(place.on("copy.db").run(&["list"]).ok()),
    }
}

fn send(signal: &str, child: &std::process::Child) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

fn names(place: &Place) -> Vec<String> {
    let files = std::fs::read_dir(place.path("")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}
