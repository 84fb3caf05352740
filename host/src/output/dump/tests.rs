use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        mpsc::{Receiver, channel},
    },
};

use framegate_plugin_api::{EventKind, Frame};
use nix::sys::stat::Mode;
use uuid::Uuid;

use super::*;
use crate::event::Event;
use crate::{
    budget::{Account, COPY_BELOW},
    capture::{Capture, Item},
    ingester::message::{AssembledEvent, Messages},
    names::StreamName,
};

const LIMIT: Duration = Duration::from_secs(20);

fn start(limit_bytes: u64, when_full: CaptureWhenFull) -> (Dump, Receiver<()>) {
    let (ring, rung) = channel();
    let ring = Mutex::new(ring);
    let ring = Arc::new(move || _ = ring.lock().unwrap().send(()));
    (Dump::with(DumpSettings { limit_bytes, when_full, root: None }, ring).unwrap(), rung)
}

/// The outcome of an event under a policy.
#[derive(Debug, PartialEq, Eq)]
enum Wrote {
    Queued,
    Skipped,
    /// It must wait, and be offered again after the ring.
    Full,
}

fn assembled(number: u64, bytes: usize) -> AssembledEvent {
    let frames = [Frame::from_static(b"{}"), Frame::from_vec(vec![number as u8; bytes])];
    let event = Event { typ: "STINS", kind: EventKind::Data, frames: frames.into_iter().collect() };
    Messages::new().assemble([event].into_iter(), &Account::new(0, || ()))
}

fn write_assembled(dump: &mut Dump, number: u64, assembled: &AssembledEvent) -> Wrote {
    if dump.holds_back() {
        return Wrote::Full;
    }
    let name = StreamName::new("eiger").unwrap();
    let streams = [&name].into_iter().collect();
    let event = PairedEvent { number, created_at: "2026-01-01T00:00:00.000000Z", streams, assembled };
    if dump.write(&event) { Wrote::Queued } else { Wrote::Skipped }
}

fn write(dump: &mut Dump, number: u64, bytes: usize) -> Wrote {
    write_assembled(dump, number, &assembled(number, bytes))
}

fn scan() -> ScanId {
    ScanId(Uuid::new_v4())
}

fn close(dump: &mut Dump, rung: &Receiver<()>) -> CaptureReport {
    let scan = scan();
    dump.close(scan);
    while dump.closed() != Some(scan) {
        rung.recv_timeout(LIMIT).unwrap();
    }
    assert_eq!(dump.waiting_bytes(), 0);
    dump.report().unwrap()
}

fn numbers(path: &Path) -> Vec<u64> {
    let number = |item| match item {
        Ok(Item::Event(event)) => event.number,
        other => panic!("{other:?}"),
    };
    Capture::open(path).unwrap().map(number).collect()
}

/// Offers events until one is not queued; returns its number and its outcome.
fn fill(dump: &mut Dump, bytes: usize) -> (u64, Wrote) {
    for number in 0.. {
        match write(dump, number, bytes) {
            Wrote::Queued => {}
            other => return (number, other),
        }
    }
    unreachable!("numbers do not end")
}

fn fifo(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("slow.cbors");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

/// Reads the FIFO to its end on a thread.
fn drain(path: &Path) -> thread::JoinHandle<Vec<u8>> {
    let path = path.to_owned();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    })
}

#[test]
fn events_of_all_sizes_stand_in_the_file_in_order_and_a_file_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.cbors");
    let (mut dump, rung) = start(1 << 30, CaptureWhenFull::Thin);
    for offset in [0, 100] {
        dump.open(path.clone());
        assert!(dump.is_open());
        for number in 0..100 {
            let bytes = [0, 10, COPY_BELOW - 1, COPY_BELOW, 30_000, 300_000][number as usize % 6];
            assert_eq!(write(&mut dump, offset + number, bytes), Wrote::Queued);
        }
        let report = close(&mut dump, &rung);
        assert_eq!((report.written, report.not_written, report.fault), (100, 0, None));
    }
    assert_eq!(numbers(&path), (0..200).collect::<Vec<_>>());
    assert_eq!(write(&mut dump, 0, 1), Wrote::Skipped);
}

