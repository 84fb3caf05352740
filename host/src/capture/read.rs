//! Reads capture files: dumps of events and captures of messages, plain or gzip.
//!
//! Runs on whatever thread calls it; owns the open file. Files come from anywhere, so it never panics, never allocates on
//! the word of a length alone, and holds at most one item of limited size. It does not nest: only the known shapes are
//! accepted, so there is no depth to exhaust.
//!
//! The bytes and heads of CBOR are read in [`decode`](super::decode).

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

use super::{
    Item, RecordedEvent, RecordedStream, TAG_EVENT, TAG_SELF_DESCRIBED, TAG_STREAM, TAG_TIME_EPOCH, TAG_TIME_TEXT,
    decode::{Bad, Decoder, Head},
};

/// A capture file that is being read: an iterator over its items, which ends after the first error.
pub(crate) struct Capture {
    path: PathBuf,
    decoder: Decoder<Box<dyn Read + Send>>,
    compressed: bool,
    /// Bytes of the file that were read, for progress.
    consumed: Arc<AtomicU64>,
    items: u64,
    failed: bool,
}

/// Why a capture file could not be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What stands there is no capture, or damaged.
    #[error("{}, byte {offset}{}: {what}; {items} whole items stand before it",
        path.display(), if *compressed { " (uncompressed)" } else { "" })]
    Item {
        /// The file.
        path: PathBuf,
        /// Where the fault is.
        offset: u64,
        /// Whether `offset` counts in what gzip unpacked.
        compressed: bool,
        /// What is wrong.
        what: String,
        /// Items that were read before.
        items: u64,
    },
}

impl Capture {
    /// Opens a file; gzip is recognised by its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let fail = |source| ReadError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut magic).map_err(fail)?;
        let compressed = magic == [0x1f, 0x8b];

        let consumed = Arc::new(AtomicU64::new(0));
        // A pipe cannot go back, so the first bytes are put before the rest.
        let whole = std::io::Cursor::new(magic).chain(file);
        let counted = BufReader::with_capacity(1 << 16, Counted { inner: whole, count: consumed.clone() });
        let bytes: Box<dyn Read + Send> =
            if compressed { Box::new(BufReader::new(MultiGzDecoder::new(counted))) } else { Box::new(counted) };
        let decoder = Decoder::new(bytes, ITEM_LIMIT);
        Ok(Self { path: path.to_owned(), decoder, compressed, consumed, items: 0, failed: false })
    }

    /// Bytes of the file that were read so far, before unpacking.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed) // only shown
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

/// One item, or none at the end of the file.
fn item<R: Read>(decoder: &mut Decoder<R>) -> Result<Option<Item>, Bad> {
    let Some(mut first) = decoder.first_head()? else { return Ok(None) };
    if first == Head::Tag(TAG_SELF_DESCRIBED) {
        first = decoder.head()?;
    }
    let item = match first {
        Head::Tag(TAG_EVENT) => Item::Event(event(decoder)?),
        Head::Array(_) => {
            let parts = byte_strings(decoder, first, "a message part")?;
            if parts.is_empty() {
                return Err(decoder.bad("expected the parts of a message, found an empty list"));
            }
            Item::Message(parts)
        }
        other => return Err(decoder.unexpected("an event (tag 42877) or the list of a message's parts", other)),
    };
    Ok(Some(item))
}

fn event<R: Read>(decoder: &mut Decoder<R>) -> Result<RecordedEvent, Bad> {
    let array = decoder.head()?;
    let mut fields = decoder.array(array, "the list of an event's fields")?;
    if !fields.more(decoder)? {
        return Err(decoder.bad("an event without a number"));
    }
    let number = match decoder.head()? {
        Head::Unsigned(number) => number,
        other => return Err(decoder.unexpected("an event number", other)),
    };
    if !fields.more(decoder)? {
        return Err(decoder.bad("an event without streams"));
    }
    let map = decoder.head()?;
    let mut entries = decoder.map(map, "the map of an event's streams")?;
    let mut streams: Vec<RecordedStream> = Vec::new();
    while entries.more(decoder)? {
        let head = decoder.head()?;
        let name = decoder.text(head, "a stream's name")?;
        if streams.iter().any(|stream| stream.name == name) {
            return Err(decoder.bad(format!("the stream {name:?} occurs twice in an event")));
        }
        let (typ, frames) = stream(decoder)?;
        streams.push(RecordedStream { name, typ, frames });
    }
    let created_at = if fields.more(decoder)? { Some(time(decoder)?) } else { None };
    if fields.more(decoder)? {
        return Err(decoder.bad("an event has more than three fields"));
    }
    Ok(RecordedEvent { number, streams, created_at })
}

