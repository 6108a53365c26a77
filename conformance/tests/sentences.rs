//! The sentences of the contracts, and the cases that check them.

use std::collections::BTreeSet;
use std::path::Path;

use eidetica_conformance::{Area, cases};

/// What the documentation of a contract says, on one line for each sentence or bullet.
fn said(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("///"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn file_of(area: Area) -> &'static str {
    match area {
        Area::Backend => "eidetica-contract/src/backend.rs",
        Area::Transport => "eidetica-contract/src/transport.rs",
        Area::Network => "eidetica-sync/src/node/syncer.rs",
    }
}

#[test]
fn every_case_quotes_its_contract() {
    for case in cases() {
        let said = said(file_of(case.area()));
        assert!(said.contains(case.sentence), "{} quotes what the contract does not say: {}", case.id, case.sentence);
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
        assert!(cases().any(|case| case.need == Some(need)), "nothing checks {need:?}");
        assert!(cases().any(|case| case.unless == Some(need)), "nothing checks that {need:?} is refused");
    }
}

/// Methods of the contracts, with the sentences of their documentation that say what *must* be so. Each has a case that quotes some of
/// it, or stands in `uncased.txt` with the reason why none can.
#[test]
fn every_promise_has_a_case() {
    let uncased = include_str!("uncased.txt");
    let excused: Vec<&str> =
        uncased.lines().filter(|line| line.starts_with('"')).map(|line| line.trim_matches('"')).collect();
    let mut missing = Vec::new();
    for (area, items) in
        [(Area::Backend, &["Backend", "Snapshot"][..]), (Area::Transport, &["Transport", "Channel", "Service"][..])]
    {
        for sentence in items.iter().flat_map(|item| sentences(file_of(area), item)) {
            let quotes = |case: &eidetica_conformance::Case| {
                let quoted = case.sentence.trim_end_matches('.');
                case.area() == area && (sentence.contains(quoted) || quoted.contains(&sentence))
            };
            let quoted = cases().any(quotes);
            if !quoted && !excused.contains(&sentence.as_str()) {
                missing.push(format!("\"{sentence}\""));
            }
        }
    }
    assert!(missing.is_empty(), "promises without a case:\n{}", missing.join("\n"));
    for sentence in excused {
        let there = [Area::Backend, Area::Transport].iter().any(|area| said(file_of(*area)).contains(sentence));
        assert!(there, "uncased.txt excuses what no contract says: {sentence}");
    }
}

/// The sentences of the documentation of a trait and of its methods.
fn sentences(file: &str, item: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| line.starts_with(&format!("pub trait {item}:"))).unwrap();
    let begin =
        lines[..start].iter().rposition(|line| !line.starts_with("///") && !line.starts_with("#[")).unwrap() + 1;
    let end = start + lines[start..].iter().position(|line| *line == "}").unwrap();
    let mut blocks = vec![String::new()];
    for line in &lines[begin..end] {
        match line.trim().strip_prefix("///").map(str::trim) {
            Some("") | None => blocks.push(String::new()),
            Some(text) if text.starts_with("# ") || text.starts_with("[`") => blocks.push(String::new()),
            Some(text) => {
                if let Some(bullet) = text.strip_prefix("* ") {
                    blocks.push(bullet.to_owned());
                } else if let Some(last) = blocks.last_mut() {
                    last.push(' ');
                    last.push_str(text);
                }
            }
        }
    }
    let mut sentences = Vec::new();
    for block in blocks {
        for part in block.split(". ") {
            let part = part.trim().trim_end_matches('.').trim();
            if !part.is_empty() {
                sentences.push(part.to_owned());
            }
        }
    }
    sentences
}
