//! The end of a real program, as those see it who still look for it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    framegate,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
};

const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "dranspose:ingester:camera-ingester:config";

/// A Python worker that pings an address at which nobody listens any more cannot end itself: libzmq keeps its ping for ever.
#[test]
fn whoever_reads_a_published_address_finds_somebody_there() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = framegate::command();
    command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", "camera"]);
    command.args(["-u", &format!("tcp://127.0.0.1:{}", free_port())]);
    command.env("SERVICE_REDIS_DSN", redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
    let mut process = Process::start("framegate", &mut command, folder.path());
    let mut connection = redis.connect();
    let mut is_published = || redis::cmd("EXISTS").arg(KEY).query::<bool>(&mut connection).unwrap();
    wait_for("the ingester to be published", LIMIT, || is_published().then_some(()));

    let stopping = thread::spawn(move || process.stop(LIMIT));
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
    }
    assert!(!is_published(), "nobody listens at the published address");
    assert!(stopping.join().unwrap().success());
}