fn stream<R: Read>(decoder: &mut Decoder<R>) -> Result<(String, Vec<Vec<u8>>), Bad> {
    match decoder.head()? {
        Head::Tag(TAG_STREAM) => {}
        other => return Err(decoder.unexpected("a stream (tag 42878)", other)),
    }
    let array = decoder.head()?;
    let mut fields = decoder.array(array, "the list of a stream's fields")?;
    if !fields.more(decoder)? {
        return Err(decoder.bad("a stream without a type"));
    }
    let head = decoder.head()?;
    let typ = decoder.text(head, "a stream's type")?;
    if !fields.more(decoder)? {
        return Err(decoder.bad("a stream without frames"));
    }
    let head = decoder.head()?;
    let frames = byte_strings(decoder, head, "a frame")?;
    if fields.more(decoder)? {
        return Err(decoder.bad("a stream has more than two fields"));
    }
    Ok((typ, frames))
}

fn byte_strings<R: Read>(decoder: &mut Decoder<R>, array: Head, what: &'static str) -> Result<Vec<Vec<u8>>, Bad> {
    let mut elements = decoder.array(array, "a list of byte strings")?;
    let mut strings = Vec::new();
    while elements.more(decoder)? {
        let head = decoder.head()?;
        strings.push(decoder.bytes(head, what)?);
    }
    Ok(strings)
}

