//! A simulated STINS detector on the command line.
//!
//! `cargo run -p framegate-stins --example simulate -- BIND SCANS FRAMES BYTES [RATE]`

use std::{env, process::ExitCode, time::Duration};

use framegate_stins_detector::{Detector, Simulation, Step};

fn main() -> ExitCode {
    let Some(simulation) = arguments() else {
        eprintln!("usage: simulate BIND SCANS FRAMES BYTES [RATE]   (such as tcp://127.0.0.1:9999 2 1000 65536 500)");
        return ExitCode::from(2);
    };
    let bind = simulation.bind.clone();
    let streamed = Detector::bind(simulation).and_then(|detector| {
        println!("streaming on {}", detector.endpoint()?);
        detector.stream(|step| {
            match step {
                Step::Started { scan } => println!("scan {scan}: header sent"),
                Step::Ended { scan } => println!("scan {scan}: end sent"),
                Step::Image { .. } => {}
            }
            true
        })
    });
    match streamed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulate: {bind}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Simulation> {
    let mut arguments = env::args().skip(1);
    let simulation = Simulation {
        bind: arguments.next()?,
        scans: arguments.next()?.parse().ok()?,
        frames: arguments.next()?.parse().ok()?,
        bytes: arguments.next()?.parse().ok()?,
        rate: arguments.next().map(|rate| rate.parse()).transpose().ok()?,
        pause: Duration::from_millis(500),
    };
    Some(simulation)
}
