//! Standalone crates outside the workspace: the plugins of `tests/bad-plugins` and `tests/plugins`, and a program that
//! embeds the library, `tests/outside`.
//!
//! Each is built as its author would build it, all into one target folder, so that common dependencies are built once.

use std::{
    collections::HashMap,
    env, fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::{framegate, python};

/// The file of the bad plugin in the folder `case`.
///
/// # Panics
/// If it does not build.
pub fn bad_plugin(case: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    // Held while it builds; otherwise cargo would wait for itself.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(case.to_owned()).or_insert_with(|| build(case)).clone()
}

/// The file of the bad plugin `tests/bad-plugins/in-c/CASE.c`, in a folder.
///
/// # Panics
/// If it does not compile.
#[must_use]
pub fn bad_plugin_in_c(case: &str, folder: &Path) -> PathBuf {
    in_c("tests/bad-plugins/in-c", case, folder)
}

/// The file of the plugin `tests/plugins/NAME.c`, in a folder.
///
/// # Panics
/// If it does not compile.
#[must_use]
pub fn plugin_in_c(name: &str, folder: &Path) -> PathBuf {
    in_c("tests/plugins", name, folder)
}

fn in_c(from: &str, name: &str, folder: &Path) -> PathBuf {
    let plugin = folder.join(format!("lib{name}.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]);
    for include in ["plugin-api/include", "tests/bad-plugins/in-c"] {
        compiler.arg("-I").arg(root().join(include));
    }
    let source = root().join(from).join(name).with_extension("c");
    compiler.arg(format!("-DNAME=\"{name}\"")).arg(source).arg("-o").arg(&plugin);
    assert!(compiler.status().expect("there is a C compiler").success(), "{name} does not compile");
    plugin
}

fn build(case: &str) -> PathBuf {
    let original = root().join("tests/bad-plugins").join(case);
    let folder = match fs::read_to_string(original.join("edit.txt")) {
        Ok(edit) => edited(case, &original, &edit),
        Err(_) => original,
    };
    built(&folder, &format!("lib{case}.so"))
}

/// Builds every standalone crate, for the tests that run afterwards.
///
/// # Panics
/// If one does not build.
pub fn build_all() {
    for case in crates_in("tests/bad-plugins") {
        build(&case);
    }
    let _ = other_abi_stable();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let _ = marked(version);
    }
    let _ = template();
    let _ = outside();
    let _ = with_libzmq("stins");
    let _ = with_curve("stins");
    over_libzmq(&["--no-run"]);
}

/// The names of the crates in a folder of the repository.
fn crates_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let crates = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").is_file());
    crates.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The file that cargo builds from the crate in `folder`. No other crate uses this file name.
fn built(folder: &Path, file: &str) -> PathBuf {
    let file = target().join("debug").join(file);
    if !(framegate::is_built() && file.exists()) {
        cargo("build", folder, |cargo| cargo);
    }
    file
}

/// The file of the template's plugin.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn template() -> PathBuf {
    built(&root().join("plugins/template"), "libframegate_template.so")
}

/// The program `tests/outside`. It is built in the target folder of the workspace, because it has most of its dependencies.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn outside() -> PathBuf {
    let target = framegate::built().parent().expect("the folder of a profile is in one for all").to_owned();
    let program = target.join("debug/outside");
    if !(framegate::is_built() && program.exists()) {
        cargo("build", &root().join("tests/outside"), |cargo| cargo.env("CARGO_TARGET_DIR", &target).env_remove(DEBUG));
    }
    program
}

/// The file of a plugin of this workspace that also receives through libzmq. It is built apart, because the library below it
/// has the same name for all features.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn with_libzmq(name: &str) -> PathBuf {
    let example = format!("framegate_{}_libzmq", name.replace('-', "_"));
    let file = target().join("debug/examples").join(format!("lib{example}.so"));
    if !(framegate::is_built() && file.exists()) {
        let package = format!("framegate-{name}");
        cargo("build", &root(), |cargo| cargo.args(["--features", "libzmq", "-p", &package, "--example", &example]));
    }
    file
}

/// The same with a libzmq that has CURVE, as `.cargo/system-libzmq.toml` builds it on a system that has one: here it is that of
/// pyzmq, whose folder (see [`python::libzmq`]) the host needs in `LD_LIBRARY_PATH`. Its target folder is its own, because cargo
/// would build libzmq's crates again for each change between the two.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn with_curve(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let target = target().join("with-curve");
    let example = format!("framegate_{}_libzmq", name.replace('-', "_"));
    let file = target.join("debug/examples").join(format!("lib{example}.so"));
    if !(framegate::is_built() && file.exists()) {
        let libraries = target.join("libraries");
        let link = libraries.join("libzmq.so");
        let linked = fs::create_dir_all(&libraries).and_then(|()| match fs::remove_file(&link) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => symlink(python::libzmq(), &link),
        });
        linked.unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        let search = format!("target.{}-unknown-linux-gnu.zmq.rustc-link-search=[{libraries:?}]", env::consts::ARCH);
        let package = format!("framegate-{name}");
        cargo("build", &root(), |cargo| {
            cargo.env("CARGO_TARGET_DIR", &target).args(["--config", ".cargo/system-libzmq.toml", "--config", &search]);
            cargo.args(["--features", "libzmq", "-p", &package, "--example", &example])
        });
    }
    file
}

