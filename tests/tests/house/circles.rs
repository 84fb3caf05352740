//! Files of a crate do not import each other in circles: a reader can begin with the one that imports no other.
//!
//! A module and the modules inside it may name each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Sources,
    code::{module_of, read, read_all, within},
    root,
};

/// The modules that each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn imports(sources: &Sources) -> Imports {
    let modules: BTreeSet<String> =
        sources.keys().filter(|path| path.contains("/src/")).map(|path| module_of(path)).collect();
    let mut imports = Imports::new();
    for (path, code) in sources.iter().filter(|(path, _)| path.contains("/src/")) {
        let module = module_of(path);
        let package = module.split("::").next().unwrap_or_default();
        let used = code.paths.iter().filter_map(|path| path.strip_prefix("crate::"));
        let of_files = used.filter_map(|used| file_of(&format!("{package}::{used}"), &modules));
        let others = of_files.filter(|used| !within(used, &module) && !within(&module, used));
        imports.insert(module.clone(), others.collect());
    }
    imports
}

/// The innermost module that a path leads into.
fn file_of(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path;
    while !modules.contains(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

fn reaches(imports: &Imports, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            next.extend(imports.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

/// Each import that is part of a circle.
fn circles(sources: &Sources) -> Vec<String> {
    let imports = imports(sources);
    let all = imports.iter().flat_map(|(module, used)| used.iter().map(move |used| (module, used)));
    let in_circle = all.filter(|(module, used)| reaches(&imports, used, module));
    in_circle.map(|(module, used)| format!("{module} imports {used}, which leads back to it")).collect()
}

#[test]
fn files_of_a_crate_do_not_import_each_other_in_circles() {
    let of = |files: &[(&str, &str)]| -> Sources {
        files.iter().map(|(path, text)| ((*path).to_owned(), read(path, text))).collect()
    };
    let two = [("host/src/a.rs", "use crate::b::B;"), ("host/src/b/mod.rs", "fn f() { super::a::f() }")];
    assert_eq!(circles(&of(&two)).len(), 2);
    let three = [
        ("host/src/a.rs", "use super::b::B;"),
        ("host/src/b.rs", "use crate::{c::C, d::D};"),
        ("host/src/c.rs", "use crate::a::A;"),
        ("host/src/d.rs", ""),
    ];
    assert_eq!(circles(&of(&three)).len(), 3);
    // A module and its parts, and other crates' modules of the same name.
    let none = [
        ("host/src/a/mod.rs", "use self::b::B; use crate::c::C;"),
        ("host/src/a/b.rs", "use super::A;"),
        ("plugin-api/src/c.rs", "use crate::a::A;"),
        ("host/src/c.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
    ];
    assert_eq!(circles(&of(&none)), Vec::<String>::new());
    let complaints = circles(&read_all(&root()));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
