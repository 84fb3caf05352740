//! A source as a program in another language (`command`): the example in C, which uses nothing of framegate, gives every
//! byte through the real program, whatever the size of its events and the speed of the worker.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use framegate_tests::{
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    worker::{Message, Worker},
};
use serde_json::Value;
use tempfile::TempDir;

/// The example as a program, in a folder. Warnings of the compiler are errors.
fn example(folder: &Path) -> PathBuf {
    let program = folder.join("counter");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/template-command/counter.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror"]).arg(source).arg("-o").arg(&program);
    assert!(compiler.status().unwrap().success(), "the example does not compile");
    program
}

/// The configuration: the example as the only stream, with more lines for the stream and for its settings.
fn configuration(program: &Path, url: &str, scans: u32, stream: &str, settings: &str) -> String {
    format!(
        "source_timeout = \"20 s\"\n[standalone]\nscans = {scans}\n[[ingester]]\nurl = \"{url}\"\n\
         [[ingester.stream]]\nname = \"numbers\"\ncommand = [{program:?}]\n{stream}\n[ingester.stream.settings]\n{settings}\n",
    )
}

/// Framegate with the example.
struct Counting {
    host: Host,
    url: String,
    program: PathBuf,
    events: u64,
    bytes: usize,
    _folder: TempDir,
}

impl Counting {
    fn start(scans: u32, stream: &str, events: u64, bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = example(folder.path());
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let settings = format!("events = {events}\nbytes = {bytes}");
        let host = Host::start(folder.path(), &configuration(&program, &url, scans, stream, &settings));
        Self { host, url, program, events, bytes, _folder: folder }
    }

    /// The worker gets each event of a scan once and in order, with each of its bytes.
    fn gives_every_byte(&self, worker: &Worker) {
        let mut first = None;
        for number in 0..self.events {
            let message = worker.next();
            assert_eq!(message.number(), *first.get_or_insert(message.number()) + number);
            self.is_event(number, &message);
        }
    }

