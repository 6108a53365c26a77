//! Text on a terminal: what cannot break a line or a table.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with control characters, and characters that change the direction of writing, as escapes.
///
/// A cell may hold anything, and an escape sequence in it must not reach the terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            char if is_harmful(char) => out.extend(char.escape_default()),
            char => out.push(char),
        }
    }
    out.into()
}

fn is_harmful(char: char) -> bool {
    let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns || matches!(char, '\u{2028}' | '\u{2029}')
}

/// How many columns of a terminal it takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The beginning that fits into so many columns, with `…` where something is left out.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return text.into();
    }
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        out.push(char);
    }
    out.push('…');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_harmful_passes() {
        assert_eq!(escaped("a\x1b[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
        assert_eq!(escaped("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("東京"), 4);
        assert_eq!(cut("東京都", 5), "東京…");
        assert_eq!(cut("東京都", 6), "東京都");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
