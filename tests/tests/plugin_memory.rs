//! Plugins load from memory on machines whose folders are not writable or not executable, and from a folder where
//! memory loading is not available.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path, process::Command};

use framegate_tests::{
    alone::marked,
    framegate,
    host::{Host, write_configuration},
    process::{free_port, text},
};

/// Runs a command in its own mount namespace, after `script`; `None` where the system does not allow this.
fn in_namespace(script: &str, command: &Command) -> Option<Command> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--map-root-user"]];
    let way =
        ways.into_iter().find(|way| Command::new("unshare").args(*way).arg("true").output().unwrap().status.success());
    if way.is_none() {
        framegate_skip::skip("the system allows no namespace");
    }
    Some(framegate::wrapped("unshare", way?, &framegate::after(&format!("set -e\n{script}"), command)))
}

/// A host that ends because its plugin, after loading, needs another setting. Its TMPDIR is `tmp` in `folder`.
fn loads(folder: &Path) -> Command {
    let config = folder.join("framegate.toml");
    let text = format!(
        "admin = \"off\"\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n[[ingester.stream]]\nname = \"s\"\n\
         source = \"{}\"\n",
        free_port(),
        framegate::plugin("stins").display()
    );
    fs::write(&config, text).unwrap();
    let tmp = folder.join("tmp");
    fs::create_dir_all(&tmp).unwrap();
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(config).env("TMPDIR", tmp);
    command
}

fn has_loaded(command: &mut Command) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("upstream_url") && !said.contains("FG-ABI"), "{said}");
}

#[test]
fn a_plugin_loads_where_the_folder_for_temporary_files_is_read_only_or_executes_nothing() {
    for options in ["ro", "noexec", "ro,noexec"] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o {options} none \"$TMPDIR\"");
        let Some(mut command) = in_namespace(&script, &loads(folder.path())) else { return };
        has_loaded(&mut command);
    }
}

#[test]
fn a_plugin_loads_from_a_folder_where_there_is_no_proc() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = in_namespace("mount -t tmpfs none /proc", &loads(folder.path())) else { return };
    has_loaded(&mut command);
    // The folder was needed: without a writable one, there is a refusal with that reason.
    let script = "mount -t tmpfs none /proc\nmount -t tmpfs -o ro none \"$TMPDIR\"";
    let output = in_namespace(script, &loads(folder.path())).unwrap().output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("FG-ABI-LOAD") && said.contains("Read-only file system"), "{said}");
    assert!(said.contains(framegate::plugin("stins").to_str().unwrap()), "{said}");
}

#[test]
fn the_copy_has_the_name_of_the_plugins_file_and_can_be_changed_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = marked("1.0.0");
    let (file, admin) = write_configuration(
        folder.path(),
        &format!(
            "[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n[[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\n\
             settings = {{ events = 1 }}\n",
            free_port(),
            plugin.display()
        ),
    );
    let mut host = Host::with(framegate::command().args(["run", "--config"]).arg(file), folder.path(), admin);
    host.wait_for("the start", |ingester| ingester["state"].is_string());
    let process = format!("/proc/{}", host.id());
    let name = format!("/memfd:{}", plugin.file_name().unwrap().to_str().unwrap());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    assert!(maps.lines().any(|line| line.contains("r-xp") && line.contains(&name)), "{maps}");
    let copies: Vec<_> = fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|entry| fs::read_link(entry).is_ok_and(|to| to.to_str().unwrap().starts_with(&name)))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let refused = fs::OpenOptions::new()
        .write(true)
        .open(&copies[0])
        .and_then(|mut copy| std::io::Write::write_all(&mut copy, b"other"));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    let status = host.status().unwrap();
    assert_eq!(status["sources"][0]["identity"]["file"], plugin.to_str().unwrap());
    // No copy is left in a folder.
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with("framegate-")), "{left:?}");
}