#[test]
fn a_new_capture_ends_the_old_one_and_frames_are_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dump, rung) = start(1 << 30, CaptureWhenFull::Thin);
    let shared = assembled(1, 500_000);
    dump.open(folder.path().join("a"));
    assert_eq!(write_assembled(&mut dump, 1, &shared), Wrote::Queued);
    dump.open(folder.path().join("b"));
    assert_eq!(write_assembled(&mut dump, 1, &shared), Wrote::Queued);
    let report = close(&mut dump, &rung);
    assert_eq!(report.path, folder.path().join("b").display().to_string());
    assert_eq!(numbers(&folder.path().join("a")), [1]);
    assert_eq!(numbers(&folder.path().join("b")), [1]);
    assert_eq!(shared.large_event().unwrap().owners(), 1);
}

#[test]
fn what_waits_is_written_at_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let (mut dump, _) = start(1 << 30, CaptureWhenFull::Thin);
    dump.open(path.clone());
    for number in 0..50 {
        assert_eq!(write(&mut dump, number, 100), Wrote::Queued);
    }
    dump.join(Instant::now() + LIMIT);
    assert_eq!(numbers(&path).len(), 50);
}

#[test]
fn a_full_disk_ends_the_capture_and_everything_after_is_counted() {
    let (mut dump, rung) = start(1 << 30, CaptureWhenFull::Block);
    dump.open("/dev/full".into());
    for number in 0..20 {
        let _ = write(&mut dump, number, 10_000);
    }
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written), (0, 20));
    assert!(report.fault.unwrap().contains("No space left"));
}

#[test]
fn a_path_that_cannot_be_opened_is_a_fault_and_not_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dump, rung) = start(1 << 30, CaptureWhenFull::Thin);
    dump.open(folder.path().join("missing/a.cbors"));
    let _ = write(&mut dump, 0, 10);
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written), (0, 1));
    assert!(report.fault.unwrap().contains("cannot be opened"));
    dump.open(folder.path().join("a.cbors"));
    assert_eq!(write(&mut dump, 0, 10), Wrote::Queued);
    assert_eq!(close(&mut dump, &rung).written, 1);
}

/// Runs itself again in a process with a file size limit of 200 KiB.
#[test]
fn a_disk_that_fails_within_an_event_leaves_only_whole_events() {
    const CHILD: &str = "FRAMEGATE_TEST_FILE_LIMIT";
    if std::env::var_os(CHILD).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "output::dump::tests::a_disk_that_fails_within_an_event_leaves_only_whole_events";
        let script = "trap '' XFSZ; ulimit -f 400; exec \"$0\" --exact \"$1\" --nocapture";
        let mut child = Command::new("sh");
        child.args(["-c", script]).arg(this).arg(name).env(CHILD, "1").process_group(0);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    for bytes in [100, 30_000, 150_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cbors");
        let (mut dump, rung) = start(1 << 30, CaptureWhenFull::Thin);
        dump.open(path.clone());
        for number in 0..4000 {
            let _ = write(&mut dump, number, bytes);
        }
        let report = close(&mut dump, &rung);
        assert!(report.fault.unwrap().contains("too large"));
        assert!(report.written > 0);
        assert_eq!(report.written + report.not_written, 4000);
        assert_eq!(numbers(&path), (0..report.written).collect::<Vec<_>>());
    }
}

#[test]
fn a_slow_disk_thins_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let (mut dump, rung) = start(300_000, CaptureWhenFull::Thin);
    dump.open(path.clone());
    // Larger than the limit, but the only one.
    assert_eq!(write(&mut dump, 0, 1_000_000), Wrote::Queued);
    assert_eq!(write(&mut dump, 1, 10), Wrote::Skipped);
    let reader = drain(&path);
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written, report.fault), (1, 1, None));
    reader.join().unwrap();
}

