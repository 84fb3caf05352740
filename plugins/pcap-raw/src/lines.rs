//! Splits a byte stream into lines of limited length.
//!
//! Pure; runs on the reader thread. Holds received bytes until they are taken, at most one line's limit and one read. A
//! line that is too long is discarded while it arrives, so a server that never ends its line costs no memory.

/// Received bytes, to be taken line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    buffer: Vec<u8>,
    /// Start of the next line in `buffer`.
    from: usize,
    /// Up to here there is no line end. Invariant: `from <= searched <= buffer.len()`.
    searched: usize,
    /// Whether the beginning of the current line was discarded.
    too_long: bool,
}

/// Result of [`Lines::next`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A line, with its `\n`.
    Whole(&'a [u8]),
    /// A line longer than the limit.
    TooLong,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), from: 0, searched: 0, too_long: false }
    }

    /// Adds received bytes. The caller has taken all complete lines before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.from);
        self.searched -= self.from;
        self.from = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held and not yet taken.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len() - self.from
    }

    /// The next line, if its end has been received.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|place| self.searched + place + 1) else {
            self.searched = self.buffer.len();
            if self.searched - self.from > self.limit {
                self.too_long = true;
                self.from = self.searched;
            }
            return None;
        };
        let from = self.from;
        self.from = end;
        self.searched = end;
        let too_long = self.too_long || end - from > self.limit;
        self.too_long = false;
        Some(if too_long { Line::TooLong } else { Line::Whole(&self.buffer[from..end]) })
    }

    /// At the end of the stream: returns the incomplete last line and resets.
    pub(crate) fn finish(&mut self) -> Option<Vec<u8>> {
        let mut rest = std::mem::replace(self, Self::new(self.limit));
        rest.buffer.drain(..rest.from);
        (!rest.buffer.is_empty() && !rest.too_long).then_some(rest.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            found.push(match line {
                Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
                Line::TooLong => "too long".to_owned(),
            });
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let text = b"a\n\nbcd\n12345678\n123456789\n x\nrest";
        for step in 1..=text.len() {
            let mut lines = Lines::new(9);
            let mut found = Vec::new();
            for bytes in text.chunks(step) {
                lines.push(bytes);
                found.append(&mut all(&mut lines));
            }
            assert_eq!(found, ["a\n", "\n", "bcd\n", "12345678\n", "too long", " x\n"], "{step} at a time");
            assert_eq!(lines.finish().as_deref(), Some(&b"rest"[..]));
            assert_eq!(lines.finish(), None);
        }
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut lines = Lines::new(1000);
        for _ in 0..10_000 {
            lines.push(&[b'x'; 4096]);
            assert_eq!(lines.next(), None);
            assert!(lines.buffer.len() <= 5096);
        }
        lines.push(b"\nok\n");
        assert_eq!(all(&mut lines), ["too long", "ok\n"]);
        lines.push(&[b'x'; 4096]);
        assert_eq!(lines.next(), None);
        assert_eq!(lines.finish(), None);
    }
}
