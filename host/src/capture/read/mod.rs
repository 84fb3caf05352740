//! Reads capture files: dumps of events and captures of messages, plain or gzip.
//!
//! Runs on the caller's thread; owns the open file. Files are untrusted, so it never panics, never allocates on a
//! claimed length alone, and holds at most one item of limited size. It does not nest: only the known shapes are
//! accepted, so input cannot exhaust the stack.
//!
//! The items of CBOR are read in [`decode`](crate::capture::decode).

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;

use crate::capture::{
    Item, RecordedEvent, RecordedStream, TAG_EVENT, TAG_SELF_DESCRIBED, TAG_STREAM, TAG_TIME_EPOCH, TAG_TIME_TEXT,
    decode::{Counted, DecodeError, Decoder, Header},
};

/// A capture file that is being read: an iterator over its items, which ends after the first error.
pub struct Capture {
    path: PathBuf,
    decoder: Decoder<Box<dyn Read + Send>>,
    compressed: bool,
    /// Number of bytes read from the file, for progress.
    consumed: Arc<AtomicU64>,
    items: u64,
    failed: bool,
}

/// Why reading a capture file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("cannot read {}: {problem}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error. Not its `source`: printing the chain of causes would show it twice.
        problem: std::io::Error,
    },
    /// The file is no capture, or damaged.
    #[error("{}, byte {offset}{}: {what}; {items} whole items stand before it",
        path.display(), if *compressed { " (uncompressed)" } else { "" })]
    Item {
        /// The file.
        path: PathBuf,
        /// Position of the fault.
        offset: u64,
        /// Whether `offset` counts uncompressed bytes.
        compressed: bool,
        /// The problem.
        what: String,
        /// Number of items read before.
        items: u64,
    },
}

impl Capture {
    /// Opens a file; gzip is recognised by its first bytes.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let fail = |problem| ReadError::Open { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut magic).map_err(fail)?;
        let compressed = magic == [0x1f, 0x8b];

        let consumed = Arc::default();
        // A pipe cannot seek back, so the first bytes are chained before the rest.
        let whole = std::io::Cursor::new(magic).chain(file);
        Ok(Self::of(path, compressed, whole, consumed))
    }

    /// Reads `content` as a file with this name.
    #[must_use]
    pub fn read(name: &str, content: Vec<u8>) -> Self {
        let compressed = content.starts_with(&[0x1f, 0x8b]);
        Self::of(Path::new(name), compressed, std::io::Cursor::new(content), Arc::default())
    }

    fn of(path: &Path, compressed: bool, whole: impl Read + Send + 'static, consumed: Arc<AtomicU64>) -> Self {
        let counted = BufReader::with_capacity(1 << 16, Counted::new(whole, &consumed));
        let bytes: Box<dyn Read + Send> =
            if compressed { Box::new(BufReader::new(MultiGzDecoder::new(counted))) } else { Box::new(counted) };
        let decoder = Decoder::new(bytes, ITEM_LIMIT);
        Self { path: path.to_owned(), decoder, compressed, consumed, items: 0, failed: false }
    }

    /// Number of bytes read from the file so far, before decompression.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed) // for display only
    }
}

impl Iterator for Capture {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match item(&mut self.decoder) {
            Ok(None) => None,
            Ok(Some(item)) => {
                self.items += 1;
                Some(Ok(item))
            }
            Err(bad) => {
                self.failed = true;
                let what = bad.to_string();
                let (path, compressed, offset) = (self.path.clone(), self.compressed, bad.offset);
                Some(Err(ReadError::Item { path, offset, compressed, what, items: self.items }))
            }
        }
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("path", &self.path).field("items", &self.items).finish_non_exhaustive()
    }
}

/// Reads one item; `None` at the end of the file.
fn item<R: Read>(decoder: &mut Decoder<R>) -> Result<Option<Item>, DecodeError> {
    let Some(mut first) = decoder.first_head()? else { return Ok(None) };
    if first == Header::Tag(TAG_SELF_DESCRIBED) {
        first = decoder.head()?;
    }
    let item = match first {
        Header::Tag(TAG_EVENT) => Item::Event(event(decoder)?),
        Header::Array(_) => {
            let parts = byte_strings(decoder, first, "a message part")?;
            if parts.is_empty() {
                return Err(decoder.error("expected the parts of a message, found an empty list"));
            }
            Item::Message(parts)
        }
        other => return Err(decoder.unexpected("an event (tag 42877) or the list of a message's parts", other)),
    };
    Ok(Some(item))
}

