//! How the vectors are made. Everything is fixed, so that making them again gives the same bytes.

use bytes::Bytes;
use eidetica::{Id, PublicKey, SecretKey, Time};
use eidetica_core::entry::{Header, Origin, RawEntry, VerifiedEntry};
use serde_json::{Value, json};

use super::cbor::{encode, hex, unhex};
use super::vectors::*;

/// The time of the root: some millisecond of 2023, in the upper 48 bits.
const START: u64 = 1_700_000_000_000 << 16;
/// The clock in the cases of the door is this far past the root.
const LATER: u64 = 60_000;
const SKEW: u64 = 300_000;

fn seed(number: u8) -> [u8; 32] {
    [number; 32]
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&seed(number))
}

fn public(number: u8) -> Value {
    blob(key(number).public().as_bytes())
}

fn blob(bytes: &[u8]) -> Value {
    json!({ "bytes": hex(bytes) })
}

fn bytes_of(value: &Value) -> Vec<u8> {
    unhex(value["bytes"].as_str().expect("bytes"))
}

/// Deltas with the name and kind of their stores.
type Stores = Vec<(&'static str, &'static str, Value)>;

struct Draft {
    name: &'static str,
    about: &'static str,
    author: u8,
    parents: Vec<Id>,
    height: u64,
    time: u64,
    stores: Stores,
}

/// The unsigned header of a draft, as a description.
fn describe(draft: &Draft, origin: &[u8]) -> Value {
    let stores: Vec<Value> = draft
        .stores
        .iter()
        .map(|(name, kind, delta)| {
            let body = encode(delta);
            json!([name, kind, body.len(), blob(Id::of(&body).as_bytes())])
        })
        .collect();
    let mut parents: Vec<Id> = draft.parents.clone();
    parents.sort_unstable();
    let parents: Vec<Value> = parents.iter().map(|id| blob(id.as_bytes())).collect();
    json!([1, blob(origin), parents, draft.height, draft.time, public(draft.author), stores])
}

