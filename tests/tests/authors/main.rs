//! Tests the material for plugin authors: the templates in Rust and in C, the C header, and the plugin interface's rules
//! on versions.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod header;
mod in_c;
mod other;
mod settings;
mod template;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use framegate_tests::{alone, host::Host, process::free_port};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Standard output and standard error.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the shell commands under a heading of a document, one after the other, in an empty folder. In the commands,
/// `framegate/` is replaced by this repository.
fn run_commands(document: &str, heading: &str, folder: &Path, edit: impl Fn(String) -> String) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("{document}: no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let blocks: Vec<&str> = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "{document}: there are no commands under {heading}");
    let copy = format!("{}/", root().display());
    let script = blocks.concat().replace("../framegate/", &copy).replace(" framegate/", &format!(" {copy}"));
    let mut bash = Command::new("bash");
    bash.args(["-euxo", "pipefail", "-c", &edit(script)]).current_dir(folder);
    alone::for_authors(&mut bash);
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{document}, {heading}:\n{}", said(&output));
    said(&output)
}

/// A configuration with one stream, `mine`, from this plugin; `more` has its settings.
fn configuration(plugin: &Path, port: u16, scans: u32, more: &str) -> String {
    let plugin = plugin.display();
    format!(
        "[standalone]\nscans = {scans}\n[[ingester]]\nurl = \"tcp://127.0.0.1:{port}\"\n\
         [[ingester.stream]]\nname = \"mine\"\nsource = \"{plugin}\"\n[ingester.stream.settings]\n{more}\n"
    )
}

/// Runs this plugin in two scans of a host; passes the first frame of each event to `check`. Returns the host's log.
fn streams_through_a_host(plugin: &Path, settings: &str, events: u64, check: impl Fn(u64, &[u8])) -> String {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut host = Host::start(folder.path(), &configuration(plugin, port, 2, settings));
    let worker = host.worker("w1", &format!("tcp://127.0.0.1:{port}"));
    for _ in 0..2 {
        let messages = worker.until(|message| message.number() == events - 1);
        assert_eq!(messages.len() as u64, events);
        for (number, message) in (0..).zip(&messages) {
            check(number, &message.stream("mine").unwrap()[0]);
        }
    }
    assert!(host.wait(Duration::from_secs(10)).success(), "{}", host.log());
    host.log()
}
