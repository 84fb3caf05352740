//! Stands in for an instance that does not exist: each call returns the reason.

use framegate_plugin_api::{Deadline, Progress};

use super::{Fault, Instance, Ledger, RunStatus};
use crate::event::Event;
use crate::source::parameter::Parameter;

pub(super) struct Nobody(pub(super) String);

impl Nobody {
    fn fault<T>(&self) -> Result<T, Fault> {
        Err(Fault::Poisoned(self.0.clone()))
    }
}

impl Instance for Nobody {
    fn on_demand(&self) -> bool {
        false
    }
    fn ledger(&self) -> Option<&'static Ledger> {
        None
    }
    fn poison(&self) -> Option<String> {
        Some(self.0.clone())
    }
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        Ok(Vec::new())
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), Fault> {
        self.fault()
    }
    fn open(&mut self) -> Result<(), Fault> {
        self.fault()
    }
    fn next(&mut self, _: &mut Vec<Event>, _: Deadline) -> Result<Progress, Fault> {
        self.fault()
    }
    fn trigger(&mut self, _: u64, _: &mut Vec<Event>) -> Result<(), Fault> {
        self.fault()
    }
    fn status(&mut self) -> RunStatus {
        RunStatus::default()
    }
    fn close(&mut self) {}
}
