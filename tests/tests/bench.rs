//! The benchmark works: every row is measured, whatever the figures. (It is in `benches/`, and told in BENCHMARKING.md.)

use std::{env, process::Command};

#[test]
fn the_benchmark_measures_every_row() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut smoke = Command::new(cargo);
    smoke.args(["test", "--quiet", "--workspace", "--bench", "ingest", "--", "--smoke"]);
    let output = smoke.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for row in ["64B", "1K", "64K", "1M", "4M", "4M-to-8", "64B-loaded"] {
        let cells = said.lines().find(|line| line.split('|').next().is_some_and(|first| first.trim() == row));
        let cells = cells.unwrap_or_else(|| panic!("no row {row}:\n{said}"));
        let figures = cells.split(['|', ' ']).filter(|cell| cell.parse::<f64>().is_ok_and(|figure| figure > 0.0));
        assert!(figures.count() >= 10, "{cells}");
    }
}
