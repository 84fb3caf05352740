//! Opens the file of a capture; with `capture_root`, only inside that folder.
//!
//! Runs on the capture thread. Owns nothing. With a root the kernel itself resolves the path (openat2 with
//! RESOLVE_BENEATH, Linux 5.6): no `..`, no absolute link, and no link that is exchanged meanwhile leads out. Only a
//! regular file is accepted: a named pipe could block the thread for ever, and a device is no place for data. Without a
//! root a path has its usual meaning, as with dranspose.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};

/// Why the capture has no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    /// Error of the operating system.
    #[error("it cannot be opened: {0}")]
    Failed(#[from] io::Error),
    /// The root cannot be opened.
    #[error("the folder {0} (capture_root) cannot be opened: {1}")]
    NoRoot(PathBuf, io::Error),
    /// The path leads out of the root.
    #[error("its path leads out of {0} (capture_root); correct dump_path, or dump_prefix of the controller")]
    Outside(PathBuf),
    /// Not a regular file.
    #[error("it is not a regular file, and capture_root allows no other")]
    NotRegular,
}

impl NotOpened {
    /// Whether the path was not allowed, rather than not possible.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Outside(_) | Self::NotRegular)
    }
}

/// Opens a capture to append to it, or creates it. The folders on the way must exist.
pub(super) fn open(root: Option<&Path>, path: &Path) -> Result<File, NotOpened> {
    match root {
        None => Ok(File::options().append(true).create(true).open(path)?),
        Some(root) => open_beneath(root, path),
    }
}

fn open_beneath(root: &Path, path: &Path) -> Result<File, NotOpened> {
    let outside = || NotOpened::Outside(root.to_owned());
    let no_root = |error| NotOpened::NoRoot(root.to_owned(), error);
    let relative = match path.strip_prefix(root) {
        Ok(rest) => rest,
        Err(_) if path.is_relative() => path,
        // The configured root may be a link, and the path may use the link's target.
        Err(_) => {
            let real = root.canonicalize().map_err(no_root)?;
            path.strip_prefix(real).map_err(|_| outside())?
        }
    };
    let folder = File::options().read(true).custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits()).open(root);
    let folder = folder.map_err(no_root)?;
    // Opening something other than a regular file must not block.
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .mode(Mode::from_bits_truncate(0o666))
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut tries = 0;
    let file = loop {
        match openat2(&folder, relative, how) {
            Ok(file) => break File::from(file),
            // A parent folder was renamed meanwhile, so the kernel cannot tell where `..` leads.
            Err(Errno::EAGAIN) if tries < TRIES => tries += 1,
            Err(Errno::EXDEV) => return Err(outside()),
            // A named pipe without a reader, or a socket.
            Err(Errno::ENXIO) => return Err(NotOpened::NotRegular),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(NotOpened::NotRegular) }
}

/// Number of attempts to resolve a path. If folders are renamed faster, the capture fails.
const TRIES: u32 = 16;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn what_is_inside_is_opened_by_any_name_and_nothing_outside_is_touched() {
        let place = tempfile::tempdir().unwrap();
        let (root, outside) = (place.path().join("root"), place.path().join("outside"));
        for folder in [root.join("day"), outside.clone()] {
            fs::create_dir_all(folder).unwrap();
        }
        let by_link = place.path().join("by-link");
        symlink(&root, &by_link).unwrap();
        symlink("day", root.join("today")).unwrap();
        symlink(&outside, root.join("away")).unwrap();
        symlink("../outside/stolen", root.join("thief")).unwrap();
        // Absolute links are refused even if they lead back.
        symlink(root.join("day"), root.join("absolute")).unwrap();
        mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        let in_root = |name: &str| root.join(name).display().to_string();
        let in_link = |name: &str| by_link.join(name).display().to_string();
        for (root, good) in [
            (&root, "a".to_owned()),
            (&root, "day/a".into()),
            (&root, "today/../b".into()),
            (&root, in_root("day/c")),
            (&root, in_root("today/c")),
            (&by_link, in_link("d")),
            (&by_link, in_root("d")),
        ] {
            let file = open(Some(root), Path::new(&good)).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert!(file.metadata().unwrap().is_file());
        }
        for bad in [
            "../outside/a",
            "day/../../outside/a",
            "today/../../outside/a",
            "away/a",
            "thief",
            "absolute/a",
            "/etc/passwd",
            "/proc/self/cwd/a",
            &in_root("../outside/a"),
            &format!("{}-beside/a", root.display()),
            &outside.join("a").display().to_string(),
        ] {
            let refused = open(Some(&root), Path::new(bad)).unwrap_err();
            assert!(matches!(refused, NotOpened::Outside(_)) && refused.is_refusal(), "{bad}: {refused}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(matches!(open(Some(&root), Path::new("pipe")), Err(NotOpened::NotRegular)));
        for impossible in ["no/such/folder", "", "day", "a\0b", &"long".repeat(100)] {
            let error = open(Some(&root), Path::new(impossible)).unwrap_err();
            assert!(matches!(error, NotOpened::Failed(_)) && !error.is_refusal(), "{impossible}: {error}");
        }
        let gone = place.path().join("gone");
        assert!(matches!(open(Some(&gone), Path::new("a")), Err(NotOpened::NoRoot(..))));
        // Without a root, all of this has its usual meaning.
        open(None, &root.join("away/free")).unwrap();
        assert!(outside.join("free").is_file());
    }
}
