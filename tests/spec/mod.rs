//! `docs/spec/entry.md` and its vectors: what the specification states, this program does.
//!
//! The vectors are read, decoded, encoded again, proven, and built anew from what describes them by an encoder that is not
//! the one of the program. `regenerate` writes the files; it is run by hand when the format is meant to change:
//! `cargo test --test main spec::regenerate -- --ignored`.

mod cbor;
mod make;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eidetica::backend::database::Memory;
use eidetica::{Environment, Options, Outcome, Parked, Result, Time};
use eidetica_core::auth::SettingsDelta;
use eidetica_core::entry::{RawEntry, verify};
use eidetica_core::limits;
use eidetica_core::store::cells::CellsDelta;
use eidetica_core::store::doc::DocDelta;
use eidetica_core::store::table::TableDelta;
use eidetica_core::{Engine, Id};

use self::cbor::{encode, hex, unhex};
use self::vectors::{Deltas, Door, Entries, Export, Raw, path, read, text};

fn raw(header: &str, bodies: &[Option<String>]) -> RawEntry {
    let bodies = bodies.iter().map(|body| body.as_ref().map(|body| unhex(body).into())).collect();
    RawEntry { header: unhex(header).into(), bodies }
}

/// What a body says, written again; `None` if its kind cannot read it, for settings with the reason.
fn rewritten(kind: &str, body: &Bytes) -> Result<Bytes, Option<&'static str>> {
    match kind {
        "doc" => DocDelta::parse(body).map(|delta| delta.to_bytes()).ok_or(None),
        "table" => TableDelta::parse(body).map(|delta| delta.to_bytes()).ok_or(None),
        "settings" => SettingsDelta::parse(body).map(|delta| delta.to_bytes()).map_err(Some),
        _ => CellsDelta::parse(body).map(|delta| delta.to_bytes()).ok_or(None),
    }
}

#[test]
#[ignore = "writes the vectors"]
fn regenerate() {
    std::fs::write(path("entries.json"), text(&make::entries())).unwrap();
    std::fs::write(path("deltas.json"), text(&make::deltas())).unwrap();
    std::fs::write(path("door.json"), text(&make::door())).unwrap();
    std::fs::write(path("export.json"), text(&make::export())).unwrap();
}

#[test]
fn made_again_the_vectors_are_the_same() {
    let same = |name: &str, made: String| assert!(std::fs::read_to_string(path(name)).unwrap() == made, "{name}");
    same("entries.json", text(&make::entries()));
    same("deltas.json", text(&make::deltas()));
    same("door.json", text(&make::door()));
    same("export.json", text(&make::export()));
}

