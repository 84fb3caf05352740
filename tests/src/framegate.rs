//! The built command `framegate` and its plugins, as users run them.
//!
//! The tests start the real file. `cargo test` alone does not build it, so the first test that needs it does.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The command, without arguments. It inherits none of the variables that it reads.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(built().join("framegate"));
    for name in INGESTER_VARIABLES {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    // Where the umask is 002, all built files are group-writable.
    command.env(ALLOW_WRITABLE, "true");
    command
}

/// The same command, started by a shell with `exec` after it has run `script`.
#[must_use]
pub fn after(script: &str, command: &Command) -> Command {
    wrapped("sh", &["-c", &format!("{script}\nexec \"$0\" \"$@\"")], command)
}

/// The same command, run by another program with its own arguments, such as strace or valgrind.
#[must_use]
pub fn wrapped(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(program);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// The file of a plugin of this workspace.
#[must_use]
pub fn plugin(name: &str) -> PathBuf {
    built().join(format!("libframegate_{}.so", name.replace('-', "_")))
}

/// An example of the host, without arguments.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    if !is_built() {
        build(&["--example", name]);
    }
    profile_folder().join("examples").join(name)
}

/// The folder where cargo puts programs and plugins. Everything in it is up to date.
///
/// # Panics
/// If the workspace does not build.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if !is_built() {
            build(&["--lib", "--bins", "--examples"]);
        }
        profile_folder()
    })
}

/// Whether `tests/run` has just built everything, so that tests need not call cargo or wait for another test's cargo.
pub(crate) fn is_built() -> bool {
    env::var_os("FRAMEGATE_BUILT").is_some()
}

/// Builds targets of the workspace in the profile of the tests. Examples are among them, so that cargo resolves
/// features as it does for tests. Otherwise crates would be built twice, and a plugin's library, which has the same
/// name for all features, would be replaced under the tests that link it.
fn build(targets: &[&str]) {
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--workspace"]).args(targets).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "the workspace does not build: {targets:?}");
}

/// Cargo, without arguments. It must not see the variables that the outer cargo set for the tests' package: some build
/// scripts (for example that of ring) depend on them and would run again, and everything above them would be built
/// again.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        cargo.env_remove(name);
    }
    cargo
}

/// `target/PROFILE` of the running program; a test is `target/PROFILE/deps/NAME`.
pub(crate) fn profile_folder() -> PathBuf {
    let program = env::current_exe().expect("a program knows its own file");
    let folder = program.parent().expect("a file is in a folder");
    let is_deps = folder.file_name().is_some_and(|name| name == "deps");
    folder.parent().filter(|_| is_deps).unwrap_or(folder).to_owned()
}

/// Accepts plugin files that other users can write to.
pub const ALLOW_WRITABLE: &str = "FRAMEGATE_ALLOW_WRITABLE_PLUGINS";

/// The environment variables of an ingester, the same in framegate and dranspose.
pub(crate) const INGESTER_VARIABLES: &[&str] = &[
    "INGESTER_STREAMS",
    "INGESTER_NAME",
    "INGESTER_URL",
    "UPSTREAM_URL",
    "DUMP_PATH",
    "SERVICE_REDIS_DSN",
    "REDIS_URL",
    "FRAMEGATE_REDIS_USER",
    "FRAMEGATE_REDIS_PASSWORD",
    "FRAMEGATE_REDIS_PASSWORD_FILE",
    "FRAMEGATE_REDIS_CA",
    "FRAMEGATE_REDIS_CERTIFICATE",
    "FRAMEGATE_REDIS_KEY",
    "BUILD_META_FILE",
    "LOG_LEVEL",
    "FRAMEGATE_ADMIN",
    "FRAMEGATE_CAPTURE_ROOT",
    "FRAMEGATE_PLUGIN_PATH",
    ALLOW_WRITABLE,
];
