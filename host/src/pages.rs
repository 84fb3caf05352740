//! Parts of the documentation that are made from the code, compared with what stands in the repository.

use std::{env, fs, path::Path};

/// Checks that a file of the repository, relative to this crate, ends with `expected` after `heading`.
/// With FRAMEGATE_UPDATE=1 it writes the file instead.
///
/// # Panics
/// They differ.
pub(crate) fn compare(file: &str, heading: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let page = fs::read_to_string(&path).unwrap_or_default();
    let start = if heading.is_empty() { 0 } else { page.find(heading).map_or(page.len(), |at| at + heading.len()) };
    if env::var_os("FRAMEGATE_UPDATE").is_some_and(|value| value == "1") {
        return fs::write(&path, format!("{}{expected}", &page[..start])).expect("the page can be written");
    }
    let update = "FRAMEGATE_UPDATE=1 cargo test -p framegate --lib";
    assert!(page[start..] == *expected, "{} differs from the code; `{update}` writes it:\n{expected}", path.display());
}
