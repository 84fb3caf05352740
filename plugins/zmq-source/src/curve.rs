//! The settings of CURVE, which encrypts a connection of ZeroMQ and authenticates both sides: what is wrong with them,
//! and reading the file of our secret key.
//!
//! No error has any part of a key. A file system may hang, so the file is read on a separate thread, with a time limit.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::settings::ZmqSettings;

/// A key of Curve25519.
pub(crate) type Key = [u8; 32];

/// Whether the settings have any key.
pub(crate) fn is_wanted(settings: &ZmqSettings) -> bool {
    settings.curve_server_key.is_some() || settings.curve_secret_key_file.is_some()
}

/// All problems with the keys.
pub(crate) fn problems(settings: &ZmqSettings) -> Vec<String> {
    let mut problems = Vec::new();
    match &settings.curve_server_key {
        Some(key) => problems.extend(server_key(key).err()),
        None if is_wanted(settings) => {
            problems.push("curve_server_key is missing: CURVE needs the detector's public key".to_owned());
        }
        None => {}
    }
    match &settings.curve_secret_key_file {
        Some(file) => problems.extend(secret_key(file).err()),
        None if is_wanted(settings) => {
            problems.push("curve_secret_key_file is missing: CURVE needs a file with our own secret key".to_owned());
        }
        None => {}
    }
    problems
}

/// The key in `curve_server_key`.
pub(crate) fn server_key(text: &str) -> Result<Key, String> {
    decode(text).map_err(|problem| format!("curve_server_key: {problem}"))
}

/// The key in the file `curve_secret_key_file`. Editors and `echo` add a line break, which is not part of it.
pub(crate) fn secret_key(file: &Path) -> Result<Key, String> {
    let about = |problem: String| format!("curve_secret_key_file: {}: {problem}", file.display());
    let content = content(file).map_err(about)?;
    let text = str::from_utf8(&content).map_err(|_| about("it is not text".to_owned()))?;
    decode(text.trim_end()).map_err(about)
}

/// Decodes Z85 (ZeroMQ's RFC 32): five characters for four bytes.
fn decode(text: &str) -> Result<Key, String> {
    let mut key = Key::default();
    let length = text.chars().count();
    if length != LENGTH {
        return Err(format!("a key has {LENGTH} characters of Z85 and nothing else; this has {length}"));
    }
    let digit = |character: u8| ALPHABET.iter().position(|digit| *digit == character);
    for (from, to) in text.as_bytes().chunks(5).zip(key.chunks_exact_mut(4)) {
        let mut value = 0_u64;
        for character in from {
            let digit = digit(*character).ok_or("a key has characters of Z85 only; this has another one")?;
            value = value * 85 + digit as u64;
        }
        let value =
            u32::try_from(value).map_err(|_| "these characters of Z85 are not a key; was it copied completely?")?;
        to.copy_from_slice(&value.to_be_bytes());
    }
    Ok(key)
}

/// The bytes of a file.
fn content(file: &Path) -> Result<Vec<u8>, String> {
    if READERS.fetch_add(1, Ordering::Relaxed) >= MOST_READERS {
        READERS.fetch_sub(1, Ordering::Relaxed);
        return Err(format!("{MOST_READERS} reads of key files have not returned; does a file system hang?"));
    }
    let (tell, told) = mpsc::channel();
    let path = file.to_owned();
    let thread = thread::Builder::new().name("curve-key".to_owned()).spawn(move || {
        let _ = tell.send(read(&path));
        READERS.fetch_sub(1, Ordering::Relaxed);
    });
    if let Err(problem) = thread {
        READERS.fetch_sub(1, Ordering::Relaxed);
        return Err(format!("no thread to read it: {problem}"));
    }
    let hangs = || Err(format!("reading it does not return within {LIMIT:?}; does its file system hang?"));
    told.recv_timeout(LIMIT).unwrap_or_else(|_| hangs())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let bytes = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
    match bytes {
        Err(problem) => Err(problem.to_string()),
        Ok(bytes) if bytes as u64 > LARGEST => {
            Err(format!("it has more than {LARGEST} bytes; it must hold the key alone"))
        }
        Ok(_) => Ok(content),
    }
}

