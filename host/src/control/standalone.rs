//! Control without Redis: scans follow each other, and events go to whoever is connected.
//!
//! A scan begins at start-up on every ingester; when all their runs have ended and all is delivered it is finished, and the
//! next begins. Who gets an event is decided when it is paired, by the policy in `ingester::pair`.

use tokio::sync::watch;
use uuid::Uuid;

use super::{Line, Stopped};
use crate::{
    ingester::{
        command::{Command, Deal},
        report::Report,
    },
    names::ScanId,
    settings::Standalone,
};

/// Runs scans until `stop` rings or the configured number of scans is over.
pub(crate) async fn run(settings: Standalone, mut lines: Vec<Line>, mut stop: watch::Receiver<bool>) {
    let deal = if settings.broadcast { Deal::Everyone } else { Deal::RoundRobin };
    let scans = async {
        let mut done = 0;
        while settings.scans.is_none_or(|scans| done < scans) {
            if scan(&mut lines, deal).await.is_err() {
                return;
            }
            done += 1;
        }
    };
    tokio::select! {
        () = scans => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// One scan, from start to finish.
async fn scan(lines: &mut [Line], deal: Deal) -> Result<(), Stopped> {
    let scan = ScanId(Uuid::new_v4());
    tracing::info!(%scan, "a scan begins");
    for line in lines.iter() {
        line.commands.command(Command::StartScan { scan, streams: line.streams.clone(), deal }).await?;
    }
    every(lines, |report| report.runs_ended == Some(scan)).await?;
    for line in lines.iter() {
        line.commands.command(Command::Finish { scan }).await?;
    }
    every(lines, |report| report.finished == Some(scan)).await
}

/// Waits until each ingester's report says so.
async fn every(lines: &mut [Line], says: impl Fn(&Report) -> bool) -> Result<(), Stopped> {
    for line in lines {
        line.report.wait_for(|report| says(report)).await.map_err(|_| Stopped)?;
    }
    Ok(())
}
