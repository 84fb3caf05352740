//! The smallest program that embeds the host: no feature, one source of its own. What it costs to build.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, ensure};

const MAIN: &str = "fn main() {
    let none = framegate::settings::Settings::from_toml(\"\");
    println!(\"{}\", none.is_err());
}
";

/// Prints the number of crates, and the time to build them all in a debug build, unless it has to be quick.
pub(crate) fn print(quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests are in a workspace")?;
    let manifest = format!(
        "[package]\nname = 'smallest'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n[dependencies]\n\
         framegate = {{ path = '{0}/host', default-features = false }}\n\
         framegate-plugin-api = {{ path = '{0}/plugin-api', default-features = false }}\n",
        workspace.display()
    );
    fs::create_dir(folder.path().join("src"))?;
    fs::write(folder.path().join("Cargo.toml"), manifest)?;
    fs::write(folder.path().join("src/main.rs"), MAIN)?;
    // The versions of the workspace, which are on this machine.
    fs::copy(workspace.join("Cargo.lock"), folder.path().join("Cargo.lock"))?;
    let cargo = |arguments: &[&str]| {
        let mut cargo = framegate_tests::framegate::cargo();
        cargo.args(arguments).arg("--offline").current_dir(folder.path());
        cargo.env("CARGO_TARGET_DIR", folder.path().join("target"));
        cargo
    };
    let edges = "normal,build";
    let tree = output(cargo(&["tree", "--edges", edges, "--prefix", "none", "--format", "{p}"]))?;
    let crates: std::collections::BTreeSet<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != "smallest").collect();
    let build = if quick {
        String::new()
    } else {
        let began = Instant::now();
        output(cargo(&["build", "--quiet"]))?;
        format!(" | {:>7.1} s to build, cold, in debug", began.elapsed().as_secs_f64())
    };
    println!("{:>10} | {:>11} crates{build}", "smallest", crates.len());
    Ok(())
}

fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
