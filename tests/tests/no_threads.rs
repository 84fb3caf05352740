//! A machine that allows no more threads: framegate starts with all threads that it needs, or not at all.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process, time::Duration};

use framegate_tests::{
    alone::marked,
    framegate,
    host::{Host, LIMIT, write_configuration},
    process::{Process, free_port, text, wait_for},
    redis::RedisServer,
};

/// More threads than framegate needs.
const ENOUGH: u32 = 40;

/// The arguments that make `setpriv` run a program as another user: the limit counts all threads of a user, does not
/// apply to root, and this user has no other threads. `None` where this is not allowed; then a skip is reported.
fn as_a_user(number: u32) -> Option<Vec<String>> {
    let user = (100_000 + 2 * process::id() + number).to_string();
    let arguments = ["--reuid", &user, "--regid", &user, "--clear-groups"].map(str::to_owned).to_vec();
    let may =
        process::Command::new("setpriv").args(&arguments).arg("true").status().is_ok_and(|status| status.success());
    if !may {
        framegate_skip::skip("only root may become another user");
    }
    may.then_some(arguments)
}

#[test]
fn without_a_thread_that_it_needs_it_says_so_and_nothing_runs_whichever_one_it_is() {
    let Some(as_user) = as_a_user(0) else { return };
    let redis = RedisServer::start();
    for threads in 1..ENOUGH {
        let folder = tempfile::tempdir().unwrap();
        let mut command = framegate::command();
        command.args(["ingester", "-n", "camera", "-u", "tcp://127.0.0.1:1", "-c"]).arg(framegate::plugin("stins"));
        command.env("REDIS_URL", redis.url()).env("INGESTER_URL", format!("tcp://localhost:{}", free_port()));
        command.env("FRAMEGATE_ADMIN", format!("127.0.0.1:{}", free_port())).current_dir("/");
        let limit = format!("--nproc={threads}:{threads}");
        let wrapper: Vec<_> = as_user.iter().map(String::as_str).chain(["prlimit", &limit]).collect();
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
            assert!(framegate.stop(Duration::from_secs(10)).success(), "{}", framegate.output());
            return;
        };
        assert_eq!(status.code(), Some(1), "with {threads} threads: {said}");
        assert!(said.contains("no thread") && said.contains("ulimit -u"), "with {threads} threads: {said}");
        assert!(!said.contains("panicked"), "with {threads} threads: {said}");
        assert!(!published(), "with {threads} threads something was published: {said}");
    }
    panic!("it does not run with {ENOUGH} threads");
}

#[test]
fn a_swap_that_gets_no_thread_is_refused_and_leaves_nothing_behind() {
    let Some(as_user) = as_a_user(1) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let configuration = format!(
        "max_generations = 2\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n[[ingester.stream]]\nname = \"camera\"\n\
         source = \"{}\"\nsettings = {{ events = 10 }}\n",
        free_port(),
        marked("1.0.0").display()
    );
    let (path, admin) = write_configuration(folder.path(), &configuration);
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(path).current_dir("/");
    let wrapper: Vec<_> = as_user.iter().map(String::as_str).collect();
    let mut command = framegate::wrapped("setpriv", &wrapper, &command);
    let mut host = Host::with(&mut command, folder.path(), admin);
    host.wait_for("the start", |ingester| ingester["state"].is_string());
    let swap = |host: &Host, file: &Path| host.swap(&["camera", file.to_str().unwrap()]);
    // As the same user: other users may not be allowed to.
    let limit = |most: &str| {
        let mut command = process::Command::new("setpriv");
        command.args(&as_user).args(["prlimit", "--pid", &host.id().to_string(), &format!("--nproc={most}:")]);
        assert!(command.status().unwrap().success());
    };
    limit("1");
    for round in 0..20 {
        let refused = swap(&host, &marked("2.0.0"));
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains("no thread"), "{round}: {said}");
    }
    limit(&ENOUGH.to_string());
    assert_eq!(host.status().unwrap()["generations"].as_array().unwrap().len(), 1);
    let taken = swap(&host, &marked("3.0.0"));
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    assert!(!host.log().contains("panicked"), "{}", host.log());
}
