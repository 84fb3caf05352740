//! The C header that reads settings, under the sanitizers: `settings.c` has the cases.

use std::process::Command;

use super::{root, said};

#[test]
fn the_c_header_for_settings_reads_them_and_refuses_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    // Numbers must not depend on the decimal point of the locale. A machine without localedef tests only its own one.
    let german = folder.path().join("de_DE.UTF-8");
    let _ = Command::new("localedef").args(["-i", "de_DE", "-f", "UTF-8"]).arg(&german).output();
    for options in [["cc", "-x", "c", "-std=c11"], ["c++", "-x", "c++", "-std=c++11"]] {
        let program = folder.path().join(options[0]);
        let mut compile = Command::new(options[0]);
        compile.args(&options[1..]).args(["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        compile.args(["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]);
        compile.arg("-I").arg(root().join("plugin-api/include"));
        let output =
            compile.arg(root().join("tests/tests/authors/settings.c")).arg("-o").arg(&program).output().unwrap();
        assert!(output.status.success(), "{options:?}: {}", said(&output));
        for locale in ["C", "de_DE.UTF-8"] {
            let output = Command::new(&program).env("LOCPATH", folder.path()).env("LC_ALL", locale).output().unwrap();
            assert!(output.status.success(), "{options:?}, {locale}: {}", said(&output));
            assert!(said(&output).contains(" cases, 0 wrong"), "{options:?}, {locale}: {}", said(&output));
        }
    }
}
