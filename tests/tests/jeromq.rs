//! Detectors and a worker on jeromq, ZeroMQ in Java. Debian's speaks ZMTP 2.0. `tests/run long` installs it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use framegate_tests::{
    framegate,
    host::{Host, LIMIT},
    process::free_port,
};

/// A program of `tests/peer/Jeromq.java`, ended when it is dropped.
struct Java {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Java {
    fn start(jar: &Path, arguments: [&str; 2]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/Jeromq.java");
        let mut java = Command::new("java");
        java.arg("-cp").arg(jar).arg(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = java.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, input, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap()
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn detectors_and_a_worker_on_jeromq_are_served() {
    let Some(jar) = std::env::var_os("FRAMEGATE_JEROMQ").map(PathBuf::from) else {
        return framegate_skip::skip("jeromq is for tests/run long");
    };
    for (kind, pattern) in [("push", "pull"), ("pub", "sub")] {
        let [upstream, url] = [(); 2].map(|()| format!("tcp://127.0.0.1:{}", free_port()));
        let mut detector = Java::start(&jar, [kind, &upstream]);
        assert_eq!(detector.line(), "bound");
        let folder = tempfile::tempdir().unwrap();
        let source = framegate::plugin("stins");
        let configuration = format!(
            "standalone = {{ scans = 1, min_workers = 1 }}\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\n\
             source = {source:?}\nsettings = {{ upstream_url = \"{upstream}\", pattern = \"{pattern}\", connect_wait = \"20 s\" }}\n"
        );
        let mut host = Host::start(folder.path(), &configuration);
        let worker = Java::start(&jar, ["worker", &url]);
        host.wait_for("the detector", |ingester| ingester["streams"]["camera"]["connection"]["connected"] == true);
        // The scan is ready when the subscription has had its time.
        host.wait_for("the scan", |ingester| !ingester["ready"].is_null());
        detector.input.write_all(b"\n").unwrap();
        let sizes = [(); 3].map(|()| worker.line());
        assert!(sizes[0].starts_with("parts: ") && sizes[1].ends_with(" 100000"), "{kind}: {sizes:?}");
        assert!(host.wait(LIMIT).success(), "{kind}: {}", host.log());
    }
}
