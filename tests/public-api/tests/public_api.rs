//! The public interfaces are those in `text/`.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{collections::BTreeSet, env, fs};

use framegate_public_api::{Interface, PACKAGES, file, interface};
use framegate_skip::skip;

/// Those of plugins. The others need more building: with FRAMEGATE_INTERFACES=all, as `tests/run release` does.
#[test]
fn the_public_interfaces_are_the_written_ones() {
    let all = env::var_os("FRAMEGATE_INTERFACES").is_some();
    compare(if all { PACKAGES } else { &["framegate-plugin-abi", "framegate-plugin-api"] });
}

fn compare(packages: &[&str]) {
    let mut differences = String::new();
    for package in packages {
        let now = match interface(package).unwrap() {
            Interface::Text(text) => text,
            Interface::OtherFormat(format) => {
                return skip(&format!("this Rust writes format {format} of rustdoc's JSON; Rust 1.95 writes 57"));
            }
        };
        let written = fs::read_to_string(file(package)).unwrap_or_default();
        let (now, written): (BTreeSet<_>, BTreeSet<_>) = (now.lines().collect(), written.lines().collect());
        let gone = written.difference(&now).map(|line| format!("{package}: gone:  {line}\n"));
        let new = now.difference(&written).map(|line| format!("{package}: new:   {line}\n"));
        differences.extend(gone.chain(new));
    }
    assert!(
        differences.is_empty(),
        "the public interface has changed; if that is meant, write it with\n\
         `cargo run -p framegate-public-api` and tell it in CHANGELOG.md:\n{differences}"
    );
}
