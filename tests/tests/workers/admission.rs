//! The addresses on which workers are served, and the workers that are allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use framegate_tests::{
    framegate,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    standalone::{House, Wish, configuration, is_end},
    worker::{LIMIT, Worker},
};
use uuid::Uuid;

use super::{count, of_worker};

fn port(house: &House) -> u16 {
    house.url.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn listens(address: IpAddr, port: u16) -> bool {
    TcpStream::connect(SocketAddr::new(address, port)).is_ok()
}

#[test]
fn by_default_all_addresses_are_bound_those_of_ipv6_too() {
    let mut house = House::new(&Wish::default());
    let port = port(&house);
    assert!(listens(Ipv4Addr::LOCALHOST.into(), port) && listens(Ipv4Addr::new(127, 0, 0, 2).into(), port));
    if TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_err() {
        return; // a machine without IPv6
    }
    let worker = connect_ipv6(port);
    house.wait_for_worker("six");
    house.detector.run([vec![6; 5000]]);
    assert_eq!(worker.recv_multipart(0).unwrap().len(), 2);
}

fn connect_ipv6(port: u16) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_ipv6(true).unwrap();
    socket.set_identity(b"six").unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(LIMIT.as_millis() as i32).unwrap();
    socket.connect(&format!("tcp://[::1]:{port}")).unwrap();
    socket.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
    socket
}

#[test]
fn with_bind_only_that_address_is_bound() {
    let mut house = House::new(&Wish { ingester: "bind = \"127.0.0.1\"", ..Wish::default() });
    let port = port(&house);
    assert!(listens(Ipv4Addr::LOCALHOST.into(), port));
    assert!(!listens(Ipv4Addr::new(127, 0, 0, 2).into(), port) && !listens(Ipv6Addr::LOCALHOST.into(), port));
    let worker = house.worker("w1");
    house.detector.run([vec![1; 5000]]);
    assert_eq!(worker.until(is_end).len(), 3);
}

#[test]
fn an_address_of_ipv6_may_be_the_one_that_is_bound() {
    if TcpStream::connect((Ipv6Addr::LOCALHOST, 1))
        .is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionRefused)
    {
        return; // a machine without IPv6
    }
    let mut house = House::new(&Wish { ingester: "bind = \"::1\"", ..Wish::default() });
    let port = port(&house);
    assert!(!listens(Ipv4Addr::LOCALHOST.into(), port));
    let worker = connect_ipv6(port);
    house.wait_for_worker("six");
    house.detector.run([vec![6; 5000]]);
    assert_eq!(worker.recv_multipart(0).unwrap().len(), 2);
}

#[test]
fn an_address_that_the_machine_does_not_have_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let file = folder.path().join("framegate.toml");
    let wish = Wish { ingester: "bind = \"203.0.113.7\"", ..Wish::default() };
    std::fs::write(&file, format!("admin = \"off\"\n{}", configuration(&url, "tcp://127.0.0.1:1", &wish))).unwrap();
    let output = framegate::command().args(["run", "--config"]).arg(file).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("of 203.0.113.7 cannot be bound: ") && told.contains("`bind` must be an address"), "{told}");
}

#[test]
fn workers_whose_names_are_not_allowed_get_nothing_and_are_told_of_once() {
    let mut house = House::new(&Wish { ingester: "workers = [\"daq-*\", \"w1\"]", ..Wish::default() });
    let stranger = Worker::connect("w10", &house.url);
    house.host.wait_for("several pings of the stranger", |ingester| {
        ingester["counters"]["pings_not_allowed"].as_u64() >= Some(3)
    });
    let allowed = [house.worker("w1"), house.worker("daq-7")];
    house.detector.run((0..6u8).map(|image| vec![image; 5000]));
    assert!(allowed.iter().map(|worker| worker.until(is_end).len()).sum::<usize>() == 6 + 4);
    let status = house.host.ingester().unwrap();
    assert_eq!(status["workers_not_allowed"], serde_json::json!(["w10"]));
    assert_eq!(status["workers"].as_array().unwrap().len(), 2);
    let log = house.host.log();
    assert_eq!(log.matches("w10").count(), 1, "{log}");
    assert!(log.contains("worker w10 is not served: `workers` does not allow its name, but it pings"), "{log}");
    assert!(stranger.within(std::time::Duration::ZERO).is_none());
}

/// As a drop-in, configured by the environment, with a real Redis; the controller keeps assigning events to the worker.
#[test]
fn a_worker_that_is_not_allowed_is_never_published_and_its_messages_are_counted() {
    use framegate_tests::{controller::Controller, detector::Detector};

    let (redis, folder, mut detector) = (RedisServer::start(), tempfile::tempdir().unwrap(), Detector::bind());
    let (port, admin) = (free_port(), free_port());
    let mut command = framegate::command();
    command.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", "camera", "-u", &detector.url]);
    command.env("SERVICE_REDIS_DSN", redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
    command.env("FRAMEGATE_WORKERS", "w1, daq-*").env("FRAMEGATE_BIND", "127.0.0.1");
    command.env("FRAMEGATE_ADMIN", format!("127.0.0.1:{admin}"));
    let _process = Process::start("framegate", &mut command, folder.path());
    let mut controller = Controller::new(&redis);
    controller.wait_state("camera-ingester", "anything", |_| true);
    assert!(!listens(Ipv4Addr::new(127, 0, 0, 2).into(), port));
    let url = format!("tcp://127.0.0.1:{port}");
    let (stranger, allowed) = (Worker::connect("x", &url), Worker::connect("w1", &url));
    let uuid = allowed.service_uuid().to_string();
    controller.scan("camera-ingester", &["camera"]);
    let to_both: &[(&str, &[&str])] = &[("camera", &["x", "w1"])];
    controller.assign(&[to_both; 4]);
    detector.run([vec![1; 5000], vec![2; 5000]]);
    assert_eq!(allowed.until(is_end).len(), 4);
    controller.finish_and_wait("camera-ingester");
    let state = controller.state("camera-ingester").unwrap();
    assert_eq!(state["connected_workers"].as_object().unwrap().keys().collect::<Vec<_>>(), [&uuid]);
    assert!(stranger.within(std::time::Duration::ZERO).is_none());
    let status: serde_json::Value = wait_for("the status", LIMIT, || {
        ureq::get(format!("http://127.0.0.1:{admin}/status")).call().ok()?.body_mut().read_json().ok()
    });
    let ingester = &status["ingesters"][0];
    assert_eq!(count(ingester, "messages_not_allowed"), 4);
    assert_eq!((&of_worker(ingester, "x")["sent"], &of_worker(ingester, "x")["dropped"]), (&0.into(), &4.into()));
}
