//! Checks who else could replace a plugin's file: a part of gate 1.
//!
//! Examines the [opened](super::open) file, and every folder and link on the way to it. Opens and changes nothing. The
//! group bits of a mode are also the upper limit of an access control list.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

use nix::unistd::geteuid;

use super::{
    open::{Opened, is_sticky},
    refusal::{Code, Refusal},
};

/// Checks that the file and every folder on its way belong to root or to the user of this process, and nobody else may
/// write to them.
pub(super) fn nobody_else_may_write(opened: &Opened) -> Result<(), Refusal> {
    let (mut says, mut closed, mut given) = (Vec::new(), Vec::new(), Vec::new());
    let file = ("it".to_owned(), &opened.path, &opened.about, true);
    // Nobody can write to a link itself. In a sticky folder only its owner can replace it; elsewhere everybody who may
    // write to the folder.
    let way = opened.way.iter().map(|step| {
        let kind = if step.about.is_symlink() { "the link" } else { "its directory" };
        let what = format!("{kind} {}", step.path.display());
        (what, &step.path, &step.about, !step.about.is_symlink() || step.in_sticky)
    });
    for (what, path, about, _) in std::iter::once(file).chain(way).filter(|(.., counts)| *counts) {
        if !is_trusted(about.uid()) {
            says.push(format!("{what} belongs to user {}", about.uid()));
            given.push(path.display().to_string());
        }
        if let Some(who) = who_may_write(about) {
            says.push(format!("{what} is writable by {who} (mode {:o})", about.mode() & 0o7777));
            closed.push(path.display().to_string());
        }
    }
    if says.is_empty() {
        return Ok(());
    }
    let command =
        |command, places: Vec<String>| (!places.is_empty()).then(|| format!("{command} {}", places.join(" ")));
    let commands: Vec<_> =
        [command("chmod go-w", closed), command("chown root", given)].into_iter().flatten().collect();
    let found = format!("{} may be replaced by others: {}", opened.path.display(), says.join(", "));
    let remedy = format!(
        "{}, or set allow_writable_plugins = true (or the variable FRAMEGATE_ALLOW_WRITABLE_PLUGINS) if all who may write \
         there are trusted",
        commands.join("; ")
    );
    Err(Refusal::new(Code::Writable, found, remedy))
}

/// Checks that the file belongs to root or to the user of this process. Required for a swap from outside: any user of
/// the machine can request one, and name a file of their own.
pub(super) fn owner_is_trusted(opened: &Opened) -> Result<(), Refusal> {
    let owner = opened.about.uid();
    if is_trusted(owner) {
        return Ok(());
    }
    let found = format!("{} belongs to user {owner}, who is neither root nor runs framegate", opened.path.display());
    let remedy = "give the file to root or to the user that framegate runs as, or name it in the configuration";
    Err(Refusal::new(Code::Writable, found, remedy))
}

fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

fn who_may_write(about: &Metadata) -> Option<&'static str> {
    // Nobody can write to a link; and in a sticky directory such as /tmp nobody can replace files of others.
    if about.is_symlink() || is_sticky(about) {
        return None;
    }
    match (about.mode() & 0o002 != 0, about.mode() & 0o020 != 0) {
        (true, _) => Some("all users"),
        (false, true) => Some("its group"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown, lchown, symlink},
        path::Path,
    };

    use super::*;
    use crate::plugin::open::open;

    fn judge(path: &Path) -> Result<(), Refusal> {
        nobody_else_may_write(&open(path).unwrap())
    }

    /// A file in two directories, with these modes; returns the check's result.
    fn look(outer: u32, inner: u32, file: u32) -> Result<(), Refusal> {
        let folder = tempfile::tempdir().unwrap();
        let (above, within) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        let path = within.join("lib.so");
        fs::create_dir_all(&within).unwrap();
        fs::write(&path, "").unwrap();
        for (place, mode) in [(&path, file), (&within, inner), (&above, outer)] {
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        }
        judge(&path)
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
            assert!(refusal.code == Code::Writable && refusal.found.contains(who), "{who}: {refusal}");
        }
    }

    #[test]
    fn all_places_are_said_at_once_with_the_command_that_closes_them() {
        let refusal = look(0o775, 0o775, 0o664).unwrap_err();
        let remedy = &refusal.remedy;
        for place in ["/outer ", "/outer/inner ", "/outer/inner/lib.so "] {
            assert!(remedy.contains(place.trim_end()), "{remedy}");
        }
        assert!(remedy.starts_with("chmod go-w /"), "{remedy}");
    }

    #[test]
    fn a_folder_behind_a_link_on_the_way_counts() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        for place in ["given", "between", "data"] {
            fs::create_dir(base.join(place)).unwrap();
        }
        fs::write(base.join("data/x.so"), "").unwrap();
        symlink(base.join("data"), base.join("between/current")).unwrap();
        symlink(base.join("between/current/x.so"), base.join("given/x.so")).unwrap();
        judge(&base.join("given/x.so")).unwrap();
        fs::set_permissions(base.join("between"), fs::Permissions::from_mode(0o777)).unwrap();
        let refusal = judge(&base.join("given/x.so")).unwrap_err();
        assert!(refusal.found.contains("/between is writable by all users (mode 777)"), "{refusal}");
    }

    #[test]
    fn what_belongs_to_another_user_counts_and_a_link_does_where_only_its_owner_can_replace_it() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file, link) =
            (folder.path().join("inner"), folder.path().join("inner/x.so"), folder.path().join("link"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        if chown(&file, Some(65534), None).is_err() {
            return framegate_skip::skip("only root can give files away");
        }
        let refusal = judge(&file).unwrap_err();
        assert!(refusal.found.contains("it belongs to user 65534"), "{refusal}");
        assert!(refusal.remedy.starts_with(&format!("chown root {}, or set", file.display())), "{refusal}");
        chown(&file, Some(0), None).unwrap();
        judge(&file).unwrap();

        chown(&inner, Some(65534), None).unwrap();
        let refusal = judge(&file).unwrap_err();
        assert!(refusal.found.contains("/inner belongs to user 65534"), "{refusal}");
        chown(&inner, Some(0), None).unwrap();

        lchown(&link, Some(65534), None).unwrap();
        judge(&link).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let refusal = judge(&link).unwrap_err();
        assert!(refusal.found.contains("/link belongs to user 65534"), "{refusal}");
    }
}
