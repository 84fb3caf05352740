//! Gate 3: loads a plugin's code into the process. The only place that uses `dlopen`.
//!
//! Runs on the thread of the new instance, because code of the plugin runs here (static constructors, the root) and may
//! hang. A library is loaded from a private copy and never unloaded: threads, thread-locals and frames of a plugin may
//! outlive everything that is known about it.
#![allow(unsafe_code)]

use std::{error::Error as _, mem::offset_of, slice};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals},
    library::{AbiHeaderRef, LibHeader},
};
use framegate_plugin_abi::{
    ABI_VERSION,
    caller::Plugin,
    frame::Ledger,
    note::Language,
    vtable::{PluginTable, RootRef},
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::{
    copy::{PrivateCopy, TOO_FEW_DESCRIPTORS},
    inspect::Inspected,
    layout,
    refusal::{Code, Refusal},
};

/// Loads an inspected file, and checks its layout.
pub(crate) fn load(inspected: &Inspected, ledger: &'static Ledger) -> Result<Plugin, Refusal> {
    let library = open_private_copy(inspected)?;
    let table = match inspected.note.language {
        Some(Language::Rust) => rust_table(&library, inspected),
        Some(Language::C) => c_table(&library, inspected),
        None => Err(header(inspected, "its language is unknown".to_owned())),
    };
    // Never unloaded, even if it is refused: its static constructors have run, and may have started threads.
    std::mem::forget(library);
    // SAFETY: the functions behind `table` belong to a plugin that describes itself as built for this ABI, with this
    // layout, and the library stays loaded.
    unsafe { Plugin::new(table?, ledger) }.map_err(|fault| header(inspected, fault.to_string()))
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

/// The address of the symbol that the note names, if it has this alignment.
fn symbol<T: Copy>(library: &Library, inspected: &Inspected, alignment: usize) -> Result<T, Refusal> {
    let name = &inspected.note.root;
    // SAFETY: an address is a number; the callers check what it points to.
    let address = unsafe { library.get::<usize>(name.as_str()) }.map(|address| *address);
    if let Ok(address) = address
        && !address.is_multiple_of(alignment)
    {
        let problem = format!("{name} stands at {address:#x}, which is not aligned to {alignment} bytes");
        return Err(header(inspected, problem));
    }
    // SAFETY: `T` is a pointer, as both callers below show; they check what it points to.
    let found = unsafe { library.get::<T>(name.as_str()) };
    found.map(|address| *address).map_err(|_| {
        let found = format!("{} has no symbol {name}, which its note names", inspected.path.display());
        Refusal::new(Code::Symbol, found, "build the plugin without a linker script or option that hides its symbols")
    })
}

/// The table of a plugin in Rust, after its layout was checked.
fn rust_table(library: &Library, inspected: &Inspected) -> Result<&'static PluginTable, Refusal> {
    let shown = inspected.path.display();
    let abi_header: AbiHeaderRef = symbol(library, inspected, align_of::<LibHeader>())?;
    let lib_header = abi_header.upgrade().map_err(|problem| header(inspected, problem.to_string()))?;
    let Some(found) = lib_header.layout() else {
        let found = format!("{shown} carries no description of its layout, so nothing protects against a wrong one");
        return Err(Refusal::new(Code::OptedOut, found, "export the source with framegate_plugin_api::export_source!"));
    };
    let expected = <RootRef as StableAbi>::LAYOUT;
    // Separate globals for each check: with process-wide ones, one plugin could cause the refusal of another.
    if let Err(errors) = check_layout_compatibility_with_globals(expected, found, &CheckingGlobals::new()) {
        let found = format!(
            "{shown} was built with another layout of the plugin interface: {}",
            layout::first_difference(&errors)
        );
        let report = match layout::save_report(&errors, &inspected.note.protocol) {
            Some(path) => format!("; the full report is in {}", path.display()),
            None => String::new(),
        };
        let remedy = format!("build it with an unchanged framegate-plugin-api of this framegate's version{report}");
        return Err(Refusal::new(Code::Layout, found, remedy));
    }
    // SAFETY: the layout of `RootRef` was compared two lines up.
    let root = unsafe { lib_header.init_root_module_with_unchecked_layout::<RootRef>() }
        .map_err(|problem| header(inspected, problem.to_string()))?;
    Ok(root.table())
}

/// The table of a plugin in another language, after its size, version and functions were checked.
fn c_table(library: &Library, inspected: &Inspected) -> Result<&'static PluginTable, Refusal> {
    let table: *const PluginTable = symbol(library, inspected, align_of::<PluginTable>())?;
    // SAFETY: the note promises a table there; in every version of the ABI it begins with its size and its ABI's version.
    let head = unsafe { slice::from_raw_parts(table.cast::<u32>(), 2) };
    let (size, major) = (head[0], head[1]);
    if (size as usize) < size_of::<PluginTable>() || major != ABI_VERSION.0 {
        let expected = size_of::<PluginTable>();
        let found =
            format!("its table has {size} bytes for ABI {major}, expected {expected} for ABI {}", ABI_VERSION.0);
        return Err(header(inspected, found));
    }
    let first = offset_of!(PluginTable, create) / size_of::<usize>();
    // SAFETY: the table has at least this size, as its first field says. Read as numbers, because a function pointer
    // must not be null.
    let words = unsafe { slice::from_raw_parts(table.cast::<usize>(), size_of::<PluginTable>() / size_of::<usize>()) };
    if let Some(missing) = words[first..].iter().position(|&word| word == 0) {
        return Err(header(inspected, format!("function number {missing} of its table is a null pointer")));
    }
    // SAFETY: the size, the version and every pointer were checked; the library stays loaded.
    Ok(unsafe { &*table })
}

fn header(inspected: &Inspected, problem: String) -> Refusal {
    let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = format!("{} exports functions that this host cannot use: {problem}", inspected.path.display());
    Refusal::new(Code::Header, found, "build the plugin with this framegate's framegate-plugin-api")
}
