//! Everything that documents name exists: paths, tests, and the sentences that tests check.

use std::fs;

use crate::{code::read_all, root, text};

#[test]
fn every_path_that_a_document_names_exists() {
    let named = text::paths("see `ingester/pair.rs`, [here](tests/run), `source::x`, `cargo run` and `gone/away.rs`");
    assert_eq!(named, ["ingester/pair.rs", "tests/run", "gone/away.rs"]);
    assert!(text::exists(&root(), "ingester/pair.rs") && !text::exists(&root(), "gone/away.rs"));
    let documents = [
        "ARCHITECTURE.md",
        "README.md",
        "CHANGELOG.md",
        "tests/README.md",
        "BENCHMARKING.md",
        "docs/plugin-authors.md",
        "docs/plugin-check.md",
        "docs/faults.md",
        "docs/redis.md",
        "docs/swap.md",
    ]
    .map(str::to_owned);
    let decisions = fs::read_dir(root().join("docs/decisions")).unwrap();
    let decisions = decisions.map(|file| format!("docs/decisions/{}", file.unwrap().file_name().to_string_lossy()));
    let mut complaints = Vec::new();
    for document in documents.into_iter().chain(decisions) {
        let Ok(content) = fs::read_to_string(root().join(&document)) else { continue };
        let gone = text::paths(&content).into_iter().filter(|path| !text::exists(&root(), path));
        complaints.extend(gone.map(|path| format!("{document}: there is no {path}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_fault_of_the_page_has_the_tests_that_it_names() {
    let page = "| fault | outcome | test |\n|---|---|---|\n| x | y `z` | `a.rs`: `a_test_that_is_there`, `b/` |\n| x | y | none |";
    let told = text::faults(page, &|test| test == "a_test_that_is_there");
    assert_eq!(told, ["no test is named: | x | y | none |"]);
    assert_eq!(text::faults(page, &|_| false).len(), 2);
    let is_there = tests_that_are_there();
    let page = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let complaints = text::faults(&page, &is_there);
    assert!(complaints.is_empty(), "docs/faults.md:\n{}\n", complaints.join("\n"));
}

#[test]
fn every_promise_stands_in_its_document_and_has_the_tests_that_it_names() {
    let table = "[[promise]]\ndocument = 'D'\nsentence = 'a b'\ntests = ['there']\n\
        [[promise]]\ndocument = 'D'\nsentence = 'gone'\ntests = ['gone_too']\n\
        [[promise]]\ndocument = 'D'\nsentence = 'c'\ntests = []";
    let told = text::promises(table, &|_| Some("a\n  b c".to_owned()), &|test| test == "there");
    assert_eq!(told, ["D: it does not say (any more): gone", "gone: there is no gone_too", "c: no test is named"]);
    let table = fs::read_to_string(root().join("tests/promises.toml")).unwrap();
    let is_there = tests_that_are_there();
    let complaints = text::promises(&table, &|document| fs::read_to_string(root().join(document)).ok(), &is_there);
    assert!(complaints.is_empty(), "tests/promises.toml:\n{}\n", complaints.join("\n"));
}

/// Whether a test with this name exists.
fn tests_that_are_there() -> impl Fn(&str) -> bool {
    let files = read_all(&root()).into_keys();
    let code: Vec<_> = files.filter_map(|path| fs::read_to_string(root().join(path)).ok()).collect();
    move |test| code.iter().any(|text| text.contains(&format!("fn {test}(")))
}
