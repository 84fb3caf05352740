//! Finds the plugin file for a name or a path in the settings.
//!
//! A name is looked up in `plugin_dirs`, then in the directories of [`PLUGIN_PATH`], beside the executable, and in
//! `../lib/framegate` from there. Both may end with `#sha256:HEX`, which pins the file's content. Opens no file.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::refusal::{Code, Refusal};
use crate::{
    names::{PLUGIN_PATH, PluginReference},
    near::near,
};

/// Finds the requested file: a path, or a name that is looked up in [`places`].
///
/// # Errors
/// There is no such file.
pub fn find(plugin: &PluginReference<'_>, plugin_dirs: &[PathBuf]) -> Result<PathBuf, Refusal> {
    if plugin.is_path() {
        let path = PathBuf::from(plugin.what);
        return if path.exists() { Ok(path) } else { Err(no_such_path(&path)) };
    }
    let places = places(plugin_dirs);
    let file = file_name(plugin.what);
    match places.iter().map(|place| place.join(&file)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => Err(no_such_name(plugin.what, &file, &places)),
    }
}

/// All directories in which plugins are looked up by name, in order: `plugin_dirs`, those of the variable
/// FRAMEGATE_PLUGIN_PATH, the folder of the executable, and `../lib/framegate` from there.
#[must_use]
pub fn places(plugin_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = plugin_dirs.to_vec();
    if let Some(path) = env::var_os(PLUGIN_PATH) {
        places.extend(env::split_paths(&path).filter(|place| !place.as_os_str().is_empty()));
    }
    if let Some(beside) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(beside.to_owned());
        if let Some(above) = beside.parent() {
            places.push(above.join("lib/framegate"));
        }
    }
    places
}

/// All files in a directory that have the name of a plugin, in alphabetical order: the plugin's name, and the path.
#[must_use]
pub fn plugins_in(place: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = place.read_dir() else { return Vec::new() };
    let mut found: Vec<_> =
        entries.flatten().filter_map(|entry| Some((plugin_name(entry.file_name().to_str()?)?, entry.path()))).collect();
    found.sort();
    found
}

/// The file name of a plugin: `eiger-legacy` → `libframegate_eiger_legacy.so`.
fn file_name(name: &str) -> String {
    format!("{PREFIX}{}{SUFFIX}", name.replace('-', "_"))
}

/// The plugin name of a file, spelled like a crate's: `libframegate_eiger_legacy.so` → `eiger-legacy`. `None` if no name
/// leads to the file.
fn plugin_name(file: &str) -> Option<String> {
    let name = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (!name.is_empty() && !name.contains('-')).then(|| name.replace('_', "-"))
}

const PREFIX: &str = "libframegate_";
const SUFFIX: &str = ".so";

fn no_such_path(path: &Path) -> Refusal {
    let shown = path.display();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let siblings = siblings(dir);
    let meant = near(&file, siblings.iter().map(String::as_str));
    let remedy = match meant {
        Some(near) => format!("did you mean {}?", dir.join(near).display()),
        None if !dir.is_dir() => {
            format!("there is no directory {} either; give the path of the plugin's .so file", dir.display())
        }
        None => "give the path of the plugin's .so file; relative paths start at the working directory".to_owned(),
    };
    Refusal::new(Code::Find, format!("there is no file {shown}"), remedy)
}

fn no_such_name(name: &str, file: &str, places: &[PathBuf]) -> Refusal {
    let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let known: Vec<String> = places.iter().flat_map(|place| plugins_in(place)).map(|(name, _)| name).collect();
    let wanted = name.replace('_', "-");
    let remedy = match near(&wanted, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"? `framegate plugin list` shows what is found where"),
        None => format!("set plugin_dirs or {PLUGIN_PATH} to the plugin's directory, or give the path of its file"),
    };
    let found = format!("no plugin \"{name}\": there is no {file} in {}", looked.join(", "));
    Refusal::new(Code::Find, found, remedy)
}

fn siblings(dir: &Path) -> Vec<String> {
    let Ok(entries) = dir.read_dir() else { return Vec::new() };
    // A directory with more files is hardly one of plugins, and the search is only for a hint.
    entries.flatten().take(1000).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(directory.path().join(file), "").unwrap();
        }
        directory
    }

    fn plugin(reference: &str) -> PluginReference<'_> {
        PluginReference::parse(reference)
    }

    #[test]
    fn a_name_is_the_file_libframegate_name_in_the_first_place_that_has_it() {
        let (first, second) =
            (directory(&["libframegate_a.so"]), directory(&["libframegate_a.so", "libframegate_b_c.so"]));
        let places = [first.path().to_owned(), second.path().to_owned()];
        assert_eq!(find(&plugin("a"), &places).unwrap(), first.path().join("libframegate_a.so"));
        for name in ["b-c", "b_c"] {
            assert_eq!(find(&plugin(name), &places).unwrap(), second.path().join("libframegate_b_c.so"));
        }
    }

    #[test]
    fn a_plugin_is_shown_with_the_spelling_of_crates() {
        let place = directory(&["libframegate_b_c.so", "libframegate_d-e.so", "libframegate_.so", "libother.so"]);
        let names: Vec<_> = plugins_in(place.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b-c"]);
        for near in ["b-d", "b_d"] {
            let refusal = find(&plugin(near), &[place.path().to_owned()]).unwrap_err();
            assert!(refusal.remedy.contains("did you mean \"b-c\""), "{refusal}");
        }
    }

    #[test]
    fn a_missing_name_says_where_it_was_looked_for_and_what_is_near() {
        let place = directory(&["libframegate_stins.so"]);
        let refusal = find(&plugin("stin"), &[place.path().to_owned()]).unwrap_err();
        assert_eq!(refusal.code, Code::Find);
        assert!(refusal.found.contains(place.path().to_str().unwrap()), "{refusal}");
        assert!(refusal.found.contains("libframegate_stin.so"), "{refusal}");
        assert!(refusal.remedy.contains("did you mean \"stins\""), "{refusal}");
    }

    #[test]
    fn a_missing_path_says_what_is_near() {
        let place = directory(&["libmine.so"]);
        let path = place.path().join("libmin.so");
        let refusal = find(&plugin(path.to_str().unwrap()), &[]).unwrap_err();
        assert!(refusal.remedy.contains("libmine.so"), "{refusal}");
    }
}
