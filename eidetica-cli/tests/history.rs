use serde_json::json;

use crate::kit::Place;

fn city(place: &Place, snapshot: &str) -> serde_json::Value {
    place.json(&["at", "travel", snapshot, "get", "airports", "SEA", "city"]).remove(0)
}

#[test]
fn the_past_is_there_by_id_by_prefix_and_by_distance() {
    let place = Place::with_airports();
    place.run(&["set", "travel", "airports", "SEA", "city=Tacoma"]).ok();
    place.run(&["set", "travel", "airports", "SEA", "city=SeaTac"]).ok();
    place.run(&["delete", "travel", "airports", "PDX"]).ok();
    assert_eq!(place.lines(&["get", "travel", "airports", "SEA", "city"]), ["SeaTac"]);

    let log = place.json(&["log", "travel"]);
    assert_eq!(log.len(), 8);
    assert_eq!(log[0]["parents"], json!([log[1]["id"]]));
    assert!(log.iter().all(|entry| entry["author"] == log[7]["author"] && entry["local"] == true));
    assert_eq!(place.json(&["log", "travel", "--limit", "2"]), log[..2]);

    let printed: Vec<String> = place
        .lines(&["log", "travel"])
        .iter()
        .skip(1)
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect();
    for (place_in_log, expected) in [(0, "SeaTac"), (1, "SeaTac"), (2, "Tacoma"), (3, "Seattle")] {
        assert_eq!(city(&place, log[place_in_log]["id"].as_str().unwrap()), expected);
        assert_eq!(city(&place, &printed[place_in_log]), expected);
        assert_eq!(city(&place, &format!("~{place_in_log}")), expected);
    }
    let both = format!("{},{}", printed[3], printed[2]);
    assert_eq!(city(&place, &both), "Tacoma");

    let rows = |arguments: &[&str]| place.json(arguments).len();
    assert_eq!(rows(&["rows", "travel", "airports"]), 3375);
    assert_eq!(rows(&["at", "travel", "~1", "rows", "airports"]), 3376);
    assert_eq!(rows(&["at", "travel", "~6", "rows", "airports"]), 1000);
    assert_eq!(rows(&["at", "travel", "~7", "rows", "airports"]), 0);
    assert_eq!(rows(&["at", "travel", "~1", "rows", "airports", "--where", "state=OR", "--prefix", "PD"]), 2);
}

#[test]
fn a_snapshot_that_is_none_is_refused() {
    let place = Place::with_airports();
    for (snapshot, code) in
        [("~5", 3), ("~99999999999", 3), ("~x", 2), ("~-1", 2), ("bafyr4i", 1), ("bafyr4izzzzzz", 3), ("", 2), (",", 2)]
    {
        let (found, error) = place.error(&["at", "travel", snapshot, "rows", "airports"]);
        assert_eq!(found, code, "{snapshot}: {error}");
    }
}

#[test]
fn programs_get_whole_ids() {
    let place = Place::with_airports();
    let id = place.json(&["info", "travel"])[0]["id"].as_str().unwrap().to_owned();
    let list = place.lines(&["list"]);
    assert_eq!(list[1].split('\t').nth(1), Some(id.as_str()), "{list:?}");
    let log = place.lines(&["log", "travel"]);
    assert_eq!(log.last().unwrap().split('\t').next(), Some(id.as_str()), "{log:?}");
}
