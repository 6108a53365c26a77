//! The line that is being typed.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text::{LONGEST, harmless};

/// Text, and where in it the cursor stands.
#[derive(Default)]
pub struct Line {
    text: String,
    /// In bytes, between two characters as people count them.
    at: usize,
}

impl Line {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text; the line is empty then.
    pub fn take(&mut self) -> String {
        self.at = 0;
        std::mem::take(&mut self.text)
    }

    /// Types something, as far as there is room.
    pub fn insert(&mut self, text: &str) {
        let text = harmless(text);
        let end = text.floor_char_boundary(LONGEST.saturating_sub(self.text.len()));
        self.text.insert_str(self.at, &text[..end]);
        self.at += end;
    }

    pub fn left(&mut self) {
        self.at = self.before();
    }

    pub fn right(&mut self) {
        self.at += self.text[self.at..].graphemes(true).next().map_or(0, str::len);
    }

    pub fn home(&mut self) {
        self.at = 0;
    }

    pub fn end(&mut self) {
        self.at = self.text.len();
    }

    pub fn backspace(&mut self) {
        let before = self.before();
        self.text.replace_range(before..self.at, "");
        self.at = before;
    }

    pub fn delete(&mut self) {
        let at = self.at;
        self.right();
        self.text.replace_range(at..self.at, "");
        self.at = at;
    }

    /// Takes away the word before the cursor.
    pub fn delete_word(&mut self) {
        let mut words = self.text[..self.at].trim_end().split_word_bound_indices();
        let start = words.next_back().map_or(0, |(start, _)| start);
        self.text.replace_range(start..self.at, "");
        self.at = start;
    }

    fn before(&self) -> usize {
        self.text[..self.at].grapheme_indices(true).next_back().map_or(0, |(start, _)| start)
    }

    /// The part around the cursor that fits into so many columns, and the column of the cursor in it.
    pub fn shown(&self, columns: usize) -> (String, usize) {
        let shown = |text: &str| text.replace('\n', "⏎");
        let (before, after) = (shown(&self.text[..self.at]), shown(&self.text[self.at..]));
        // One column is left for the cursor at the end.
        let most = columns.saturating_sub(1);
        let mut start = 0;
        for (at, part) in before.grapheme_indices(true) {
            if before[at..].width() <= most {
                break;
            }
            start = at + part.len();
        }
        let cursor = before[start..].width();
        let mut out = before[start..].to_owned();
        let mut used = cursor;
        for part in after.graphemes(true) {
            used += part.width();
            if used > most {
                break;
            }
            out.push_str(part);
        }
        (out, cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_edited_by_characters_as_people_count_them() {
        let mut line = Line::default();
        line.insert("a👨‍👩‍👧é");
        line.left();
        line.backspace();
        assert_eq!(line.text(), "aé");
        line.insert("\x1b[2J");
        assert_eq!(line.text(), "a\u{fffd}[2Jé");
        line.home();
        line.delete();
        line.end();
        line.right();
        line.backspace();
        assert_eq!(line.text(), "\u{fffd}[2J");
        line.insert(" two words");
        line.delete_word();
        assert_eq!(line.take(), "\u{fffd}[2J two ");
        line.backspace();
        line.left();
        assert_eq!(line.text(), "");
    }

    #[test]
    fn the_cursor_is_always_in_sight_and_there_is_an_end() {
        let mut line = Line::default();
        line.insert("東京 tower\nnext");
        for columns in 1..30 {
            line.end();
            for _ in 0..20 {
                let (shown, cursor) = line.shown(columns);
                assert!(shown.width() < columns.max(1) || columns == 1, "{shown} in {columns}");
                assert!(cursor < columns, "{cursor} in {columns}");
                line.left();
            }
        }
        line.insert(&"x".repeat(2 * LONGEST));
        assert_eq!(line.text().len(), LONGEST);
    }
}
