use serde_json::json;

use crate::kit::Place;

fn keys(place: &Place, more: &[&str]) -> Vec<String> {
    let arguments = [&["rows", "travel", "airports"], more].concat();
    place.json(&arguments).iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn filters_orders_and_limits() {
    let place = Place::with_airports();
    let northern = ["--where", "state=WA", "--where", "latitude>48.5", "--sort", "latitude", "--desc", "--limit", "3"];
    assert_eq!(keys(&place, &northern), ["0S7", "BLI", "ORS"]);
    assert_eq!(keys(&place, &["--prefix", "SE", "--limit", "2"]), ["SEA", "SEE"]);
    assert_eq!(keys(&place, &["--where", "key=SEA"]), ["SEA"]);
    assert_eq!(keys(&place, &["--limit", "0"]), [""; 0]);
    assert_eq!(keys(&place, &["--where", "city!=Seattle", "--where", "state=WA"]).len(), 63);
    assert_eq!(keys(&place, &[]).len(), 3376);
    let all = keys(&place, &["--sort", "name"]);
    assert_eq!(all.len(), 3376);
    assert_eq!(keys(&place, &["--sort", "name", "--limit", "100"]), all[..100]);
    let lines = place.lines(&["rows", "travel", "airports", "--fields", "key,city", "--where", "key=SEA"]);
    assert_eq!(lines, ["key\tcity", "SEA\tSeattle"]);
}

#[test]
fn an_index_changes_nothing_but_the_time() {
    let place = Place::with_airports();
    place.run(&["set", "travel", "airports", "X1", "state:=\"0\""]).ok();
    place.run(&["set", "travel", "airports", "X2", "state=0"]).ok();
    place.run(&["set", "travel", "airports", "X3", "state:=-0.0"]).ok();
    place.run(&["set", "travel", "airports", "X4", "state=null"]).ok();
    let ask = |place: &Place| {
        ["state=WA", "state=0", "state=0.0", "state=null", "state=true"]
            .map(|condition| keys(place, &["--where", condition, "--where", "key>B"]))
    };
    let before = ask(&place);
    assert_eq!((before[0].len() > 10, before[1].len(), before[3].len()), (true, 3, 1));
    place.run(&["index", "add", "travel", "airports", "state"]).ok();
    assert_eq!(place.json(&["info", "travel"])[0]["stores"][1]["indexes"], json!(["state"]));
    assert_eq!(ask(&place), before);
    place.run(&["index", "drop", "travel", "airports", "state"]).ok();
    assert_eq!(place.json(&["info", "travel"])[0]["stores"][1]["indexes"], json!([]));
    assert_eq!(ask(&place), before);
}

#[test]
fn what_is_set_is_shown_in_its_type() {
    let place = Place::with_airports();
    let fields = ["n=1", "f=2.5", "b=true", "z=null", "t=007", "j:={\"a\":[1]}", "s:=\"7\"", "eq=a=b", "empty="];
    place.run(&[&["set", "travel", "airports", "NEWROW"][..], &fields].concat()).ok();
    let row = &place.json(&["get", "travel", "airports", "NEWROW"])[0]["fields"];
    let expected = json!({
        "n": 1, "f": 2.5, "b": true, "z": null, "t": "007", "j": { "a": [1] }, "s": "7", "eq": "a=b", "empty": "",
    });
    assert_eq!(*row, expected);
    assert_eq!(place.lines(&["get", "travel", "airports", "NEWROW", "t"]), ["007"]);
    let again = place.json(&["set", "travel", "airports", "NEWROW", "n=1"]).remove(0);
    assert_eq!(again["written"], false);

    place.run(&["delete", "travel", "airports", "NEWROW", "SEA"]).ok();
    assert_eq!(place.error(&["get", "travel", "airports", "NEWROW"]).0, 3);
    // All or none.
    assert_eq!(place.error(&["delete", "travel", "airports", "PDX", "SEA"]).0, 3);
    place.run(&["get", "travel", "airports", "PDX"]).ok();
}

#[test]
fn a_cell_cannot_break_a_line_or_reach_the_terminal() {
    let place = Place::with_airports();
    let evil = "a\tb\nc\x1b[31m\u{202e}";
    place.run(&["set", "travel", "airports", "EVIL", &format!("name={evil}")]).ok();
    let lines = place.lines(&["rows", "travel", "airports", "--where", "key=EVIL", "--fields", "name"]);
    assert_eq!(lines, ["name", "a\\tb\\nc\\u{1b}[31m\\u{202e}"]);
    // A program gets the value itself.
    assert_eq!(place.json(&["get", "travel", "airports", "EVIL", "name"]), [evil]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::with_airports();
    for json in [&[][..], &["--json"]] {
        let mut child = place.start(&[&["rows", "travel", "airports"], json].concat());
        // Closed before anything can be read, so that every write fails.
        drop(child.stdout.take());
        let ended = crate::kit::wait(child).ok();
        assert_eq!(ended.err, "");
    }
}
