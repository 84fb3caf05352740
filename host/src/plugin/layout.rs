//! Describes abi_stable's findings about a plugin's layout in one sentence.
//!
//! The checker's own report has over a thousand lines. A person needs only the first difference and the path to it; the
//! whole report is written to a file.

use std::{fmt::Display, io::Write as _, path::PathBuf};

use abi_stable::{
    abi_stability::abi_checking::{AbiInstability, AbiInstabilityErrors},
    type_layout::TLFieldOrFunction,
};

/// `in table, next(), parameter 2 (Batch): size expected 80, found 88; number of fields expected 10, found 11`.
pub(super) fn first_difference(errors: &AbiInstabilityErrors) -> String {
    let Some(first) = errors.errors.iter().find(|error| !error.errs.is_empty()) else {
        return "the layout differs".to_owned();
    };
    let mut differences: Vec<_> = first.errs.iter().map(difference).collect();
    differences.dedup();
    differences.truncate(3);
    format!("{}{}", way(first.stack_trace.iter().map(|step| &step.expected)), differences.join("; "))
}

/// The path from the root to the difference, with the type found there.
fn way<'a>(steps: impl Iterator<Item = &'a TLFieldOrFunction>) -> String {
    let mut way: Vec<String> = Vec::new();
    let mut last_type = String::new();
    for step in steps {
        match step {
            TLFieldOrFunction::Field(field) => {
                last_type = field.layout().name().to_owned();
                match field.name() {
                    // The target of a pointer has a number as its name.
                    name if name.bytes().all(|byte| byte.is_ascii_digit()) => {}
                    name => match name.strip_prefix("param_").and_then(|number| number.parse::<usize>().ok()) {
                        Some(number) => way.push(format!("parameter {}", number + 1)),
                        None => way.push(name.to_owned()),
                    },
                }
            }
            // A field that is a function occurs twice.
            TLFieldOrFunction::Function(function) => {
                way.pop_if(|last| *last == function.name.as_str());
                way.push(format!("{}()", function.name));
            }
        }
    }
    if way.is_empty() { String::new() } else { format!("in {} ({last_type}): ", way.join(", ")) }
}

/// Writes the whole report to a temporary file. `None` if that fails: the refusal does not depend on it.
pub(super) fn save_report(errors: &AbiInstabilityErrors, plugin: &str) -> Option<PathBuf> {
    let prefix = format!("framegate-layout-{plugin}-");
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".txt").tempfile().ok()?;
    write!(file, "{errors}").ok()?;
    file.keep().ok().map(|(_, path)| path)
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
            // The rest are internal errors of the checker; the first word is enough beside the report.
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}
