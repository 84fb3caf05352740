//! The public interface of the crates that others build on, as text, compared with the code.
//!
//! A change of such an interface shows as a change of a file in `text/`, so that it is made on purpose.
//! `cargo run -p framegate-public-api` writes these files.

#![forbid(unsafe_code)]

use std::{error::Error, fs, path::PathBuf, process::Command};

use public_api::Builder;
use serde_json::Value;

/// Programs and sources build on these crates.
pub const PACKAGES: &[&str] = &[
    "framegate",
    "framegate-plugin-abi",
    "framegate-plugin-api",
    "framegate-source-kit",
    "framegate-zmq-source",
    "framegate-zmtp",
];

/// Version of rustdoc's JSON that `public-api` reads.
const FORMAT: u64 = 57;

/// The interface of a package.
#[derive(Debug)]
pub enum Interface {
    /// One line for each item.
    Text(String),
    /// This Rust writes a version of rustdoc's JSON that is not read here.
    OtherFormat(u64),
}

/// The public interface of a package of this workspace, in the code.
///
/// # Errors
/// The package does not build, or its documentation cannot be read.
pub fn interface(package: &str) -> Result<Interface, Box<dyn Error>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = folder.join("../../target/public-api");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["doc", "--quiet", "--locked", "--no-deps", "--package", package])
        .env("RUSTDOC", folder.join("rustdoc"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTDOCFLAGS")
        .current_dir(&folder)
        .status()?;
    if !done.success() {
        return Err(format!("{package} cannot be documented: {done}").into());
    }
    let json = target.join("doc").join(format!("{}.json", package.replace('-', "_")));
    let format = serde_json::from_str::<Value>(&fs::read_to_string(&json)?)?["format_version"].as_u64();
    match format {
        Some(FORMAT) => {}
        other => return Ok(Interface::OtherFormat(other.unwrap_or(0))),
    }
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(Interface::Text(api.items().map(|item| format!("{item}\n")).collect()))
}

/// The file with the interface of a package.
#[must_use]
pub fn file(package: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("text").join(format!("{package}.txt"))
}