fn event<R: Read>(decoder: &mut Decoder<R>) -> Result<RecordedEvent, DecodeError> {
    let array = decoder.head()?;
    let mut fields = decoder.array(array, "the list of an event's fields")?;
    if !fields.more(decoder)? {
        return Err(decoder.error("an event without a number"));
    }
    let number = match decoder.head()? {
        Header::Positive(number) => number,
        other => return Err(decoder.unexpected("an event number", other)),
    };
    if !fields.more(decoder)? {
        return Err(decoder.error("an event without streams"));
    }
    let map = decoder.head()?;
    let mut entries = decoder.map(map, "the map of an event's streams")?;
    let mut streams: Vec<RecordedStream> = Vec::new();
    while entries.more(decoder)? {
        let head = decoder.head()?;
        let name = decoder.text(head, "a stream's name")?;
        if streams.iter().any(|stream| stream.name == name) {
            return Err(decoder.error(format!("the stream {name:?} occurs twice in an event")));
        }
        let (typ, frames) = stream(decoder)?;
        streams.push(RecordedStream { name, typ, frames });
    }
    let created_at = if fields.more(decoder)? { Some(time(decoder)?) } else { None };
    if fields.more(decoder)? {
        return Err(decoder.error("an event has more than three fields"));
    }
    Ok(RecordedEvent { number, streams, created_at })
}

fn stream<R: Read>(decoder: &mut Decoder<R>) -> Result<(String, Vec<Vec<u8>>), DecodeError> {
    match decoder.head()? {
        Header::Tag(TAG_STREAM) => {}
        other => return Err(decoder.unexpected("a stream (tag 42878)", other)),
    }
    let array = decoder.head()?;
    let mut fields = decoder.array(array, "the list of a stream's fields")?;
    if !fields.more(decoder)? {
        return Err(decoder.error("a stream without a type"));
    }
    let head = decoder.head()?;
    let typ = decoder.text(head, "a stream's type")?;
    if !fields.more(decoder)? {
        return Err(decoder.error("a stream without frames"));
    }
    let head = decoder.head()?;
    let frames = byte_strings(decoder, head, "a frame")?;
    if fields.more(decoder)? {
        return Err(decoder.error("a stream has more than two fields"));
    }
    Ok((typ, frames))
}

fn byte_strings<R: Read>(
    decoder: &mut Decoder<R>,
    array: Header,
    what: &'static str,
) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut elements = decoder.array(array, "a list of byte strings")?;
    let mut strings = Vec::new();
    while elements.more(decoder)? {
        let head = decoder.head()?;
        strings.push(decoder.bytes(head, what)?);
    }
    Ok(strings)
}

/// Reads a time in either form, as text.
fn time<R: Read>(decoder: &mut Decoder<R>) -> Result<String, DecodeError> {
    match decoder.head()? {
        Header::Tag(TAG_TIME_TEXT) => {
            let head = decoder.head()?;
            decoder.text(head, "a time as text")
        }
        Header::Tag(TAG_TIME_EPOCH) => {
            let seconds = match decoder.head()? {
                Header::Positive(seconds) => seconds as f64,
                Header::Float(seconds) => seconds,
                other => return Err(decoder.unexpected("seconds since the epoch", other)),
            };
            let time = jiff::SignedDuration::try_from_secs_f64(seconds).ok();
            match time.and_then(|time| jiff::Timestamp::from_duration(time).ok()) {
                Some(time) => Ok(format!("{time:.6}")),
                None => Err(decoder.error(format!("{seconds} seconds since the epoch are no time"))),
            }
        }
        other => Err(decoder.unexpected("a time (tag 0 or 1)", other)),
    }
}

/// Maximum number of bytes in memory for one item. The largest messages of detectors have some 100 MB.
const ITEM_LIMIT: usize = 1 << 30;

#[cfg(test)]
mod tests;
