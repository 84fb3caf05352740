//! Long random histories, with more scans and events than a search through all orders can have. Failing histories are shrunk.

use proptest::{prelude::*, sample};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::{
    ops::{ALL, Bounds, Op},
    spec::Spec,
    world::World,
};
use crate::wake::Wake;

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Spec;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Spec> {
        let bounds =
            |(blocks, on_demand, swaps)| Bounds { scans: 20, events: 50, restarts: 10, swaps, blocks, on_demand };
        (any::<bool>(), any::<bool>(), prop_oneof![Just(0), Just(5)]).prop_map(bounds).prop_map(Spec::new).boxed()
    }

    fn transitions(state: &Spec) -> BoxedStrategy<Op> {
        // Most steps continue the scan normally; otherwise none would get far.
        let usual: Vec<_> = ALL.into_iter().filter(|op| op.is_usual() && state.may(*op)).collect();
        let any: Vec<_> = ALL.into_iter().filter(|op| state.may(*op)).collect();
        match usual.is_empty() {
            true => sample::select(any).boxed(),
            false => prop_oneof![12 => sample::select(usual), 1 => sample::select(any)].boxed(),
        }
    }

    fn apply(mut state: Spec, op: &Op) -> Spec {
        state.step(*op);
        state
    }

    fn preconditions(state: &Spec, op: &Op) -> bool {
        state.may(*op)
    }
}

/// The real ingester, and the state before the next step.
struct Real(World, Spec);

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(before: &Spec) -> Self {
        Self(World::new(&Wake::new().unwrap(), before.bounds.on_demand), before.clone())
    }

    fn apply(mut real: Self, after: &Spec, op: Op) -> Self {
        real.0.step(&real.1, op);
        real.1 = after.clone();
        if let Err(problem) = real.0.check(after) {
            panic!("{problem}");
        }
        real
    }

    fn teardown(real: Self, _: Spec) {
        assert_eq!(real.0.used(), 0, "every byte comes back");
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_long_random_histories_each_step_is_right(sequential 1..150 => Real);
}
