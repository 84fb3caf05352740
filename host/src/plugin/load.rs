//! Gate 3: loads a plugin's code into the process. The only place that uses `dlopen`.
//!
//! Runs on the thread of the new instance, because code of the plugin runs here (static constructors, the root) and may
//! hang. A library is loaded from a private copy and never unloaded: threads, thread-locals and frames of a plugin may
//! outlive everything that is known about it.
#![allow(unsafe_code)]

use std::{error::Error as _, mem::offset_of, slice};

use abi_stable::{
    abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals},
    library::AbiHeader,
};
use framegate_plugin_abi::{
    caller::Plugin,
    fits,
    frame::Ledger,
    note::Language,
    vtable::{Layout, PluginTable},
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::{
    copy::{PrivateCopy, TOO_FEW_DESCRIPTORS},
    inspect::Inspected,
    layout,
    refusal::{Code, Refusal},
};

/// Loads an inspected file into this process, and checks its layout. It is never unloaded, even if it is refused.
///
/// # Errors
/// Why the file is refused.
pub fn load(inspected: &Inspected, ledger: &'static Ledger) -> Result<Plugin, Refusal> {
    let library = open_private_copy(inspected)?;
    let table = check_layout(&library, inspected).and_then(|()| table(&library, inspected));
    // Never unloaded, even if it is refused: its static constructors have run, and may have started threads.
    std::mem::forget(library);
    // SAFETY: the functions behind `table` belong to a plugin that describes itself as built for this ABI, with this
    // layout, and the library stays loaded.
    unsafe { Plugin::new(table?, ledger) }.map_err(|fault| unusable(inspected, fault.to_string()))
}

/// Opens a private copy of the inspected file: in memory, or, if that cannot be created or mapped, in TMPDIR.
fn open_private_copy(inspected: &Inspected) -> Result<Library, Refusal> {
    let failed = |reason: String| {
        let remedy = if reason.contains("undefined symbol") {
            "link the plugin against the library that defines this symbol, or build it again"
        } else if reason.contains("Too many open files") {
            TOO_FEW_DESCRIPTORS
        } else if reason.contains("cannot open shared object file") {
            "install the library that is missing, or add its directory to LD_LIBRARY_PATH"
        } else if reason.contains("failed to map") {
            "let the system allow memfd_create, or set TMPDIR to a directory on a file system without the option noexec"
        } else {
            "build the plugin again on a machine like this one"
        };
        Refusal::new(Code::Load, format!("{} cannot be loaded: {reason}", inspected.path.display()), remedy)
    };
    match PrivateCopy::in_memory(inspected).map(open) {
        Ok(Ok(library)) => return Ok(library),
        // None of its code has run: the problem is the place of the copy, not its content.
        Ok(Err(reason)) if reason.starts_with("it: ") && !reason.contains("undefined symbol") => {
            tracing::debug!("{}: not loaded from memory: {reason}", inspected.path.display());
        }
        Ok(Err(reason)) => return Err(failed(reason)),
        Err(problem) => tracing::debug!("{}: not loaded from memory: {problem}", inspected.path.display()),
    }
    open(PrivateCopy::in_folder(inspected)?).map_err(failed)
}

/// In the loader's reason, the copy's path is replaced by "it".
fn open(copy: PrivateCopy) -> Result<Library, String> {
    // Bound at once: a missing symbol is found here, and not by its first call, which would abort the process.
    // SAFETY: static constructors of the plugin run now. The file was inspected: it is a plugin for this machine, from
    // a place that others may not write to.
    let library = unsafe { Library::open(Some(copy.path()), RTLD_NOW | RTLD_LOCAL) }.map_err(|problem| {
        let reason = problem.source().map_or_else(|| problem.to_string(), ToString::to_string);
        reason.replace(&*copy.path().to_string_lossy(), "it")
    })?;
    copy.keep();
    Ok(library)
}

/// The address of a symbol that the note names, if it has this type's alignment.
fn symbol<T>(library: &Library, inspected: &Inspected, name: &str) -> Result<*const T, Refusal> {
    // SAFETY: an address is a number; the callers check what it points to.
    let address = unsafe { library.get::<*const T>(name) }.map(|address| *address);
    let Ok(address) = address else {
        let found = format!("{} has no symbol {name}, which its note names", inspected.path.display());
        let remedy = "build the plugin without a linker script or option that hides its symbols";
        return Err(Refusal::new(Code::Symbol, found, remedy));
    };
    if !address.is_aligned() {
        let problem = format!("{name} is at {address:?}, which is not aligned to {} bytes", align_of::<T>());
        return Err(unusable(inspected, problem));
    }
    Ok(address)
}

/// Compares the plugin's description of its layout with ours, if it has one that our abi_stable can read. Otherwise the
/// table's size and version decide, as for a plugin in C.
fn check_layout(library: &Library, inspected: &Inspected) -> Result<(), Refusal> {
    let shown = inspected.path.display();
    if inspected.note.layout.is_empty() {
        if inspected.note.language == Some(Language::C) {
            return Ok(());
        }
        let found = format!("{shown} carries no description of its layout, so nothing protects against a wrong one");
        return Err(Refusal::new(Code::OptedOut, found, "export the source with framegate_plugin_api::export_source!"));
    }
    let layout = symbol::<Layout>(library, inspected, &inspected.note.layout)?;
    // SAFETY: the note promises a `Layout` there; in every version it begins with the header, which is numbers only.
    let abi_stable = unsafe { *layout.cast::<AbiHeader>() };
    if !abi_stable.is_valid() {
        tracing::debug!(
            "{shown} was built with another abi_stable, {}.{}: its size and version are checked, its layout is not",
            abi_stable.abi_major,
            abi_stable.abi_minor
        );
        return Ok(());
    }
    // SAFETY: a compatible abi_stable wrote the whole of it; the library stays loaded.
    let found = unsafe { (*layout).table };
    // Separate globals for each check: with process-wide ones, one plugin could cause the refusal of another.
    let Err(errors) = check_layout_compatibility_with_globals(Layout::OWN.table, found, &CheckingGlobals::new()) else {
        return Ok(());
    };
    let found =
        format!("{shown} was built with another layout of the plugin interface: {}", layout::first_difference(&errors));
    let report = match layout::save_report(&errors, &inspected.note.protocol) {
        Some(path) => format!("; the full report is in {}", path.display()),
        None => String::new(),
    };
    let remedy = format!("build it with an unchanged framegate-plugin-api of this framegate's version{report}");
    Err(Refusal::new(Code::Layout, found, remedy))
}

/// The plugin's table, after its size, version and mandatory functions were checked.
fn table(library: &Library, inspected: &Inspected) -> Result<&'static PluginTable, Refusal> {
    let table = symbol::<PluginTable>(library, inspected, &inspected.note.table)?;
    // SAFETY: the note promises a table there; in every version of the ABI it begins with its size and its ABI's version.
    let head = unsafe { slice::from_raw_parts(table.cast::<u32>(), 3) };
    let (size, major, minor) = (head[0], head[1], head[2]);
    if (size as usize) < size_of::<PluginTable>() || !fits(major, minor) {
        let (ours, our_minor) = framegate_plugin_abi::ABI_VERSION;
        let expected = size_of::<PluginTable>();
        let problem = format!(
            "its table has {size} bytes for ABI {major}.{minor}, expected {expected} for ABI {ours}.{our_minor}"
        );
        return Err(unusable(inspected, problem));
    }
    let mandatory =
        offset_of!(PluginTable, create) / size_of::<usize>()..offset_of!(PluginTable, next) / size_of::<usize>();
    // SAFETY: the table has at least this size, as its first field says. Read as numbers, because a function pointer
    // must not be null.
    let words = unsafe { slice::from_raw_parts(table.cast::<usize>(), mandatory.end) };
    if let Some(missing) = words[mandatory].iter().position(|&word| word == 0) {
        let name = ["create", "destroy", "open", "close"][missing];
        return Err(unusable(inspected, format!("{name} is a null pointer in its table")));
    }
    // SAFETY: the size, the version and every mandatory pointer were checked; the library stays loaded.
    Ok(unsafe { &*table })
}

fn unusable(inspected: &Inspected, problem: String) -> Refusal {
    let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = format!("{} exports functions that this host cannot use: {problem}", inspected.path.display());
    Refusal::new(Code::Header, found, "build the plugin with this framegate's framegate-plugin-api")
}
