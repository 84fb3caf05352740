//! All current faults, in one list. Status marks each entry, metrics count them, and `/ready` depends on the entries that hinder.

use serde::Serialize;

use crate::{
    control::report::{ControlReport, ControlState, FaultSubject},
    ingester::report::{IngesterState, Report},
    names::IngesterName,
};

/// A current fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// The ingester that it concerns; `None`: the whole host.
    pub ingester: Option<IngesterName>,
    /// Description for a person.
    pub what: String,
    /// Whether it keeps the host from forwarding events.
    pub hinders: bool,
}

/// All current faults. `dead` are ingesters whose threads have ended.
pub(crate) fn faults(control: &ControlReport, reports: &[Report], dead: &[IngesterName]) -> Vec<Fault> {
    let mut faults = of_control(control);
    for report in reports {
        let mut add = |what, hinders| faults.push(Fault { ingester: Some(report.name.clone()), what, hinders });
        if dead.contains(&report.name) {
            add("its thread has ended, which is a bug; restart framegate, and see the log".to_owned(), true);
        }
        let is_hindrance = |fault: &String| report.hindrances.contains(fault);
        report.faults.iter().for_each(|fault| add(fault.clone(), is_hindrance(fault)));
        let capture = report.capture.as_ref().and_then(|capture| capture.fault.as_ref());
        capture.into_iter().for_each(|why| add(format!("capture: {why}"), false));
    }
    faults
}

fn of_control(control: &ControlReport) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |what, hinders| faults.push(Fault { ingester: None, what, hinders });
    if control.state == ControlState::Down {
        let address = control.address.as_deref().unwrap_or_default();
        let why = control.last_problem.as_ref().map_or("no answer", |problem| &problem.what);
        add(format!("Redis at {address} cannot be used since {}: {why}; retrying", control.since), true);
    }
    for (subject, what) in &control.faults {
        let hinders = match subject {
            FaultSubject::Parameter(_) | FaultSubject::Descriptions(_) => false,
            // Of two instances, only the one that has stepped back is hindered.
            FaultSubject::Instances(name) => control.stepped_back.contains(name),
            FaultSubject::Right(right) => !COST_THEMSELVES.iter().any(|key| right.contains(key)),
            FaultSubject::Ingester(_) | FaultSubject::Scans => true,
        };
        add(format!("{subject}: {what}"), hinders);
    }
    faults
}

/// Rights without which events are forwarded all the same.
const COST_THEMSELVES: [&str; 5] = [
    " dranspose_logs",
    " dranspose:parameter_description:",
    " dranspose:parameters:",
    " framegate:",
    "GET dranspose:ingester:",
];

/// Why the host cannot do its work now; empty if it can.
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "for the admin endpoint"))]
pub(crate) fn hindrances(control: &ControlReport, reports: &[Report], faults: &[Fault]) -> Vec<String> {
    let mut reasons = Vec::new();
    if control.state == ControlState::Connecting {
        reasons.push(format!("Redis at {} has not answered yet", control.address.as_deref().unwrap_or_default()));
    }
    for fault in faults.iter().filter(|fault| fault.hinders) {
        let of = fault.ingester.as_ref().map(|name| format!("ingester {name}: ")).unwrap_or_default();
        reasons.push(format!("{of}{}", fault.what));
    }
    let stopped = reports.iter().filter(|report| report.state == IngesterState::Stopped);
    reasons.extend(stopped.map(|report| format!("ingester {}: it has stopped", report.name)));
    reasons
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{control::report::ControlProblem, ingester::report::CaptureReport, settings::IngesterSettings};

    fn report() -> Report {
        let name = IngesterName::new("e").unwrap();
        Report::starting(name.clone(), Uuid::nil(), &IngesterSettings::new(name, "localhost", 1, Vec::new()))
    }

    fn redis(state: ControlState) -> ControlReport {
        ControlReport { state, ..ControlReport::redis("r:6379/0".to_owned()) }
    }

    fn whats(faults: &[Fault]) -> Vec<(&str, bool)> {
        faults.iter().map(|fault| (fault.what.as_str(), fault.hinders)).collect()
    }

    #[test]
    fn a_capture_that_failed_is_a_fault_and_hinders_nobody() {
        let capture = Some(CaptureReport { fault: Some("disk full".to_owned()), ..CaptureReport::default() });
        let (control, reports) = (redis(ControlState::Up), [Report { capture, ..report() }]);
        let faults = faults(&control, &reports, &[]);
        assert_eq!(whats(&faults), [("capture: disk full", false)]);
        assert!(hindrances(&control, &reports, &faults).is_empty());
    }

    #[test]
    fn a_redis_that_is_down_hinders_and_so_does_one_that_has_not_answered() {
        let what = "refused".to_owned();
        let last_problem = Some(ControlProblem { at: String::new(), what });
        let control = ControlReport { last_problem, since: "10:00".to_owned(), ..redis(ControlState::Down) };
        let faults_of_it = faults(&control, &[], &[]);
        let down = "Redis at r:6379/0 cannot be used since 10:00: refused; retrying";
        assert_eq!(whats(&faults_of_it), [(down, true)]);
        assert_eq!(hindrances(&control, &[], &faults_of_it), [down]);
        let control = redis(ControlState::Connecting);
        assert_eq!(hindrances(&control, &[], &faults(&control, &[], &[])), ["Redis at r:6379/0 has not answered yet"]);
    }

    #[test]
    fn of_two_instances_only_the_one_that_stepped_back_is_hindered() {
        let known = [(FaultSubject::Instances(IngesterName::new("e").unwrap()), "two".to_owned())].into();
        let serves = ControlReport { faults: known, ..redis(ControlState::Up) };
        assert_eq!(whats(&faults(&serves, &[], &[])), [("instances of ingester e: two", false)]);
        let stepped_back = [IngesterName::new("e").unwrap()].into();
        let waits = ControlReport { stepped_back, ..serves };
        assert_eq!(whats(&faults(&waits, &[], &[])), [("instances of ingester e: two", true)]);
    }

    #[test]
    fn a_missing_right_hinders_if_events_need_it() {
        let rights = ["SETEX dranspose:ingester:e:config", "XADD dranspose_logs", "XREAD dranspose:assigned:*"];
        let denied = rights.map(|right| (FaultSubject::Right(right.to_owned()), "denied".to_owned()));
        let control = ControlReport { faults: denied.into(), ..redis(ControlState::Up) };
        let hinders: Vec<_> = faults(&control, &[], &[]).iter().map(|fault| fault.hinders).collect();
        assert_eq!(hinders, [true, false, true]);
    }

    #[test]
    fn what_an_ingester_calls_a_hindrance_is_one_and_its_dead_thread_too() {
        let faults_of_it = vec!["a refused value".to_owned(), "it broke".to_owned()];
        let reports = [Report { faults: faults_of_it, hindrances: vec!["it broke".to_owned()], ..report() }];
        let faults = faults(&redis(ControlState::Up), &reports, &[reports[0].name.clone()]);
        let hinders: Vec<_> = faults.iter().map(|fault| fault.hinders).collect();
        assert_eq!(hinders, [true, false, true]);
        assert_eq!(hindrances(&redis(ControlState::Up), &reports, &faults)[1], "ingester e: it broke");
    }
}
