//! Bytes that were received and not used yet.

/// See the module. Bytes are appended at the end, and used from the beginning.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

/// Enough for thousands of small messages in one system call.
const SIZE: usize = 64 << 10;

impl Input {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; SIZE].into(), from: 0, to: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    pub(crate) fn used(&mut self, bytes: usize) {
        self.from += bytes;
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    /// Where further bytes belong, at most this many; then call [`Input::added`]. Never empty: what is not used yet is at
    /// most a command, or a small part.
    pub(crate) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.buffer.len() - self.to < most && self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let end = self.buffer.len().min(self.to.saturating_add(most));
        &mut self.buffer[self.to..end]
    }

    pub(crate) fn added(&mut self, bytes: usize) {
        self.to += bytes;
    }
}
