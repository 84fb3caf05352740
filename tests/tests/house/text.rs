//! Reads manifests and documents as far as the rules need it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Dependencies that a manifest of a plugin, or of the plugin API, must not have.
pub(crate) fn dependencies(path: &str, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let names = manifest.get("dependencies").and_then(toml::Value::as_table).map(|table| table.keys().cloned());
    let own: &[&str] = match path {
        _ if path.starts_with("plugin-api/abi/") => &[],
        _ if path.starts_with("plugin-api/") => &["framegate-plugin-abi"],
        // What all ZeroMQ sources share also speaks its protocol.
        _ if path.starts_with("plugins/zmq-source/") => {
            &["framegate-plugin-api", "framegate-source-kit", "framegate-zmtp"]
        }
        // The host uses it too, so it knows nothing of either.
        _ if path.starts_with("plugins/http-server/") => &[],
        // The plugins share three crates, which are not plugins.
        _ => &["framegate-http-server", "framegate-plugin-api", "framegate-source-kit", "framegate-zmq-source"],
    };
    let forbidden = |name: &String| {
        let outside = path.starts_with("plugin-api/") && ["tokio", "zmq", "zmq-sys", "redis"].contains(&name.as_str());
        outside || (name.starts_with("framegate") && !own.contains(&name.as_str()))
    };
    let complaint = |name| format!("{path}: may not depend on {name}");
    names.into_iter().flatten().filter(forbidden).map(complaint).collect()
}

/// The settings declared in a plugin's file: the public fields of structs whose names end with `Settings`, without
/// flattened fields.
pub(crate) fn settings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut flattened = false;
    for line in code.lines() {
        match line.trim() {
            line if line.starts_with("pub struct ") && line.ends_with("Settings {") => inside = true,
            "}" => inside = false,
            "#[serde(flatten)]" => flattened = true,
            line if inside && line.starts_with("pub ") && !std::mem::take(&mut flattened) => {
                found.extend(line.trim_start_matches("pub ").split(':').next().map(str::to_owned));
            }
            _ => {}
        }
    }
    found
}

/// The paths in a text: in backticks, or as the target of a link.
pub(crate) fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = text.split('`').skip(1).step_by(2);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for candidate in code.chain(links) {
        let plain = candidate.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let is_path = candidate.contains('/') || [".rs", ".md"].iter().any(|end| candidate.ends_with(end));
        if plain && is_path && !candidate.starts_with(['/', '.']) && !found.iter().any(|known| known == candidate) {
            found.push(candidate.to_owned());
        }
    }
    found.sort_by_key(|path| text.find(path.as_str()));
    found
}

/// Complaints about a page of faults: each entry (a heading of level 3) must have a paragraph that begins with `Tests:`
/// and names existing tests, or a folder of them.
pub(crate) fn faults(page: &str, is_there: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for entry in page.split("\n### ").skip(1) {
        let heading = entry.lines().next().unwrap_or_default();
        let named = entry.split("\n\nTests: ").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let (files, tests): (Vec<_>, Vec<_>) =
            named.split('`').skip(1).step_by(2).partition(|name| name.ends_with('/') || name.ends_with(".rs"));
        if tests.is_empty() && !files.iter().any(|file| file.ends_with('/')) {
            complaints.push(format!("no test is named: {heading}"));
        }
        complaints.extend(tests.into_iter().filter(|test| !is_there(test)).map(|test| format!("there is no {test}")));
    }
    complaints
}

/// Complaints about the table of promises: each sentence must be in its document (line breaks are ignored), and its
/// tests must exist.
pub(crate) fn promises(
    table: &str,
    read: &dyn Fn(&str) -> Option<String>,
    is_there: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Promises {
        promise: Vec<Promise>,
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Promise {
        document: String,
        sentence: String,
        tests: Vec<String>,
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let table: Promises = toml::from_str(table).unwrap_or_else(|error| panic!("tests/promises.toml: {error}"));
    let mut complaints = Vec::new();
    for Promise { document, sentence, tests } in table.promise {
        if !read(&document).is_some_and(|text| words(&text).contains(&words(&sentence))) {
            complaints.push(format!("{document}: it does not say (any more): {sentence}"));
        }
        if tests.is_empty() {
            complaints.push(format!("{sentence}: no test is named"));
        }
        let gone = tests.iter().filter(|test| !is_there(test));
        complaints.extend(gone.map(|test| format!("{sentence}: there is no {test}")));
    }
    complaints
}

/// Whether a path in a document exists: relative to the document's folder, to the root, or to the folders that
/// documents mostly refer to (the sources of the host and the plugin API, the tests). The tests create the files under
/// `target/`.
pub(crate) fn exists(root: &Path, document: &str, path: &str) -> bool {
    let beside = Path::new(document).parent().unwrap_or(Path::new(""));
    let from = ["", "host", "host/src", "plugin-api/src", "tests/tests"].map(Path::new);
    path.starts_with("target/") || from.iter().chain([&beside]).any(|from| root.join(from).join(path).exists())
}

/// The targets of a document's local links: the file, and the heading in it; the one or the other may be empty.
pub(crate) fn links(text: &str) -> Vec<(&str, &str)> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains(':'))
        .map(|target| target.split_once('#').unwrap_or((target, "")))
        .collect()
}

/// The names by which links find the headings of a page, on a code host as in a book.
pub(crate) fn headings(page: &str) -> Vec<String> {
    let outside_of_code = page.split("\n```").step_by(2).flat_map(str::lines);
    let name = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    outside_of_code.filter(|line| line.starts_with('#')).map(name).collect()
}

/// Complaints about links between pages, and from them to other files. A page that is not among them is not in the book.
pub(crate) fn broken_links(pages: &BTreeMap<String, String>, is_there: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, content) in pages {
        for (file, heading) in links(content) {
            let target = if file.is_empty() { path.into() } else { beside(path, file) };
            let why = match pages.get(target.to_str().unwrap_or_default()) {
                Some(page) if !heading.is_empty() && !headings(page).iter().any(|name| name == heading) => {
                    "no such heading"
                }
                Some(_) => continue,
                None if target.extension().is_some_and(|kind| kind == "md") => "no page of the book (book.toml)",
                None if !is_there(&target) => "no such file",
                None => continue,
            };
            complaints.push(format!("{path}: {file}#{heading}: {why}"));
        }
    }
    complaints
}

/// The path of a file that a page names, from the root.
fn beside(page: &str, file: &str) -> PathBuf {
    let mut path = Path::new(page).parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file) {
        if part == ".." {
            path.pop();
        } else {
            path.push(part);
        }
    }
    path
}

/// The pages of the docs that are no chapter of their summary.
pub(crate) fn unlisted<'a>(summary: &str, pages: &'a [String]) -> Vec<&'a String> {
    let listed: Vec<_> = links(summary).into_iter().map(|(chapter, _)| format!("docs/{chapter}")).collect();
    pages.iter().filter(|page| !listed.contains(page)).collect()
}
