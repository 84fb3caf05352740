//! A stream without a detector whose source answers wrongly.

use super::*;
use crate::ingester::report::SourceState;

/// Gives this many events for each trigger.
#[derive(Debug)]
struct Asked(usize);

impl Factory for Asked {
    fn create(
        &self,
        _: &str,
        _: &Value,
        _: Arc<dyn HostServices>,
        _: Option<&'static Ledger>,
    ) -> Result<Box<dyn Instance>, NotCreated> {
        Ok(Box::new(Self(self.0)))
    }
    fn traits(&self, _: &str, _: &Value) -> Result<Traits, NotCreated> {
        Ok(Traits { exclusive: false, on_demand: true })
    }
    fn identity(&self) -> SourceIdentity {
        SourceIdentity::linked("asked by a test")
    }
}

impl Instance for Asked {
    fn on_demand(&self) -> bool {
        true
    }
    fn ledger(&self) -> Option<&'static Ledger> {
        None
    }
    fn poison(&self) -> Option<String> {
        None
    }
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        Ok(Vec::new())
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn open(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn next(&mut self, _: &mut Vec<Event>, _: Deadline) -> Result<Progress, Fault> {
        Err(Fault::Source(SourceError::new(ErrorKind::Internal, "it is only asked")))
    }
    fn trigger(&mut self, number: u64, out: &mut Vec<Event>) -> Result<(), Fault> {
        let event = |_| Event {
            typ: "T",
            kind: EventKind::Data,
            frames: [Frame::copy(&number.to_le_bytes())].into_iter().collect(),
        };
        out.extend((0..self.0).map(event));
        Ok(())
    }
    fn status(&mut self) -> RunStatus {
        RunStatus::default()
    }
    fn close(&mut self) {}
}

#[test]
fn an_on_demand_source_that_gives_no_event_or_several_fails_its_stream_and_holds_up_nobody() {
    for (given, lengths) in [(0, [0, 0, 0]), (1, [1, 1, 1]), (2, [0, 0, 0])] {
        let lead = Fed::default();
        let sources: [(String, Arc<dyn Factory>); 2] =
            [("lead".into(), Arc::new(lead.clone())), ("asked".into(), Arc::new(Asked(given)))];
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
