//! The bytes of several images of a STINS detector in wire format, prepared once. Only the image's number and its stamp
//! are overwritten.
//!
//! For a large image, the block contains only the beginning. The rest is the same filling, sent repeatedly, so that it
//! stays in the processor's cache.

use std::io::Write as _;

use super::{MAGIC, STAMP, zmtp};

/// See the module.
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Positions of the numbers of each image.
    numbers: Vec<Vec<usize>>,
    /// Start of the last part of each image.
    last_parts: Vec<usize>,
    /// Number of filling bytes after the block.
    pub(crate) filling: usize,
}

impl Block {
    /// Images with `parts` parts of `payload` bytes; at most `most` images.
    pub(crate) fn new(payload: usize, parts: usize, most: usize) -> Self {
        let mut block = Self { bytes: Vec::new(), numbers: Vec::new(), last_parts: Vec::new(), filling: 0 };
        while block.numbers.is_empty() || (block.bytes.len() < SIZE && block.numbers.len() < most) {
            block.add(payload, parts);
        }
        // If there are several images, all are small.
        if block.numbers.len() == 1 && block.bytes.len() > SIZE {
            let first_part = block.last_parts[0] + STAMP;
            block.filling = block.bytes.len() - SIZE.max(first_part);
            block.bytes.truncate(SIZE.max(first_part));
        }
        block
    }

    fn add(&mut self, payload: usize, parts: usize) {
        let (text, numbers) = image(if parts == 1 { payload } else { 0 });
        zmtp::head(&mut self.bytes, text.len(), parts > 1);
        let start = self.bytes.len();
        self.numbers.push(numbers.iter().map(|number| start + number).collect());
        self.bytes.extend_from_slice(text.as_bytes());
        for part in 1..parts {
            zmtp::head(&mut self.bytes, payload, part + 1 < parts);
            self.bytes.resize(self.bytes.len() + payload, FILLING);
        }
        self.last_parts.push(self.bytes.len() - if parts == 1 { text.len() } else { payload });
    }

    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        self.numbers.len()
    }

    /// The bytes of this many images; the first has the number `first`.
    pub(crate) fn numbered(&mut self, first: u64, images: usize) -> &[u8] {
        for (number, places) in (first..).zip(&self.numbers[..images]) {
            for place in places {
                // Exactly as wide as the spaces that it replaces.
                let _ = write!(&mut self.bytes[*place..place + WIDTH], "{number:>WIDTH$}");
            }
        }
        let length = self.bytes.len() / self.images() * images;
        &self.bytes[..length]
    }

    /// Stamps the first image.
    pub(crate) fn stamp(&mut self, ns: u64) {
        write_stamp(&mut self.bytes[self.last_parts[0]..], ns);
    }
}

/// Writes a stamp to the beginning of a part.
pub(crate) fn write_stamp(part: &mut [u8], ns: u64) {
    part[..8].copy_from_slice(&MAGIC);
    part[8..STAMP].copy_from_slice(&ns.to_le_bytes());
}

/// The first part of an image, at least this long, and the positions of its numbers.
pub(crate) fn image(least: usize) -> (String, [usize; 2]) {
    let space = " ".repeat(WIDTH);
    let frame = r#"{"htype":"image","frame":"#.to_owned();
    let kind = r#","shape":[512,512],"type":"uint16","compression":"none","msg_number":"#;
    let numbers = [frame.len(), frame.len() + WIDTH + kind.len()];
    let mut text = format!("{frame}{space}{kind}{space}}}");
    if text.len() < least {
        text.pop();
        let padding = least.saturating_sub(text.len() + r#","pad":""}"#.len());
        text = format!(r#"{text},"pad":"{}"}}"#, "x".repeat(padding));
    }
    (text, numbers)
}

/// Digits of a number, spaces included.
pub(crate) const WIDTH: usize = 10;
/// The byte that images consist of.
pub(crate) const FILLING: u8 = 7;
/// Bytes per write: small enough for the cache.
pub(crate) const SIZE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_whole_images_with_their_numbers() {
        let mut block = Block::new(64, 3, 5);
        assert_eq!((block.images(), block.filling), (5, 0));
        let text = String::from_utf8_lossy(block.numbered(41, 5)).into_owned();
        assert!(text.contains(r#""frame":        41,"#) && text.contains(r#""msg_number":        45}"#), "{text}");
        let whole = block.numbered(0, 5).len();
        assert_eq!(block.numbered(0, 1).len() * 5, whole);
    }

    #[test]
    fn a_large_image_is_a_beginning_and_filling() {
        let (text, _) = image(0);
        let mut block = Block::new(1 << 20, 2, 100);
        let bytes = block.numbered(0, 1).len() + block.filling;
        assert_eq!(bytes, 2 + text.len() + 9 + (1 << 20));
        assert!(serde_json::from_str::<serde_json::Value>(&image(500).0.replace(": ", ":0")).is_ok());
        assert_eq!(image(500).0.len(), 500);
    }
}
