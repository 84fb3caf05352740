//! The benchmarks work: every row is measured, whatever the figures. (They are in `benches/`, and told in BENCHMARKING.md.)

#[test]
fn the_benchmark_of_sizes_measures_every_row() {
    check("ingest", &["64B", "1K", "64K", "1M", "4M", "4M-to-8", "64B-loaded"], 10);
}

#[test]
fn the_benchmark_of_sources_measures_every_source() {
    let sources = ["stins", "eiger-legacy", "albaem", "contrast", "pcap", "pcap-raw", "sardana", "xspress"];
    let captures = ["xspress-3-messages", "xspress-mini", "lecroy-continuous", "lecroy-sequential"];
    // Rate and CPU of framegate and of Python, at least.
    check("sources", &[&sources[..], &captures].concat(), 5);
}

#[test]
fn the_benchmark_of_scans_measures_every_row() {
    check("scans", &["start", "uuid", "first-event", "finish", "scan"], 4);
}

/// Each row is there, with so many figures.
fn check(bench: &str, rows: &[&str], least: usize) {
    let mut smoke = framegate_tests::framegate::cargo();
    smoke.args(["test", "--quiet", "--workspace", "--bench", bench, "--", "--smoke"]);
    let output = smoke.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for row in rows {
        let cells = said.lines().find(|line| line.split('|').next().is_some_and(|first| first.trim() == *row));
        let cells = cells.unwrap_or_else(|| panic!("no row {row}:\n{said}"));
        let figures = cells.split(['|', ' ']).filter(|cell| cell.parse::<f64>().is_ok_and(|figure| figure > 0.0));
        assert!(figures.count() >= least, "{cells}");
    }
}
