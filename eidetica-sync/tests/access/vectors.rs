//! `docs/spec/vectors/access.json`: what the specification states, this program does.
//!
//! `cargo test -p eidetica-sync regenerate -- --ignored` writes it, when the protocol is meant to change.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eidetica_core::auth::Permission;
use eidetica_core::{Id, attested};
use eidetica_sync::access::{Answer, Claim, Grant, Request, Scope, Wanted};
use serde::{Deserialize, Serialize};

use super::kit::*;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    grants: Vec<GrantVector>,
    claims: ClaimsVector,
    requests: Vec<RequestVector>,
    answers: Vec<AnswerVector>,
}

/// Keys are given by the byte that their seed is made of.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct GrantVector {
    user: u8,
    device: u8,
    /// Without one it is to list databases.
    database: Option<String>,
    serial: u64,
    /// What is signed.
    statement: String,
    claim: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct ClaimsVector {
    about: String,
    bytes: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct RequestVector {
    from: u8,
    to: u8,
    user: u8,
    database: String,
    permission: Option<String>,
    name: String,
    metadata: BTreeMap<String, String>,
    statement: String,
    request: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct AnswerVector {
    about: String,
    answer: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors/access.json")
}

fn id_of(digits: &str) -> Id {
    Id::from_bytes(unhex(digits).try_into().unwrap())
}

/// The statement of a grant, put together here as the specification says.
fn grant_statement(vector: &GrantVector) -> Vec<u8> {
    let scope = match &vector.database {
        Some(database) => [&[0], &unhex(database)[..]].concat(),
        None => vec![1],
    };
    [public(vector.user).as_bytes(), &public(vector.device).as_bytes()[..], &scope, &vector.serial.to_be_bytes()]
        .concat()
}

fn grant_of(vector: &GrantVector) -> Grant {
    let scope = vector.database.as_deref().map_or(Scope::Listing, |digits| Scope::Database(id_of(digits)));
    Grant::sign(&key(vector.user), public(vector.device), scope, vector.serial)
}

fn request_of(vector: &RequestVector) -> Request {
    let permission = vector.permission.as_deref().map(|name| match name {
        "read" => Permission::Read,
        "write" => Permission::Write,
        "admin" => Permission::Admin,
        other => panic!("{other}"),
    });
    let mut wanted = Wanted::new(id_of(&vector.database), public(vector.user), permission, vector.name.clone());
    wanted.metadata.clone_from(&vector.metadata);
    Request::sign(wanted, public(vector.from), public(vector.to), &key(vector.user)).unwrap()
}

fn answers() -> Vec<(&'static str, Answer)> {
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    vec![
        ("pending", Answer::Pending(id)),
        ("granted: to read", Answer::Granted(Permission::Read)),
        ("granted: to write", Answer::Granted(Permission::Write)),
        ("granted: admin", Answer::Granted(Permission::Admin)),
        ("rejected without a reason", Answer::Rejected { id, reason: String::new() }),
        ("rejected: not this year", Answer::Rejected { id, reason: "not this year".into() }),
        ("nothing", Answer::Nothing),
    ]
}

fn make() -> Vectors {
    let database = hex(&[7; 32]);
    let grants = [(1, 2, Some(database.clone()), 1), (1, 2, None, u64::MAX), (3, 2, Some(database.clone()), 1 << 40)];
    let grants = grants.map(|(user, device, database, serial)| {
        let (statement, claim) = Default::default();
        let mut vector = GrantVector { user, device, database, serial, statement, claim };
        vector.statement = hex(&grant_statement(&vector));
        // A list of one claim is its count and the claim.
        vector.claim = hex(&Claim::write_all(&[grant_of(&vector).claim().clone()])[1..]);
        vector
    });
    let both: Vec<Claim> = [&grants[0], &grants[2]].map(|vector| grant_of(vector).claim().clone()).to_vec();
    let metadata: BTreeMap<String, String> =
        [("mail", "anna@example.org"), ("why", "we met at the fair")].map(|(k, v)| (k.into(), v.into())).into();
    let requests = [
        (Some("write"), "Anna's laptop", metadata),
        (Some("read"), "x", BTreeMap::new()),
        (Some("admin"), "Zoë", BTreeMap::new()),
        (None, "Anna", BTreeMap::new()),
    ];
    let requests = requests.map(|(permission, name, metadata)| {
        let (statement, request) = Default::default();
        let permission = permission.map(str::to_owned);
        let (database, name) = (database.clone(), name.to_owned());
        let mut vector =
            RequestVector { from: 4, to: 5, user: 1, database, permission, name, metadata, statement, request };
        let bytes = request_of(&vector).to_bytes();
        let wanted = &bytes[..bytes.len() - 64];
        vector.statement = hex(&[public(4).as_bytes(), &public(5).as_bytes()[..], wanted].concat());
        vector.request = hex(&bytes);
        vector
    });
    Vectors {
        grants: grants.into(),
        claims: ClaimsVector {
            about: "the claims of the first and the third grant".into(),
            bytes: hex(&Claim::write_all(&both)),
        },
        requests: requests.into(),
        answers: answers()
            .into_iter()
            .map(|(about, answer)| AnswerVector { about: about.into(), answer: hex(&answer.to_bytes()) })
            .collect(),
    }
}

fn text(vectors: &Vectors) -> String {
    serde_json::to_string_pretty(vectors).unwrap() + "\n"
}

#[test]
#[ignore = "writes the vectors"]
fn regenerate() {
    std::fs::write(path(), text(&make())).unwrap();
}

#[test]
fn made_again_the_vectors_are_the_same() {
    assert!(std::fs::read_to_string(path()).unwrap() == text(&make()), "access.json");
}

/// What the file says, read and proven.
#[test]
fn what_the_file_holds_is_believed() {
    let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
    assert_eq!((vectors.grants.len(), vectors.requests.len(), vectors.answers.len()), (3, 4, 7));
    for vector in &vectors.grants {
        let bytes = unhex(&vector.claim);
        let (claims, rest) = Claim::read_all(&[&[1], &bytes[..]].concat()).map(|(c, rest)| (c, rest.len())).unwrap();
        assert_eq!((bytes.len(), rest), (Claim::LEN, 0));
        let grant = grant_of(vector);
        assert_eq!(claims[0].prove(grant.device(), grant.scope()).as_ref(), Some(&grant));
        assert_eq!(unhex(&vector.statement), grant_statement(vector));
        let signature = bytes[40..].try_into().unwrap();
        assert!(attested(&public(vector.user), "eidetica-sync 1 grant", &unhex(&vector.statement), &signature));
    }
    assert_eq!(Claim::read_all(&unhex(&vectors.claims.bytes)).unwrap().0.len(), 2);
    for vector in &vectors.requests {
        let bytes = unhex(&vector.request);
        assert_eq!(Request::parse(&bytes, &public(vector.from), &public(vector.to)), Some(request_of(vector)));
        let signature = bytes[bytes.len() - 64..].try_into().unwrap();
        let statement = unhex(&vector.statement);
        assert!(attested(&public(vector.user), "eidetica-sync 1 access request", &statement, &signature));
    }
    for (vector, (about, answer)) in vectors.answers.iter().zip(answers()) {
        assert_eq!((vector.about.as_str(), Answer::parse(&unhex(&vector.answer))), (about, Some(answer)));
    }
}
