//! Passes the compiler's version to the crate; the plugin's note contains it.

use std::{env, process::Command};

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=FRAMEGATE_COMPILER={}", version.as_deref().unwrap_or("rustc, unknown version").trim());
    println!("cargo::rerun-if-changed=build.rs");
}