/// Characters of a key.
const LENGTH: usize = 40;

const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Time limit for reading, as for the files of Redis.
const LIMIT: Duration = Duration::from_secs(2);

/// A key with line breaks; more is another file.
const LARGEST: u64 = 256;

/// Threads that read a file. Each stream reads its own when a scan starts.
static READERS: AtomicUsize = AtomicUsize::new(0);
const MOST_READERS: usize = 64;

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;
    use crate::{settings::Transport, transport};

    // From zmq_curve(7).
    const PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

    fn settings(server: Option<&str>, file: Option<PathBuf>) -> ZmqSettings {
        let mut settings: ZmqSettings = serde_json::from_str(r#"{"upstream_url": "tcp://h:1"}"#).unwrap();
        settings.curve_server_key = server.map(str::to_owned);
        settings.curve_secret_key_file = file;
        settings
    }

    #[test]
    fn a_key_file_may_end_with_line_breaks() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for end in ["", "\n", "\r\n", " \n\n"] {
            fs::write(&file, format!("{SECRET}{end}")).unwrap();
            assert!(problems(&settings(Some(PUBLIC), Some(file.clone()))).is_empty());
            assert_eq!(secret_key(&file).unwrap(), server_key(SECRET).unwrap());
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_no_error_has_a_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let (short, long) = (&SECRET[1..], format!("{SECRET}{SECRET}"));
        let (other, too_large) = (SECRET.replace('D', "~"), SECRET.replace("D:)Q[", "#####"));
        let certificate = format!("metadata\ncurve\n    public-key = \"{PUBLIC}\"\n    secret-key = \"{SECRET}\"\n");
        for (content, says) in [
            ("", "this has 0"),
            (short, "this has 39"),
            (&long, "this has 80"),
            (&other, "another one"),
            (&too_large, "not a key"),
            (&certificate, "nothing else"),
            (&long.repeat(9), "more than 256 bytes"),
        ] {
            fs::write(&file, content).unwrap();
            let error = secret_key(&file).unwrap_err();
            assert!(error.starts_with("curve_secret_key_file: /") && error.contains(says), "{error}");
            assert!(!error.contains(&SECRET[5..15]), "{error}");
            if content.len() < 100 {
                let error = server_key(content).unwrap_err();
                assert!(error.starts_with("curve_server_key: ") && error.contains(says), "{error}");
            }
        }
        fs::write(&file, [0xff; 40]).unwrap();
        assert!(secret_key(&file).unwrap_err().contains("not text"));
        assert!(secret_key(folder.path()).unwrap_err().contains("directory"));
        assert!(secret_key(&folder.path().join("none")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_key_file_whose_file_system_hangs_is_an_error_after_two_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let error = secret_key(&pipe).unwrap_err();
        assert!(error.contains("does not return within 2s"), "{error}");
        // Ends the thread.
        File::options().write(true).open(&pipe).unwrap();
    }

    #[test]
    fn all_problems_with_the_keys_are_told_at_once() {
        let mut settings = settings(Some("too short"), Some("/none/key".into()));
        let told = transport::problems(&settings).join("; ");
        for says in ["curve_server_key: ", "curve_secret_key_file: /none/key: No such file", "transport = \"libzmq\""] {
            assert!(told.contains(says), "{says}: {told}");
        }
        settings.curve_server_key = None;
        settings.transport = Transport::Libzmq;
        let told = transport::problems(&settings).join("; ");
        for says in ["curve_server_key is missing", "curve_secret_key_file: /none/key: No such file"] {
            assert!(told.contains(says), "{says}: {told}");
        }
        settings.curve_server_key = Some(PUBLIC.to_owned());
        settings.curve_secret_key_file = None;
        assert!(transport::problems(&settings).join("; ").contains("curve_secret_key_file is missing"));
    }
}
