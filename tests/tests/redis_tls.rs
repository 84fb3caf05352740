//! Redis with TLS: real servers with certificates of the test's own authority. Trusted servers are used, others are
//! reported.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::fs;

use framegate::{
    ControlState,
    settings::{Control, RedisSettings, Settings},
};
use framegate_tests::{
    certificates::{Authority, Certificate},
    controller::LIMIT,
    process::wait_for,
    redis::RedisServer,
    stage::Stage,
};

fn encrypted() -> RedisServer {
    let authority = Authority::new();
    let own = authority.certificate("127.0.0.1");
    RedisServer::with_tls(authority, own)
}

fn change(settings: &mut Settings, change: impl FnOnce(&mut RedisSettings)) {
    let Control::Redis(redis) = &mut settings.control else { panic!("it is Redis") };
    change(redis);
}

/// Returns a host that does not trust this Redis, once its fault contains `says`.
fn refused(says: &str, url: &str, settings: impl FnOnce(&mut RedisSettings)) -> Stage {
    let stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |all| {
        change(all, |redis| {
            redis.url = url.to_owned();
            settings(redis);
        });
    });
    wait_for(says, LIMIT, || {
        let report = stage.host().control_report();
        let problem = report.last_problem.filter(|_| report.state == ControlState::Down)?.what;
        assert!(problem.contains(says), "{says} is not in {problem}");
        Some(())
    });
    stage
}

#[test]
fn a_redis_with_tls_is_served_also_when_it_comes_back() {
    let redis = encrypted();
    let ca = redis.authority().file();
    let mut stage = Stage::with(redis, &["eiger"], 2, |settings| change(settings, |redis| redis.ca = Some(ca)));
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
    stage.redis.kill();
    stage.wait_control(ControlState::Down);
    stage.redis.launch();
    stage.controller.reconnect(&stage.redis);
    stage.whole_scan("eiger", 1, 2, &worker);
}

#[test]
fn a_redis_that_asks_for_a_certificate_gets_ours_or_it_is_said() {
    let authority = Authority::new();
    let (servers, ours) = (authority.certificate("127.0.0.1"), authority.certificate("framegate"));
    let redis = RedisServer::with_tls_for_both(authority, servers);
    let ca = redis.authority().file();
    drop(refused("redis_certificate and redis_key", &redis.url(), |redis| redis.ca = Some(ca.clone())));
    let mut stage = Stage::with(redis, &["eiger"], 2, |settings| {
        change(settings, |redis| {
            (redis.ca, redis.certificate, redis.key) = (Some(ca), Some(ours.certificate), Some(ours.key));
        });
    });
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
}

#[test]
fn a_certificate_that_nobody_trusted_has_signed_is_refused_until_its_signer_is_known() {
    let redis = encrypted();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::copy(Authority::new().file(), &ca).unwrap();
    let stage = refused("redis_ca", &redis.url(), |settings| settings.ca = Some(ca.clone()));
    // The file is replaced while framegate runs.
    fs::copy(redis.authority().file(), &ca).unwrap();
    stage.wait_control(ControlState::Up);
    // With a file, only its authorities are trusted; without one, only the system's authorities.
    drop(stage);
    drop(refused("redis_ca", &redis.url(), |_| {}));
}

#[test]
fn a_certificate_whose_time_is_over_or_that_is_for_another_name_is_refused_until_it_is_exchanged() {
    let authority = Authority::new();
    let good = authority.certificate("127.0.0.1");
    let (expired, of_other) = (authority.expired("localhost"), authority.certificate("other.example"));
    let redis = RedisServer::with_tls(authority, good.clone());
    let mut way_in = redis.connect();
    let mut exchange = |with: &Certificate| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("tls-cert-file").arg(with.certificate.to_str()).arg("tls-key-file").arg(with.key.to_str());
        set.query::<()>(&mut way_in).unwrap();
    };
    let (url, ca) = (redis.url(), redis.authority().file());
    for (wrong, says) in [(expired, "has expired"), (of_other, "is for another host")] {
        exchange(&wrong);
        let stage = refused(says, &url, |settings| settings.ca = Some(ca.clone()));
        exchange(&good);
        stage.wait_control(ControlState::Up);
    }
}

#[test]
fn a_port_without_tls_is_said_to_be_one_and_so_is_one_with() {
    let plain = RedisServer::start();
    let with_s = plain.url().replace("redis://", "rediss://");
    drop(refused("does not use TLS", &with_s, |_| {}));
    let encrypted = encrypted();
    let without_s = encrypted.url().replace("rediss://", "redis://");
    drop(refused("rediss://", &without_s, |_| {}));
}
