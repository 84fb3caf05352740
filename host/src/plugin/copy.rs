//! The private copy of a plugin file that the system's loader maps: what was checked is what it maps, whatever becomes of the file.
//!
//! In memory (memfd_create(2)), so that neither a folder that can be written to nor one without `noexec` is needed. Where there is no
//! /proc to name it by, or the system refuses such memory, in TMPDIR.

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
    /// Under a name that was never used before: the loader knows libraries by name, device and inode, and would give out an older one
    /// otherwise.
    InFolder(NamedTempFile),
}

impl PrivateCopy {
    pub(super) fn in_memory(inspected: &Inspected) -> io::Result<Self> {
        // Shown in /proc/PID/maps, and so in debuggers and traces: the plugin's own name.
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

    /// Where the loader finds it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::InMemory { path, .. } => path,
            Self::InFolder(file) => file.path(),
        }
    }

    /// It is mapped, and stays so until the process ends.
    pub(super) fn keep(self) {
        match self {
            // The loader takes a name that it knows for the library that it knows, without a look: so the number of this descriptor must
            // never be another's. It also leads to the symbols for the trace of a panic.
            Self::InMemory { memory, .. } => drop(memory.into_raw_fd()),
            // The copy's name goes here, its content when the process ends.
            Self::InFolder(file) => drop(file),
        }
    }
}

/// Memory that can be mapped and not executed: systems that refuse it otherwise allow that (`vm.memfd_noexec`).
fn memory(name: &str) -> io::Result<OwnedFd> {
    // At most 249 bytes; what is shown of it need not be all.
    let name: String = name.chars().filter(|c| *c != '\0').take(60).collect();
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mapped_only = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(name.as_str(), flags | mapped_only) {
        // Linux before 6.3 does not know the flag.
        Err(Errno::EINVAL) => Ok(memfd_create(name.as_str(), flags)?),
        made => Ok(made?),
    }
}

/// What to do where no file can be opened.
pub(super) const TOO_FEW_DESCRIPTORS: &str = "raise RLIMIT_NOFILE (LimitNOFILE= of a service, ulimit -n of a shell)";

/// How the names of a process's private copies begin. A process that dies while it loads one leaves it behind.
pub(super) fn prefix_of_copies(process: u32) -> String {
    format!("framegate-{process}-")
}
