//! A machine that gives no more threads: framegate starts with all that it needs, or not at all.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{process, time::Duration};

use framegate_tests::{
    framegate,
    host::LIMIT,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
};

/// More threads than it needs.
const ENOUGH: u32 = 40;

#[test]
fn without_a_thread_that_it_needs_it_says_so_and_nothing_runs_whichever_one_it_is() {
    // The limit counts all threads of a user, and not root's. This user has no others.
    let user = (100_000 + process::id()).to_string();
    let as_user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    if !process::Command::new("setpriv").args(as_user).arg("true").status().is_ok_and(|status| status.success()) {
        return framegate_skip::skip("only root may become another user");
    }
    let redis = RedisServer::start();
    for threads in 1..ENOUGH {
        let folder = tempfile::tempdir().unwrap();
        let mut command = framegate::command();
        command.args(["ingester", "-n", "camera", "-u", "tcp://127.0.0.1:1", "-c"]).arg(framegate::plugin("stins"));
        command.env("REDIS_URL", redis.url()).env("INGESTER_URL", format!("tcp://localhost:{}", free_port()));
        command.env("FRAMEGATE_ADMIN", format!("127.0.0.1:{}", free_port())).current_dir("/");
        let limit = format!("--nproc={threads}:{threads}");
        let wrapper = [&as_user[..], &["prlimit", &limit]].concat();
        let mut command = framegate::wrapped("setpriv", &wrapper, &command);
        let mut framegate = Process::start("framegate", &mut command, folder.path());
        let published = || !redis.ask::<Vec<String>>(&["KEYS", "dranspose:ingester:*"]).is_empty();
        let ended = wait_for("it to run, or not to", LIMIT, || match framegate.ended() {
            Some(status) => Some(Some(status)),
            None => published().then_some(None),
        });
        let said = framegate.output();
        let Some(status) = ended else {
            assert!(threads > 5, "it runs with {threads} threads: {said}");
            assert!(framegate.stop(Duration::from_secs(3)).success(), "{}", framegate.output());
            return;
        };
        assert_eq!(status.code(), Some(1), "with {threads} threads: {said}");
        assert!(said.contains("no thread") && said.contains("ulimit -u"), "with {threads} threads: {said}");
        assert!(!said.contains("panicked"), "with {threads} threads: {said}");
        assert!(!published(), "with {threads} threads something was published: {said}");
    }
    panic!("it does not run with {ENOUGH} threads");
}
