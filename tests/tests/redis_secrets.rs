//! Secrets on a file system that hangs: a pipe without a writer behaves like such a file.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, net::SocketAddr};

use framegate_tests::{
    controller::{Controller, LIMIT},
    framegate,
    host::Host,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
};
use nix::sys::stat::Mode;

const NAME: &str = "eiger-ingester";

#[test]
fn a_password_that_cannot_be_read_stops_neither_what_is_connected_nor_the_admin_endpoint_nor_the_end() {
    let (redis, folder) = (RedisServer::with_password("secret"), tempfile::tempdir().unwrap());
    let (file, pipe) = (folder.path().join("password"), folder.path().join("pipe"));
    fs::write(&file, "secret\n").unwrap();
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = framegate::command();
    command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", "tcp://127.0.0.1:9"]);
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port())).env("FRAMEGATE_ADMIN", admin.to_string());
    command.env("SERVICE_REDIS_DSN", format!("redis://127.0.0.1:{}/0", redis.port()));
    command.env("FRAMEGATE_REDIS_PASSWORD_FILE", &file);
    let mut host = Host::with(&mut command, folder.path(), admin);
    let mut controller = Controller::new(&redis);
    controller.wait_state(NAME, "its state", |_| true);

    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    fs::rename(&pipe, &file).unwrap();
    // All of its four connections except the publishing one reconnect, and read the password for it.
    let clients: String = redis.ask(&["CLIENT", "LIST"]);
    let reading: Vec<&str> = clients.lines().filter(|client| client.contains("cmd=xread")).collect();
    assert!(!reading.is_empty(), "{clients}");
    for client in reading {
        let id = client.split_once("id=").unwrap().1.split_once(' ').unwrap().0;
        let _: i64 = redis.ask(&["CLIENT", "KILL", "ID", id]);
    }
    let what = wait_for("status to name the file", LIMIT, || {
        let status = host.status().expect("the admin endpoint answers");
        let what = status["control"]["last_problem"]["what"].as_str()?.to_owned();
        what.contains("redis_password_file").then_some(what)
    });
    assert!(what.contains(&*file.to_string_lossy()) && what.contains("does not return"), "{what}");
    let writes = redis.writes_of(&format!("dranspose:ingester:{NAME}:config"));
    (0..3).for_each(|_| _ = writes.recv_timeout(LIMIT).unwrap());

    // The file is replaced by a correct one, and then the hanging read ends.
    fs::rename(&file, &pipe).unwrap();
    fs::write(&file, "secret\n").unwrap();
    fs::write(&pipe, "secret\n").unwrap();
    wait_for("all to be served", LIMIT, || (host.status().ok()?["control"]["state"] == "up").then_some(()));
    controller.scan(NAME, &["eiger"]);
    controller.finish_and_wait(NAME);

    // It also stops while a read hangs.
    fs::remove_file(&file).unwrap();
    fs::rename(&pipe, &file).unwrap();
    let _: i64 = redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    wait_for("it to hang again", LIMIT, || (host.status().ok()?["control"]["state"] == "down").then_some(()));
    assert!(host.stop(LIMIT).success());
}

#[test]
fn a_secret_that_cannot_be_read_at_the_start_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("password");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut command = framegate::command();
    command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", "tcp://127.0.0.1:9"]);
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port()));
    command.env("FRAMEGATE_REDIS_PASSWORD_FILE", &pipe);
    let mut process = Process::start("framegate", &mut command, folder.path());
    assert!(!process.wait(LIMIT).success());
    let log = process.output();
    assert!(log.contains("redis_password_file") && log.contains("does not return"), "{log}");
}
