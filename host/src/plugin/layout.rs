//! What abi_stable found different in a plugin's layout, in one sentence.
//!
//! The checker's own report has over a thousand lines. The first difference that it found, and the way to it, say all
//! that a person needs; the whole goes to a file.

use std::{fmt::Display, io::Write as _, path::PathBuf};

use abi_stable::{
    abi_stability::abi_checking::{AbiInstability, AbiInstabilityErrors},
    type_layout::TLFieldOrFunction,
};

/// `in PluginTable.next, parameter batch, Batch.frames: size expected 24, found 32`.
pub(super) fn first_difference(errors: &AbiInstabilityErrors) -> String {
    let Some(first) = errors.errors.iter().find(|error| !error.errs.is_empty()) else {
        return "the layout differs".to_owned();
    };
    let way: Vec<String> = first.stack_trace.iter().map(|step| name(&step.expected)).collect();
    let what = difference(&first.errs[0]);
    if way.is_empty() { what } else { format!("in {}: {what}", way.join(", ")) }
}

/// Writes the whole report beside other temporary files. None if that fails: the refusal does not depend on it.
pub(super) fn save_report(errors: &AbiInstabilityErrors, plugin: &str) -> Option<PathBuf> {
    let prefix = format!("framegate-layout-{plugin}-");
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".txt").tempfile().ok()?;
    write!(file, "{errors}").ok()?;
    file.keep().ok().map(|(_, path)| path)
}

fn name(step: &TLFieldOrFunction) -> String {
    match step {
        TLFieldOrFunction::Field(field) => field.name().to_owned(),
        TLFieldOrFunction::Function(function) => format!("{}()", function.name),
    }
}

fn difference(one: &AbiInstability) -> String {
    use AbiInstability as A;
    fn two(what: &str, expected: impl Display, found: impl Display) -> String {
        format!("{what} expected {expected}, found {found}")
    }
    match one {
        A::Size(it) => two("size", it.expected, it.found),
        A::Alignment(it) => two("alignment", it.expected, it.found),
        A::FieldCountMismatch(it) => two("number of fields", it.expected, it.found),
        A::Name(it) => two("type", it.expected, it.found),
        A::Package(it) => two("crate", it.expected, it.found),
        A::PackageVersion(it) => two("version of its crate", it.expected, it.found),
        A::MismatchedPrefixSize(it) => two("fields of the root", it.expected, it.found),
        A::UnexpectedField(it) => two("field", it.expected.name(), it.found.name()),
        A::UnexpectedVariant(it) => two("variant", it.expected, it.found),
        A::TooManyVariants(it) => two("number of variants", it.expected, it.found),
        A::GenericParamCount(it) => two("type", it.expected, it.found),
        A::MismatchedPrimitive(it) => format!("type expected {:?}, found {:?}", it.expected, it.found),
        A::TLDataDiscriminant(it) => format!("kind of type expected {:?}, found {:?}", it.expected, it.found),
        A::FnQualifierMismatch(_) => "the function's qualifiers differ".to_owned(),
        A::ReprAttr(it) => format!("representation expected {:?}, found {:?}", it.expected, it.found),
        other => {
            // The rest are oddities of the checker; its first word says enough beside the report.
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}
