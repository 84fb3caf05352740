//! Shared by the benchmarks: flags, cheap ends of a run, statistics of rounds, and the resources of a process.

pub mod ends;
pub mod spread;
pub mod stall;
pub mod usage;

/// What stands behind `--` of `cargo bench`, for every benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A few seconds, no limits: shows that it works
    #[arg(long)]
    pub smoke: bool,
    /// So many rounds; 7, or 1 in a smoke
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// This row only, as in the table's first column
    #[arg(long, value_name = "ROW")]
    pub only: Option<String>,
}

impl Options {
    /// How many rounds to run.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.smoke { 1 } else { 7 }).max(1)
    }

    /// Whether this row is to run.
    #[must_use]
    pub fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == row)
    }
}

/// Flags of a benchmark that has these alone.
#[derive(Debug, Clone, clap::Parser)]
pub struct Flags {
    /// See there.
    #[command(flatten)]
    pub options: Options,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}
