//! Executes the heart's decisions: orders to readers, start and end of the capture.

use std::{path::PathBuf, time::Instant};

use super::Forwarder;
use crate::{
    budget::Account,
    ingester::Action,
    names::ScanId,
    source::{queue::Queue, reader::Order},
};

impl Forwarder {
    /// Executes the heart's decisions.
    pub(super) fn act(&mut self) -> bool {
        let mut busy = false;
        for action in std::mem::take(&mut self.ingester.actions) {
            busy = true;
            match action {
                Action::Open { stream } => self.start_scan(stream, true),
                Action::Close { stream } => self.start_scan(stream, false),
                Action::Trigger { stream, number } => self.inputs[stream].reader.order(Order::Trigger(number)),
                Action::SetParameter { stream, name, value } => {
                    let input = &mut self.inputs[stream];
                    input.values.insert(name.clone(), value.clone());
                    input.reader.order(Order::SetParameter { name, value });
                }
                Action::OpenCapture { scan } => self.open_capture(scan),
                Action::CloseCapture { scan } => {
                    self.state.closing = Some(scan);
                    self.dump.close(scan);
                }
                Action::Tell(event) => self.news.tell(event),
                Action::Stop { grace } => {
                    self.state.stop_at = Some(Instant::now() + grace);
                    // An on-demand source gives nothing unless it is asked, and assigned events still need it.
                    for input in self.inputs.iter().filter(|input| !input.reader.shared.is_on_demand()) {
                        input.reader.stop();
                    }
                }
            }
        }
        busy
    }

    /// Each scan has a new queue: the forwarder does not read what an old run still sends.
    fn start_scan(&mut self, stream: usize, opens: bool) {
        let share = self.settings.memory_limit / 2 / self.ingester.active_streams().max(1) as u64;
        let input = &mut self.inputs[stream];
        let freed = input.space.clone();
        let account = Account::new(share, move || freed.freed());
        let queue = Queue::new(input.reader.shared.when_full(), account, input.space.clone(), self.bell.clone());
        let left = input.queue.replace(queue.clone()).map(|old| old.abandon()).unwrap_or_default();
        input.reader.order(Order::Scan { queue, opens, from: input.from.take() });
        // After a swap that failed it is not the one that was expected.
        self.ingester.fed_by(stream, input.reader.shared.source());
        self.ingester.left_behind(stream, left);
        // The reader will execute it if its call ever returns. The other streams do not wait for that.
        let limit = self.ingester.limits().source_timeout;
        if self.inputs[stream].reader.shared.overdue(limit).is_some() {
            // The same text in each scan, so that it is logged once; status shows the time.
            self.ingester.failed(stream, "a call of the source in an earlier scan has not returned yet".to_owned());
        }
    }

    fn open_capture(&mut self, scan: ScanId) {
        self.state.closing = None;
        let prefix = &self.ingester.dump_prefix;
        let path = match &self.settings.dump_path {
            Some(path) => Some(path.clone()),
            None if prefix.is_empty() => None,
            None => Some(PathBuf::from(format!("{prefix}{}-{scan}.cbors", self.settings.name))),
        };
        if self.dump.is_open() {
            self.dump.close(scan);
        }
        if let Some(path) = path {
            self.dump.open(path);
        }
    }
}
