//! Builds the plugins of `tests/bad-plugins`, each a workspace of its own, all into one target folder.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use framegate_tests::framegate;

/// The file of a case's plugin.
pub(crate) fn bad_plugin(case: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    // Held while it builds: cargo would wait for itself otherwise.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(case.to_owned()).or_insert_with(|| build(case)).clone()
}

fn build(case: &str) -> PathBuf {
    let original = root().join("tests/bad-plugins").join(case);
    let folder = match fs::read_to_string(original.join("edit.txt")) {
        Ok(edit) => edited(case, &original, &edit),
        Err(_) => original,
    };
    // The versions of the workspace, so that nothing is downloaded for a test.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    cargo_build(&folder, &target());
    target().join("debug").join(format!("lib{case}.so"))
}

/// Builds a library that stands alone.
pub(crate) fn cargo_build(folder: &Path, target: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--target-dir"]).arg(target).current_dir(folder);
    // Nobody looks into these with a debugger.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
}

/// A copy of the case beside a copy of `plugin-api` in which one line is another.
fn edited(case: &str, original: &Path, edit: &str) -> PathBuf {
    let copy = target().join("edited").join(case);
    let folder = copy.join("tests/bad-plugins").join(case);
    copy_folder(original, &folder);
    copy_folder(&root().join("plugin-api"), &copy.join("plugin-api"));
    let mut workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = ["plugin-api", "plugin-api/abi"].map(toml::Value::from).to_vec();
    workspace["workspace"]["members"] = members.into();
    workspace["workspace"]["exclude"] = vec![toml::Value::from("tests")].into();
    write_if_changed(&copy.join("Cargo.toml"), &workspace.to_string());

    let [file, from, to]: [&str; 3] = edit.lines().collect::<Vec<_>>().try_into().unwrap();
    let text = fs::read_to_string(root().join(file)).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{case}: the line to replace must stand once in {file}");
    write_if_changed(&copy.join(file), &text.replace(from, to));
    folder
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.path().extension().is_some_and(|ending| ending == "lock") {
        } else {
            write_if_changed(&target, &fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// Leaves the time of an unchanged file alone, so that cargo need not build again.
fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).unwrap();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One for all cases: what they have in common is built once.
fn target() -> PathBuf {
    framegate::built().join("bad-plugins")
}
