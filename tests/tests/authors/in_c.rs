//! The template in C, as an author uses it; also under the address sanitizer; and refusals of C plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use framegate_tests::{
    framegate,
    host::{Host, write_configuration},
    process::free_port,
    worker::Worker,
};

use super::{configuration, root, run_commands, said, streams_through_a_host};

const SETTINGS: &str = "events = 50\nbytes = 10000\nperiod_us = 100";

#[test]
fn the_commands_of_its_readme_lead_from_an_empty_folder_to_a_plugin_that_streams() {
    let folder = tempfile::tempdir().unwrap();
    let said = run_commands("plugins/template-c/README.md", "Copy, build", folder.path(), |script| script);
    assert!(said.contains("counter-in-c 0.1.0"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert!(said.contains(" passed, 0 failed"), "it keeps the rules: {said}");
    let plugin = folder.path().join("mydetector/libframegate_mydetector.so");
    let log = streams_through_a_host(&plugin, SETTINGS, 50, |number, image| {
        assert_eq!((image.len(), u64::from(image[0])), (10000, number));
    });
    assert!(log.contains("mine will count to 50"), "{log}");
}

/// Compiles the template after an edit: replaces `from`, which occurs once, by `to`.
fn edited(folder: &Path, from: &str, to: &str, options: &[&str]) -> PathBuf {
    let original = fs::read_to_string(root().join("plugins/template-c/counter.c")).unwrap();
    assert_eq!(original.matches(from).count(), 1, "{from}");
    let (source, plugin) = (folder.join("counter.c"), folder.join("libcounter.so"));
    fs::write(&source, original.replace(from, to)).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-I"]).arg(root().join("plugin-api/include")).args(options);
    let output = cc.arg(&source).arg("-o").arg(&plugin).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    plugin
}

/// Runs a scan with this plugin under the C sanitizers, in a host that ends after it. The exit status of a finding is
/// not 0.
fn under_the_sanitizers(from: &str, to: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let options = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let plugin = edited(folder.path(), from, to, &options);
    let port = free_port();
    let (config, admin) = write_configuration(folder.path(), &configuration(&plugin, port, 1, SETTINGS));
    let libraries = ["libasan.so", "libubsan.so"].map(|name| {
        let found = Command::new("cc").arg(format!("-print-file-name={name}")).output().unwrap();
        said(&found).trim().to_owned()
    });
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(config).env("LD_PRELOAD", libraries.join(" "));
    let mut host = Host::with(&mut command, folder.path(), admin);
    let _worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{port}"));
    let ended = host.wait(Duration::from_secs(20));
    (ended.success(), host.log())
}

#[test]
fn the_sanitizers_find_nothing_in_it_and_would_find_what_is_wrong() {
    let (clean, log) = under_the_sanitizers("free(owner);", "free(owner);");
    assert!(clean && !log.contains("Sanitizer") && log.contains(" finished: "), "{log}");
    for (from, to, finding) in [
        ("{ free(owner); }", "{ (void)owner; }", "LeakSanitizer: detected memory leaks"),
        ("{ free(owner); }", "{ free(owner); free(owner); }", "attempting double-free"),
        ("free(self); /* not", "/* not", "LeakSanitizer: detected memory leaks"),
    ] {
        let (clean, log) = under_the_sanitizers(from, to);
        assert!(!clean && log.contains(finding), "{to}: {log}");
    }
}

/// The host's output when it refuses to run a plugin.
fn refused(folder: &Path, plugin: &Path) -> String {
    let (config, _) = write_configuration(folder, &configuration(plugin, free_port(), 1, ""));
    let output = framegate::command().args(["run", "--config"]).arg(config).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    said(&output)
}

#[test]
fn a_plugin_in_c_that_lacks_a_function_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = edited(folder.path(), ".next = counter_next", ".next = NULL", &[]);
    let info = framegate::command().args(["plugin", "info"]).arg(&plugin).output().unwrap();
    assert!(said(&info).contains("counter-in-c 0.1.0") && said(&info).contains(" C"), "{}", said(&info));
    let why = refused(folder.path(), &plugin);
    assert!(why.contains("FG-ABI-HEADER") && why.contains("neither next nor trigger"), "{why}");
}

#[test]
fn a_plugin_that_asks_to_be_bound_late_is_bound_at_once() {
    // rustc requests early binding itself; with late binding the first call of `open` would end the process.
    let folder = tempfile::tempdir().unwrap();
    let call = "extern void function_that_nobody_has(void); function_that_nobody_has(); self->given = 0;";
    let plugin = edited(folder.path(), "self->given = 0;", call, &["-Wl,-z,lazy"]);
    let why = refused(folder.path(), &plugin);
    assert!(why.contains("FG-ABI-LOAD") && why.contains("function_that_nobody_has"), "{why}");
}
