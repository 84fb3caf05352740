//! Opens a plugin's file, once: all later checks use this descriptor, and never the path again.
//!
//! The path is walked as the kernel walks it, name by name and through every link. Anybody who owns a folder on the
//! way, or may write to it, decides which file is at its end: so each folder is recorded, for
//! [`writable`](super::writable) to judge. Nothing here blocks: pipes and devices are examined without being opened.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Component, Path, PathBuf},
};

use memmap2::{Mmap, MmapMut};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::{
        stat::Mode,
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};

use super::refusal::{Code, Refusal};

/// A regular file with the size of a plugin, and the way to it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The requested path.
    pub(crate) path: PathBuf,
    /// Its metadata at the time it was opened.
    pub(super) about: Metadata,
    /// Folders and links on the way, each once.
    pub(super) way: Vec<PathStep>,
    file: File,
}

/// A folder or a link on the way.
#[derive(Debug)]
pub(super) struct PathStep {
    pub(super) path: PathBuf,
    pub(super) about: Metadata,
    /// Whether users can replace only their own files in the folder, as in /tmp.
    pub(super) in_sticky: bool,
}

/// The content of a file. Memory-mapped pages, which are returned to the system: the allocator would keep some 30 MiB
/// for each thread that ever read a plugin with debug information.
pub(crate) type Content = Mmap;

/// A plugin's file has a few MiB, with debug information a few hundred; a larger file was named by mistake.
const LARGEST: u64 = 2 << 30;

/// Maximum number of links on the way: the kernel's own limit.
const MOST_LINKS: usize = 40;

/// Opens a plugin's file.
pub(crate) fn open(path: &Path) -> Result<Opened, Refusal> {
    let mut walk = Walk::default();
    let file = std::path::absolute(path).and_then(|absolute| walk.to(&absolute)).map_err(|e| unreadable(path, &e))?;
    let about = file.metadata().map_err(|problem| unreadable(path, &problem))?;
    let shown = path.display();
    if !about.is_file() {
        let kind = match about.file_type() {
            kind if kind.is_dir() => "a directory",
            kind if kind.is_fifo() => "a pipe",
            _ => "not a regular file",
        };
        let found = format!("{shown} is {kind}, expected a plugin's .so file");
        return Err(Refusal::new(Code::File, found, "give the path of the .so file itself"));
    }
    if about.len() > LARGEST {
        let found = format!("{shown} has {} bytes, expected at most {LARGEST}", about.len());
        return Err(Refusal::new(Code::File, found, "give a plugin's .so file"));
    }
    Ok(Opened { path: path.to_owned(), about, way: walk.way, file })
}

impl Opened {
    /// Reads its content; a refusal if it changes meanwhile.
    pub(crate) fn read(&self) -> Result<Content, Refusal> {
        let size = self.about.len();
        let content = || {
            let mut pages = MmapMut::map_anon(size as usize)?;
            (&self.file).take(size).read_exact(&mut pages)?;
            pages.make_read_only()
        };
        let content = content();
        let now = self.file.metadata().map_err(|problem| unreadable(&self.path, &problem))?;
        if version(&self.about) != version(&now) {
            let found = format!("{} changed while it was read", self.path.display());
            return Err(Refusal::new(Code::File, found, "try again when the file is complete"));
        }
        content.map_err(|problem| unreadable(&self.path, &problem))
    }
}

/// Differs after each change of the content, and when another file replaces this one.
fn version(about: &Metadata) -> [i128; 6] {
    let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()].map(i128::from);
    let [modified, modified_ns, changed, changed_ns] = times;
    [about.len().into(), about.nlink().into(), modified, modified_ns, changed, changed_ns]
}

fn unreadable(path: &Path, problem: &io::Error) -> Refusal {
    let code = if problem.kind() == io::ErrorKind::NotFound { Code::Find } else { Code::File };
    let found = format!("{} cannot be read: {problem}", path.display());
    Refusal::new(code, found, "give a file that exists and that this user may read")
}

/// The state of a walk along a path.
#[derive(Default)]
struct Walk {
    at: PathBuf,
    way: Vec<PathStep>,
}

impl Walk {
    /// Walks to an absolute path. Returns its descriptor: for reading if it is a regular file, else only for metadata.
    fn to(&mut self, path: &Path) -> io::Result<File> {
        let mut folder = self.root()?;
        let mut names = names(path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            // With O_DIRECTORY the kernel triggers automounts.
            match openat(&folder, name.as_os_str(), LOOK | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(next) => {
                    folder = self.enter(&name, next.into())?;
                    continue;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(problem) => return Err(problem.into()),
            }
            let entry: OwnedFd = openat(&folder, name.as_os_str(), LOOK | OFlag::O_NOFOLLOW, Mode::empty())?;
            let entry = File::from(entry);
            if !entry.metadata()?.is_symlink() {
                return match (names.is_empty(), entry.metadata()?.is_file()) {
                    (true, true) => {
                        Ok(openat(&folder, name.as_os_str(), READ | OFlag::O_NOFOLLOW, Mode::empty())?.into())
                    }
                    (true, false) => Ok(entry),
                    (false, _) => Err(Errno::ENOTDIR.into()),
                };
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::ELOOP.into());
            }
            if fstatfs(&entry)?.filesystem_type() == PROC_SUPER_MAGIC {
                // The text of such a link is not always its target.
                let target = File::from(openat(&folder, name.as_os_str(), LOOK, Mode::empty())?);
                match target.metadata()? {
                    about if about.is_dir() => folder = self.enter(&name, target)?,
                    about if about.is_file() && names.is_empty() => {
                        return Ok(openat(&folder, name.as_os_str(), READ, Mode::empty())?.into());
                    }
                    _ if names.is_empty() => return Ok(target),
                    _ => return Err(Errno::ENOTDIR.into()),
                }
                continue;
            }
            self.note(self.at.join(&name), entry.metadata()?, is_sticky(&folder.metadata()?));
            let target = PathBuf::from(readlinkat(&entry, c"")?);
            if target.is_absolute() {
                folder = self.root()?;
            }
            names.extend(self::names(&target));
        }
        Ok(folder)
    }

