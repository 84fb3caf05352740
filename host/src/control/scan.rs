//! The steps of a scan, for every driver: begin, assign, finish, and what to wait for between them.

use tokio::sync::watch;

use super::{IngesterHandle, Stopped};
use crate::{
    ingester::{
        command::{Assignments, Command, Deal},
        report::Report,
    },
    names::{ScanId, StreamName},
};

impl IngesterHandle {
    /// Begins a scan, in place of the current one; its report tells when it is ready. `streams` are those that take part,
    /// maybe none.
    pub(crate) async fn begin(&self, scan: ScanId, streams: Vec<StreamName>, deal: Deal) -> Result<(), Stopped> {
        self.commands.command(Command::StartScan { scan, streams, deal }).await
    }

    /// Sends assignments for a scan that is ready; waits while the queued ones reach their limit.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for a dranspose controller"))]
    pub(crate) async fn assign(&self, assignments: Assignments) -> Result<(), Stopped> {
        self.commands.place().await?.assign(assignments);
        Ok(())
    }

    /// Ends a scan: what is complete is delivered; the report tells when it is finished.
    pub(crate) async fn finish(&self, scan: ScanId) -> Result<(), Stopped> {
        self.commands.command(Command::Finish { scan }).await
    }
}

/// Begins a scan on all ingesters, each with those of its streams that `takes_part` names.
pub(crate) async fn begin(
    ingesters: &[IngesterHandle],
    scan: ScanId,
    takes_part: impl Fn(&StreamName) -> bool,
    deal: Deal,
) -> Result<(), Stopped> {
    for ingester in ingesters {
        let streams = ingester.streams.iter().filter(|stream| takes_part(stream)).cloned().collect();
        ingester.begin(scan, streams, deal).await?;
    }
    Ok(())
}

/// Finishes a scan on all ingesters.
pub(crate) async fn finish(ingesters: &[IngesterHandle], scan: ScanId) -> Result<(), Stopped> {
    for ingester in ingesters {
        ingester.finish(scan).await?;
    }
    Ok(())
}

/// The ingesters' reports. Who waits for them holds nothing else of an ingester, which ends only when no driver is left.
pub(crate) fn reports(ingesters: &[IngesterHandle]) -> Vec<watch::Receiver<Report>> {
    ingesters.iter().map(|ingester| ingester.report.clone()).collect()
}

/// Waits until each report meets the condition.
pub(crate) async fn until(
    reports: Vec<watch::Receiver<Report>>,
    says: impl Fn(&Report) -> bool,
) -> Result<(), Stopped> {
    for mut report in reports {
        report.wait_for(|report| says(report)).await.map_err(|_| Stopped)?;
    }
    Ok(())
}
