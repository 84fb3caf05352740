//! Errors at the start end the program soon, with a message and an exit status, and nothing is published.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use framegate_tests::{
    framegate,
    process::{free_port, text},
    redis::RedisServer,
};

/// From the command line to the exit status. Shorter than the shortest wait that it could hang in (`source_timeout`, 10
/// s), and far longer than necessary, because the machine may be busy.
const SOON: Duration = Duration::from_secs(8);

/// Runs it with its own Redis. It ends soon by itself, with this status, and nothing is in Redis. Returns its output.
fn fails(redis: &RedisServer, command: &mut Command, status: i32) -> String {
    let began = Instant::now();
    let Output { status: found, stderr, .. } = command.output().unwrap();
    let took = began.elapsed();
    let told = text(&stderr);
    assert_eq!(found.code(), Some(status), "{told}");
    assert!(took < SOON, "it took {took:?}: {told}");
    assert!(told.lines().all(|line| !line.contains("panicked")), "{told}");
    assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new(), "{told}");
    told
}

/// `framegate ingester` on a port, with a Redis.
fn drop_in(redis: &RedisServer, port: u16) -> Command {
    let mut command = framegate::command();
    command.args(["ingester", "-n", "camera", "-u", "tcp://127.0.0.1:1", "-c"]).arg(framegate::plugin("stins"));
    command.env("Redis_Url", redis.url()).env("ingester_url", format!("tcp://localhost:{port}"));
    command
}

/// `framegate run` with a configuration with a correct ingester, and these further lines.
fn run(redis: &RedisServer, folder: &Path, top: &str, ingester: &str, source: &str) -> Command {
    let file = folder.join("framegate.toml");
    let configuration = format!(
        "redis = \"{}\"\nadmin = \"off\"\n{top}\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n{ingester}\n[[ingester.stream]]\n\
         name = \"camera\"\nsource = \"{source}\"\nsettings.upstream_url = \"tcp://127.0.0.1:1\"\n",
        redis.url(),
        free_port()
    );
    fs::write(&file, configuration).unwrap();
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(file);
    command
}

#[test]
fn a_port_that_is_in_use_ends_it_with_a_message_and_nothing_is_published() {
    let redis = RedisServer::start();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let told = fails(&redis, &mut drop_in(&redis, port), 1);
    assert!(told.contains(&format!("ingester camera-ingester: port {port} cannot be bound")), "{told}");
    assert!(told.contains("INGESTER_URL"), "{told}");
}

#[test]
fn a_port_of_the_admin_endpoint_that_is_in_use_ends_it_with_all_else_that_is_wrong() {
    let redis = RedisServer::start();
    let taken = [TcpListener::bind("0.0.0.0:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [port, admin] = taken.each_ref().map(|taken| taken.local_addr().unwrap());
    let told = fails(&redis, drop_in(&redis, port.port()).env("FRAMEGATE_ADMIN", admin.to_string()), 1);
    assert!(told.contains(&format!("admin: {admin} cannot be bound")), "{told}");
    assert!(told.contains(&format!("port {} cannot be bound", port.port())), "{told}");
    assert!(told.contains("framegate: 2 problems"), "{told}");
}

#[test]
fn a_port_of_a_source_that_is_in_use_ends_it_with_a_message_and_nothing_is_published() {
    let redis = RedisServer::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = framegate::command();
    command.args(["http_ingester", "-n", "motors", "-p", &port, "-c"]).arg(framegate::plugin("sardana"));
    command.env("REDIS_URL", redis.url()).env("INGESTER_URL", format!("tcp://localhost:{}", free_port()));
    let told = fails(&redis, &mut command, 3);
    assert!(told.contains("stream motors") && told.contains(&format!(":{port} is in use")), "{told}");
}

#[test]
fn a_plugin_that_is_missing_or_none_ends_it_with_a_message_and_nothing_is_published() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("libnone.so");
    fs::write(&file, "no library").unwrap();
    let nowhere = folder.path().join("libnowhere.so");
    for (source, says) in [
        ("no-such-detector", "no-such-detector"),
        (nowhere.to_str().unwrap(), "there is no file"),
        (file.to_str().unwrap(), "FG-ABI-"),
    ] {
        let told = fails(&redis, &mut run(&redis, folder.path(), "", "", source), 3);
        assert!(told.contains("stream camera") && told.contains(says), "{told}");
    }
}

#[test]
fn a_configuration_that_is_wrong_ends_it_with_all_its_problems_and_nothing_is_published() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let stins = framegate::plugin("stins").display().to_string();
    for (top, ingester, says) in [
        ("shutdown_grase = \"1 s\"", "memory_limit = \"much\"", &["did you mean", "much", "framegate: 2 problems"][..]),
        ("capture_root = \"captures\"", "", &["capture_root", "absolute path"]),
        ("not TOML", "", &["framegate.toml:3"]),
        ("admin = \"127.0.0.1:1\"", "", &["framegate.toml:3"]),
    ] {
        let told = fails(&redis, &mut run(&redis, folder.path(), top, ingester, &stins), 2);
        for word in says {
            assert!(told.contains(word), "{word} is not in {told}");
        }
    }
    // The source reports errors in its own settings.
    let command = &mut run(&redis, folder.path(), "", "", &stins);
    let file = folder.path().join("framegate.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("upstream_url", "upstream_ulr")).unwrap();
    let told = fails(&redis, command, 2);
    assert!(told.contains("upstream_ulr") && told.contains("stream camera"), "{told}");
    // Keys, plugins and the settings of plugins are reported in one round.
    let more = "[[ingester.stream]]\nname = \"motors\"\nsource = \"no-such-detector\"";
    let wrong = fs::read_to_string(&file).unwrap().replace("admin =", "shutdown_grase = \"1 s\"\nadmin =");
    fs::write(&file, format!("{wrong}{more}\n")).unwrap();
    let told = fails(&redis, command, 2);
    for word in ["shutdown_grase", "upstream_ulr", "stream motors", "no-such-detector", "framegate: 3 problems"] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    fs::remove_file(&file).unwrap();
    let told = fails(&redis, command, 2);
    assert!(told.contains("cannot be read") && told.contains("--print-example"), "{told}");
}

#[test]
fn a_class_whose_plugin_is_not_there_is_told_with_where_it_was_looked_for() {
    // All plugins of the workspace are beside the built command; there are none beside a copy of it.
    let [alone, elsewhere] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let copy = alone.path().join("framegate");
    // Copied by a separate process: while this process has the file open for writing, a test in parallel may start a
    // program, which inherits the descriptor for a moment, and a file that is open for writing cannot be executed.
    let copied = Command::new("cp").arg(framegate::built().join("framegate")).arg(&copy).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(copy);
    command.args(["ingester", "-n", "camera", "-u", "tcp://127.0.0.1:1", "-c", "ZmqSubXspressIngester"]);
    command.env_clear().env("FRAMEGATE_PLUGIN_PATH", elsewhere.path());
    command.env("INGESTER_URL", format!("tcp://localhost:{}", free_port()));
    let output = command.output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("stream camera") && told.contains("xspress"), "{told}");
    for place in [&alone, &elsewhere] {
        assert!(told.contains(place.path().to_str().unwrap()), "{told}");
    }
}