    fn root(&mut self) -> io::Result<File> {
        self.at = PathBuf::new();
        let root = nix::fcntl::open(c"/", LOOK | OFlag::O_DIRECTORY, Mode::empty())?;
        self.enter(&OsString::from("/"), root.into())
    }

    /// Records a folder on the way.
    fn enter(&mut self, name: &OsString, folder: File) -> io::Result<File> {
        if name == ".." {
            self.at.pop();
        } else {
            self.at.push(name);
        }
        self.note(self.at.clone(), folder.metadata()?, false);
        Ok(folder)
    }

    fn note(&mut self, path: PathBuf, about: Metadata, in_sticky: bool) {
        if !self.way.iter().any(|known| known.path == path) {
            self.way.push(PathStep { path, about, in_sticky });
        }
    }
}

/// The names in a path, last one first.
fn names(path: &Path) -> Vec<OsString> {
    let components = path.components().rev();
    let names = components.filter(|one| !matches!(one, Component::RootDir | Component::CurDir | Component::Prefix(_)));
    names.map(|one| one.as_os_str().to_owned()).collect()
}

/// Whether users who may write to a folder can replace only their own files in it.
pub(super) fn is_sticky(about: &Metadata) -> bool {
    about.is_dir() && about.mode() & 0o1000 != 0
}

/// For metadata only: the file is not opened.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
/// Does not block if the file has become a pipe.
const READ: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use nix::unistd::mkfifo;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn every_folder_and_link_on_the_way_is_noted_once() {
        let (_folder, base) = folder();
        fs::create_dir_all(base.join("given")).unwrap();
        fs::create_dir_all(base.join("links")).unwrap();
        fs::create_dir_all(base.join("data/v1")).unwrap();
        fs::write(base.join("data/v1/x.so"), "content").unwrap();
        symlink("../data/v1", base.join("links/current")).unwrap();
        symlink(base.join("links/current/x.so"), base.join("given/x.so")).unwrap();
        let opened = open(&base.join("given/../given/x.so")).unwrap();
        assert_eq!(&opened.read().unwrap()[..], b"content");
        let way: Vec<_> = opened.way.iter().filter_map(|step| step.path.strip_prefix(&base).ok()).collect();
        let expected = ["", "given", "given/x.so", "links", "links/current", "data", "data/v1"];
        assert_eq!(way, expected.map(Path::new));
    }

    #[test]
    fn what_proc_shows_as_a_link_is_followed_as_the_kernel_does() {
        let (_folder, base) = folder();
        let path = base.join("gone.so");
        fs::write(&path, "content").unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(&open(Path::new(&path)).unwrap().read().unwrap()[..], b"content");
    }

    #[test]
    fn links_that_lead_nowhere_or_in_a_circle_and_what_is_no_file_are_refused_at_once() {
        let (_folder, base) = folder();
        let at = |name: &str| base.join(name);
        symlink("circle", at("circle")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        fs::write(at("file"), "").unwrap();
        for (path, code, says) in [
            ("circle", Code::File, "symbolic links"),
            ("dangling", Code::Find, "No such file"),
            ("pipe", Code::File, "is a pipe"),
            ("file/x.so", Code::File, "Not a directory"),
            ("", Code::File, "is a directory"),
        ] {
            let refusal = open(&at(path)).unwrap_err();
            assert!(refusal.code == code && refusal.found.contains(says), "{path}: {refusal}");
        }
        assert!(open(Path::new("/dev/null")).unwrap_err().found.contains("not a regular file"));
    }

    #[test]
    fn a_file_that_changes_before_it_is_read_is_refused() {
        let (_folder, base) = folder();
        let path = base.join("x.so");
        for change in [
            (|path| fs::write(path, "another content").unwrap()) as fn(&Path),
            |path| fs::write(path, "").unwrap(),
            |path| {
                fs::write(path.with_extension("new"), "content").unwrap();
                fs::rename(path.with_extension("new"), path).unwrap();
            },
        ] {
            fs::write(&path, "content").unwrap();
            // File timestamps have a resolution of some milliseconds.
            let old = std::time::UNIX_EPOCH;
            File::open(&path).unwrap().set_modified(old).unwrap();
            let opened = open(&path).unwrap();
            change(&path);
            let refusal = opened.read().unwrap_err();
            assert!(refusal.found.contains("changed while it was read"), "{refusal}");
        }
    }
}
