//! Control without Redis: scans follow each other, and events are sent to connected workers.
//!
//! A scan begins at start-up on every ingester. When all runs have ended and everything is delivered, the scan is
//! finished and the next begins. Scans without events follow each other more and more slowly. The worker of an event is
//! chosen when it is paired, by the policy in `ingester::pair`.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{
    IngesterHandle, Stopped,
    report::{ControlProblem, ControlReport, FaultSubject, now},
    scan::{begin, finish, reports, until},
};
use crate::{
    ingester::{command::Deal, report::SourceState},
    names::ScanId,
    settings::Standalone,
};

/// Runs scans until `stop` rings or the configured number of scans is reached.
pub(crate) async fn run(
    settings: Standalone,
    ingesters: Vec<IngesterHandle>,
    report: watch::Sender<ControlReport>,
    mut stop: watch::Receiver<bool>,
) {
    let Standalone { broadcast, min_workers, .. } = settings;
    let deal = if broadcast { Deal::ToAll { min_workers } } else { Deal::InTurn { min_workers } };
    let scans = async {
        let mut done = 0;
        let mut pace = Pace::default();
        while settings.scans.is_none_or(|scans| done < scans) {
            let began = Instant::now();
            if scan(&ingesters, deal).await.is_err() {
                return;
            }
            done += 1;
            let outcome = Outcome::of(&ingesters);
            tell(&report, outcome.fault.as_deref());
            let wait = pace.after(!outcome.is_fruitful, began.elapsed());
            if !wait.is_zero() && settings.scans != Some(done) {
                let why = outcome.fault.as_deref().unwrap_or("the last scan ended without an event");
                tracing::warn!("{why}; the next scan begins in {wait:.1?}");
                tokio::time::sleep(wait).await;
            }
        }
    };
    tokio::select! {
        () = scans => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One scan, from start to finish.
async fn scan(ingesters: &[IngesterHandle], deal: Deal) -> Result<(), Stopped> {
    let scan = ScanId(Uuid::new_v4());
    tracing::info!(%scan, "a scan begins");
    begin(ingesters, scan, |_| true, deal).await?;
    until(reports(ingesters), |report| report.runs_ended == Some(scan)).await?;
    finish(ingesters, scan).await?;
    until(reports(ingesters), |report| report.finished == Some(scan)).await
}

/// The result of a scan.
struct Outcome {
    /// Failed sources, in words.
    fault: Option<String>,
    /// Whether a stream without a fault gave events. If none did, another scan would most likely end the same way, and
    /// the scans would follow each other as fast as the machine can.
    is_fruitful: bool,
}

impl Outcome {
    fn of(ingesters: &[IngesterHandle]) -> Self {
        let reports: Vec<_> = ingesters.iter().map(|ingester| ingester.report.borrow().clone()).collect();
        let streams = reports.iter().flat_map(|report| &report.streams);
        let (failed, well): (Vec<_>, Vec<_>) = streams.partition(|(_, stream)| stream.source == SourceState::Failed);
        let names: Vec<_> = failed.iter().map(|(name, _)| name.as_str()).collect();
        Self {
            fault: (!names.is_empty()).then(|| format!("sources failed in the last scan: {}", names.join(", "))),
            is_fruitful: well.iter().any(|(_, stream)| stream.read > 0),
        }
    }
}

fn tell(report: &watch::Sender<ControlReport>, why: Option<&str>) {
    report.send_if_modified(|report| match why {
        None => report.faults.remove(&FaultSubject::Scans).is_some(),
        Some(why) => {
            report.last_problem = Some(ControlProblem { at: now(), what: why.to_owned() });
            report.faults.insert(FaultSubject::Scans, why.to_owned());
            true
        }
    });
}

/// The minimum interval between the starts of fruitless scans: it doubles each time. After a scan that took longer, the
/// next starts at once.
#[derive(Debug)]
struct Pace(Duration);

const FASTEST: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(30);

impl Default for Pace {
    fn default() -> Self {
        Self(FASTEST)
    }
}

impl Pace {
    /// How long to wait after a scan of this duration.
    fn after(&mut self, fruitless: bool, took: Duration) -> Duration {
        if !fruitless {
            *self = Self::default();
            return Duration::ZERO;
        }
        let wait = self.0.saturating_sub(took);
        if !wait.is_zero() {
            self.0 = (self.0 * 2).min(SLOWEST);
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of scans that begin within an hour, if each takes `took`.
    fn scans(fruitless: bool, took: Duration) -> u32 {
        let mut pace = Pace::default();
        let mut clock = Duration::ZERO;
        let mut scans = 0;
        while clock < Duration::from_secs(3600) {
            scans += 1;
            clock += took + pace.after(fruitless, took);
        }
        scans
    }

    #[test]
    fn fruitless_scans_follow_each_other_ever_more_slowly() {
        assert!((100..140).contains(&scans(true, Duration::from_millis(1))));
    }

    #[test]
    fn fruitful_scans_follow_each_other_at_once() {
        assert_eq!(scans(false, Duration::from_millis(100)), 36_000);
    }

    #[test]
    fn scans_that_fail_late_follow_each_other_at_once() {
        assert_eq!(scans(true, Duration::from_secs(5)), 720);
    }

    #[test]
    fn a_fruitful_scan_makes_the_next_failure_cheap_again() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            let _ = pace.after(true, Duration::ZERO);
        }
        assert_eq!(pace.after(true, Duration::ZERO), SLOWEST);
        assert_eq!(pace.after(false, Duration::ZERO), Duration::ZERO);
        assert_eq!(pace.after(true, Duration::ZERO), FASTEST);
    }
}
