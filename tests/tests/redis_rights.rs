//! A Redis user's rights and secrets: which are used, and which are shown.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use ::framegate::{
    FaultSubject,
    settings::{Control, RedisPassword},
};
use framegate_tests::{
    controller::{Controller, LIMIT},
    framegate,
    host::Host,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    stage::Stage,
};

/// The line for users in docs/reference/redis.md, as words.
fn documented(password: &str) -> Vec<String> {
    let page =
        fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/redis.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER framegate ")).unwrap();
    line.replace("PASSWORD", password).split_whitespace().map(str::to_owned).collect()
}

fn set_user(redis: &RedisServer, words: &[String]) {
    let _: () = redis.ask(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The user's refused accesses, as COMMAND or KEY.
fn refused(redis: &RedisServer) -> Vec<String> {
    let log: Vec<std::collections::HashMap<String, redis::Value>> = redis.ask(&["ACL", "LOG"]);
    log.into_iter().map(|entry| redis::from_redis_value(entry["object"].clone()).unwrap()).collect()
}

#[test]
fn the_documented_rights_are_enough_and_one_that_is_missing_is_named_until_it_is_given() {
    let redis = RedisServer::start();
    let rights = documented("secret");
    set_user(&redis, &rights);
    let mut stage = Stage::with(redis, &["eiger", "played"], 2, |settings| {
        let Control::Redis(redis) = &mut settings.control else { panic!("it is Redis") };
        (redis.user, redis.password) = (Some("framegate".into()), Some(RedisPassword::Text("secret".into())));
    });
    let worker = stage.worker("w1");
    stage.controller.set_parameter("played_text", b"new");
    stage.controller.wait_hash("eiger_played-ingester");
    stage.whole_scan("eiger", 0, 2, &worker);
    // Keys that a restarted ingester reads.
    stage.scan(&["eiger"]);
    stage.crash_host();
    stage.start_host();
    stage.controller.repeat();
    stage.controller.wait_ready("eiger_played-ingester");
    stage.next_runs();
    assert_eq!(refused(&stage.redis), [""; 0]);

    for (without, right) in [
        ("%W~dranspose:ready:*", "XADD dranspose:ready:*"),
        ("+setex", "SETEX dranspose:ingester:eiger_played-ingester:config"),
        ("+xread", "XREAD dranspose:controller:updates"),
        ("+get", "GET dranspose:ingester:eiger_played-ingester:config"),
    ] {
        let fewer: Vec<_> = rights.iter().filter(|right| *right != without).cloned().collect();
        set_user(&stage.redis, &fewer);
        if right.contains("ready") {
            stage.controller.finish();
        }
        let subject = FaultSubject::Right(right.to_owned());
        let fault = wait_for(right, LIMIT, || stage.host().control_report().faults.get(&subject).cloned());
        assert!(fault.contains("NOPERM") && fault.contains("docs/reference/redis.md"), "{fault}");
        set_user(&stage.redis, &rights);
        wait_for("all rights to be seen", LIMIT, || {
            let faults = stage.host().control_report().faults;
            (!faults.keys().any(|about| matches!(about, FaultSubject::Right(_)))).then_some(())
        });
    }
    stage.controller.wait_notice("eiger_played-ingester");
    stage.stop_host();
    assert_eq!(stage.controller.state("eiger_played-ingester"), None);
}

/// Each of these is needed for one thing only.
#[test]
fn a_scan_is_served_without_a_right_to_parameters_their_descriptions_or_the_mark_of_an_older_instance() {
    for (without, right) in [
        ("%W~dranspose:parameter_description:*", "SETEX dranspose:parameter_description:played_text"),
        ("~framegate:ingester:*:stepped_back", "GET framegate:ingester:eiger_played-ingester:stepped_back"),
        ("%R~dranspose:parameters:*", "GET dranspose:parameters:played_text:*"),
        ("+xlen", "XLEN dranspose:assigned:*"),
    ] {
        let redis = RedisServer::start();
        let rights = documented("secret");
        let fewer: Vec<_> = rights.iter().filter(|right| *right != without).cloned().collect();
        set_user(&redis, &fewer);
        let mut stage = Stage::with(redis, &["eiger", "played"], 2, |settings| {
            let Control::Redis(redis) = &mut settings.control else { panic!("it is Redis") };
            (redis.user, redis.password) = (Some("framegate".into()), Some(RedisPassword::Text("secret".into())));
        });
        let worker = stage.worker("w1");
        stage.controller.set_parameter("played_text", b"new");
        stage.controller.wait_hash("eiger_played-ingester");
        stage.whole_scan("eiger", 0, 2, &worker);
        let subject = FaultSubject::Right(right.to_owned());
        wait_for(right, LIMIT, || stage.host().control_report().faults.contains_key(&subject).then_some(()));
        set_user(&stage.redis, &rights);
        if without == "+xlen" {
            // Only an ingester that has just started asks it.
            stage.stop_host();
            stage.start_host();
        }
        stage.controller.repeat();
        wait_for("the right to be seen", LIMIT, || {
            (!stage.host().control_report().faults.contains_key(&subject)).then_some(())
        });
        let worker = if without == "+xlen" { stage.worker("w1") } else { worker };
        stage.whole_scan("eiger", 1, 2, &worker);
        set_user(&stage.redis, &fewer);
        stage.stop_host();
        assert_eq!(stage.controller.state("eiger_played-ingester"), None, "{without}");
    }
}

#[test]
fn a_password_is_found_in_nothing_that_the_process_says() {
    const SECRET: &str = "s3cr3t-7f1e";
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    set_user(&redis, &documented(SECRET));
    let mut controller = Controller::new(&redis);
    let file = folder.path().join("password");
    for way in ["address", "file", "variable"] {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = framegate::command();
        command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", "tcp://127.0.0.1:9"]);
        command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port())).env("LOG_LEVEL", "DEBUG");
        command.env("SERVICE_REDIS_DSN", redis.url()).env("FRAMEGATE_ADMIN", admin.to_string());
        // First a wrong password where it can be replaced; it is just as secret.
        fs::write(&file, format!("{SECRET}-wrong\n")).unwrap();
        match way {
            "address" => command.env("SERVICE_REDIS_DSN", redis.url_with(&format!("framegate:{SECRET}"))),
            "file" => command.env("FRAMEGATE_REDIS_USER", "framegate").env("FRAMEGATE_REDIS_PASSWORD_FILE", &file),
            _ => command.env("FRAMEGATE_REDIS_USER", "framegate").env("FRAMEGATE_REDIS_PASSWORD", SECRET),
        };
        let place = folder.path().join(way);
        fs::create_dir_all(&place).unwrap();
        let mut host = Host::with(&mut command, &place, admin);
        if way == "file" {
            wait_for("the refusal", LIMIT, || host.log().contains("user or password is wrong").then_some(()));
            let status = host.status().unwrap();
            assert_eq!(status["control"]["state"], "down");
            assert!(!status.to_string().contains(SECRET), "{status}");
            fs::write(&file, format!("{SECRET}\n")).unwrap();
        }
        controller.wait_state("eiger-ingester", way, |_| true);
        let mut said = fs::read_to_string(format!("/proc/{}/cmdline", host.id())).unwrap();
        for page in ["/status", "/metrics", "/health"] {
            said.push_str(&host.get(page).unwrap());
        }
        let shown = framegate::command().args(["status", "--url", &admin.to_string()]).output().unwrap();
        said.push_str(&String::from_utf8(shown.stdout).unwrap());
        assert!(host.stop(LIMIT).success());
        said.push_str(&host.log());
        let lines: redis::Value = redis.ask(&["XRANGE", "dranspose_logs", "-", "+"]);
        said.push_str(&format!("{lines:?}"));
        assert!(said.contains("connected to Redis") && !said.contains(SECRET), "{way}:\n{said}");
    }
    // Messages about wrong settings do not contain it either.
    let mut wrong = framegate::command();
    wrong.args(["ingester", "-n", "a", "-c", "stins", "-u", "tcp://127.0.0.1:9"]);
    wrong.env("SERVICE_REDIS_DSN", format!("redis://me:{SECRET}@host:port")).env("FRAMEGATE_REDIS_PASSWORD", SECRET);
    wrong.env("FRAMEGATE_REDIS_PASSWORD_FILE", &file);
    let mut process = Process::start("wrong", &mut wrong, folder.path());
    assert_eq!(process.wait(Duration::from_secs(10)).code(), Some(2));
    let said = process.output();
    assert!(said.contains("2 problems") && !said.contains(SECRET), "{said}");
}
