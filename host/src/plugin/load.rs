//! Gate 3: a plugin's code enters the process. The one place that knows `dlopen`.
//!
//! Runs on the thread of the instance that is about to be made, because code of the plugin runs here (static constructors,
//! the root) and may hang. A library is loaded from a private copy and never unloaded: threads, thread-locals and frames of a plugin may outlive
//! everything that is known of it.
#![allow(unsafe_code)]

use std::{error::Error as _, io::Write as _, mem::offset_of, slice};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals},
    library::AbiHeaderRef,
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
    inspect::Inspected,
    layout,
    refusal::{Code, Refusal},
};

/// Loads what was inspected, and checks its layout.
pub(crate) fn load(inspected: &Inspected, ledger: &'static Ledger) -> Result<Plugin, Refusal> {
    let library = open_private_copy(inspected)?;
    let table = match inspected.note.language {
        Some(Language::Rust) => rust_table(&library, inspected),
        Some(Language::C) => c_table(&library, inspected),
        None => Err(header(inspected, "its language is unknown".to_owned())),
    };
    // Not unloaded, also when it is refused: its static constructors have run, and may have started threads.
    std::mem::forget(library);
    // SAFETY: the functions behind `table` are those of a plugin that describes itself as built for this ABI, with this layout, and
    // the library stays loaded.
    unsafe { Plugin::new(table?, ledger) }.map_err(|fault| header(inspected, fault.to_string()))
}

/// A copy under a name that was never used before: the loader knows libraries by name, device and inode, and would give out
/// an older one otherwise; and nobody can change or truncate it under our feet.
fn open_private_copy(inspected: &Inspected) -> Result<Library, Refusal> {
    let shown = inspected.path.display();
    let failed = |problem: std::io::Error| {
        let found = format!("{shown}: its private copy in {} fails: {problem}", std::env::temp_dir().display());
        Refusal::new(Code::Load, found, "make room there, or set TMPDIR to a directory that this user may write to")
    };
    let name = format!("{}{}-", prefix_of_copies(std::process::id()), inspected.note.protocol.replace('/', "_"));
    let mut copy = tempfile::Builder::new().prefix(&name).suffix(".so").tempfile().map_err(failed)?;
    copy.write_all(&inspected.bytes).map_err(failed)?;
    // Bound at once: a symbol that is missing is found here, and not by the first call, which would end the process.
    // SAFETY: static constructors of the plugin run now. The file was inspected: it is a plugin of this machine, from a place that
    // others may not write to.
    unsafe { Library::open(Some(copy.path()), RTLD_NOW | RTLD_LOCAL) }.map_err(|problem| {
        let reason = problem.source().map_or_else(|| problem.to_string(), ToString::to_string);
        let reason = reason.replace(&*copy.path().to_string_lossy(), "it");
        let remedy = if reason.contains("undefined symbol") {
            "link the plugin against the library that defines this symbol, or build it again"
        } else if reason.contains("Too many open files") {
            "raise RLIMIT_NOFILE (LimitNOFILE= of a service, ulimit -n of a shell)"
        } else if reason.contains("cannot open shared object file") {
            "install the library that is missing, or add its directory to LD_LIBRARY_PATH"
        } else if reason.contains("failed to map") {
            "set TMPDIR to a directory on a file system without the option noexec"
        } else {
            "build the plugin again on a machine like this one"
        };
        Refusal::new(Code::Load, format!("{shown} cannot be loaded: {reason}"), remedy)
    })
    // The copy's name goes here, its content when the process ends.
}

/// How the names of a process's private copies begin. A process that dies while it loads one leaves it behind.
pub(super) fn prefix_of_copies(process: u32) -> String {
    format!("framegate-{process}-")
}

/// The address of the symbol that the note names.
fn symbol<T: Copy>(library: &Library, inspected: &Inspected) -> Result<T, Refusal> {
    let name = &inspected.note.root;
    // SAFETY: `T` is a pointer, as both callers see below; what it points to is theirs to find out.
    let found = unsafe { library.get::<T>(name.as_str()) };
    found.map(|address| *address).map_err(|_| {
        let found = format!("{} has no symbol {name}, which its note names", inspected.path.display());
        Refusal::new(Code::Symbol, found, "build the plugin without a linker script or option that hides its symbols")
    })
}

/// The table of a plugin in Rust, whose layout is as expected.
fn rust_table(library: &Library, inspected: &Inspected) -> Result<&'static PluginTable, Refusal> {
    let shown = inspected.path.display();
    let abi_header: AbiHeaderRef = symbol(library, inspected)?;
    let lib_header = abi_header.upgrade().map_err(|problem| header(inspected, problem.to_string()))?;
    let Some(found) = lib_header.layout() else {
        let found = format!("{shown} carries no description of its layout, so nothing protects against a wrong one");
        return Err(Refusal::new(Code::OptedOut, found, "export the source with framegate_plugin_api::export_source!"));
    };
    let expected = <RootRef as StableAbi>::LAYOUT;
    // State of its own for each check: with the process-wide one, one plugin could make another be refused.
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

/// The table of a plugin in another language, which says its own size and version and has all functions.
fn c_table(library: &Library, inspected: &Inspected) -> Result<&'static PluginTable, Refusal> {
    let table: *const PluginTable = symbol(library, inspected)?;
    // SAFETY: the note promises a table there, which begins with its size and its ABI's version in every version of the ABI.
    let head = unsafe { slice::from_raw_parts(table.cast::<u32>(), 2) };
    let (size, major) = (head[0], head[1]);
    if (size as usize) < size_of::<PluginTable>() || major != ABI_VERSION.0 {
        let expected = size_of::<PluginTable>();
        let found =
            format!("its table has {size} bytes for ABI {major}, expected {expected} for ABI {}", ABI_VERSION.0);
        return Err(header(inspected, found));
    }
    let first = offset_of!(PluginTable, create) / size_of::<usize>();
    // SAFETY: the table has at least this size, as it says itself. Read as numbers, because a function pointer must not be
    // null.
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
