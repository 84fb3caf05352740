//! CURVE end to end: a detector on pyzmq with CURVE, a plugin file that is built with a libzmq that has it, and wrong keys.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use framegate_tests::{
    alone, framegate,
    host::{Host, LIMIT, write_configuration},
    process::{Process, free_port, text, wait_for},
    python,
};
use serde::Deserialize;

/// A PUSH socket with CURVE that sends two messages to a receiver that has the keys.
const DETECTOR: &str = r#"
import json, sys, time, zmq
assert zmq.has("curve")
(public, secret), (ours, our_secret) = zmq.curve_keypair(), zmq.curve_keypair()
socket = zmq.Context().socket(zmq.PUSH)
socket.curve_server, socket.curve_publickey, socket.curve_secretkey = True, public, secret
url = sys.argv[1]
if url:
    socket.connect(url)
else:
    url = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
keys = {"public": public.decode(), "other_public": ours.decode(), "our_secret": our_secret.decode()}
print(json.dumps({"url": url, **keys}), flush=True)
for message in sys.argv[2:]:
    socket.send_string(message)
time.sleep(600)
"#;

const MESSAGES: [&str; 2] = [
    r#"{"htype": "header", "filename": "/data/x.h5", "msg_number": 0}"#,
    r#"{"htype": "series_end", "msg_number": 1}"#,
];

#[derive(Deserialize)]
struct Told {
    url: String,
    public: String,
    /// A public key that is not the detector's.
    other_public: String,
    our_secret: String,
}

/// The detector connects to `url`, or binds if it is empty.
fn detector(folder: &Path, url: &str) -> (Process, Told) {
    let process =
        Process::start("detector", Command::new(python::python()).args(["-c", DETECTOR, url]).args(MESSAGES), folder);
    let told = wait_for("the detector", LIMIT, || {
        let output = process.output();
        serde_json::from_str(output.lines().next()?).ok()
    });
    (process, told)
}

/// Starts the host with a stream of `file` with these keys; returns the workers' address, too.
fn host(folder: &Path, file: &Path, told: &Told, (attach, public): (&str, &str)) -> (Host, String) {
    fs::write(folder.join("key"), format!("{}\n", told.our_secret)).unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let (path, admin) = write_configuration(folder, &configuration(&url, file, (&told.url, attach), "libzmq", public));
    let mut command = framegate::command();
    command.current_dir(folder).args(["run", "--config"]).arg(path);
    command.env("LD_LIBRARY_PATH", python::libzmq().parent().unwrap());
    (Host::with(&mut command, folder, admin), url)
}

fn configuration(url: &str, file: &Path, (upstream, attach): (&str, &str), transport: &str, public: &str) -> String {
    format!(
        "standalone.scans = 1\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = {file:?}\n\
         settings = {{ upstream_url = \"{upstream}\", attach = \"{attach}\", transport = \"{transport}\", curve_server_key = '{public}', \
         curve_secret_key_file = \"key\" }}\n"
    )
}

#[test]
fn events_come_over_curve_from_a_detector_on_pyzmq() {
    let ours = format!("tcp://127.0.0.1:{}", free_port());
    for (attach, detector_connects_to) in [("connect", ""), ("bind", &*ours)] {
        let file = alone::with_curve("stins");
        let folder = tempfile::tempdir().unwrap();
        let (_detector, told) = detector(folder.path(), detector_connects_to);
        let (mut host, url) = host(folder.path(), &file, &told, (attach, &told.public));
        let worker = host.worker("w1", &url);
        for message in MESSAGES {
            let got = worker.within(LIMIT).unwrap();
            assert_eq!(got.stream("camera").unwrap(), [message.as_bytes()], "{attach}");
        }
        assert!(host.wait(LIMIT).success(), "{}", host.log());
        assert!(!host.log().contains(&told.our_secret));
    }
}

#[test]
fn a_detector_with_another_key_is_told_and_nothing_comes_from_it() {
    let file = alone::with_curve("stins");
    let folder = tempfile::tempdir().unwrap();
    let (_detector, told) = detector(folder.path(), "");
    let (mut host, _) = host(folder.path(), &file, &told, ("connect", &told.other_public));
    let log =
        wait_for("the warning", LIMIT, || Some(host.log()).filter(|log| log.contains("the CURVE handshake fails")));
    assert!(log.contains("curve_server_key is not its public key"), "{log}");
    let status = host.get("/status").unwrap();
    for shown in [&log, &status] {
        assert!(!shown.contains(&told.our_secret), "{shown}");
    }
    host.wait_for("no connection", |ingester| ingester["streams"]["camera"]["connection"]["connected"] == false);
}

#[test]
fn a_file_without_curve_refuses_the_keys_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    fs::write(folder.path().join("key"), key).unwrap();
    let cases: [(PathBuf, &str, &str); 3] = [
        (framegate::plugin("stins"), "native", "the native transport has no CURVE; set transport = \"libzmq\""),
        (framegate::plugin("stins"), "libzmq", "this plugin file is built without libzmq"),
        (alone::with_libzmq("stins"), "libzmq", "the libzmq in this plugin file has no CURVE"),
    ];
    for (file, transport, says) in cases {
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let configuration = configuration(&url, &file, ("tcp://127.0.0.1:1", "connect"), transport, &key[1..]);
        let (path, _) = write_configuration(folder.path(), &configuration);
        let mut command = framegate::command();
        let output = command.current_dir(folder.path()).args(["run", "--config"]).arg(path).output().unwrap();
        let told = text(&output.stderr);
        assert!(!output.status.success(), "{told}");
        assert!(told.contains(says) && told.contains("docs/operate/libzmq.md"), "{told}");
        assert!(
            told.contains("curve_server_key: a key has 40 characters of Z85 and nothing else; this has 39"),
            "{told}"
        );
        assert!(!told.contains(&key[1..]), "{told}");
    }
}