#[test]
fn valid_entries() {
    for vector in read::<Entries>("entries.json").valid {
        let name = &vector.name;
        let bodies: Vec<Option<String>> = vector.bodies.iter().cloned().map(Some).collect();
        let entry = verify(raw(&vector.header, &bodies)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(hex(entry.id().as_bytes()), vector.id, "{name}");
        assert_eq!(entry.id().to_string(), vector.cid, "{name}");
        assert_eq!(vector.cid.parse::<Id>().unwrap(), entry.id(), "{name}");
        assert_eq!(hex(&entry.header().to_bytes()), vector.header, "{name}");
        for (store, body) in entry.deltas() {
            let body = body.as_ref().unwrap_or_else(|| panic!("{name}: a body is left out"));
            assert_eq!(rewritten(&store.kind, body).as_ref(), Ok(body), "{name}");
        }
        // The same from the description alone.
        let mut list = vector.unsigned.as_array().unwrap().clone();
        list.push(serde_json::json!({ "bytes": hex(&entry.header().signature) }));
        assert_eq!(hex(&encode(&list.into())), vector.header, "{name}");
        let deltas: Vec<String> = vector.deltas.iter().map(|delta| hex(&encode(delta))).collect();
        assert_eq!(deltas, vector.bodies, "{name}");
        let again = make::sign(&unhex(&vector.seed).try_into().unwrap(), &vector.unsigned, &vector.deltas);
        assert_eq!(again, entry, "{name}: signed again");
    }
}

#[test]
fn invalid_entries() {
    for vector in read::<Entries>("entries.json").invalid {
        let reason = verify(raw(&vector.header, &vector.bodies)).expect_err(&vector.name);
        assert_eq!(reason.to_string(), vector.refused, "{}", vector.name);
    }
    // Too long for a file of vectors.
    let mut long = vec![0x80; limits::MAX_HEADER + 1];
    long[..2].copy_from_slice(&[0x88, 0x01]);
    let reason = verify(RawEntry { header: long.into(), bodies: vec![] }).unwrap_err();
    assert_eq!(reason.to_string(), "the header is longer than 65536 bytes");
}

#[test]
fn incomplete_entries() {
    for vector in read::<Entries>("entries.json").incomplete {
        let entry = verify(raw(&vector.header, &vector.bodies)).expect(&vector.name);
        let here: Vec<bool> = entry.bodies().iter().map(Option::is_some).collect();
        assert_eq!(here, vector.here, "{}", vector.name);
    }
}

#[test]
fn deltas() {
    let vectors: Deltas = read("deltas.json");
    for vector in vectors.readable {
        let body = Bytes::from(unhex(&vector.body));
        assert_eq!(hex(&encode(&vector.delta)), vector.body, "{}", vector.name);
        assert_eq!(rewritten(&vector.kind, &body), Ok(body), "{}", vector.name);
    }
    for vector in vectors.unreadable {
        let read = rewritten(&vector.kind, &unhex(&vector.body).into());
        assert_eq!(read, Err(vector.refused.as_deref().map(leak)), "{} ({})", vector.name, vector.kind);
    }
    let rights: Vec<_> = (0..=limits::MAX_RIGHTS as u64)
        .map(|n| serde_json::json!([{ "bytes": hex(&[[0; 24].as_slice(), &n.to_be_bytes()].concat()) }, 0, 1]))
        .collect();
    let settings = |rights: &[serde_json::Value]| encode(&serde_json::json!([rights, []]));
    assert!(SettingsDelta::parse(&settings(&rights[1..])).is_ok());
    let reason = SettingsDelta::parse(&settings(&rights)).unwrap_err();
    assert_eq!(reason, "more operations on rights than a delta may hold");
}

/// A text as long-lived as those that it is compared with.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

struct Fixed(Time);

impl Environment for Fixed {
    fn now(&self) -> Time {
        self.0
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(7);
        Ok(())
    }
}

#[tokio::test]
async fn door() -> Result<()> {
    let door: Door = read("door.json");
    let options = Options::default()
        .environment(Arc::new(Fixed(Time::from_millis(door.now))))
        .allowed_skew(Duration::from_millis(door.skew));
    let of = |raw_entry: &Raw| raw(&raw_entry.header, &raw_entry.bodies);
    for case in door.cases {
        let engine = Engine::open(Box::new(Memory::new()), options.clone()).await?;
        let database = engine.adopt_database(of(&door.root), None).await?;
        let mut outcomes = Vec::new();
        for entry in &case.entries {
            outcomes.extend(database.ingest(vec![of(entry)], "vectors").await?.iter().map(in_words));
        }
        assert_eq!(outcomes, case.outcomes, "{}", case.name);
        let report = database.verify().await?;
        assert!(report.is_clean(), "{}: {:?}", case.name, report.problems);
        engine.close().await?;
    }
    Ok(())
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted => "accepted".into(),
        Outcome::Known => "known".into(),
        Outcome::Refused(reason) => format!("refused: {reason}"),
        Outcome::Parked(Parked::Parents(_)) => "waits for its parents".into(),
        Outcome::Parked(Parked::Future) => "waits for the clock".into(),
        Outcome::Parked(Parked::Settings) => "waits for the body of its settings".into(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn export() -> Result<()> {
    let vector: Export = read("export.json");
    let stream = unhex(&vector.stream);
    let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
    let (database, moved) = engine.import(&mut &stream[..], None).await?;
    assert_eq!((moved.entries, moved.bytes), (vector.entries, stream.len() as u64));
    let mut again = Vec::new();
    database.export(&mut again).await?;
    assert_eq!(hex(&again), vector.stream);
    assert!(database.verify().await?.is_clean());
    engine.close().await?;
    // No part of the stream, and no stream with another byte in it, passes for a whole one.
    for (what, broken) in [
        ("cut off", stream[..stream.len() - 1].to_vec()),
        ("changed", {
            let mut copy = stream.clone();
            copy[30] ^= 1;
            copy
        }),
    ] {
        let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
        assert!(engine.import(&mut &broken[..], None).await.is_err(), "{what}");
        engine.close().await?;
    }
    Ok(())
}
