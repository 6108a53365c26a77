//! The sentences of the contracts, and the cases that check them.

use std::collections::BTreeSet;
use std::path::Path;

use eidetica_conformance::{Area, cases};

/// The files of a contract, and the items in them.
fn contract(area: Area) -> &'static [(&'static str, &'static [&'static str])] {
    match area {
        Area::Backend => &[("eidetica-contract/src/backend.rs", &["Backend", "Snapshot"])],
        Area::Transport => &[("eidetica-contract/src/transport.rs", &["Transport", "Channel", "Service"])],
        Area::Kind => &[
            ("eidetica-core/src/store/handle.rs", &["StoreType"]),
            ("eidetica-core/src/store/lattice.rs", &["Semilattice"]),
        ],
        Area::Network => &[("eidetica-sync/src/node/syncer.rs", &[])],
    }
}

const AREAS: [Area; 4] = [Area::Backend, Area::Transport, Area::Kind, Area::Network];

/// A case quotes whole sentences; in a list of errors each clause is one.
#[test]
fn every_case_quotes_its_contract() {
    let said = AREAS.map(|area| contract(area).iter().flat_map(|(file, _)| file_says(file)).collect::<BTreeSet<_>>());
    for case in cases() {
        let said = &said[AREAS.iter().position(|area| *area == case.area()).unwrap()];
        for sentence in sentences(case.sentence) {
            assert!(said.contains(&sentence), "{} quotes what the contract does not say: {sentence}", case.id);
        }
    }
}

#[test]
fn ids_are_names() {
    let mut ids = BTreeSet::new();
    for case in cases() {
        assert!(ids.insert(case.id), "{} stands twice", case.id);
        let area = format!("{:?}.", case.area()).to_lowercase();
        assert!(case.id.starts_with(&area) && case.id.split('.').count() == 3, "{}", case.id);
        let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(case.id.split('.').all(letters), "{}", case.id);
    }
}

/// What is declared is checked to work, and what is not to be refused: whoever adds one adds the other.
#[test]
fn jobs_have_both_cases() {
    use eidetica_conformance::Need;
    for need in [Need::Compact, Need::Check, Need::ProvesIdentity] {
        assert!(cases().any(|case| case.needs.contains(&need)), "nothing checks {need:?}");
        assert!(cases().any(|case| case.unless == Some(need)), "nothing checks that {need:?} is refused");
    }
}

/// What the documentation of the contracts says: each sentence is quoted by a case, or stands in `uncased.txt` with the reason why none can.
#[test]
fn every_promise_has_a_case() {
    let uncased = include_str!("uncased.txt");
    let lines = uncased.lines().filter(|line| line.starts_with('"')).map(|line| line.trim_matches('"'));
    let excused: BTreeSet<String> = lines.flat_map(sentences).collect();
    let mut missing = Vec::new();
    for area in AREAS {
        let quoted: BTreeSet<String> =
            cases().filter(|case| case.area() == area).flat_map(|case| sentences(case.sentence)).collect();
        let items = contract(area).iter().flat_map(|(file, items)| items.iter().map(move |item| (file, item)));
        for sentence in items.flat_map(|(file, item)| item_says(file, item)) {
            if !quoted.contains(&sentence) && !excused.contains(&sentence) {
                missing.push(format!("\"{sentence}\""));
            }
        }
    }
    assert!(missing.is_empty(), "promises without a case:\n{}", missing.join("\n"));
    let said: BTreeSet<String> =
        AREAS.iter().flat_map(|area| contract(*area)).flat_map(|(file, _)| file_says(file)).collect();
    let gone: Vec<&String> = excused.difference(&said).collect();
    assert!(gone.is_empty(), "uncased.txt excuses what no contract says: {gone:#?}");
}

fn lines(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// The sentences of the documentation of a file.
fn file_says(file: &str) -> Vec<String> {
    documentation(&lines(file))
}

/// The sentences of the documentation of a trait and of its methods.
fn item_says(file: &str, item: &str) -> Vec<String> {
    let lines = lines(file);
    let start = lines.iter().position(|line| line.starts_with(&format!("pub trait {item}:"))).unwrap();
    let above = |line: &String| line.starts_with("///") || line.starts_with("#[");
    let begin = lines[..start].iter().rposition(|line| !above(line)).unwrap() + 1;
    let end = start + lines[start..].iter().position(|line| line == "}").unwrap();
    documentation(&lines[begin..end])
}

/// The sentences of what stands behind `///`, without examples.
fn documentation(lines: &[String]) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut in_example = false;
    for line in lines {
        let text = line.trim().strip_prefix("///").map_or("", str::trim);
        in_example ^= text.starts_with("```");
        if in_example || text.is_empty() || ["# ", "```"].iter().any(|sign| text.starts_with(sign)) || is_target(text) {
            blocks.push(String::new());
        } else if let Some(bullet) = text.strip_prefix("* ") {
            blocks.push(bullet.to_owned());
        } else if let Some(last) = blocks.last_mut() {
            last.push(' ');
            last.push_str(text);
        }
    }
    blocks.iter().flat_map(|block| sentences(block)).collect()
}

/// True for where a link leads: ``[`ErrorKind`]: crate::ErrorKind``.
fn is_target(text: &str) -> bool {
    text.starts_with("[`") && text.contains("`]: ")
}

/// Sentences, and the clauses of those that have several, without the words that only say what follows.
fn sentences(text: &str) -> Vec<String> {
    let clauses = text.split(". ").flat_map(|sentence| sentence.split("; "));
    let bare = clauses.map(|clause| {
        let clause = clause.trim().trim_end_matches('.').trim();
        let clause = clause.strip_prefix("Errors: ").unwrap_or(clause);
        match clause.strip_prefix("**").and_then(|rest| rest.split_once("**: ")) {
            Some((_, rest)) => rest.to_owned(),
            None => clause.to_owned(),
        }
    });
    bare.filter(|clause| !clause.is_empty()).collect()
}