/// The entry that a description and its deltas stand for.
pub fn sign(seed: &[u8; 32], unsigned: &Value, deltas: &[Value]) -> VerifiedEntry {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let origin = bytes_of(&unsigned[1]);
    let parents: Vec<Id> =
        list(&unsigned[2]).iter().map(|id| Id::from_bytes(bytes_of(id).try_into().unwrap())).collect();
    let origin = match parents.is_empty() {
        true => Origin::Root { nonce: origin.try_into().unwrap() },
        false => Origin::Database(Id::from_bytes(origin.try_into().unwrap())),
    };
    let header = Header {
        origin,
        parents,
        height: unsigned[3].as_u64().unwrap(),
        time: Time::from_number(unsigned[4].as_u64().unwrap()),
        author: PublicKey::from_bytes(bytes_of(&unsigned[5]).try_into().unwrap()),
        stores: Vec::new(),
        signature: [0; 64],
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let deltas = list(&unsigned[6])
        .iter()
        .zip(deltas)
        .map(|(store, delta)| (text(&store[0]), text(&store[1]), Bytes::from(encode(delta))))
        .collect();
    VerifiedEntry::sign(header, deltas, &SecretKey::from_seed(seed)).expect("a sound entry")
}

fn make(draft: &Draft, origin: &[u8]) -> (Entry, VerifiedEntry) {
    let unsigned = describe(draft, origin);
    let deltas: Vec<Value> = draft.stores.iter().map(|(_, _, delta)| delta.clone()).collect();
    let entry = sign(&seed(draft.author), &unsigned, &deltas);
    let vector = Entry {
        name: draft.name.into(),
        about: draft.about.into(),
        seed: hex(&seed(draft.author)),
        unsigned,
        deltas,
        id: hex(entry.id().as_bytes()),
        cid: entry.id().to_string(),
        header: hex(entry.header_bytes()),
        bodies: entry.bodies().iter().flatten().map(|body| hex(body)).collect(),
    };
    (vector, entry)
}

fn raw(entry: &VerifiedEntry) -> Raw {
    let bodies = entry.bodies().iter().map(|body| body.as_ref().map(|body| hex(body))).collect();
    Raw { header: hex(entry.header_bytes()), bodies }
}

const NONCE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn root_draft() -> Draft {
    let rights = json!([[public(1), 0, 4_294_967_298u64]]);
    let values = json!([[["name"], 1, "vectors"]]);
    Draft {
        name: "root",
        about: "the first settings: the author becomes the strongest admin, and the database has a name",
        author: 1,
        parents: vec![],
        height: 0,
        time: START,
        stores: vec![("_settings", "settings", json!([rights, values]))],
    }
}

/// A small history in which each form of each delta stands once.
fn history() -> Vec<(Entry, VerifiedEntry)> {
    let root = make(&root_draft(), &NONCE);
    let database = root.1.id();
    let origin = *database.as_bytes();
    let first = Draft {
        name: "first",
        about: "one store of each kind; every action of a document that names no other entry",
        author: 1,
        parents: vec![database],
        height: 1,
        time: START + 1,
        stores: vec![
            ("cells", "example.cells", json!([[blob(b""), blob(b"")], [blob(b"\0"), null], [blob(b"k"), blob(b"v")]])),
            (
                "notes",
                "doc",
                json!([
                    [["bytes"], 1, blob(&[0, 255])],
                    [["counted"], 3, -2, null],
                    [["counter"], 2, 5],
                    [["false"], 1, false],
                    [["float"], 1, { "float": 1.5 }],
                    [["gone"], 0],
                    [["int"], 1, i64::MIN],
                    [["list"], 1, []],
                    [["list", [null, 0]], 4, blob(&[128]), [1, { "map": [["b", 2], ["aa", 3]] }]],
                    [["list", [null, 1]], 4, blob(&[129, 128]), "second"],
                    [["map"], 1, { "map": [] }],
                    [["map", ""], 1, "an empty key"],
                    [["map", "a"], 1, true],
                    [["null"], 1, null],
                    [["zero"], 1, { "float": -0.0 }],
                ]),
            ),
            (
                "rows",
                "table",
                json!([
                    ["PDX", 1, { "map": [["city", "Portland"], ["north", { "float": 45.5 }]] }],
                    ["SEA", 1, { "map": [["city", "Seattle"]] }],
                ]),
            ),
        ],
    };
    let first = make(&first, &origin);
    let named = blob(first.1.id().as_bytes());
    let second = Draft {
        name: "second",
        about: "what names an entry below: an increment, a move, a new value, a deleted element, a field",
        author: 1,
        parents: vec![first.1.id()],
        height: 2,
        time: START + (5 << 16),
        stores: vec![
            (
                "notes",
                "doc",
                json!([
                    [["counter"], 3, 7, named],
                    [["list", [named, 0]], 5, [blob(&[130, 128])], []],
                    [["list", [named, 1]], 0],
                ]),
            ),
            ("rows", "table", json!([["PDX", 0], ["SEA", 2, named, { "map": [["north", { "float": 47.5 }]] }]])),
        ],
    };
    let second = make(&second, &origin);
    let grant = Draft {
        name: "grant",
        about: "everybody may read, a second key may write; beside the second entry, and with settings that have no values",
        author: 1,
        parents: vec![first.1.id()],
        height: 2,
        time: START + (5 << 16) + 1,
        stores: vec![("_settings", "settings", json!([[[blob(&[]), 0, 1], [public(2), 0, 2]], []]))],
    };
    let grant = make(&grant, &origin);
    let element = Draft {
        name: "element",
        about: "the second key gives an element another value; two stores of one name, of two kinds",
        author: 2,
        parents: vec![grant.1.id()],
        height: 3,
        time: START + (6 << 16),
        stores: vec![
            ("notes", "doc", json!([[["list", [named, 0]], 5, [], ["moved and changed"]]])),
            ("notes", "example.unknown", json!([[blob(b"k"), blob(b"v")]])),
        ],
    };
    let element = make(&element, &origin);
    let merge = Draft {
        name: "merge",
        about: "two parents and no change",
        author: 2,
        parents: vec![second.1.id(), element.1.id()],
        height: 4,
        time: START + (6 << 16) + 1,
        stores: vec![],
    };
    let merge = make(&merge, &origin);
    let limit = Draft {
        name: "limit",
        about: "the second key is limited to reading",
        author: 1,
        parents: vec![merge.1.id()],
        height: 5,
        time: START + (7 << 16),
        stores: vec![("_settings", "settings", json!([[[public(2), 1, 1]], [[["name"], 0]]]))],
    };
    let limit = make(&limit, &origin);
    vec![root, first, second, grant, element, merge, limit]
}

/// A header that is well formed but breaks what `change` makes of it. Its signature is void: these rules come first.
fn header(change: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    let store = |name: &str| json!([name, "doc", 1, blob(&[9; 32])]);
    let id = blob(&[7; 32]);
    let parents = json!([id]);
    let mut list: Vec<Value> =
        vec![1.into(), id, parents, 1.into(), START.into(), public(1), json!([store("a"), store("b")]), blob(&[0; 64])];
    change(&mut list);
    encode(&Value::Array(list))
}

fn invalid_entries(sound: &VerifiedEntry) -> Vec<InvalidEntry> {
    let bytes = sound.header_bytes().to_vec();
    let store = |name: &str, kind: &str, length: u64| json!([name, kind, length, blob(&[9; 32])]);
    let ids = |range: std::ops::Range<u8>| range.map(|n| blob(&[n; 32])).collect::<Vec<Value>>();
    let canonical = "the bytes are not the canonical form of a header";
    let signature = "the signature is not that of the author";
    // The height of the sound entry is its fourth item: it follows the list head, the version, the origin and the parents.
    let height = 1 + 1 + 34 + (1 + 34 * sound.header().parents.len());
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut copy = bytes.clone();
        change(&mut copy);
        copy
    };
    let last = bytes.len() - 1;
    let identity: [u8; 32] = std::array::from_fn(|at| u8::from(at == 0));
    let many: Vec<Value> = (0..129).map(|n| store(&format!("{n:03}"), "doc", 0)).collect();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("no bytes at all", canonical, vec![]),
        ("the last byte is cut off", canonical, bytes[..last].to_vec()),
        ("a byte too many", canonical, changed(&|b| b.push(0))),
        ("the height takes two bytes", canonical, changed(&|b| b.insert(height, 0x18))),
        (
            "the list has no stated length",
            canonical,
            changed(&|b| {
                b[0] = 0x9f;
                b.push(0xff);
            }),
        ),
        ("a map instead of a list", canonical, changed(&|b| b[0] = 0xa4)),
        ("nine items", canonical, header(|h| h.push(Value::Null))),
        ("version 0", canonical, header(|h| h[0] = 0.into())),
        ("version 2", "its format version is 2, and this program knows 1; update it", header(|h| h[0] = 2.into())),
        ("a nonce of 32 bytes", canonical, header(|h| h[2] = json!([]))),
        ("parents, but no database", canonical, header(|h| h[1] = blob(&NONCE))),
        ("a parent of 31 bytes", canonical, header(|h| h[2] = json!([blob(&[7; 31])]))),
        ("a negative height", canonical, header(|h| h[3] = (-1).into())),
        ("a key of 31 bytes", canonical, header(|h| h[5] = blob(&[7; 31]))),
        ("a signature of 63 bytes", canonical, header(|h| h[7] = blob(&[0; 63]))),
        ("a body of 2^32 bytes", canonical, header(|h| h[6] = json!([store("a", "doc", 1 << 32)]))),
        ("a name that is no UTF-8", canonical, {
            let mut copy = header(|h| h[6] = json!([store("\u{7f}", "doc", 1)]));
            let at = copy.windows(2).position(|pair| pair == [0x61, 0x7f]).unwrap();
            copy[at + 1] = 0xff;
            copy
        }),
        ("65 parents", "more parents than an entry may have", header(|h| h[2] = ids(0..65).into())),
        (
            "parents in the wrong order",
            "the parents are not in strictly ascending order",
            header(|h| {
                h[2] = json!([blob(&[8; 32]), blob(&[7; 32])]);
            }),
        ),
        (
            "a parent twice",
            "the parents are not in strictly ascending order",
            header(|h| {
                h[2] = json!([blob(&[7; 32]), blob(&[7; 32])]);
            }),
        ),
        ("129 stores", "more stores than an entry may touch", header(|h| h[6] = many.into())),
        (
            "a store without a name",
            "the name of a store is empty or too long",
            header(|h| {
                h[6] = json!([store("", "doc", 1)]);
            }),
        ),
        (
            "a name of 129 bytes",
            "the name of a store is empty or too long",
            header(|h| {
                h[6] = json!([store(&"n".repeat(129), "doc", 1)]);
            }),
        ),
        (
            "a store without a kind",
            "the kind of a store is empty or too long",
            header(|h| {
                h[6] = json!([store("a", "", 1)]);
            }),
        ),
        (
            "a kind of 33 bytes",
            "the kind of a store is empty or too long",
            header(|h| {
                h[6] = json!([store("a", &"k".repeat(33), 1)]);
            }),
        ),
        (
            "stores in the wrong order",
            "the stores are not in strictly ascending order",
            header(|h| {
                h[6] = json!([store("b", "doc", 1), store("a", "doc", 1)]);
            }),
        ),
        (
            "a store twice",
            "the stores are not in strictly ascending order",
            header(|h| {
                h[6] = json!([store("a", "doc", 1), store("a", "doc", 1)]);
            }),
        ),
        (
            "bodies of 8 MiB and a byte",
            "the bodies are longer than an entry may hold",
            header(|h| {
                h[6] = json!([store("a", "doc", 4 << 20), store("b", "doc", (4 << 20) + 1)]);
            }),
        ),
        (
            "settings under another name",
            "the settings store and its kind belong together",
            header(|h| {
                h[6] = json!([store("a", "settings", 1)]);
            }),
        ),
        (
            "a document under the name of the settings",
            "the settings store and its kind belong together",
            header(|h| {
                h[6] = json!([store("_settings", "doc", 1)]);
            }),
        ),
        ("a height of 2^53", "the height is too great", header(|h| h[3] = (1u64 << 53).into())),
        ("parents and the height 0", "only a root has the height 0", header(|h| h[3] = 0.into())),
        (
            "a root of height 1",
            "only a root has the height 0",
            header(|h| {
                h[1] = blob(&NONCE);
                h[2] = json!([]);
            }),
        ),
        ("a bit of the signature is wrong", signature, changed(&|b| b[last - 63] ^= 1)),
        ("a bit of the time is wrong", signature, changed(&|b| b[height + 2] ^= 1)),
        (
            "the signature of another key",
            signature,
            changed(&|b| {
                let key = b.windows(32).position(|part| part == sound.header().author.as_bytes()).unwrap();
                b[key..key + 32].copy_from_slice(key_bytes(3).as_slice());
            }),
        ),
        ("a signature whose number is not reduced", signature, changed(&|b| add_order(&mut b[last - 31..]))),
        (
            "a key of small order, for which lax rules accept every message",
            signature,
            header(|h| {
                h[5] = blob(&identity);
                h[7] = blob(&[identity, [0; 32]].concat());
            }),
        ),
    ];
    let mut invalid: Vec<InvalidEntry> = cases
        .into_iter()
        .map(|(name, refused, header)| InvalidEntry {
            name: name.into(),
            refused: refused.into(),
            header: hex(&header),
            bodies: vec![],
        })
        .collect();
    let bodies = vec![None; sound.header().stores.len() + 1];
    invalid.push(InvalidEntry {
        name: "more bodies than stores".into(),
        refused: "it came with more bodies than it touches stores".into(),
        header: hex(&bytes),
        bodies,
    });
    invalid
}

