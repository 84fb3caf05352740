//! Writes the seeds of a target into a folder, for libFuzzer: `seeds TARGET FOLDER`; without arguments, lists the targets.
#![allow(clippy::unwrap_used, reason = "it is run by tests/run alone")]

use std::{env, fs, path::Path, process::exit};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, folder] = arguments.as_slice() else {
        framegate_fuzz::TARGETS.iter().for_each(|target| println!("{}", target.name));
        return;
    };
    let Some(target) = framegate_fuzz::target(name) else {
        eprintln!("there is no target {name}; there are:");
        framegate_fuzz::TARGETS.iter().for_each(|target| eprintln!("    {}", target.name));
        exit(2);
    };
    fs::create_dir_all(folder).unwrap();
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(Path::new(folder).join(format!("seed-{number:04}")), seed).unwrap();
    }
}