/// A time in either form, as text.
fn time<R: Read>(decoder: &mut Decoder<R>) -> Result<String, Bad> {
    match decoder.head()? {
        Head::Tag(TAG_TIME_TEXT) => {
            let head = decoder.head()?;
            decoder.text(head, "a time as text")
        }
        Head::Tag(TAG_TIME_EPOCH) => {
            let seconds = match decoder.head()? {
                Head::Unsigned(seconds) => seconds as f64,
                Head::Float(seconds) => seconds,
                other => return Err(decoder.unexpected("seconds since the epoch", other)),
            };
            let time = jiff::SignedDuration::try_from_secs_f64(seconds).ok();
            match time.and_then(|time| jiff::Timestamp::from_duration(time).ok()) {
                Some(time) => Ok(format!("{time:.6}")),
                None => Err(decoder.bad(format!("{seconds} seconds since the epoch are no time"))),
            }
        }
        other => Err(decoder.unexpected("a time (tag 0 or 1)", other)),
    }
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Bytes of memory that one item may take. The largest messages of detectors are some 100 MB.
const ITEM_LIMIT: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::capture::write::{tests::written, write_message};

    fn read(bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
        let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
        file.write_all(bytes).unwrap();
        Capture::open(file.path())?.collect()
    }

    fn decoded(bytes: &[u8], limit: u64) -> Result<Option<Item>, Bad> {
        item(&mut Decoder::new(bytes, limit))
    }

    fn sample() -> (Vec<u8>, RecordedEvent) {
        let streams = vec![
            ("a".to_owned(), "STINS".to_owned(), vec![b"{}".to_vec(), vec![5; 1000]]),
            ("b".to_owned(), "xspress".to_owned(), vec![]),
        ];
        let bytes = written(7, &streams);
        let streams = streams.into_iter().map(|(name, typ, frames)| RecordedStream { name, typ, frames }).collect();
        (bytes, RecordedEvent { number: 7, streams, created_at: Some("2026-01-01T00:00:00.000000Z".into()) })
    }

    #[test]
    fn what_was_written_is_read_back_plain_and_gzipped() {
        let (mut bytes, event) = sample();
        write_message(&mut bytes, &[b"x".to_vec(), vec![]]).unwrap();
        let expected = vec![Item::Event(event), Item::Message(vec![b"x".to_vec(), vec![]])];
        assert_eq!(read(&bytes).unwrap(), expected);
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(&bytes).unwrap();
        assert_eq!(read(&gz.finish().unwrap()).unwrap(), expected);
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn old_dumps_and_all_forms_of_time_are_read() {
        // 42877([1, {"s": 42878(["T", []])}]) with no time, a text of 20 characters, seconds, and fractions of seconds.
        let start = b"\xd9\xa7\x7d\x82\x01\xa1\x61s\xd9\xa7\x7e\x82\x61T\x80".to_vec();
        let time = |tail: &[u8]| {
            let mut bytes = start.clone();
            bytes[3] = if tail.is_empty() { 0x82 } else { 0x83 };
            bytes.extend_from_slice(tail);
            match decoded(&bytes, 1000).unwrap() {
                Some(Item::Event(event)) => event.created_at,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(time(b""), None);
        assert_eq!(time(b"\xc0\x742026-01-01T00:00:00Z").unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(time(b"\xc1\x1a\x69\x55\xb9\x00").unwrap(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(time(b"\xc1\xfb\x41\xda\x55\x6e\x40\x20\x00\x00").unwrap(), "2026-01-01T00:00:00.500000Z");
        assert!(decoded(&[&start[..3], b"\x83", &start[4..], b"\xc1\xf9\x7c\x00"].concat(), 1000).is_err());
    }

    #[test]
    fn a_file_that_was_cut_off_gives_its_whole_items_and_then_says_where_it_ends() {
        let (whole, _) = sample();
        for cut in 1..whole.len() {
            let bytes = [&whole[..], &whole[..cut]].concat();
            let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
            file.write_all(&bytes).unwrap();
            let mut items = Capture::open(file.path()).unwrap();
            assert!(items.next().unwrap().is_ok());
            let error = items.next().unwrap().unwrap_err().to_string();
            assert!(error.contains(&file.path().display().to_string()), "{error}");
            assert!(error.contains(&format!("byte {}", bytes.len())), "cut at {cut}: {error}");
            assert!(error.contains("1 whole items"), "{error}");
            assert!(items.next().is_none());
        }
    }

    #[test]
    fn errors_say_what_stands_there() {
        for (bytes, what) in [
            (&b"\xa0"[..], "found a map"),
            (b"\x80", "empty list"),
            (b"\x81\x61a", "expected a message part as bytes, found text"),
            (b"\x81\x01", "found the number 1"),
            (b"\xd9\xa7\x7d\x81\x00", "without streams"),
            (b"\xd9\xa7\x7d\x82\x20\xa0", "expected an event number, found a negative number"),
            (b"\xd9\xd9\xf7\xd9\xd9\xf7\x80", "found tag 55799"),
            (b"\xff", "found a break"),
            (b"\x81\x1c", "no CBOR"),
            (b"\x81\xff", "found a break"),
            (b"\xd9\xa7\x7d\x82\x00\xa1\x61\xff", "UTF-8"),
        ] {
            let error = decoded(bytes, 1000).unwrap_err().to_string();
            assert!(error.contains(what), "{bytes:x?}: {error}");
        }
    }

    #[test]
    fn a_length_that_lies_costs_nothing_and_large_items_are_refused() {
        let error = decoded(b"\x81\x5b\xff\xff\xff\xff\xff\xff\xff\xff", 1000).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
        // A list that claims four billion parts, and one that brings more empty ones than fit.
        assert!(decoded(b"\x9a\xff\xff\xff\xff\x40", 1000).is_err());
        let many = [&b"\x9a\x00\x00\x10\x00"[..], &[0x40; 4096]].concat();
        assert!(decoded(&many, 1000).is_err());
        assert!(decoded(&many, 1 << 20).is_ok());
        let deep = vec![0x81; 1 << 20];
        assert!(decoded(&deep, 1 << 30).is_err());
    }

    #[test]
    fn lists_and_maps_without_a_length_are_read() {
        let bytes = b"\xd9\xa7\x7d\x9f\x01\xbf\x61s\xd9\xa7\x7e\x9f\x61T\x9f\x41x\xff\xff\xff\xff";
        let stream = RecordedStream { name: "s".into(), typ: "T".into(), frames: vec![b"x".to_vec()] };
        let event = RecordedEvent { number: 1, streams: vec![stream], created_at: None };
        assert_eq!(decoded(bytes, 1000).unwrap(), Some(Item::Event(event)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), event in any::<bool>()) {
            if event {
                bytes.splice(0..0, *b"\xd9\xa7\x7d\x83\x01");
            }
            let mut decoder = Decoder::new(&bytes[..], 1 << 20);
            while let Ok(Some(_)) = item(&mut decoder) {}
        }

        #[test]
        fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let (mut bytes, _) = sample();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let mut decoder = Decoder::new(&bytes[..], 1 << 20);
            while let Ok(Some(_)) = item(&mut decoder) {}
        }
    }

    /// The captures that come with the peer's sources.
    #[test]
    fn the_peers_captures_are_read() {
        let Some(folder) = std::env::var_os("FRAMEGATE_PEER_CAPTURES") else {
            println!("skipped: FRAMEGATE_PEER_CAPTURES names no folder");
            return;
        };
        for (name, count) in [
            ("albaem-dump.cbors", 6),
            ("contrast-dump.cbors", 26),
            ("dump_xrd.cbors", 11),
            ("eiger-small.cbors", 5),
            ("maui-02-continuous-3.cbor.gz", 9),
            ("pcap-zmq.cbors", 102),
            ("xspress3-multipart.cbors", 7),
        ] {
            let items: Result<Vec<_>, _> = Capture::open(&Path::new(&folder).join(name)).unwrap().collect();
            assert_eq!(items.unwrap().len(), count, "{name}");
        }
    }
}
