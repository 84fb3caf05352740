//! Wrong plugins, each refused with its code. `plugin_faults.rs` tests the faults of accepted plugins.
//!
//! Uses the command, like users. Exit status 3 means that a plugin was refused.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use framegate_tests::{
    alone::bad_plugin,
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
};
use tempfile::TempDir;

/// Runs a host whose streams have these sources, until it ends by itself.
fn run(sources: &[&Path], more: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    command(folder.path(), sources, more).output().unwrap()
}

/// The command that runs such a host.
fn command(folder: &Path, sources: &[&Path], more: &str) -> Command {
    let port = free_port();
    let mut text = format!("admin = \"off\"\nsource_timeout = \"1 s\"\n{more}\n[standalone]\n[[ingester]]\n");
    text += &format!("url = \"tcp://127.0.0.1:{port}\"\n");
    for (number, source) in sources.iter().enumerate() {
        text += &format!("[[ingester.stream]]\nname = \"s{number}\"\nsource = \"{}\"\n", source.display());
    }
    let config = folder.join("framegate.toml");
    fs::write(&config, text).unwrap();
    let mut command = framegate::command();
    // Its temporary files are removed with the folder.
    command.args(["run", "--config"]).arg(config).env("TMPDIR", folder);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The plugin is refused with this code, in two lines that contain these texts.
fn refused(plugin: &Path, code: &str, says: &[&str]) {
    let output = run(&[plugin], "");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let line = text.lines().position(|line| line.contains(code)).unwrap_or_else(|| panic!("no {code} in {text}"));
    let (first, second) = (text.lines().nth(line).unwrap(), text.lines().nth(line + 1).unwrap());
    assert!(first.starts_with("framegate: stream s0: ") && first.ends_with(&format!(" [{code}]")), "{text}");
    assert!(second.starts_with("  ") && second.len() > 10, "the second line says what to do: {text}");
    for word in says {
        assert!(first.contains(word) || second.contains(word), "\"{word}\" is missing in {text}");
    }
}

fn stins() -> PathBuf {
    framegate::plugin("stins")
}

/// A file with this content.
fn file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

#[test]
fn a_missing_file_is_refused_with_what_is_near() {
    let (folder, _path) = file("libmine.so", b"");
    refused(&folder.path().join("libmin.so"), "FG-ABI-FIND", &["there is no file", "did you mean", "libmine.so"]);
    refused(
        Path::new("nowhere-to-be-found"),
        "FG-ABI-FIND",
        &["libframegate_nowhere_to_be_found.so", "/lib/framegate"],
    );
    refused(Path::new("stnis"), "FG-ABI-FIND", &["did you mean \"stins\""]);
}

#[test]
fn a_directory_is_refused() {
    let folder = tempfile::Builder::new().suffix(".so").tempdir().unwrap();
    refused(folder.path(), "FG-ABI-FILE", &["is a directory"]);
}

/// With the default setting: files that other users can write to are refused.
fn strictly(plugin: &Path, more: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &[plugin], more).env_remove(framegate::ALLOW_WRITABLE).output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_file_that_its_group_or_everybody_may_write_to_is_refused_unless_a_setting_says_otherwise() {
    let (_folder, path) = file("libopen.so", &fs::read(stins()).unwrap());
    for (mode, who) in [(0o664, "writable by its group (mode 664)"), (0o646, "writable by all users (mode 646)")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (status, text) = strictly(&path, "");
        assert_eq!(status, Some(3), "{text}");
        let remedy = format!("chmod go-w {}, or set allow_writable_plugins = true", path.display());
        for word in ["FG-ABI-WRITABLE", who, &remedy, framegate::ALLOW_WRITABLE] {
            assert!(text.contains(word), "{word}: {text}");
        }
        // It then fails only at its settings, which lack the detector's address.
        for allowed in [strictly(&path, "allow_writable_plugins = true").1, stderr(&run(&[&path], ""))] {
            assert!(allowed.contains("upstream_url") && !allowed.contains("FG-ABI"), "{allowed}");
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(strictly(&path, "").1.contains("upstream_url"));
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_unless_it_is_sticky() {
    let (folder, path) = file("libmine.so", &fs::read(stins()).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for mode in [0o770, 0o707] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let (_, text) = strictly(&path, "");
        assert!(text.contains("FG-ABI-WRITABLE") && text.contains("its directory"), "{text}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(strictly(&path, "").1.contains("upstream_url"));
}

#[test]
fn a_directory_behind_a_link_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["given", "between", "data"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::copy(stins(), at("data/x.so")).unwrap();
    fs::set_permissions(at("data/x.so"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("../data", at("between/current")).unwrap();
    symlink(at("between/current/x.so"), at("given/x.so")).unwrap();
    assert!(strictly(&at("given/x.so"), "").1.contains("upstream_url"));
    // Other users who can write there can change the link's target.
    fs::set_permissions(at("between"), fs::Permissions::from_mode(0o777)).unwrap();
    let (status, text) = strictly(&at("given/x.so"), "");
    assert!(status == Some(3) && text.contains("FG-ABI-WRITABLE"), "{text}");
    assert!(text.contains(&format!("chmod go-w {}, or set", at("between").display())), "{text}");
}

#[test]
fn the_commands_that_look_at_plugins_say_who_may_write_to_them() {
    let (_folder, path) = file("libopen.so", &fs::read(stins()).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let info = |allowed: &str| {
        let mut command = framegate::command();
        let output = command.env(framegate::ALLOW_WRITABLE, allowed).args(["plugin", "info"]).arg(&path).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(info("false").contains("FG-ABI-WRITABLE"), "{}", info("false"));
    assert!(info("true").contains("accepts the file"), "{}", info("true"));
}

#[test]
fn what_is_no_whole_shared_library_is_refused() {
    let (_text_folder, text) = file("libtext.so", b"this is a text\n");
    refused(&text, "FG-ABI-ELF", &["is a text file"]);
    let (_empty_folder, empty) = file("libempty.so", b"");
    refused(&empty, "FG-ABI-ELF", &["is empty"]);
    let (_junk_folder, junk) = file("libjunk.so", &[0xff, 0x00, 0xfe].repeat(1000));
    refused(&junk, "FG-ABI-ELF", &["is not an ELF file"]);
    let whole = fs::read(stins()).unwrap();
    for part in [20, 64, 1000, whole.len() / 2, whole.len() - 1] {
        let (_folder, truncated) = file("libtruncated.so", &whole[..part]);
        refused(&truncated, "FG-ABI-DAMAGED", &["is damaged"]);
    }
}

#[test]
fn a_program_is_refused() {
    let (_folder, program) = file("libprogram.so", &fs::read(framegate::built().join("framegate")).unwrap());
    refused(&program, "FG-ABI-PROGRAM", &["is a program"]);
}

#[test]
fn a_plugin_for_another_machine_is_refused() {
    let mut other = fs::read(stins()).unwrap();
    // e_machine of the ELF header: s390, on which nobody runs these tests.
    other[18..20].copy_from_slice(&22_u16.to_le_bytes());
    let (_folder, path) = file("libother.so", &other);
    refused(&path, "FG-ABI-MACHINE", &[std::env::consts::ARCH]);
}

#[test]
fn a_library_without_note_is_refused() {
    refused(&bad_plugin("no_note"), "FG-ABI-NOTE", &["is not a source plugin", "export_source!"]);
}

#[test]
fn a_plugin_that_links_another_is_refused() {
    refused(&bad_plugin("two_notes"), "FG-ABI-NOTES", &["two_notes", "linked-plugin"]);
}

#[test]
fn a_plugin_whose_content_is_not_the_pinned_one_is_refused() {
    let pin = |pin: &str| PathBuf::from(format!("{}#sha256:{pin}", stins().display()));
    refused(&pin(&"0".repeat(64)), "FG-ABI-HASH", &["pinned is 000"]);
    let found = stderr(&run(&[&pin(&"0".repeat(64))], ""));
    let right = found.split("has the SHA-256 ").nth(1).unwrap().split(',').next().unwrap();
    assert!(stderr(&run(&[&pin(right)], "")).contains("upstream_url"));
}

#[test]
fn a_plugin_for_another_version_of_the_interface_is_refused() {
    refused(&bad_plugin("other_abi_version"), "FG-ABI-VERSION", &["plugin ABI 0.2", "this host has 0.1"]);
}

#[test]
fn a_plugin_with_another_layout_is_refused_with_the_place_and_a_report() {
    let plugin = bad_plugin("changed_layout");
    refused(&plugin, "FG-ABI-LAYOUT", &["next(), parameter 2 (Batch): size expected", "found", "full report is in"]);
    let folder = tempfile::tempdir().unwrap();
    let text = stderr(&command(folder.path(), &[&plugin], "").output().unwrap());
    let report = text.split("the full report is in ").nth(1).unwrap().lines().next().unwrap();
    assert!(Path::new(report).starts_with(folder.path()), "{report}");
    assert!(fs::read_to_string(report).unwrap().contains("extra"));
}

#[test]
fn a_plugin_without_description_of_its_layout_is_refused() {
    refused(&bad_plugin("opted_out"), "FG-ABI-OPTED-OUT", &["no description of its layout"]);
}

#[test]
fn a_plugin_that_lacks_a_symbol_is_refused_before_the_first_call() {
    refused(
        &bad_plugin("missing_symbol"),
        "FG-ABI-LOAD",
        &["undefined symbol: framegate_test_function_that_nobody_has"],
    );
}

#[test]
fn a_panic_in_create_is_refused_with_its_place() {
    refused(
        &bad_plugin("panics_in_create"),
        "FG-ABI-PANIC",
        &["create panicked: create has lost its way", "src/lib.rs:"],
    );
}

#[test]
fn a_create_that_hangs_is_refused_after_its_time() {
    refused(&bad_plugin("hangs_in_create"), "FG-ABI-HANG", &["did not return within 1s", "source_timeout"]);
}

#[test]
fn a_signal_ends_the_program_in_time_while_a_create_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let stream = format!("name = \"bad\"\nsource = \"{}\"\n", bad_plugin("hangs_in_create").display());
    let mut host = Host::start(
        folder.path(),
        &format!("source_timeout = \"1 h\"\n[standalone]\n[[ingester]]\n[[ingester.stream]]\n{stream}"),
    );
    let threads = format!("/proc/{}/task", host.id());
    // The program handles signals before this thread starts.
    let begun = |thread: std::io::Result<fs::DirEntry>| {
        thread.and_then(|thread| fs::read(thread.path().join("comm"))).is_ok_and(|name| name == b"start\n")
    };
    wait_for("the start", LIMIT, || fs::read_dir(&threads).unwrap().any(begun).then_some(()));
    assert_eq!(host.stop(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn all_refusals_are_said_at_once() {
    let cases = [
        (bad_plugin("no_note"), "FG-ABI-NOTE"),
        (bad_plugin("panics_in_create"), "FG-ABI-PANIC"),
        (bad_plugin("hangs_in_create"), "FG-ABI-HANG"),
        (bad_plugin("opted_out"), "FG-ABI-OPTED-OUT"),
        (PathBuf::from("/nowhere/libx.so"), "FG-ABI-FIND"),
        // Wrong settings are not a refusal, but are reported too.
        (stins(), "upstream_url"),
    ];
    let sources: Vec<_> = cases.iter().map(|(plugin, _)| plugin.as_path()).collect();
    let output = run(&sources, "");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for (number, (_, says)) in cases.iter().enumerate() {
        let said = |line: &str| line.contains(&format!("stream s{number}:")) && line.contains(says);
        assert!(text.lines().any(said), "s{number} {says}: {text}");
    }
    assert!(text.contains("6 problems"), "{text}");
}
