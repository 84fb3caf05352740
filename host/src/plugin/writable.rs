//! Who else could put another file in a plugin's place: a part of gate 1.
//!
//! Looks at the modes of the file and of every directory on the way to it, as the path was given and as it really is. Reads no
//! file and changes nothing. The group bits of a mode are also what an access control list allows at most.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::refusal::{Code, Refusal};

/// Neither the file nor a directory on its way may be written to by its group or by everybody.
pub(super) fn nobody_else_may_write(path: &Path) -> Result<(), Refusal> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.canonicalize().unwrap_or_else(|_| absolute.clone());
    let mut open: Vec<(PathBuf, String)> = Vec::new();
    for place in real.ancestors().chain(absolute.ancestors().skip(1)) {
        let Ok(about) = fs::metadata(place) else { continue };
        if let Some(who) = who_may_write(&about)
            && !open.iter().any(|(known, _)| known == place)
        {
            let what =
                if about.is_dir() { format!("its directory {} is", place.display()) } else { "it is".to_owned() };
            open.push((
                place.to_owned(),
                format!("{what} writable by {who} (mode {:o})", about.permissions().mode() & 0o7777),
            ));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let says: Vec<_> = open.iter().map(|(_, what)| what.as_str()).collect();
    let places: Vec<_> = open.iter().map(|(place, _)| place.display().to_string()).collect();
    let found = format!("{} may be replaced by others: {}", path.display(), says.join(", "));
    let remedy = format!(
        "chmod go-w {}, or set allow_writable_plugins = true (or the variable FRAMEGATE_ALLOW_WRITABLE_PLUGINS) if all who may write \
         there are trusted",
        places.join(" ")
    );
    Err(Refusal::new(Code::Writable, found, remedy))
}

/// The file belongs to root or to whoever runs this process. Asked for a swap that comes from outside: any user of the machine
/// can ask for one, and name a file of their own.
pub(crate) fn owner_is_trusted(path: &Path) -> Result<(), Refusal> {
    // A process's own directory belongs to its effective user.
    let own = fs::metadata("/proc/self").map(|about| about.uid());
    match (fs::metadata(path).map(|about| about.uid()), own) {
        (Ok(0), _) => Ok(()),
        (Ok(owner), Ok(own)) if owner == own => Ok(()),
        (Ok(owner), _) => {
            let found = format!("{} belongs to user {owner}, who is neither root nor runs framegate", path.display());
            let remedy = "give the file to root or to the user that framegate runs as, or name it in the configuration";
            Err(Refusal::new(Code::Writable, found, remedy))
        }
        (Err(problem), _) => {
            let found = format!("{} cannot be looked at: {problem}", path.display());
            Err(Refusal::new(Code::File, found, "give a file that exists and that this user may read"))
        }
    }
}

fn who_may_write(about: &Metadata) -> Option<&'static str> {
    let mode = about.permissions().mode();
    // In a sticky directory such as /tmp nobody can replace what belongs to others.
    if about.is_dir() && mode & 0o1000 != 0 {
        return None;
    }
    match (mode & 0o002 != 0, mode & 0o020 != 0) {
        (true, _) => Some("all users"),
        (false, true) => Some("its group"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in two directories, with these modes; what is said of it.
    fn look(outer: u32, inner: u32, file: u32) -> Result<(), Refusal> {
        let folder = tempfile::tempdir().unwrap();
        let (above, within) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        let path = within.join("lib.so");
        fs::create_dir_all(&within).unwrap();
        fs::write(&path, "").unwrap();
        for (place, mode) in [(&path, file), (&within, inner), (&above, outer)] {
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        }
        nobody_else_may_write(&path)
    }

    #[test]
    fn a_file_that_its_owner_alone_may_write_to_is_accepted_also_in_sticky_directories() {
        look(0o755, 0o750, 0o644).unwrap();
        look(0o1777, 0o1770, 0o555).unwrap();
    }

    #[test]
    fn whoever_may_write_is_named_with_the_place() {
        for (modes, who) in [
            ((0o755, 0o755, 0o664), "it is writable by its group (mode 664)"),
            ((0o755, 0o755, 0o646), "it is writable by all users (mode 646)"),
            ((0o775, 0o755, 0o644), "/outer is writable by its group (mode 775)"),
            ((0o755, 0o777, 0o644), "/outer/inner is writable by all users (mode 777)"),
            ((0o1777, 0o755, 0o1664), "it is writable by its group"),
        ] {
            let (outer, inner, file) = modes;
            let refusal = look(outer, inner, file).unwrap_err();
            assert!(refusal.code() == Code::Writable && refusal.found().contains(who), "{who}: {refusal}");
        }
    }

    #[test]
    fn all_places_are_said_at_once_with_the_command_that_closes_them() {
        let refusal = look(0o775, 0o775, 0o664).unwrap_err();
        let remedy = refusal.remedy();
        for place in ["/outer ", "/outer/inner ", "/outer/inner/lib.so "] {
            assert!(remedy.contains(place.trim_end()), "{remedy}");
        }
        assert!(remedy.starts_with("chmod go-w /"), "{remedy}");
    }
}
