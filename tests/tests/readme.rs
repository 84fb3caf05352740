//! The examples in the README and in the chapters of the docs are valid: their configurations are read, and their
//! command lines are parsed. (Their programs are compiled as doc tests of this crate.)

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use ::framegate::settings::Settings;
use framegate_tests::framegate;

fn readme() -> String {
    read("README.md")
}

fn documents() -> String {
    let chapters = ["docs/operate", "docs/write-a-source", "docs/embed", "docs/isolation", "docs/reference"]
        .map(chapters)
        .concat();
    readme() + &chapters
}

/// The text of all files below this folder.
fn chapters(folder: &str) -> String {
    let folder_here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let text = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() { chapters(&path) } else { read(&path) }
    };
    fs::read_dir(folder_here).unwrap().map(text).collect()
}

fn read(document: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap()
}

/// The code blocks in this language.
fn blocks(language: &str) -> Vec<String> {
    let text = documents();
    let fences: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    let of_language = |block: &&str| block.lines().next() == Some(language);
    let blocks: Vec<_> =
        fences.into_iter().filter(of_language).map(|block| block[language.len()..].to_owned()).collect();
    assert!(!blocks.is_empty(), "no block of {language}");
    blocks
}

/// Every command line of framegate: in code blocks and in table cells.
fn command_lines() -> BTreeSet<String> {
    let text = documents();
    let cells = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let lines = blocks("sh").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let yaml = blocks("yaml").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let command = |line: String| {
        let line = line.trim().trim_start_matches("command: ").trim_start_matches("./");
        let line = line.split(" #").next()?.split(" > ").next()?.trim();
        line.starts_with("framegate ").then(|| line.to_owned())
    };
    cells.chain(lines).chain(yaml).filter_map(command).collect()
}

#[test]
fn their_configurations_are_read() {
    for block in blocks("toml") {
        Settings::from_toml(&block).unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
}

#[test]
fn their_command_lines_are_understood() {
    let lines = command_lines();
    assert!(lines.len() >= 10, "{lines:?}");
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let subcommands = words.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let subcommands: Vec<&str> = subcommands.copied().take(if words[0] == "plugin" { 2 } else { 1 }).collect();
        let help = framegate::command().args(&subcommands).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("framegate {}", subcommands.join(" "))), "{line}: no such command\n{help}");
        for flag in words.iter().filter(|word| word.starts_with('-')) {
            let listed = |line: &str| line.split([' ', ',']).any(|word| word == *flag);
            assert!(help.lines().any(listed), "{line}: no such flag {flag}\n{help}");
        }
    }
}

#[test]
fn the_variables_for_those_who_migrate_are_those_of_the_command() {
    let help = framegate::command().args(["ingester", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        words.filter(|word| word.len() > 6 && word.contains('_')).map(str::to_owned).collect()
    };
    let text = read("docs/operate/migrating.md");
    let said =
        text.split("All variables of dranspose's ingester are read:").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(named(said).len() > 7 && named(said).is_subset(&named(&help)), "{:?}", named(said));
}

#[test]
fn what_the_readme_says_of_the_scripts_is_there() {
    let run = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("run")).unwrap();
    let of_tests = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let text = readme() + &of_tests;
    let words = text
        .split("tests/run ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '-')).next());
    let words: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    assert!(words.len() >= 3, "{words:?}");
    for word in words {
        assert!(run.contains(&format!("\n{word})\n")), "tests/run knows no {word}");
    }
}
