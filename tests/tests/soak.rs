//! The soak run, for a minute. `tests/soak` runs for an hour.
//!
//! ```text
//!     FRAMEGATE_SOAK_SEED=7 cargo test -p framegate-tests --test soak
//! ```
//!
//! plays other scans.

#![forbid(unsafe_code)]

use std::{env, time::Duration};

use framegate_tests::soak::{Wish, run};

#[test]
fn a_minute_of_faults_loses_nothing_that_is_not_counted_and_nothing_grows() {
    let seed = env::var("FRAMEGATE_SOAK_SEED").map_or(1, |text| text.parse().expect("a number"));
    let wish = Wish { seed, first: 0, scans: u32::MAX, time: Duration::from_secs(60) };
    match run(&wish, |plan| println!("{plan}")) {
        Ok(report) => println!("{report}"),
        Err(error) => panic!("seed {seed}: {error:#}"),
    }
}
