//! Everything that documents name exists: paths, tests, and the sentences that tests check.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{code::read_all, root, text};

#[test]
fn every_path_that_a_document_names_exists() {
    let named = text::paths("see `ingester/pair.rs`, [here](tests/run), `source::x`, `cargo run` and `gone/away.rs`");
    assert_eq!(named, ["ingester/pair.rs", "tests/run", "gone/away.rs"]);
    let exists = |document: &str, path: &str| text::exists(&root(), document, path);
    assert!(exists("README.md", "ingester/pair.rs") && !exists("README.md", "gone/away.rs"));
    assert!(exists("docs/SUMMARY.md", "decisions/README.md") && !exists("README.md", "decisions/README.md"));
    let mut complaints = Vec::new();
    for document in documents() {
        let content = fs::read_to_string(root().join(&document)).unwrap();
        let gone = text::paths(&content).into_iter().filter(|path| !exists(&document, path));
        complaints.extend(gone.map(|path| format!("{document}: there is no {path}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// So it works on a code host, and in the book, where pages have the paths of their files.
#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading_and_between_pages_of_the_book() {
    let text = "[a](../b.md#c), [d](#e), [f](https://g.h/i), [j](k/l)";
    assert_eq!(text::links(text), [("../b.md", "c"), ("", "e"), ("k/l", "")]);
    let page = "# A\n## The `b`, c_d: E-f\n```sh\n# no\n```\n";
    assert_eq!(text::headings(page), ["a", "the-b-c_d-e-f"]);
    let linked = |link: &str, is_there: bool| {
        let pages = [("docs/a.md", page.to_owned()), ("b.md", format!("[x]({link})"))];
        let pages = BTreeMap::from(pages.map(|(path, content)| (path.to_owned(), content)));
        text::broken_links(&pages, &|path| is_there && path == Path::new("c.md")).len()
    };
    for (link, broken) in [("docs/a.md#a", 0), ("docs/a.md#b", 1), ("c.md", 1), ("docs/../docs/a.md", 0), ("#x", 1)] {
        assert_eq!(linked(link, true), broken, "{link}");
    }
    assert_eq!((linked("d.svg", true), linked("c.md", false)), (1, 1));
    let pages = documents().into_iter().map(|path| {
        let content = fs::read_to_string(root().join(&path)).unwrap();
        (path, content)
    });
    let complaints = text::broken_links(&pages.collect(), &|path| root().join(path).exists());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_page_of_the_docs_is_a_chapter_of_their_summary() {
    let two = ["docs/README.md", "docs/design/README.md"].map(str::to_owned);
    assert_eq!(text::unlisted("- [A](README.md)\n", &two), ["docs/design/README.md"]);
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut pages = pages("docs");
    pages.retain(|page| page != "docs/SUMMARY.md");
    assert_eq!(text::unlisted(&summary, &pages), Vec::<&String>::new());
}

#[test]
fn every_fault_of_the_page_has_the_tests_that_it_names() {
    let page = "# A\n\n### x\n\ny `z`\n\nTests: `a.rs`: `a_test_that_is_there`, `b/`\n\n## B\n\n### v `w`\n\ny `z`\n";
    let told = text::faults(page, &|test| test == "a_test_that_is_there");
    assert_eq!(told, ["no test is named: v `w`"]);
    assert_eq!(text::faults(page, &|_| false).len(), 2);
    let is_there = tests_that_are_there();
    let pages = pages("docs/operate/troubleshooting");
    assert!(pages.len() > 1, "{pages:?}");
    for page in pages {
        let complaints = text::faults(&fs::read_to_string(root().join(&page)).unwrap(), &is_there);
        assert!(complaints.is_empty(), "{page}:\n{}\n", complaints.join("\n"));
    }
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

/// The documents whose paths and links are checked, relative to the root: the pages of the book.
fn documents() -> Vec<String> {
    let book: toml::Table = fs::read_to_string(root().join("book.toml")).unwrap().parse().unwrap();
    let repository = &book["preprocessor"]["repository"];
    let outside = [&repository["first"]].into_iter().chain(repository["last"].as_array().unwrap());
    outside.map(|page| page.as_str().unwrap().to_owned()).chain(pages("docs")).collect()
}

/// All pages below this folder, relative to the root.
fn pages(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.extend(pages(&path));
        } else if path.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// Whether a test with this name exists.
fn tests_that_are_there() -> impl Fn(&str) -> bool {
    let files = read_all(&root()).into_keys();
    let code: Vec<_> = files.filter_map(|path| fs::read_to_string(root().join(path)).ok()).collect();
    move |test| code.iter().any(|text| text.contains(&format!("fn {test}(")))
}
