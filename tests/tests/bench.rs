//! The benchmarks work: every row is measured; the values are not checked. (They are in `benches/` and described in
//! BENCHMARKING.md.)

#[test]
fn the_benchmark_of_ingesting_measures_every_row_of_every_group() {
    let paced = ["1kHz", "5kHz", "20kHz", "1M-200Hz", "5kHz-libzmq", "1M-200Hz-libzmq"];
    let sizes = ["64B", "1K", "16K", "64K", "1M", "4M", "16M", "4M-to-8"];
    let workers = ["1K-to-1", "1K-to-32", "1K-to-32-all", "64K-to-2", "64K-to-8-all"];
    let parts = ["1x64B", "100x64B", "9x4K", "100x4K"];
    let streams = ["1-in-one", "8-in-one", "2-ingesters", "8-ingesters"];
    let assignments = ["lists-of-1", "lists-of-100", "lists-of-10000", "million-ahead", "round-trips"];
    let others = ["1K-captured", "1M-captured", "one-of-three"];
    // Rate, CPU and memory.
    let all = [&sizes[..], &workers, &parts, &streams, &assignments, &paced, &others].concat();
    let said = check("ingest", &all, 3);
    for side in ["relay", "one-thread", "raw", "framegate", "Python"] {
        let is_there = said.lines().any(|line| line.split('|').any(|cell| cell.trim() == side));
        assert!(is_there, "{side} was not measured:\n{said}");
    }
}

#[test]
fn the_benchmark_of_sources_measures_every_source() {
    let sources = ["stins", "eiger-legacy", "albaem", "contrast", "pcap", "pcap-raw", "sardana", "xspress"];
    let captures = ["xspress-3-messages", "xspress-mini", "lecroy-continuous", "lecroy-sequential"];
    // At least rate and CPU of framegate and of Python.
    check("sources", &[&sources[..], &captures].concat(), 5);
}

#[test]
fn the_benchmark_of_scans_measures_every_row() {
    let swaps = ["swap", "swap-uuid", "swap-in-scan", "swap-after"];
    check("scans", &[&["start", "uuid", "first-event", "finish", "scan"][..], &swaps].concat(), 4);
}

#[test]
fn the_benchmark_of_programs_that_embed_the_host_measures_every_row() {
    check("embedded", &["64B", "16K", "1M", "start-stop", "smallest"], 1);
}

/// Checks that each row is present, with at least `least` figures; returns the output.
fn check(bench: &str, rows: &[&str], least: usize) -> String {
    let mut smoke = framegate_tests::framegate::cargo();
    smoke.args(["test", "--quiet", "--workspace", "--bench", bench, "--", "--smoke"]);
    let output = smoke.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for row in rows {
        let cells = said.lines().find(|line| first_cell(line) == *row);
        let cells = cells.unwrap_or_else(|| panic!("no row {row}:\n{said}"));
        let figures = cells.split(['|', ' ']).filter(|cell| cell.parse::<f64>().is_ok_and(|figure| figure > 0.0));
        assert!(figures.count() >= least, "{cells}");
    }
    said.into_owned()
}

fn first_cell(line: &str) -> &str {
    line.split('|').map(str::trim).find(|cell| !cell.is_empty()).unwrap_or("")
}
