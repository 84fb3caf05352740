//! The C header matches the Rust side: everything in the newest file of `plugin-api/abi/layout/` becomes a C assertion,
//! and C and C++ compile it. (`plugin-api/abi/src/layout.rs` compares the Rust side with the same file.)

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use super::{root, said};

/// The name of a struct in C: `RawEvent` → `framegate_event`.
fn struct_name(rust: &str) -> String {
    let short =
        ["Table", "Buffer", "Form"].iter().fold(rust.trim_start_matches("Raw"), |name, end| name.trim_end_matches(end));
    format!("struct framegate_{}", short.to_lowercase())
}

/// `ErrorKind` → `ERROR_KIND`.
fn constant_name(rust: &str) -> String {
    let spread = rust.chars().enumerate().flat_map(|(at, c)| {
        let gap = (at > 0 && c.is_uppercase()).then_some('_');
        gap.into_iter().chain(c.to_uppercase())
    });
    spread.collect()
}

/// A type in C. `name` is the declared name; empty for the type alone.
fn c_type(rust: &str, name: &str) -> String {
    if let Some(function) = rust.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        return c_type(function, name);
    }
    if let Some(rest) = rust.strip_prefix("unsafe extern \"C\" fn(") {
        let (parameters, result) = rest.rsplit_once(')').unwrap();
        let parameters: Vec<_> = parameters.split(", ").map(|one| c_type(one, "")).collect();
        let result = c_type(result.strip_prefix(" -> ").unwrap_or("()"), "");
        return format!("{result}(*{name})({})", parameters.join(", "));
    }
    if let Some((element, len)) = rust.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.split_once("; ")) {
        // A zero-terminated text is char in C.
        assert_eq!(element, "u8");
        return format!("char {name}[{len}]");
    }
    if let Some(target) = rust.strip_prefix("*const ") {
        return format!("const {}", c_type(target, &format!("*{name}")));
    }
    if let Some(target) = rust.strip_prefix("*mut ") {
        return c_type(target, &format!("*{name}"));
    }
    let plain = match rust {
        "u8" => "uint8_t",
        "i32" => "int32_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "c_void" | "()" => "void",
        other => return format!("{} {name}", struct_name(other)),
    };
    format!("{plain} {name}")
}

const PRELUDE: &str = r#"#include "framegate_plugin.h"
#ifdef __cplusplus
#include <type_traits>
#define SAME(a, b) std::is_same<decltype(a), decltype(b)>::value
#else
#define SAME(a, b) __builtin_types_compatible_p(__typeof__(a), __typeof__(b))
#endif
"#;

/// A program that compiles, and returns 0, if the header matches the layout.
fn assertions(layout: &str) -> String {
    let mut program = PRELUDE.to_owned();
    let (mut declared, mut checks, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut check = |what: &str| checks.push(format!("FRAMEGATE_ASSERT({what}, \"differs\");"));
    for part in layout.split("\n\n") {
        let (first, lines) = part.split_once('\n').unwrap_or((part, ""));
        let words: Vec<&str> = first.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
        let fields = lines.lines().map(|line| line.trim().split_once(' ').unwrap());
        match words[..] {
            ["version", version] => {
                let (major, minor) = version.split_once('.').unwrap();
                check(&format!("FRAMEGATE_ABI_MAJOR == {major}"));
                check(&format!("FRAMEGATE_ABI_MINOR == {minor}"));
            }
            ["struct", name, "of", size, "bytes", "aligned", "to", align] => {
                let name = struct_name(name);
                check(&format!("sizeof({name}) == {size}"));
                check(&format!("__alignof__({name}) == {align}"));
                for (at, field) in fields {
                    let (field, of) = field.split_once(": ").unwrap();
                    check(&format!("offsetof({name}, {field}) == {at}"));
                    let expected = c_type(of, &format!("as_{field}_of_{}", &name["struct ".len()..]));
                    declared.push(format!("extern {expected};"));
                    check(&format!("SAME((({name} *)0)->{field}, as_{field}_of_{})", &name["struct ".len()..]));
                }
            }
            ["codes", name] => {
                for (code, variant) in fields {
                    let name = format!("FRAMEGATE_{}_{}", constant_name(name), constant_name(variant));
                    check(&format!("{name} == {code}"));
                }
            }
            ["flag", name, value] => check(&format!("FRAMEGATE_{name} == {value}")),
            ["note", owner, "in", section, "of", "kind", kind] => {
                check(&format!("FRAMEGATE_NOTE_KIND == {kind}"));
                texts.push(("FRAMEGATE_NOTE_OWNER".to_owned(), owner));
                texts.push(("FRAMEGATE_NOTE_SECTION".to_owned(), section));
            }
            _ => panic!("what is {first:?}?"),
        }
    }
    let wrong: Vec<_> = texts.iter().map(|(name, text)| format!("strcmp({name}, \"{text}\") != 0")).collect();
    program += &[declared, checks].concat().join("\n");
    let _ = writeln!(program, "\nint main(void) {{ return {}; }}", wrong.join(" || "));
    program
}

/// Compiles a program of assertions and runs it.
fn holds(compiler: &str, standard: &str, program: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(if compiler == "c++" { "check.cc" } else { "check.c" });
    fs::write(&source, program).unwrap();
    let mut compile = Command::new(compiler);
    compile.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]);
    compile.arg("-I").arg(root().join("plugin-api/include"));
    let output = compile.arg(&source).arg("-o").arg(folder.path().join("check")).output().unwrap();
    if !output.status.success() {
        return Err(said(&output));
    }
    let status = Command::new(folder.path().join("check")).status().unwrap();
    if status.success() { Ok(()) } else { Err("a text differs".to_owned()) }
}

/// The newest version's.
fn newest_layout() -> String {
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name.split('.').map(|number| number.parse().unwrap()).collect()
    };
    let files = fs::read_dir(root().join("plugin-api/abi/layout")).unwrap().map(|file| file.unwrap().path());
    fs::read_to_string(files.max_by_key(version).unwrap()).unwrap()
}

#[test]
fn the_c_header_says_what_the_layout_says() {
    let layout = newest_layout();
    let program = assertions(&layout);
    assert!(program.lines().count() > 150, "{program}");
    holds("cc", "-std=gnu11", &program).unwrap();
    holds("c++", "-std=gnu++11", &program).unwrap();

    // Each kind of difference is found.
    for (from, to) in [
        ("56 max_bytes: usize", "60 max_bytes: usize"),
        ("56 max_bytes: usize", "56 max_bytes: u32"),
        ("fn(*mut c_void, *mut Batch, u64,", "fn(*mut c_void, *mut Batch, i32,"),
        ("struct Batch of 80", "struct Batch of 88"),
        ("  2 Idle", "  3 Idle"),
        ("  2 Yes", "  3 Yes"),
        ("protocol: [u8; 32]", "protocol: [u8; 31]"),
        ("version 0.1\n", "version 0.2\n"),
    ] {
        assert_eq!(layout.matches(from).count(), 1, "{from}");
        assert!(holds("cc", "-std=gnu11", &assertions(&layout.replace(from, to))).is_err(), "{from} → {to}");
    }
}
