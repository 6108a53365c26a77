//! Text of others on a terminal: nothing in it may do anything but show.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The longest message, in bytes; what is longer is not sent, and cut where it comes from others.
pub const LONGEST: usize = 8 * 1024;
/// The widest name, in columns.
pub const NAME: usize = 32;

/// The text with a mark for each character that controls a terminal or turns the direction of writing. Lines stay.
pub fn harmless(text: &str) -> String {
    let mark = |char: char| match char {
        // Terminals paste the ends of lines so.
        '\n' | '\r' => '\n',
        '\t' => ' ',
        char if is_harmful(char) => '\u{fffd}',
        char => char,
    };
    let end = text.floor_char_boundary(LONGEST);
    text[..end].replace("\r\n", "\n").chars().map(mark).collect()
}

fn is_harmful(char: char) -> bool {
    let turns =
        matches!(char, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The same on one line, and no wider than this.
pub fn one_line(text: &str, columns: usize) -> String {
    let text = harmless(text).split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&text, columns)
}

/// What to call somebody who calls himself so.
pub fn name(name: &str) -> String {
    let name = one_line(name, NAME);
    if name.is_empty() { "nobody".to_owned() } else { name }
}

/// The beginning that fits into so many columns, with `…` where something is left out.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for part in text.graphemes(true) {
        used += part.width();
        if used >= columns {
            break;
        }
        out.push_str(part);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// The text in lines of at most so many columns, broken at spaces where that can be done.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let (mut out, mut used) = (String::new(), 0);
        for word in line.split_inclusive(' ') {
            let width = word.trim_end().width();
            if used > 0 && used + width > columns && width <= columns {
                lines.push(std::mem::take(&mut out));
                used = 0;
            }
            for part in word.graphemes(true) {
                let width = part.width();
                if used + width > columns {
                    if part == " " {
                        continue;
                    }
                    lines.push(std::mem::take(&mut out));
                    used = 0;
                }
                out.push_str(part);
                used += width;
            }
        }
        lines.push(out);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_controls_a_terminal_is_left() {
        let text = "a\x1b[31mred\x07\u{9b}2J\r\n\u{202e}\u{61c}back\tb";
        assert_eq!(harmless(text), "a\u{fffd}[31mred\u{fffd}\u{fffd}2J\n\u{fffd}\u{fffd}back b");
        assert_eq!(name("  two\n lines "), "two lines");
        assert_eq!(name("\n"), "nobody");
        assert_eq!(harmless(&"é".repeat(LONGEST)).len(), LONGEST);
        // A family is one character of several, and stays one.
        assert_eq!(harmless("👨‍👩‍👧"), "👨‍👩‍👧");
    }

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        assert_eq!(wrapped("one two three.", 7), ["one two", "three."]);
        assert_eq!(wrapped("東京都東京都", 5), ["東京", "都東", "京都"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a\n\nb", 9), ["a", "", "b"]);
        for columns in 0..12 {
            let text = "wide 東京 👨‍👩‍👧 and averylongword";
            assert!(wrapped(text, columns).iter().all(|line| line.width() <= columns.max(2)), "{columns}");
        }
        assert_eq!(cut("東京都", 5), "東京…");
        assert_eq!(cut("abc", 0), "");
    }
}
