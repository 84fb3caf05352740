//! Makes text from outside safe in a line for people: names, values, errors and messages of plugins, detectors, workers and Redis.
//!
//! A line break or a control sequence in it could forge a second line, or move the cursor of a terminal. So hidden characters are
//! escaped, and the length is limited. Messages of our own may have several lines: the later ones begin with two spaces, which no
//! other log line does.

use std::fmt::{self, Write};

/// Maximum size of a text in bytes.
pub const LONGEST: usize = 4096;
/// The start of each later line.
const CONTINUES: &str = "\n  ";

/// Writes text with all hidden characters escaped, and at most [`LONGEST`] bytes of it.
#[derive(Debug)]
pub struct Plain<W> {
    to: W,
    /// Remaining number of bytes.
    left: usize,
    /// A pending line break, while the beginning of the next line is unknown, and the spaces after it.
    held: usize,
}

impl<W: Write> Plain<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        // Leaves room for the mark that shows a cut.
        Self { to, left: LONGEST - '…'.len_utf8(), held: 0 }
    }

    /// Writes one value.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(to: W, value: fmt::Arguments<'_>) -> fmt::Result {
        let mut plain = Self::new(to);
        plain.write_fmt(value)?;
        plain.let_go()
    }

    fn push(&mut self, text: &str) -> fmt::Result {
        match self.left.checked_sub(text.len()) {
            Some(left) => self.left = left,
            None if self.left == 0 => return Ok(()),
            None => {
                self.left = 0;
                return self.to.write_char('…');
            }
        }
        self.to.write_str(text)
    }

    /// The held line break does not begin a line of our own.
    fn let_go(&mut self) -> fmt::Result {
        match std::mem::take(&mut self.held) {
            0 => Ok(()),
            1 => self.push("\\n"),
            _ => self.push("\\n "),
        }
    }
}

impl<W: Write> Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.held > 0 && letter == ' ' {
                self.held += 1;
                if self.held == CONTINUES.len() {
                    self.held = 0;
                    self.push(CONTINUES)?;
                }
                continue;
            }
            self.let_go()?;
            match letter {
                '\n' => self.held = 1,
                _ if is_hidden(letter) => {
                    letter.escape_default().try_for_each(|letter| self.push(letter.encode_utf8(&mut [0; 4])))?;
                }
                _ => self.push(letter.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

/// A stored text to be shown: plain, and at most a page long.
#[must_use]
pub fn short(text: &str) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = Plain::write(&mut line, format_args!("{text}"));
    line
}

/// Whether a character is hidden: a control character, a line break, or a change of the reading direction.
#[must_use]
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut line = String::new();
        Plain::write(&mut line, format_args!("{text}")).unwrap();
        line
    }

    #[test]
    fn what_is_not_to_be_seen_is_escaped_and_all_else_stays() {
        assert_eq!(plain("a\n2026 ERROR forged\n 2026\n"), "a\\n2026 ERROR forged\\n 2026\\n");
        assert_eq!(
            plain("a\r\u{1b}[2J\u{7}\u{9b}\t\u{2028}\u{202e}b"),
            "a\\r\\u{1b}[2J\\u{7}\\u{9b}\\t\\u{2028}\\u{202e}b"
        );
        assert_eq!(plain(r#"grün "x" \ 'y' …"#), r#"grün "x" \ 'y' …"#);
    }

    #[test]
    fn several_lines_of_our_own_stay_lines() {
        assert_eq!(
            plain("no file\n  looked here\n    and there\n\n  x"),
            "no file\n  looked here\n    and there\\n\n  x"
        );
    }

    #[test]
    fn a_text_has_an_end() {
        let line = plain(&"ä".repeat(LONGEST));
        assert!(line.len() <= LONGEST && line.ends_with("ä…"), "{}", line.len());
        assert_eq!(plain(&"x".repeat(LONGEST - 3)), "x".repeat(LONGEST - 3));
    }
}