fn key_bytes(number: u8) -> [u8; 32] {
    *key(number).public().as_bytes()
}

/// Adds the order of the group to a number, little-endian: an equal number that strict rules do not take.
fn add_order(number: &mut [u8]) {
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (byte, add) in number.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

pub fn entries() -> Entries {
    let history = history();
    let first = &history[1].1;
    let swapped: Vec<Option<String>> = first.bodies().iter().flatten().map(|body| Some(hex(&body[1..]))).collect();
    let whole: Vec<Option<String>> = first.bodies().iter().map(|body| body.as_ref().map(|body| hex(body))).collect();
    let incomplete = |name: &str, bodies: Vec<Option<String>>, here: &[bool]| IncompleteEntry {
        name: name.into(),
        header: hex(first.header_bytes()),
        bodies,
        here: here.to_vec(),
    };
    let incomplete = vec![
        incomplete("no bodies", vec![], &[false; 3]),
        incomplete("the middle body", vec![None, whole[1].clone()], &[false, true, false]),
        incomplete("bodies that the header does not commit to", swapped, &[false; 3]),
    ];
    Entries {
        invalid: invalid_entries(&history[2].1),
        valid: history.into_iter().map(|(vector, _)| vector).collect(),
        incomplete,
    }
}

pub fn deltas() -> Deltas {
    let nested = |levels: usize| (0..levels).fold(json!(0), |inner, _| json!([inner]));
    let element = |position: &[u8], value: Value| json!([[["l", [null, 0]], 4, blob(position), value]]);
    let set = |value: Value| json!([[["a"], 1, value]]);
    let id = blob(&[7; 32]);
    let named = |index: u32| json!(["l", [id, index]]);
    let readable = vec![
        ("no operation", "doc", json!([])),
        ("a key of 764 bytes, 768 as a cell", "doc", json!([[["k".repeat(764)], 0]])),
        ("a NUL counts twice", "doc", json!([[["\0".repeat(382)], 0]])),
        ("nested 64 deep", "doc", element(&[128], nested(64))),
        ("a position of 256 bytes", "doc", element(&[&[1; 255][..], &[128]].concat(), json!(0))),
        ("the greatest and the smallest number", "doc", json!([[["a"], 1, i64::MAX], [["b"], 1, i64::MIN]])),
        ("above and below at once", "doc", json!([[["a"], 0], [["a", "b"], 1, 1], [["a\0"], 1, 1], [["aa"], 1, 1]])),
        ("an element that no entry has made", "doc", json!([[named(4_294_967_295), 5, [blob(&[128])], [0]]])),
        ("no row", "table", json!([])),
        ("a row without fields", "table", json!([["a", 1, { "map": [] }]])),
        (
            "fields by length, then bytes",
            "table",
            json!([["a", 1, { "map": [["", 0], ["b", 1], ["aa", 2], ["ab", 3]] }]]),
        ),
        ("no cell", "example.cells", json!([])),
        ("settings without a change", "settings", json!([[], []])),
        ("everybody is limited to nothing", "settings", json!([[[blob(&[]), 1, 0]], []])),
        ("the greatest right", "settings", json!([[[public(1), 0, 4_294_967_298u64]], []])),
    ];
    let readable = readable
        .into_iter()
        .map(|(name, kind, delta)| Delta { name: name.into(), kind: kind.into(), body: hex(&encode(&delta)), delta })
        .collect();
    let doc = |name: &'static str, delta: Value| (name, "doc", None, encode(&delta));
    let table = |name: &'static str, delta: Value| (name, "table", None, encode(&delta));
    let cells = |name: &'static str, delta: Value| (name, "example.cells", None, encode(&delta));
    let settings =
        |name: &'static str, refused: &'static str, delta: Value| (name, "settings", Some(refused), encode(&delta));
    let form = "not the form of a settings delta";
    let order = "the subjects are not in strictly ascending order";
    // [[["a"], 1, …]] with a value that the notation cannot express.
    let set_raw = |value: &[u8]| [&[0x81, 0x83, 0x81, 0x61, 0x61, 0x01][..], value].concat();
    let unreadable = vec![
        ("no bytes", "doc", None, vec![]),
        ("a byte too many", "doc", None, [encode(&set(json!(1))), vec![0]].concat()),
        ("a list without a stated length", "doc", None, vec![0x9f, 0xff]),
        doc("paths in the wrong order", json!([[["b"], 0], [["a"], 0]])),
        doc("a path twice", json!([[["a"], 0], [["a"], 1, 1]])),
        doc("a path before the one above it", json!([[["a", "b"], 0], [["a"], 0]])),
        doc("an empty path", json!([[[], 0]])),
        doc("a key of 765 bytes", json!([[["k".repeat(765)], 0]])),
        doc("an element without a list", json!([[[[id, 0]], 0]])),
        doc("an element in the middle", json!([[["l", [id, 0], "a"], 0]])),
        doc("an element is set", json!([[named(0), 1, 1]])),
        doc("an element is counted", json!([[named(0), 3, 1, null]])),
        doc("an insert under a key", json!([[["a"], 4, blob(&[128]), 0]])),
        doc("an insert that names an entry", json!([[named(0), 4, blob(&[128]), 0]])),
        doc("a write that names none", json!([[["l", [null, 0]], 5, [], [0]]])),
        doc("a write of nothing", json!([[named(0), 5, [], []]])),
        doc("a deleted element of this entry", json!([[["l", [null, 0]], 0]])),
        doc("a position that does not end with 128", element(&[128, 1], json!(0))),
        doc("a position without bytes", element(&[], json!(0))),
        doc("a position of 257 bytes", element(&[&[1; 256][..], &[128]].concat(), json!(0))),
        doc("nested 65 deep", element(&[128], nested(65))),
        doc("a map that is not empty", set(json!({ "map": [["a", 1]] }))),
        doc("a list that is not empty", set(json!([1]))),
        doc("an unknown action", json!([[["a"], 6]])),
        doc("an argument too many", json!([[["a"], 0, 0]])),
        doc("an argument too few", json!([[["a"], 1]])),
        doc("an id of 31 bytes", json!([[["a"], 3, 1, blob(&[7; 31])]])),
        ("not a number", "doc", None, set_raw(&[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0])),
        ("infinity", "doc", None, set_raw(&[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0])),
        ("a narrow float", "doc", None, set_raw(&[0xfa, 0x3f, 0xc0, 0, 0])),
        ("an integer of 64 bits without sign", "doc", None, set_raw(&[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        ("an integer that is not shortest", "doc", None, set_raw(&[0x18, 0x01])),
        ("a tag", "doc", None, set_raw(&[0xc1, 0x01])),
        ("undefined", "doc", None, set_raw(&[0xf7])),
        ("a text that is no UTF-8", "doc", None, set_raw(&[0x61, 0xff])),
        doc("keys of a map in the wrong order", element(&[128], json!({ "map": [["aa", 1], ["b", 2]] }))),
        doc("a key of a map twice", element(&[128], json!({ "map": [["a", 1], ["a", 2]] }))),
        doc("a key that is no text", element(&[128], json!({ "map": [[1, 1]] }))),
        table("rows in the wrong order", json!([["b", 0], ["a", 0]])),
        table("a row twice", json!([["a", 0], ["a", 1, { "map": [] }]])),
        table("a key of 765 bytes", json!([["k".repeat(765), 0]])),
        table("an unknown action", json!([["a", 3]])),
        table("a write without fields", json!([["a", 2, id, { "map": [] }]])),
        table("a write that names no entry", json!([["a", 2, null, { "map": [["f", 1]] }]])),
        table("fields in the wrong order", json!([["a", 1, { "map": [["aa", 1], ["b", 1]] }]])),
        table("a key that is no text", json!([[blob(b"a"), 0]])),
        cells("keys in the wrong order", json!([[blob(b"b"), null], [blob(b"a"), null]])),
        cells("a key twice", json!([[blob(b"a"), null], [blob(b"a"), blob(b"")]])),
        cells("a key that is text", json!([["a", null]])),
        cells("a value that is text", json!([[blob(b"a"), "a"]])),
        cells("a key of 765 bytes", json!([[blob(&[1; 765]), null]])),
        settings(
            "everybody an admin",
            "everybody can have at most the right to write",
            json!([[[blob(&[]), 0, 3]], []]),
        ),
        settings("rights without values", form, json!([[]])),
        settings("an unknown operation", form, json!([[[public(1), 2, 1]], []])),
        settings("a right that is too great", form, json!([[[public(1), 0, 4_294_967_299u64]], []])),
        settings("a key of 31 bytes", form, json!([[[blob(&[7; 31]), 0, 1]], []])),
        settings("values that are no document delta", form, json!([[], [[["a"], 6]]])),
        settings("keys in the wrong order", order, json!([[[blob(&[8; 32]), 0, 1], [blob(&[7; 32]), 0, 1]], []])),
        settings("a key before everybody", order, json!([[[blob(&[8; 32]), 0, 1], [blob(&[]), 0, 1]], []])),
        settings("a key twice", order, json!([[[blob(&[8; 32]), 0, 2], [blob(&[8; 32]), 1, 1]], []])),
        settings("a grant of nothing", "a grant must give something", json!([[[blob(&[8; 32]), 0, 0]], []])),
        ("a number that is not shortest", "settings", Some("not the canonical form"), vec![0x82, 0x98, 0x00, 0x80]),
    ];
    let unreadable = unreadable
        .into_iter()
        .map(|(name, kind, refused, body)| UnreadableDelta {
            name: name.into(),
            kind: kind.into(),
            refused: refused.map(str::to_owned),
            body: hex(&body),
        })
        .collect();
    Deltas { readable, unreadable }
}

pub fn door() -> Door {
    let (_, root) = make(&root_draft(), &NONCE);
    let database = root.id();
    let origin = *database.as_bytes();
    let entry = |author: u8, parents: &[&VerifiedEntry], time: u64, stores: Stores| {
        let height = parents.iter().map(|parent| parent.header().height + 1).max().unwrap_or(0);
        let parents = parents.iter().map(|parent| parent.id()).collect();
        make(&Draft { name: "", about: "", author, parents, height, time: START + time, stores }, &origin).1
    };
    let note = |text: &str| vec![("notes", "doc", json!([[["a"], 1, text]]))];
    let rights = |rights: Value| vec![("_settings", "settings", json!([rights, []]))];
    let mut cases = Vec::new();
    let mut case = |name: &str, entries: &[(&VerifiedEntry, &str)]| {
        cases.push(Case {
            name: name.into(),
            entries: entries.iter().map(|(entry, _)| raw(entry)).collect(),
            outcomes: entries.iter().map(|(_, outcome)| (*outcome).to_owned()).collect(),
        });
    };

    let a = entry(1, &[&root], 1, note("a"));
    let b = entry(1, &[&a], 2, note("b"));
    case("a chain", &[(&a, "accepted"), (&b, "accepted"), (&a, "known")]);
    case("a child before its parent", &[(&b, "waits for its parents"), (&a, "accepted"), (&b, "known")]);
    let triangle = entry(1, &[&a, &root], 2, note("c"));
    case("a parent that is below another parent", &[(&a, "accepted"), (&triangle, "accepted")]);

    let high = |height| Draft {
        name: "",
        about: "",
        author: 1,
        parents: vec![database],
        height,
        time: START + 1,
        stores: note("a"),
    };
    let high = make(&high(2), &origin).1;
    case(
        "a height that does not follow the parents",
        &[(&high, "refused: its height is not one more than that of its highest parent")],
    );
    let early = entry(1, &[&root], 0, note("a"));
    case(
        "a time that is not after the parent",
        &[(&early, "refused: its time is not greater than that of every parent")],
    );
    let above = Draft {
        name: "",
        about: "",
        author: 1,
        parents: vec![early.id()],
        height: 2,
        time: START + 1,
        stores: note("a"),
    };
    let above = make(&above, &origin).1;
    let below = format!("refused: the entry {} below it was refused", early.id());
    case(
        "what stands on a refused entry",
        &[(&early, "refused: its time is not greater than that of every parent"), (&above, &below)],
    );
    let other = make(&Draft { time: START + 1, ..root_draft() }, &NONCE).1;
    case("a second root", &[(&other, "refused: it belongs to another database")]);
    let stray = Draft {
        name: "",
        about: "",
        author: 1,
        parents: vec![database],
        height: 1,
        time: START + 1,
        stores: note("a"),
    };
    let stray = make(&stray, other.id().as_bytes()).1;
    case("another database", &[(&stray, "refused: it belongs to another database")]);
    let future = entry(1, &[&root], (LATER + SKEW + 1) << 16, note("a"));
    let soon = entry(1, &[&root], (LATER + SKEW) << 16, note("a"));
    case("a clock that is ahead", &[(&soon, "accepted"), (&future, "waits for the clock")]);

    let strange = entry(1, &[&root], 1, vec![("strange", "nobody.knows", json!({ "map": [["any", "thing"]] }))]);
    case("a store of an unknown kind", &[(&strange, "accepted")]);
    let unreadable = entry(1, &[&root], 1, vec![("notes", "doc", json!([[["a"], 6]]))]);
    case("a delta that its kind cannot read", &[(&unreadable, "accepted")]);
    let named = entry(1, &[&root], 1, vec![("notes", "doc", json!([[["n"], 3, 1, blob(&[7; 32])]]))]);
    case("an increment of a counter that is nowhere", &[(&named, "accepted")]);
    let nothing = entry(1, &[&root], 1, vec![]);
    case("an entry without a change", &[(&nothing, "accepted")]);

    let stranger = entry(3, &[&root], 1, note("a"));
    case(
        "a key without a right",
        &[(&stranger, "refused: writing takes the right to write; the author's right is: none")],
    );
    let nothing = entry(3, &[&root], 1, vec![]);
    case(
        "no change, but no right either",
        &[(&nothing, "refused: writing takes the right to write; the author's right is: none")],
    );
    let grant = entry(1, &[&root], 1, rights(json!([[public(2), 0, 2]])));
    let write = entry(2, &[&grant], 2, note("a"));
    case("a right that was granted below", &[(&grant, "accepted"), (&write, "accepted")]);
    let beside = entry(2, &[&root], 2, note("a"));
    case(
        "a right that was granted, but not below",
        &[(&grant, "accepted"), (&beside, "refused: writing takes the right to write; the author's right is: none")],
    );
    let settings = entry(2, &[&grant], 2, rights(json!([[public(3), 0, 1]])));
    case(
        "settings by a key that may only write",
        &[(&grant, "accepted"), (&settings, "refused: changing settings takes an admin; the author's right is: write")],
    );
    let value = entry(2, &[&grant], 2, vec![("_settings", "settings", json!([[], [[["name"], 1, "x"]]]))]);
    case(
        "a value of the settings takes an admin, too",
        &[(&grant, "accepted"), (&value, "refused: changing settings takes an admin; the author's right is: write")],
    );
    let everybody = entry(1, &[&root], 1, rights(json!([[blob(&[]), 0, 2]])));
    let anyone = entry(3, &[&everybody], 2, note("a"));
    case("everybody may write", &[(&everybody, "accepted"), (&anyone, "accepted")]);
    let junior = entry(1, &[&root], 1, rights(json!([[public(2), 0, 8]])));
    let subject = key(2).public();
    let bad_grant = format!(
        "refused: a grant must give {} more than it has and less than the author has; all can at most write",
        key(3).public()
    );
    let equal = entry(2, &[&junior], 2, rights(json!([[public(3), 0, 8]])));
    case("an admin makes an equal", &[(&junior, "accepted"), (&equal, &bad_grant)]);
    let senior = entry(2, &[&junior], 2, rights(json!([[public(1), 1, 0]])));
    let not_junior = format!("refused: {} is not below the author in rank", key(1).public());
    case("an admin removes a senior", &[(&junior, "accepted"), (&senior, &not_junior)]);
    let again = entry(1, &[&junior], 2, rights(json!([[public(2), 0, 8]])));
    let no_more = format!(
        "refused: a grant must give {subject} more than it has and less than the author has; all can at most write"
    );
    case("a grant of what is there", &[(&junior, "accepted"), (&again, &no_more)]);
    let raise = entry(1, &[&grant], 2, rights(json!([[public(2), 1, 8]])));
    let no_less = format!("refused: a limit must leave {subject} less than it has");
    case("a limit above what is there", &[(&grant, "accepted"), (&raise, &no_less)]);
    let remove = entry(1, &[&everybody], 2, rights(json!([[public(3), 1, 0]])));
    let removed = entry(3, &[&remove], 3, note("a"));
    case(
        "a removed key has not even what everybody has",
        &[
            (&everybody, "accepted"),
            (&remove, "accepted"),
            (&removed, "refused: writing takes the right to write; the author's right is: removed"),
        ],
    );
    let down = entry(2, &[&junior], 2, rights(json!([[public(2), 1, 2]])));
    case("an admin steps down", &[(&junior, "accepted"), (&down, "accepted")]);
    let with_more =
        entry(2, &[&junior], 2, vec![("_settings", "settings", json!([[[public(2), 1, 2]], [[["name"], 1, "x"]]]))]);
    case(
        "stepping down with something else",
        &[
            (&junior, "accepted"),
            (&with_more, "refused: stepping down stands alone in its entry and must lower the right"),
        ],
    );
    let up = entry(2, &[&junior], 2, rights(json!([[public(2), 0, 9]])));
    let own = format!("refused: {subject} is not below the author in rank");
    case("an admin grants itself more", &[(&junior, "accepted"), (&up, &own)]);

    let headless = RawEntry { header: grant.header_bytes().clone(), bodies: vec![] };
    let mut waiting = Case { name: "settings without their body".into(), entries: vec![], outcomes: vec![] };
    waiting.entries.push(Raw { header: hex(&headless.header), bodies: vec![] });
    waiting.outcomes.push("waits for the body of its settings".into());
    cases.push(waiting);
    Door { now: (START >> 16) + LATER, skew: SKEW, root: raw(&root), cases }
}

/// The stream of the history, written by hand.
pub fn export() -> Export {
    let history = history();
    let mut stream = b"eidetica-export 1\n".to_vec();
    for (vector, _) in &history {
        let bodies: Vec<Value> = vector.bodies.iter().map(|body| json!({ "bytes": body })).collect();
        let entry = encode(&json!([{ "bytes": vector.header }, bodies]));
        stream.extend((entry.len() as u32).to_be_bytes());
        stream.extend(entry);
    }
    stream.extend(0u32.to_be_bytes());
    stream.extend((history.len() as u64).to_be_bytes());
    // An id is the plain BLAKE3 hash, as the end of the stream is.
    let hash = Id::of(&stream);
    stream.extend(hash.as_bytes());
    Export { entries: history.len() as u64, stream: hex(&stream) }
}
