//! Sardana with the real command, as a beamline starts it: `framegate http_ingester` with dranspose's arguments, and
//! the plugin loaded from its file.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use framegate_tests::{
    controller::Controller,
    framegate,
    host::{Host, LIMIT},
    process::{Process, free_port},
    redis::RedisServer,
};
use tempfile::tempdir;

fn http_ingester(redis: &str, port: u16) -> Command {
    let mut command = framegate::command();
    let app = "dranspose.ingesters.http_sardana:app";
    command.args(["http_ingester", "-c", app, "--host", "127.0.0.1", "-p", &port.to_string(), "-n", "sardana"]);
    command.env("SERVICE_REDIS_DSN", redis);
    command
}

#[test]
fn without_a_host_it_listens_on_all_addresses_of_ipv4_and_ipv6_as_dranspose_does() {
    let (folder, redis, port) = (tempdir().unwrap(), RedisServer::start(), free_port());
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = framegate::command();
    let app = "dranspose.ingesters.http_sardana:app";
    command.args(["http_ingester", "-c", app, "-p", &port.to_string(), "-n", "sardana"]);
    command.env("SERVICE_REDIS_DSN", redis.url()).env("FRAMEGATE_ADMIN", admin.to_string());
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port()));
    let mut host = Host::with(&mut command, folder.path(), admin);
    host.wait_for("its start", |ingester| ingester["streams"]["sardana"].is_object());
    for address in [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"), format!("[::1]:{port}")] {
        let mut connection = TcpStream::connect(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert_eq!(post(&mut connection, "record_end", "{}"), "200", "{address}");
    }
    assert!(host.stop(LIMIT).success());
}

/// Posts over a connection; returns the status.
fn post(connection: &mut TcpStream, path: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("POST /v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    write!(connection, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = BufReader::new(connection);
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    answer.read_line(&mut status).unwrap();
    while line != "\r\n" {
        line.clear();
        answer.read_line(&mut line).unwrap();
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = number.trim().parse().unwrap();
        }
    }
    answer.read_exact(&mut vec![0; length]).unwrap();
    status.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn the_port_is_bound_from_start_to_end_and_what_comes_between_scans_is_answered_and_counted() {
    let (folder, redis, port) = (tempdir().unwrap(), RedisServer::start(), free_port());
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = http_ingester(&redis.url(), port);
    command.env("INGESTER_URL", &url).env("FRAMEGATE_ADMIN", admin.to_string());
    let mut host = Host::with(&mut command, folder.path(), admin);
    host.wait_for("its start", |ingester| ingester["streams"]["sardana"].is_object());

    // There was no scan yet; this connection stays open through all scans.
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    let description = r#"{"serialno": 1, "scandir": "/data", "title": "ascan"}"#;
    assert_eq!(post(&mut connection, "data_desc", description), "200");

    let name = "sardana-ingester";
    let mut controller = Controller::new(&redis);
    let worker = host.worker("w1", &url);
    let uuid = worker.service_uuid().to_string();
    controller.wait_state(name, "the worker", |state| state["connected_workers"][&uuid].is_object());
    for scan in 0..2 {
        controller.scan(name, &["sardana"]);
        let one: &[(&str, &[&str])] = &[("sardana", &["w1"])];
        controller.assign(&[one; 3]);
        let record = format!(r#"{{"timestamp": {scan}}}"#);
        for (path, body) in [("data_desc", description), ("record_data", record.as_str()), ("record_end", "{}")] {
            assert_eq!(post(&mut connection, path, body), "200");
        }
        let frames: Vec<_> = (0..3).map(|_| String::from_utf8(worker.next().frames.remove(0)).unwrap()).collect();
        assert_eq!(frames[0], r#"{"type":"DataDescription","serialno":1,"scandir":"/data","title":"ascan"}"#);
        assert_eq!(frames[1], format!(r#"{{"type":"RecordData","timestamp":{scan}.0}}"#));
        assert_eq!(frames[2], r#"{"type":"RecordEnd"}"#);
        host.wait_for("the count", |ingester| {
            let skipped = &ingester["streams"]["sardana"]["skipped"];
            skipped["while no scan was active"].as_u64() == (scan == 0).then_some(1)
        });
        controller.finish_and_wait(name);
    }
    assert!(host.stop(LIMIT).success());
}

#[test]
fn a_port_in_use_is_an_error_at_start_that_names_it() {
    let (folder, redis) = (tempdir().unwrap(), RedisServer::start());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = http_ingester(&redis.url(), address.port());
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port()));
    let mut process = Process::start("framegate", &mut command, folder.path());
    assert!(!process.wait(Duration::from_secs(20)).success());
    let said = process.output();
    assert!(said.contains(&format!("{address} is in use")) && said.contains("sardana"), "{said}");
}
