//! A stream without a detector whose source answers wrongly.

use framegate_plugin_api::{OnDemand, OnDemandRun};

use super::*;
use crate::ingester::report::SourceState;

#[derive(Clone, Copy, serde::Deserialize)]
struct Asked {
    /// This many events for each trigger.
    gives: usize,
}

impl Source for Asked {
    type Settings = Self;
    type Run = OnDemand<Self>;
    const PROTOCOL: &'static str = "asked by a test";

    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }
    fn open(&mut self) -> Result<OnDemand<Self>, SourceError> {
        Ok(OnDemand(*self))
    }
}

impl OnDemandRun for Asked {
    fn trigger(&mut self, number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        (0..self.gives).for_each(|_| out.push("T", EventKind::Data, [Frame::copy(&number.to_le_bytes())]));
        Ok(())
    }
}

#[test]
fn an_on_demand_source_that_gives_no_event_or_several_fails_its_stream_and_holds_up_nobody() {
    for (given, lengths) in [(0, [0, 0, 0]), (1, [1, 1, 1]), (2, [0, 0, 0])] {
        let lead = Fed::default();
        let sources = [lead.source("lead"), ("asked".into(), json!({ "gives": given }), linked::<Asked>())];
        let house = House { feeds: vec![lead], ..house_of(sources.into(), |_| ()) };
        let worker = house.worker("w1");
        let scan = house.start(&["lead", "asked"]);
        (0..3).for_each(|number| house.feed(0, EventKind::Data, &[&[number]]));
        let both: Streams<'_> = &[("lead", &["w1"]), ("asked", &["w1"])];
        house.assign(scan, &[(0, both), (1, both), (2, both)]);
        for (number, length) in (0u64..).zip(lengths) {
            let (header, frames) = receive(&worker);
            assert_eq!((&header["event_number"], &frames[0][..]), (&json!(number), &[number as u8][..]));
            assert_eq!(header["streams"]["asked"]["length"], length, "{given} events each time: {header}");
            assert!(length == 0 || frames[1] == number.to_le_bytes(), "an event of another number");
        }
        house.command(Command::Finish { scan });
        let report = house.wait("the finish", |report| report.finished == Some(scan));
        let asked = report.streams.values().find(|stream| stream.missing > 0);
        assert_eq!(asked.is_some_and(|stream| stream.source == SourceState::Failed), given != 1, "{report:#?}");
        let why = format!("asked for event 0, it gave {given} events instead of one");
        assert_eq!(report.faults.iter().any(|fault| fault.contains(&why)), given != 1, "{:?}", report.faults);
        let of_no_use = if given == 1 { 0 } else { given as u64 };
        assert_eq!(report.counters["events_late"], of_no_use);
        house.stop();
    }
}
