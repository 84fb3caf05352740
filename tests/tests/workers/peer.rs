//! Unrelated clients beside dranspose's real workers, which end themselves if anything published is wrong.

use framegate_tests::{
    detector::Detector,
    framegate,
    process::{Process, free_port, wait_for},
    python::{Dranspose, past_its_own_race},
    redis::RedisServer,
    worker::LIMIT,
};
use uuid::Uuid;

#[test]
fn pings_that_are_none_do_not_end_the_workers_of_dranspose() {
    past_its_own_race(send_pings_that_are_none);
}

fn send_pings_that_are_none() {
    let (redis, folder, mut detector) = (RedisServer::start(), tempfile::tempdir().unwrap(), Detector::bind());
    let peer = Dranspose::start(&redis.url(), &["w1", "w2"], folder.path());
    let (port, admin) = (free_port(), free_port());
    let mut command = framegate::command();
    command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", "camera", "-u", &detector.url]);
    command.env("SERVICE_REDIS_DSN", redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
    command.env("FRAMEGATE_ADMIN", format!("127.0.0.1:{admin}"));
    let _process = Process::start("framegate", &mut command, folder.path());
    peer.wait_for_stream("camera");

    // No v4 uuid, although the length is right; a v4 uuid from invalid names; an empty ping; no name.
    let v4 = Uuid::new_v4();
    let v7 = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    let junk: [(&[u8], &[u8]); 8] = [
        (b"s1", &[0; 16]),
        (b"s2", &[0xff; 16]),
        (b"s3", v7.as_bytes()),
        (b"a:b", v4.as_bytes()),
        (b"\xc3\xa9", v4.as_bytes()),
        (b"two\nlines", v4.as_bytes()),
        (b"s4", b""),
        (b"", v4.as_bytes()),
    ];
    let context = zmq::Context::new();
    let sockets: Vec<_> = junk
        .iter()
        .map(|(name, ping)| {
            let socket = context.socket(zmq::DEALER).unwrap();
            if !name.is_empty() {
                socket.set_identity(name).unwrap();
            }
            socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
            (0..3).for_each(|_| socket.send(*ping, 0).unwrap());
            socket
        })
        .collect();
    wait_for("the junk", LIMIT, || {
        let url = format!("http://127.0.0.1:{admin}/status");
        let status: serde_json::Value = ureq::get(url).call().ok()?.body_mut().read_json().ok()?;
        let counted = status["ingesters"][0]["counters"]["messages_invalid"].as_u64();
        (counted == Some(3 * junk.len() as u64)).then_some(())
    });
    // All workers have read the published state when they answer in a scan.
    let scan = peer.start_scan("camera", 6);
    peer.wait_for_workers(&scan);
    detector.run((0..6u8).map(|image| vec![image; 5000]));
    peer.wait_for_finish();
    assert_eq!(peer.received(&scan).len(), 6 + 2 * 2, "header and end to both, the images to one each");
    peer.wait_for_stream("camera");
    let config = peer.config().unwrap();
    assert_eq!(config["workers"].as_array().unwrap().len(), 2);
    assert_eq!(config["ingesters"][0]["connected_workers"].as_object().unwrap().len(), 2);
    drop(sockets);
}