#[test]
fn a_slow_disk_closes_the_capture_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let (mut dump, rung) = start(300_000, CaptureWhenFull::Close);
    dump.open(path.clone());
    let (queued, what) = fill(&mut dump, 20_000);
    assert_eq!(what, Wrote::Skipped);
    let reader = drain(&path);
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written), (queued, 1));
    assert!(report.fault.unwrap().contains("too slow"));
    reader.join().unwrap();
}

#[test]
fn a_slow_disk_holds_back_when_asked_to_and_rings_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let (mut dump, rung) = start(300_000, CaptureWhenFull::Block);
    dump.open(path.clone());
    let (mut next, what) = fill(&mut dump, 20_000);
    assert_eq!(what, Wrote::Full);
    assert!(rung.try_recv().is_err());
    let reader = drain(&path);
    while next < 200 {
        match write(&mut dump, next, 20_000) {
            Wrote::Queued => next += 1,
            Wrote::Full => rung.recv_timeout(LIMIT).unwrap(),
            Wrote::Skipped => panic!("nothing is skipped"),
        }
        assert!(dump.waiting_bytes() < 300_000 + 20_000 + 1000);
    }
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written, report.fault), (200, 0, None));
    let bytes = reader.join().unwrap();
    std::fs::write(folder.path().join("copy"), bytes).unwrap();
    assert_eq!(numbers(&folder.path().join("copy")), (0..200).collect::<Vec<_>>());
}

#[test]
fn whatever_the_limit_one_event_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.cbors");
    let (mut dump, rung) = start(0, CaptureWhenFull::Block);
    dump.open(path.clone());
    for number in 0..5 {
        while write(&mut dump, number, 100) == Wrote::Full {
            rung.recv_timeout(LIMIT).unwrap();
        }
    }
    assert_eq!(close(&mut dump, &rung).written, 5);
    assert_eq!(numbers(&path), [0, 1, 2, 3, 4]);
}

#[test]
fn a_hanging_disk_delays_the_end_of_the_process_by_its_limit_only() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dump, _) = start(1 << 20, CaptureWhenFull::Block);
    dump.open(fifo(&folder)); // nobody reads it: opening it hangs
    assert_eq!(write(&mut dump, 0, 10), Wrote::Queued);
    dump.close(scan());
    assert_eq!(dump.closed(), None);
    dump.join(Instant::now() + Duration::from_millis(10));
}

#[test]
fn a_panic_of_the_capture_thread_ends_the_capture_only_also_while_forwarding_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo(&folder);
    let (mut dump, rung) = start(300_000, CaptureWhenFull::Block);
    dump.open(path.clone());
    assert_eq!(write(&mut dump, 0, 10), Wrote::Queued);
    dump.flush();
    dump.order(CaptureOrder::Panic);
    let (events, what) = fill(&mut dump, 20_000);
    assert_eq!(what, Wrote::Full);
    // The disk takes the first event, then the thread panics. No order follows.
    let reader = drain(&path);
    while dump.holds_back() {
        rung.recv_timeout(LIMIT).expect("it rings, so that the forwarder looks again");
    }
    reader.join().unwrap();
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.not_written), (1, events));
    assert!(report.fault.unwrap().contains("panicked"));
    // The next capture works normally.
    let path = folder.path().join("next.cbors");
    dump.open(path.clone());
    assert_eq!(write(&mut dump, 3, 5000), Wrote::Queued);
    let report = close(&mut dump, &rung);
    assert_eq!((report.written, report.fault), (1, None));
    assert_eq!(numbers(&path), [3]);
}

#[test]
fn a_second_close_for_the_same_scan_waits_for_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dump, rung) = start(1 << 20, CaptureWhenFull::Thin);
    let scan = scan();
    dump.close(scan);
    rung.recv_timeout(LIMIT).unwrap();
    assert_eq!(dump.closed(), Some(scan));
    let path = fifo(&folder);
    dump.open(path.clone());
    dump.close(scan);
    let closes = dump.closes;
    assert!(dump.closing.is_some_and(|(_, which)| which == closes));
    assert_eq!(dump.shared.closed.load(Ordering::Acquire), closes - 1);
    drain(&path).join().unwrap();
    rung.recv_timeout(LIMIT).unwrap();
    assert_eq!(dump.closed(), Some(scan));
}
