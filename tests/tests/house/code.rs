//! Reads Rust sources as far as the rules need it: the paths that a file names, and the words in its code.
//!
//! Works on tokens, so comments and strings do not count as code, but the contents of macros do. Code under
//! `#[cfg(test)]` is skipped: tests may use everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    iter::Peekable,
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

/// One file of Rust.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code {
    pub(crate) lines: usize,
    /// Every path, absolute within the crate where possible: `crate::names::ScanId`, `std::fs::read`.
    pub(crate) paths: BTreeSet<String>,
    /// Every identifier, including those in tests.
    pub(crate) words: BTreeSet<String>,
    /// Identifiers and texts outside of tests, in lower case.
    pub(crate) named: BTreeSet<String>,
    /// Test-only modules: `#[cfg(test)] mod walk;`.
    test_modules: Vec<String>,
}

/// All Rust files below `root`, with paths relative to it. Test-only files keep only lines and words.
pub(crate) fn read_all(root: &Path) -> BTreeMap<String, Code> {
    let mut all = BTreeMap::new();
    read_folder(root, root, &mut all);
    let test_modules: Vec<String> = all.values().flat_map(|code: &Code| code.test_modules.clone()).collect();
    for (path, code) in &mut all {
        let module = module_of(path);
        if test_modules.iter().any(|test| within(&module, test)) {
            code.paths.clear();
            code.named.clear();
        }
    }
    all
}

fn read_folder(root: &Path, folder: &Path, all: &mut BTreeMap<String, Code>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                read_folder(root, &path, all);
            }
        } else if name.ends_with(".rs") {
            let from_root = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let code = read(&from_root, &fs::read_to_string(&path).unwrap());
            all.insert(from_root, code);
        }
    }
}

/// Reads one file; its path determines its module.
pub(crate) fn read(path: &str, text: &str) -> Code {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
    let mut code = Code { lines: text.lines().count(), ..Code::default() };
    words(tokens.clone(), &mut code.words);
    let module = module_of(path);
    let tokens = without_tests(tokens, &module, &mut code.test_modules);
    named(tokens.clone(), &mut code.named);
    let mut paths = Vec::new();
    collect_paths(tokens, &[], &mut paths);
    code.paths = paths.iter().map(|path| absolute(&module, path)).collect();
    code
}

/// `host/src/a/b.rs` is `host::a::b`, `host/src/a/mod.rs` is `host::a`: the first part is the crate's folder.
pub(crate) fn module_of(path: &str) -> String {
    let (package, inside) = path.split_once("/src/").unwrap_or(("", path));
    let inside = inside.trim_end_matches(".rs");
    let inside = inside.strip_suffix("mod").map_or(inside, |folder| folder.trim_end_matches('/'));
    let inside = if inside == "lib" || inside == "main" { "" } else { inside };
    format!("{package}::{}", inside.replace('/', "::")).trim_end_matches("::").to_owned()
}

/// Whether `path` is `module` or inside it.
pub(crate) fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn words(tokens: TokenStream, into: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => _ = into.insert(ident.to_string()),
            TokenTree::Group(group) => words(group.stream(), into),
            _ => {}
        }
    }
}

/// Identifiers and literals, except in attributes (which include documentation).
fn named(tokens: TokenStream, into: &mut BTreeSet<String>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => _ = attribute(&mut tokens),
            TokenTree::Group(group) => named(group.stream(), into),
            TokenTree::Ident(ident) => _ = into.insert(ident.to_string().to_lowercase()),
            TokenTree::Literal(literal) => _ = into.insert(literal.to_string().to_lowercase()),
            TokenTree::Punct(_) => {}
        }
    }
}

/// Consumes the attribute after a `#`; returns its text, empty for an inner attribute.
fn attribute(tokens: &mut Peekable<token_stream::IntoIter>) -> String {
    let inner = tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!')).is_some();
    let group = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
    let text = tokens.next_if(group).map(|group| group.to_string().replace(' ', "")).unwrap_or_default();
    if inner { String::new() } else { text }
}

/// Skips items under `#[cfg(test)]`, down to their `;` or closing brace.
fn without_tests(tokens: TokenStream, module: &str, test_modules: &mut Vec<String>) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if attribute(&mut tokens) == "[cfg(test)]" {
                    let item: Vec<String> = skip_item(&mut tokens);
                    if let [.., keyword, name] = item.as_slice()
                        && keyword == "mod"
                    {
                        test_modules.push(format!("{module}::{name}"));
                    }
                }
            }
            TokenTree::Group(group) => {
                let inside = without_tests(group.stream(), module, test_modules);
                kept.push(TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inside)));
            }
            _ => kept.push(token),
        }
    }
    kept.into_iter().collect()
}

/// Skips an item; returns its tokens before its `;` or body.
fn skip_item(tokens: &mut Peekable<token_stream::IntoIter>) -> Vec<String> {
    let mut item = Vec::new();
    for token in tokens.by_ref() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => item.push(token.to_string()),
        }
    }
    item
}

/// Every path, `a::{b, c::d}` as two.
fn collect_paths(tokens: TokenStream, prefix: &[String], into: &mut Vec<Vec<String>>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect_paths(group.stream(), prefix, into),
            TokenTree::Ident(ident) if ident == "as" && !prefix.is_empty() => _ = tokens.next(),
            TokenTree::Ident(ident) => {
                let mut path = prefix.to_vec();
                path.push(ident.to_string());
                loop {
                    let mut colons = 0;
                    while tokens.next_if(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ':')).is_some() {
                        colons += 1;
                    }
                    match tokens.peek() {
                        Some(TokenTree::Ident(next)) if colons == 2 => path.push(next.to_string()),
                        Some(TokenTree::Group(group)) if colons == 2 && group.delimiter() == Delimiter::Brace => {
                            collect_paths(group.stream(), &path, into);
                            path.clear(); // the names in the braces are used, not the module itself
                            tokens.next();
                            break;
                        }
                        _ => break,
                    }
                    tokens.next();
                }
                if !path.is_empty() {
                    into.push(path);
                }
            }
            _ => {}
        }
    }
}

/// Resolves `super` and `self` against the module.
fn absolute(module: &str, path: &[String]) -> String {
    let mut inside: Vec<&str> = module.split("::").skip(1).collect();
    let mut rest = path;
    match rest[0].as_str() {
        "self" | "super" => {
            while let Some((first, others)) = rest.split_first()
                && (first == "self" || first == "super")
            {
                if first == "super" {
                    inside.pop();
                }
                rest = others;
            }
        }
        _ => return path.join("::"),
    }
    let rest = rest.iter().map(String::as_str);
    ["crate"].into_iter().chain(inside).chain(rest).collect::<Vec<_>>().join("::")
}
