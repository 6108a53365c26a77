use serde_json::json;

use crate::kit::{Place, airports, import_of};

#[test]
fn every_row_of_the_file_is_in_the_table_with_its_types() {
    let place = Place::new();
    let report = place.json(&import_of(&airports())).remove(0);
    assert_eq!((&report["rows"], &report["written"], &report["complete"]), (&json!(3376), &json!(3376), &json!(true)));
    assert_eq!(report["columns"]["latitude"], "float");
    assert_eq!(report["columns"]["name"], "text");

    // Compared with another reader of the same file.
    let mut file = csv::Reader::from_path(airports()).unwrap();
    let mut expected: Vec<_> = file
        .records()
        .map(|record| {
            let record = record.unwrap();
            let number = |place: usize| record[place].parse::<f64>().unwrap();
            let fields = json!({
                "name": &record[1], "city": &record[2], "state": &record[3], "country": &record[4],
                "latitude": number(5), "longitude": number(6),
            });
            json!({ "key": &record[0], "fields": fields })
        })
        .collect();
    expected.sort_by_key(|row| row["key"].as_str().unwrap().as_bytes().to_vec());
    assert_eq!(place.json(&["rows", "travel", "airports"]), expected);
    // One entry for each thousand rows, and the root.
    assert_eq!(place.json(&["info", "travel"])[0]["entries"], 5);
}

#[test]
fn a_second_import_writes_only_what_differs() {
    let place = Place::with_airports();
    let again = place.json(&import_of(&airports())).remove(0);
    assert_eq!((&again["written"], &again["unchanged"]), (&json!(0), &json!(3376)));
    assert_eq!(place.json(&["info", "travel"])[0]["entries"], 5);

    place.run(&["set", "travel", "airports", "SEA", "note=mine"]).ok();
    let changed = std::fs::read_to_string(airports()).unwrap().replace("SEA,Seattle-Tacoma Intl", "SEA,Sea-Tac");
    let again = place.json(&import_of(&place.write("changed.csv", &changed))).remove(0);
    assert_eq!((&again["written"], &again["unchanged"]), (&json!(1), &json!(3375)));
    let row = &place.json(&["get", "travel", "airports", "SEA"])[0]["fields"];
    assert_eq!((&row["name"], &row["note"]), (&json!("Sea-Tac"), &json!("mine")));
}

#[test]
fn a_column_is_typed_only_if_nothing_is_lost() {
    let place = Place::new();
    let file = place.write(
        "types.csv",
        "id,int,float,long,mixed,zip,flag,empty\n\
         a,1,1.5,1.0,1,007,true,\n\
         b,-20,2,2.5,1.0,98101,false,\n\
         c,,,,,,,\n",
    );
    let import = ["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"];
    place.run(&import).ok();
    let rows = place.json(&["rows", "d", "t"]);
    let (a, b, c) = (&rows[0]["fields"], &rows[1]["fields"], &rows[2]["fields"]);
    let nulls =
        json!({ "int": null, "float": null, "long": null, "mixed": null, "zip": null, "flag": null, "empty": null });
    assert_eq!(
        *a,
        json!({ "int": 1, "float": 1.5, "long": 1.0, "mixed": "1", "zip": "007", "flag": true, "empty": null })
    );
    assert_eq!(
        *b,
        json!({ "int": -20, "float": 2.0, "long": 2.5, "mixed": "1.0", "zip": "98101", "flag": false, "empty": null })
    );
    assert_eq!(*c, nulls);

    place.run(&[&import[..], &["--text"]].concat()).ok();
    assert_eq!(place.json(&["get", "d", "t", "a", "int"]), ["1"]);
}

