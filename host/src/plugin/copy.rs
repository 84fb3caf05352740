//! The private copy of a plugin file for the system's loader: exactly the checked bytes are mapped, even if the file changes.
//!
//! In memory (memfd_create(2)), so that neither a writable folder nor one without `noexec` is needed. In TMPDIR if there is
//! no /proc for its path, or the system refuses such memory.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use tempfile::NamedTempFile;

use super::{
    inspect::Inspected,
    refusal::{Code, Refusal},
};

/// A copy that nobody else can change.
#[derive(Debug)]
pub(super) enum PrivateCopy {
    /// See the module.
    InMemory { path: PathBuf, memory: OwnedFd },
    /// Under a new name each time: the loader knows libraries by name, device and inode, and would otherwise return an
    /// older one.
    InFolder(NamedTempFile),
}

impl PrivateCopy {
    pub(super) fn in_memory(inspected: &Inspected) -> io::Result<Self> {
        // The plugin's own name, as shown in /proc/PID/maps, debuggers and traces.
        let name = inspected.path.file_name().unwrap_or_default().to_string_lossy();
        let mut file = File::from(memory(&name)?);
        file.write_all(&inspected.bytes)?;
        let all = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(all))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        path.metadata()?;
        Ok(Self::InMemory { path, memory: file.into() })
    }

    pub(super) fn in_folder(inspected: &Inspected) -> Result<Self, Refusal> {
        let failed = |problem: io::Error| {
            let (shown, folder) = (inspected.path.display(), std::env::temp_dir());
            let found = format!("{shown}: its private copy in {} fails: {problem}", folder.display());
            let remedy = match problem.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => TOO_FEW_DESCRIPTORS,
                _ => "make room there, or set TMPDIR to a directory that this user may write to",
            };
            Refusal::new(Code::Load, found, remedy)
        };
        let name = format!("{}{}-", prefix_of_copies(std::process::id()), inspected.note.protocol.replace('/', "_"));
        let mut copy = tempfile::Builder::new().prefix(&name).suffix(".so").tempfile().map_err(failed)?;
        copy.write_all(&inspected.bytes).map_err(failed)?;
        Ok(Self::InFolder(copy))
    }

    /// The path for the loader.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::InMemory { path, .. } => path,
            Self::InFolder(file) => file.path(),
        }
    }

    /// Keeps a mapped copy until the process ends.
    pub(super) fn keep(self) {
        match self {
            // The loader returns a known library for a known name without looking at the file: so the number of this
            // descriptor must never be reused. It is also needed for the symbols in a panic's trace.
            Self::InMemory { memory, .. } => drop(memory.into_raw_fd()),
            // Removes the copy's name; its content is freed when the process ends.
            Self::InFolder(file) => drop(file),
        }
    }
}

/// Memory that can be mapped but not executed: systems that restrict it otherwise allow that (`vm.memfd_noexec`).
fn memory(name: &str) -> io::Result<OwnedFd> {
    // At most 249 bytes are allowed; a shortened name is enough.
    let name: String = name.chars().filter(|c| *c != '\0').take(60).collect();
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mapped_only = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(name.as_str(), flags | mapped_only) {
        // Linux before 6.3 does not know the flag.
        Err(Errno::EINVAL) => Ok(memfd_create(name.as_str(), flags)?),
        made => Ok(made?),
    }
}

/// The remedy when no file can be opened.
pub(super) const TOO_FEW_DESCRIPTORS: &str = "raise RLIMIT_NOFILE (LimitNOFILE= of a service, ulimit -n of a shell)";

/// The prefix of a process's private copies. A process that dies while loading leaves one behind.
pub(super) fn prefix_of_copies(process: u32) -> String {
    format!("framegate-{process}-")
}
