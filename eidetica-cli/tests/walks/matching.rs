//! Comparing what is shown with what a page shows.

/// Stands for anything.
const ANYTHING: char = '…';

/// Whether this is all that was found.
pub fn is_so(shows: &[String], found: &[String]) -> bool {
    lines(shows, found, false)
}

/// Whether what was found begins so.
pub fn begins_so(shows: &[String], found: &[String]) -> bool {
    lines(shows, found, true)
}

fn lines(shows: &[String], found: &[String], more: bool) -> bool {
    match shows.split_first() {
        None => more || found.is_empty(),
        Some((first, rest)) if first.trim() == "…" => (0..=found.len()).any(|from| lines(rest, &found[from..], more)),
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| words(&joined(first), &joined(line)) && lines(rest, others, more)),
    }
}

fn joined(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is as it is shown.
fn words(shown: &str, line: &str) -> bool {
    let Some((before, after)) = shown.split_once(ANYTHING) else { return shown == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| words(after, &rest[at..]))
}

#[test]
fn lines_are_compared_whole() {
    let text = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (shows, found) in [
        ("a  b\tc", "a b c"),
        ("a … c", "a b b c"),
        ("a…", "a"),
        ("entry bafy…", "entry bafy12"),
        ("…\nlast", "one\ntwo\nlast"),
        ("first\n…", "first"),
        ("", ""),
    ] {
        assert!(is_so(&text(shows), &text(found)), "{shows:?} is {found:?}");
    }
    for (shows, found) in [
        ("a", "a b"),
        ("a", "b a"),
        ("a … c", "a b b"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("", "a"),
        ("…\nlast", "last\nother"),
        ("b\na", "a\nb"),
    ] {
        assert!(!is_so(&text(shows), &text(found)), "{shows:?} is not {found:?}");
    }
    assert!(begins_so(&text("a"), &text("a\nb")) && !begins_so(&text("a\nb"), &text("a")));
}