#[test]
fn json_lines_keep_their_types() {
    let place = Place::new();
    let file = place.write("rows.jsonl", "{\"id\": 7, \"a\": [1, {\"b\": null}]}\n\n{\"id\": \"x\", \"a\": 1.0}\n");
    let import = ["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"];
    place.run(&import).ok();
    assert_eq!(
        place.json(&["rows", "d", "t"]),
        [json!({ "key": "7", "fields": { "a": [1, { "b": null }] } }), json!({ "key": "x", "fields": { "a": 1.0 } })]
    );
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line_before_anything_is_written() {
    let place = Place::new();
    let long_key = format!("id,v\na,1\n{},2\n", "k".repeat(765));
    let long_row = format!("id,v\na,1\nb,{}\n", "v".repeat(9 << 20));
    let long_line = format!("{{\"id\":1,\"v\":[{{\"w\":\"{}\"}}]}}\n", "v".repeat(9 << 20));
    for (name, text, message, line) in [
        ("a.csv", "id,v\na,1\nb,2\na,3\n", "same key", 4),
        ("b.csv", "id,v\na,1\n,2\n", "empty", 3),
        ("c.csv", "id,v\na,1\nb\n", "more or fewer cells", 3),
        ("d.csv", "id,v,v\n", "same name", 1),
        ("e.jsonl", "{\"id\":1}\n{\"id\":1}\n", "same key", 2),
        ("f.jsonl", "{\"id\":1}\n{\"v\":1}\n", "lacks the field", 2),
        ("g.jsonl", "{\"id\":1}\n{\"id\":\n", "not JSON", 2),
        ("h.jsonl", "{\"id\":1,\"n\":18446744073709551615}\n", "64-bit", 1),
        ("j.jsonl", "{\"id\":1}\n{\"id\":2,\"n\":1e999}\n", "out of range", 2),
        ("k.jsonl", "{\"id\":1}\n{\"id\":2,\"v\":1,\"v\":2}\n", "twice", 2),
        ("l.jsonl", "{\"id\":1}\n[2]\n", "one object", 2),
        ("m.csv", "id,v\na,1\nb,\"2\nc,3\nd,4\n", "never closed", 3),
        ("n.csv", "id,v\na,\"1\n2\"\n\nb,\"x\n\"\"y\nc,\"\"3\n", "never closed", 5),
        ("o.csv", "id,v\na,1\n\"b,2\nc,3\n", "never closed", 3),
        ("p.csv", "id,\"v\na,1\n", "never closed", 1),
        ("q.csv", long_key.as_str(), "key of the row is too long", 3),
        ("r.csv", long_row.as_str(), "larger than a table takes", 3),
        ("s.jsonl", long_line.as_str(), "larger than a table takes", 1),
        ("i.csv", "id,v\n\"a\nb\",1\nc,\"2\n3\"\nc,4\n", "same key", 6),
    ] {
        let file = place.write(name, text);
        let import = ["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"];
        let (code, error) = place.error(&import);
        assert_eq!((code, &error["kind"]), (1, &json!("InvalidInput")), "{name}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{name}: {error}");
        assert_eq!(error["context"]["line"], line.to_string(), "{name}: {error}");
    }
    assert!(!place.path("store.db").exists());
}

#[test]
fn quotes_that_are_closed_or_are_none_are_taken() {
    let place = Place::new();
    let file = place.write("q.csv", "\u{feff}\"id\",v\na,\"1\n2\"\n\nb,5\"\nc,\"\"\"\"\nd,\"\"");
    place.run(&["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"]).ok();
    let values: Vec<_> = place.json(&["rows", "d", "t"]).iter().map(|row| row["fields"]["v"].clone()).collect();
    assert_eq!(values, [json!("1\n2"), json!("5\""), json!("\""), json!(null)]);
}

#[test]
fn names_that_nothing_can_have_are_refused_before_anything_is_made() {
    let place = Place::new();
    let file = airports();
    let long = "n".repeat(129);
    for (database, table) in
        [("", "t"), (long.as_str(), "t"), ("d\n", "t"), ("d", ""), ("d", &long), ("d", "_settings")]
    {
        let import = ["import", file.to_str().unwrap(), "--database", database, "--table", table, "--key", "iata"];
        let (code, error) = place.error(&import);
        assert_eq!((code, &error["kind"]), (2, &json!("InvalidInput")), "{error}");
    }
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);
}

#[test]
fn an_empty_file_is_said_to_be_empty() {
    let place = Place::new();
    for name in ["e.csv", "e.jsonl"] {
        let file = place.write(name, "");
        let import = ["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"];
        let (code, error) = place.error(&import);
        assert_eq!((code, &error["message"]), (1, &json!("the file is empty")), "{error}");
    }
    assert!(!place.path("store.db").exists());
}

#[test]
fn a_key_as_long_as_can_be_and_rows_that_fill_a_transaction_are_taken() {
    let place = Place::new();
    let mut text = format!("id,v\n{},1\n", "k".repeat(764));
    // Together they have more than one entry holds.
    for (key, bytes) in [("a", 2_900_000), ("b", 7_000_000), ("c", 2_900_000), ("d", 8_000_000)] {
        text.push_str(&format!("{key},{}\n", "v".repeat(bytes)));
    }
    let file = place.write("long.csv", &text);
    place.run(&["import", file.to_str().unwrap(), "--database", "d", "--table", "t", "--key", "id"]).ok();
    assert_eq!(place.lines(&["rows", "d", "t", "--fields", "key"]).len(), 6);
}

#[test]
fn a_store_in_memory_takes_an_import_and_leaves_no_key() {
    let place = Place::new();
    let import = import_of(&airports()).map(str::to_owned);
    let mut import: Vec<&str> = import.iter().map(String::as_str).collect();
    import.extend(["--store", "memory:"]);
    assert_eq!(place.json(&import)[0]["rows"], 3376);
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 0);
}
