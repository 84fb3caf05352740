//! Makes text from outside safe for a terminal: nothing in it controls the terminal, and no name makes a table too wide.
//!
//! Names come from the network and from files that others wrote. JSON output contains them complete and unchanged.

use framegate::plain::is_hidden;

/// The text in one line, with all control characters and changes of the reading direction escaped.
pub(super) fn plain(text: &str) -> String {
    let one = |c: char| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(one).collect()
}

/// The same for a message of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Like [`plain`], and limited to the width of a table cell: the middle is left out.
pub(super) fn cell(text: &str) -> String {
    let text = plain(text);
    let count = text.chars().count();
    if count <= WIDEST {
        return text;
    }
    let (head, tail) = (WIDEST / 2, WIDEST - WIDEST / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// Maximum number of characters in a cell: a name and its version, or the ends of a path.
const WIDEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_escaped_and_lines_of_a_message_stay() {
        assert_eq!(plain("a\u{1b}[2J\n\u{202e}ü"), "a\\u{1b}[2J\\n\\u{202e}ü");
        assert_eq!(plain_lines("no\n  look\u{7}"), "no\n  look\\u{7}");
    }

    #[test]
    fn a_long_cell_keeps_its_ends() {
        assert_eq!(cell(&"x".repeat(WIDEST)), "x".repeat(WIDEST));
        let long = cell(&format!("begin{}end", "ü".repeat(300)));
        assert_eq!(long.chars().count(), WIDEST);
        assert!(long.starts_with("beginü") && long.contains("ü…ü") && long.ends_with("üend"), "{long}");
    }
}
