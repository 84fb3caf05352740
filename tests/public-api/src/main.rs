//! Writes the public interfaces into `text/`, or the one that is named.

#![forbid(unsafe_code)]

use std::{env, error::Error, fs};

use framegate_public_api::{Interface, PACKAGES, file, interface};

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: Vec<_> = env::args().skip(1).collect();
    for package in PACKAGES.iter().filter(|one| wanted.is_empty() || wanted.iter().any(|name| name == *one)) {
        match interface(package)? {
            Interface::Text(text) => fs::write(file(package), text)?,
            Interface::OtherFormat(format) => {
                return Err(format!("this Rust writes format {format} of rustdoc's JSON; use Rust 1.95").into());
            }
        }
    }
    Ok(())
}