/// Runs the socket tests of ZeroMQ sources over libzmq, with more arguments for `cargo test`.
///
/// # Panics
/// If one fails.
pub fn over_libzmq(more: &[&str]) {
    let tests = ["--features", "libzmq", "-p", "framegate-zmq-source", "--lib", "--test", "bind", "--test", "links"];
    cargo("test", &root(), |cargo| cargo.env("FRAMEGATE_TEST_TRANSPORT", "libzmq").args(tests).args(more));
}

/// The file of `tests/plugins/other_abi_stable`.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn other_abi_stable() -> PathBuf {
    built(&root().join("tests/plugins/other_abi_stable"), "libother_abi_stable.so")
}

/// The environment of a plugin author: the command `framegate` in the path, and cargo. It downloads nothing, and builds
/// into the common target folder of the standalone crates.
pub fn for_authors(command: &mut Command) {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [framegate::built().to_owned()].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(path).expect("no colon is in the names of our folders"));
    command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", target());
    // Nobody debugs these.
    command.env(DEBUG, "0");
}

const DEBUG: &str = "CARGO_PROFILE_DEV_DEBUG";

/// The file of `tests/plugins/marked`, built as the version `version`.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn marked(version: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let original = root().join("tests/plugins/marked");
    let folder = target().join("edited").join(format!("marked-{version}"));
    copy(&original.join("src/lib.rs"), &folder.join("src/lib.rs"));
    // Each version has its own library name, or one would be mistaken for the other.
    let library = format!("framegate_marked_{}", version.replace('.', "_"));
    let manifest = read(&original.join("Cargo.toml"))
        .replace("version = \"1.0.0\"", &format!("version = \"{version}\""))
        .replace("[lib]", &format!("[lib]\nname = \"{library}\""))
        .replace("../../../plugin-api", &root().join("plugin-api").display().to_string());
    write_if_changed(&folder.join("Cargo.toml"), &manifest);
    built(&folder, &format!("lib{library}.so"))
}

/// Runs cargo in the folder of a standalone crate; `edit` changes its environment.
fn cargo(what: &str, folder: &Path, edit: impl Fn(&mut Command) -> &mut Command) {
    // The workspace's versions, so that nothing is downloaded for a test.
    copy(&root().join("Cargo.lock"), &folder.join("Cargo.lock"));
    let mut cargo = framegate::cargo();
    for_authors(&mut cargo);
    let output = edit(cargo.args([what, "--quiet"])).current_dir(folder).output().expect("cargo runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo {what} in {}:\n{out}\n{err}", folder.display());
}

/// A copy of the case beside a copy of `plugin-api` with one line edited.
fn edited(case: &str, original: &Path, edit: &str) -> PathBuf {
    let copy = target().join("edited").join(case);
    let folder = copy.join("tests/bad-plugins").join(case);
    copy_folder(original, &folder);
    copy_folder(&root().join("plugin-api"), &copy.join("plugin-api"));
    let mut workspace: toml::Table = read(&root().join("Cargo.toml")).parse().expect("our own manifest is TOML");
    let members = ["plugin-api", "plugin-api/abi"].map(toml::Value::from).to_vec();
    workspace["workspace"]["members"] = members.into();
    workspace["workspace"]["exclude"] = vec![toml::Value::from("tests")].into();
    write_if_changed(&copy.join("Cargo.toml"), &workspace.to_string());

    let edit: [&str; 3] = edit.lines().collect::<Vec<_>>().try_into().expect("an edit has three lines");
    let [file, from, to] = edit;
    let text = read(&root().join(file));
    assert_eq!(text.matches(from).count(), 1, "{case}: the line to replace must stand once in {file}");
    write_if_changed(&copy.join(file), &text.replace(from, to));
    folder
}

/// Makes `to` the same as `from`; keeps files of cargo.
fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(to).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !from.join(&name).exists() && name != "Cargo.lock" && name != "target" {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("a folder of ours can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            copy(&entry.path(), &target);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    write_if_changed(to, &read(from));
}

/// Keeps the modification time of an unchanged file, so that cargo does not build again.
fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() == Some(text) {
        return;
    }
    let folder = path.parent().expect("a file is in a folder");
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the repository").to_owned()
}

/// Where they are built. One folder for all, so that common dependencies are built once.
///
/// # Panics
/// If the workspace does not build.
#[must_use]
pub fn target() -> PathBuf {
    framegate::built().join("bad-plugins")
}
