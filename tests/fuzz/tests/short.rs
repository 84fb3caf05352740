//! Feeds every parser of external input with random input for a while; none may panic.
//!
//! `FRAMEGATE_FUZZ_MS` is the time for each parser (300), `FRAMEGATE_FUZZ_SEED` selects other input. A failing input is
//! kept; `FRAMEGATE_FUZZ_INPUT=file cargo test -p framegate-fuzz --test short NAME` feeds it again. `tests/run fuzz`
//! runs longer and is guided by coverage.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    env, fs,
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::{Duration, Instant},
};

use framegate_fuzz::{mutate::mutate, target};

/// An input that takes longer fails like one that panics: each of its bytes is read a few times only.
const LONG: Duration = Duration::from_secs(5);

fn survives(name: &str) {
    let target = target(name).unwrap();
    if let Some(file) = env::var_os("FRAMEGATE_FUZZ_INPUT") {
        return (target.feed)(&fs::read(file).unwrap());
    }
    let number = |variable: &str, default| env::var(variable).map_or(default, |value| value.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(number("FRAMEGATE_FUZZ_SEED", 1));
    let seeds = (target.seeds)();
    // The input is stored here while it is fed, so that it survives an abort.
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let file = fs::File::create(&kept).unwrap();
    let feed = |input: &[u8]| {
        file.write_all_at(input, 0).unwrap();
        file.set_len(input.len() as u64).unwrap();
        let began = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.feed)(input)));
        let again = format!("FRAMEGATE_FUZZ_INPUT={} cargo test -p framegate-fuzz --test short {name}", kept.display());
        assert!(outcome.is_ok(), "{name} does not survive {:?}; again:\n    {again}", String::from_utf8_lossy(input));
        assert!(began.elapsed() < LONG, "{name} took {:?}; again:\n    {again}", began.elapsed());
    };
    seeds.iter().for_each(|seed| feed(seed));
    let (began, mut fed) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_millis(number("FRAMEGATE_FUZZ_MS", 300)) {
        let mut input = random.choice(&seeds).unwrap().clone();
        mutate(&mut input, &seeds, &mut random);
        feed(&input);
        fed += 1;
    }
    println!("{name}: {} seeds, {fed} inputs", seeds.len());
    drop(file);
    fs::remove_file(kept).unwrap();
}

/// One test for each target: the name of the test, and the target's name.
macro_rules! survive {
    ($($test:ident = $name:literal,)*) => {
        $(#[test] fn $test() { survives($name); })*

        #[test]
        fn every_target_has_its_test() {
            let tested = [$($name),*];
            let untested: Vec<_> = framegate_fuzz::TARGETS.iter().map(|t| t.name).filter(|n| !tested.contains(n)).collect();
            assert!(untested.is_empty(), "{untested:?}");
        }
    };
}

survive! {
    updates_survive_nonsense = "updates",
    assignments_survive_nonsense = "assignments",
    connection_survives_nonsense = "connection",
    zmtp_survives_nonsense = "zmtp",
    pings_survive_nonsense = "pings",
    capture_survives_nonsense = "capture",
    settings_survive_nonsense = "settings",
    note_survives_nonsense = "note",
    json_survives_nonsense = "json",
    stins_survives_nonsense = "stins",
    eiger_legacy_survives_nonsense = "eiger-legacy",
    albaem_survives_nonsense = "albaem",
    contrast_survives_nonsense = "contrast",
    lecroy_survives_nonsense = "lecroy",
    pcap_survives_nonsense = "pcap",
    pcap_raw_survives_nonsense = "pcap-raw",
    sardana_survives_nonsense = "sardana",
    xspress_survives_nonsense = "xspress",
}