    /// Event n has the byte n + i at each place i, modulo 256, and n itself in the first 8 bytes.
    fn is_event(&self, number: u64, message: &Message) {
        assert_eq!(message.header()["streams"]["numbers"]["typ"], "counter", "{}", message.header());
        let frames = message.stream("numbers").unwrap();
        assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [self.bytes], "event {number}");
        let mut expected: Vec<u8> = (0..self.bytes as u64).map(|place| (number + place) as u8).collect();
        expected[..8].copy_from_slice(&number.to_le_bytes());
        let wrong = frames[0].iter().zip(&expected).position(|(given, expected)| given != expected);
        assert_eq!(wrong, None, "the first wrong byte of event {number}");
    }

    /// The only source, as status has it; `None` while framegate starts.
    fn source(&self) -> Option<Value> {
        Some(self.host.status().ok()?["sources"][0].take())
    }

    /// After the last scan framegate ends with nothing to complain about, and nothing else came.
    fn ends(mut self, worker: &Worker) {
        assert!(self.host.wait(LIMIT).success());
        assert_eq!(worker.within(LIMIT), None);
        let log = self.host.log();
        assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn small_events_arrive_with_every_byte_in_each_scan() {
    let counting = Counting::start(3, "", 2000, 64);
    let worker = counting.host.worker("w1", &counting.url).pinging_once();
    for _ in 0..3 {
        counting.gives_every_byte(&worker);
    }
    counting.ends(&worker);
}

#[test]
fn events_of_some_blocks_arrive_with_every_byte() {
    let counting = Counting::start(1, "", 300, 100_000);
    let worker = counting.host.worker("w1", &counting.url).pinging_once();
    counting.gives_every_byte(&worker);
    counting.ends(&worker);
}

#[test]
fn events_larger_than_the_memory_at_the_start_arrive_with_every_byte() {
    let counting = Counting::start(1, "", 3, 20_000_000);
    let worker = counting.host.worker("w1", &counting.url).pinging_once();
    counting.gives_every_byte(&worker);
    counting.ends(&worker);
}

#[test]
fn a_program_waits_for_a_slow_worker_within_its_shared_memory() {
    let counting = Counting::start(1, "isolate = { shared_memory = \"16 MiB\" }", 20, 3_000_000);
    let worker = counting.host.stalled_worker("w1", &counting.url).pinging_once();
    let held = || {
        let process = counting.source()?["process"].take();
        Some((process["frames_given"].as_u64()?, process["frames_returned"].as_u64()?))
    };
    // 16 MiB are room for 5 events of 3 MB.
    let (given, _) = wait_for("the shared memory to be full", LIMIT, || held().filter(|held| held.0 - held.1 == 5));
    assert!(given < 20, "the program waits: it has given {given} events");
    worker.read(true);
    counting.gives_every_byte(&worker);
    counting.ends(&worker);
}

#[test]
fn status_names_the_program_and_its_process() {
    let counting = Counting::start(1, "", 1, 64);
    let source =
        wait_for("its process", LIMIT, || counting.source().filter(|source| source["process"]["started"] == 1));
    let program = counting.program.display().to_string();
    assert_eq!(source["source"], format!("counter ({program})"), "{source:#}");
    assert_eq!(source["identity"]["name"], "counter", "{source:#}");
    assert_eq!(source["identity"]["file"], program, "{source:#}");
    let pid = &source["process"]["pid"];
    let runs = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(runs, counting.program.canonicalize().unwrap(), "process {pid} is the program itself");
    let worker = counting.host.worker("w1", &counting.url).pinging_once();
    counting.gives_every_byte(&worker);
    counting.ends(&worker);
}

#[test]
fn settings_that_the_program_refuses_end_the_start_with_its_own_message() {
    let folder = tempfile::tempdir().unwrap();
    let program = example(folder.path());
    let config = folder.path().join("framegate.toml");
    let too_large = "settings.bytes: expected a whole number from 0, at most the size of shared_memory";
    for (settings, says) in [
        ("events = \"many\"", "settings.events: expected a whole number from 0"),
        ("events = -1", "settings.events: expected a whole number from 0"),
        ("bytes = 1.5", too_large),
        ("bytes = 16_777_217", too_large),
    ] {
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let limit = "isolate = { shared_memory = \"16 MiB\" }";
        fs::write(&config, format!("admin = \"off\"\n{}", configuration(&program, &url, 1, limit, settings))).unwrap();
        let output = framegate::command().args(["run", "--config"]).arg(&config).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{settings}: {text}");
        assert!(text.contains(says) && text.contains("numbers") && text.contains("counter"), "{settings}: {text}");
    }
}

/// It has failed, and says why in one line.
fn has_failed(case: &str, says: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code != 0), "{case}: {}: {text}", output.status);
    assert!(text.contains(says) && text.lines().count() == 1 && !text.contains("panicked"), "{case}: {text}");
}

#[test]
fn a_program_without_a_host_says_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let program = example(folder.path());
    let serve = |program: &Path| {
        let mut command = framegate::command();
        command.args(["plugin", "serve", "--"]).arg(program);
        command
    };
    let says = "there is no host at standard input";
    has_failed("/dev/null", says, &serve(&program).stdin(Stdio::null()).output().unwrap());
    has_failed("closed", says, &framegate::after("exec <&-", &serve(&program)).output().unwrap());
    let socket = || UnixStream::pair().unwrap();
    let (end, other_end) = socket();
    drop(other_end);
    let ended = serve(&program).stdin(OwnedFd::from(end)).output().unwrap();
    has_failed("a host that has ended", "the host has sent no welcome", &ended);
    let (end, _other_end) = socket();
    let missing = serve(&folder.path().join("missing")).stdin(OwnedFd::from(end)).output().unwrap();
    has_failed("no program", "missing cannot be started", &missing);
    let by_hand = Command::new(&program).env_remove("FRAMEGATE_SOCKET").output().unwrap();
    has_failed("by hand", "framegate starts this program: see README.md", &by_hand);
}
