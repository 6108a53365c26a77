//! `docs/spec/vectors/reconcile.json`: what chapter 9 of the specification states, this program does.
//!
//! `cargo test -p eidetica-sync regenerate -- --ignored` writes it, when the protocol is meant to change.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use eidetica_core::Database;
use eidetica_core::entry::{RawEntry, VerifiedEntry};
use eidetica_sync::reconcile::{Limits, Options, Page, Reply, Request, Width, answer, exchange, fetch_root};
use serde::{Deserialize, Serialize};

use super::kit::*;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    /// All entries, by name: header, and bodies.
    entries: BTreeMap<String, (String, Vec<String>)>,
    exchanges: Vec<Exchange>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Exchange {
    about: String,
    /// What the asking side has, in the order of arrival. The root comes first.
    asking: Vec<String>,
    /// What the answering side has.
    answering: Vec<String>,
    /// How long a list the asking side allows.
    list: usize,
    /// Each request, and the reply to it.
    messages: Vec<(String, String)>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Bytes {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors/reconcile.json")
}

/// Entries by name.
struct Scene {
    forge: Forge,
    entries: BTreeMap<String, VerifiedEntry>,
}

impl Scene {
    fn new() -> Scene {
        let forge = Forge::new(1);
        let mut entries = BTreeMap::from([("root".to_owned(), forge.root.clone())]);
        let common = forge.chain(&forge.root, 60, "a");
        let (left, right) = (forge.chain(&common[39], 4, "l"), forge.chain(&common[19], 3, "r"));
        let merged = [forge.entry(&[&common[59], &left[3]], "m"), forge.entry(&[&common[59], &right[2]], "n")];
        for (name, chain) in [("a", &common[..]), ("l", &left), ("r", &right), ("m", &merged)] {
            entries.extend(chain.iter().enumerate().map(|(at, entry)| (format!("{name} {at}"), entry.clone())));
        }
        Scene { forge, entries }
    }

    fn names(&self, parts: &[(&str, std::ops::Range<usize>)]) -> Vec<String> {
        parts.iter().flat_map(|(name, range)| range.clone().map(move |at| format!("{name} {at}"))).collect()
    }

    async fn peer(&self, names: &[String]) -> Database {
        let entries: Vec<VerifiedEntry> = names.iter().map(|name| self.entries[name].clone()).collect();
        self.forge.peer(&[&entries]).await
    }

    async fn exchange(&self, about: &str, asking: Vec<String>, answering: Vec<String>, list: usize) -> Exchange {
        let (one, other) = (self.peer(&asking).await, self.peer(&answering).await);
        let wire = Wire::new(&one, &other);
        assert!(exchange(&one, &wire, &Options { list, ..Options::default() }, &|_| ()).await.unwrap().complete);
        let messages = wire.said.lock().unwrap().iter().map(|(there, back)| (hex(there), hex(back))).collect();
        Exchange { about: about.into(), asking, answering, list, messages }
    }
}

async fn make() -> Vectors {
    let scene = Scene::new();
    let names = |parts: &[(&str, std::ops::Range<usize>)]| scene.names(parts);
    let some = || names(&[("a", 0..5)]);
    let (left, right) =
        (names(&[("a", 0..60), ("l", 0..4), ("m", 0..1)]), names(&[("a", 0..60), ("r", 0..3), ("m", 1..2)]));
    let mut exchanges = vec![
        scene.exchange("nothing is new", some(), some(), 1024).await,
        scene.exchange("the asking side is behind", names(&[("a", 0..2)]), some(), 1024).await,
        scene.exchange("the answering side is behind", some(), names(&[("a", 0..2)]), 1024).await,
        scene.exchange("both have something: a list", left.clone(), right.clone(), 1024).await,
        scene
            .exchange(
                "the answering side has more than is listed",
                names(&[("a", 0..20), ("r", 0..2)]),
                left.clone(),
                2,
            )
            .await,
        scene.exchange("both have something: ranges", left, right, 0).await,
    ];

    let (one, other) = (scene.peer(&some()).await, scene.peer(&names(&[("a", 0..4)])).await);
    let wire = Wire::new(&one, &other);
    fetch_root(&scene.forge.root.id(), &wire).await.unwrap();
    let news = [&scene.entries["a 4"]];
    let heads = one.get_tips().await.unwrap();
    let give = Some(Page::pack(news.into_iter(), 16 << 20).unwrap().0);
    let digest = one.heads_digest().await.unwrap();
    let compare = Request::Compare { digest, heads: Some(heads), give, pull: true, tell: true, most: 16 << 20 };
    let want = vec![eidetica_sync::reconcile::Short::of(&scene.entries["a 1"].id(), Width::Whole)];
    let trade = Request::Trade { give: None, width: Width::Whole, want, most: 16 << 20 };
    for request in [compare, trade] {
        eidetica_sync::reconcile::Ask::ask(&wire, request).await.unwrap();
    }
    let messages = wire.said.lock().unwrap().iter().map(|(there, back)| (hex(there), hex(back))).collect();
    exchanges.push(Exchange {
        about: "the root; a page with the question; an entry by its whole id".into(),
        asking: some(),
        answering: names(&[("a", 0..4)]),
        list: 1024,
        messages,
    });

    let bodies = |entry: &VerifiedEntry| entry.bodies().iter().flatten().map(|body| hex(body)).collect();
    let entry = |(name, entry): (&String, &VerifiedEntry)| (name.clone(), (hex(entry.header_bytes()), bodies(entry)));
    Vectors { entries: scene.entries.iter().map(entry).collect(), exchanges }
}

/// A message without its page, and what is on that: how pages are compressed is nobody's business.
fn apart(message: String, page: Option<&Page>) -> (String, Option<Vec<RawEntry>>) {
    let Some(page) = page else { return (message, None) };
    (message.replace(&format!("{page:?}"), "page"), Some(page.unpack().unwrap()))
}

fn request_apart(bytes: &Bytes) -> (String, Option<Vec<RawEntry>>) {
    let request = Request::parse(bytes).unwrap();
    apart(format!("{request:?}"), page_of_request(&request))
}

fn reply_apart(bytes: &Bytes) -> (String, Option<Vec<RawEntry>>) {
    let reply = Reply::parse(bytes).unwrap();
    apart(format!("{reply:?}"), page_of_reply(&reply))
}

fn read() -> Vectors {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

#[tokio::test]
#[ignore = "writes the vectors"]
async fn regenerate() {
    std::fs::write(path(), serde_json::to_string_pretty(&make().await).unwrap() + "\n").unwrap();
}

#[tokio::test]
async fn made_again_the_vectors_are_the_same() {
    let (read, made) = (read(), make().await);
    assert_eq!(read.entries, made.entries);
    assert_eq!(read.exchanges.len(), made.exchanges.len());
    for (read, made) in read.exchanges.iter().zip(&made.exchanges) {
        assert_eq!((&read.about, &read.asking, &read.answering), (&made.about, &made.asking, &made.answering));
        assert_eq!(read.messages.len(), made.messages.len(), "{}", read.about);
        for (read, made) in read.messages.iter().zip(&made.messages) {
            assert_eq!(request_apart(&unhex(&read.0)), request_apart(&unhex(&made.0)));
            assert_eq!(reply_apart(&unhex(&read.1)), reply_apart(&unhex(&made.1)));
        }
    }
}

/// The answering side alone, fed with what the file says.
#[tokio::test]
async fn the_answers_are_those_of_the_file() {
    let scene = Scene::new();
    let vectors = read();
    assert_eq!(vectors.exchanges.len(), 7);
    for exchange in vectors.exchanges {
        let db = scene.peer(&exchange.answering).await;
        for (request, reply) in &exchange.messages {
            let (request, reply) = (unhex(request), unhex(reply));
            assert_eq!(Request::parse(&request).unwrap().to_bytes(), request);
            assert_eq!(Reply::parse(&reply).unwrap().to_bytes(), reply);
            let answered = answer(&db, Request::parse(&request).unwrap(), &Limits::default(), "file").await.unwrap();
            assert_eq!(reply_apart(&answered.to_bytes()), reply_apart(&reply), "{}", exchange.about);
        }
    }
}
