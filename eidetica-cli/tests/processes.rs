use crate::kit::{Place, airports, import_of, wait};

#[test]
fn two_processes_create_and_fill_one_database_at_once() {
    let place = Place::new();
    let text = std::fs::read_to_string(airports()).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut files = Vec::new();
    for side in ["A", "B"] {
        // The same rows under other keys.
        let rows: String = rows.lines().map(|line| format!("{side}-{line}\n")).collect();
        files.push(place.write(&format!("{side}.csv"), &format!("{header}\n{rows}")));
    }
    let children: Vec<_> = files.iter().map(|file| place.start(&import_of(file))).collect();
    for child in children {
        wait(child).ok();
    }
    assert_eq!(place.json(&["list"]).len(), 1, "both write to one database");
    assert_eq!(place.lines(&["rows", "travel", "airports", "--fields", "key"]).len() - 1, 2 * 3376);
    place.run(&["verify"]).ok();
}

#[test]
fn many_processes_change_one_row_and_nothing_is_lost() {
    let place = Place::with_airports();
    for round in 0..3 {
        let fields: Vec<String> = (0..6).map(|number| format!("f{round}{number}={number}")).collect();
        let children: Vec<_> =
            fields.iter().map(|field| place.start(&["set", "travel", "airports", "SEA", field])).collect();
        for child in children {
            wait(child).ok();
        }
    }
    let row = &place.json(&["get", "travel", "airports", "SEA"])[0]["fields"];
    assert_eq!(row.as_object().unwrap().len(), 6 + 18, "{row}");
    place.run(&["verify"]).ok();
}

#[test]
fn a_database_is_created_by_one_process_at_a_time() {
    let place = Place::with_airports();
    let lock = std::fs::File::open(place.path("store.db.lock")).unwrap();
    lock.lock().unwrap();
    let file = airports();
    let mut import = import_of(&file);
    import[3] = "other";
    let mut child = place.start(&import);
    // Long enough to create it, were it not for the lock; an import into a database that is there does not wait.
    place.import(&file).ok();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it does not wait for the lock");
    assert_eq!(place.json(&["list"]).len(), 1);
    lock.unlock().unwrap();
    wait(child).ok();
    assert_eq!(place.json(&["list"]).len(), 2);
}
