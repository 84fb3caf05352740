//! Children that end without a word.

use framegate_plugin_abi::caller::Fault;

use super::good::sizes;
use crate::common::{PATIENCE, launch, puppet, start_as, until};

#[test]
fn an_end_of_any_kind_is_named_and_the_frames_stay() {
    for (order, value, named) in [
        ("exit", &[3][..], "exit status 3"),
        ("kill", &[], "crashed with SIGKILL"),
        ("abort", &[], "crashed with SIGABRT"),
        ("segv", &[], "crashed with SIGSEGV"),
        ("linger", &[], "closed its socket"),
    ] {
        let mut host = puppet(PATIENCE);
        host.apart.set_parameter("give", &sizes(&[5000, 100])).unwrap();
        let events = host.events(2).unwrap();
        let (none, fault) = host.fails(order, value);
        assert!(none.is_empty());
        assert!(fault.contains(named), "{order}: {fault}");
        assert!(!host.process.exists(), "{order}: reaped at once");
        let poison = host.apart.poison().unwrap().to_owned();
        assert!(fault.contains(&poison), "{fault} has {poison}");
        for outcome in [host.apart.open(), host.apart.status().map(drop), host.apart.set_parameter("x", b"")] {
            assert!(matches!(outcome, Err(Fault::Poisoned(_) | Fault::Lost(_))), "it is not called again");
        }
        let ledger = host.ends(1);
        drop(events);
        assert_eq!(ledger.delivered(), ledger.released());
    }
}

#[test]
fn what_was_sent_before_the_end_arrives() {
    let mut host = puppet(PATIENCE);
    host.apart.set_parameter("give", &sizes(&[5000; 50])).unwrap();
    let (events, fault) = host.fails("abort", &[]);
    drop(events);
    assert!(fault.contains("SIGABRT"), "{fault}");
    host.ends(0);
}

#[test]
fn a_grandchild_that_keeps_the_socket_does_not_hide_the_end_and_ends_too() {
    for (value, order) in [(&b"and die"[..], "grandchild"), (b"", "grandchild")] {
        let mut host = puppet(PATIENCE);
        if value.is_empty() {
            host.apart.set_parameter(order, value).unwrap();
        } else {
            let fault = host.fails(order, value).1;
            assert!(fault.contains("crashed with SIGABRT"), "{fault}");
        }
        let grandchild = || {
            let lines = host.log.lines();
            lines.iter().find_map(|(_, line)| line.strip_prefix("grandchild ")?.parse::<u32>().ok())
        };
        until("the grandchild's number", || grandchild().is_some());
        let grandchild = grandchild().unwrap();
        host.ends(0);
        // Nobody may have reaped it: then it is a zombie of its new parent.
        until("the grandchild ends", || {
            let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }
}

#[test]
fn a_death_between_two_runs_is_found_by_looking() {
    let mut host = puppet(PATIENCE);
    host.apart.close().unwrap();
    host.apart.look();
    assert_eq!(host.apart.poison(), None);
    host.apart.killer().kill();
    until("the death is found", || {
        host.apart.look();
        host.apart.poison().is_some()
    });
    assert!(host.apart.poison().unwrap().contains("SIGKILL"));
    assert!(host.apart.open().is_err());
    host.ends(0);
}

#[test]
fn a_death_is_found_while_nothing_is_taken() {
    let mut host = puppet(PATIENCE);
    host.apart.held_back().unwrap();
    host.apart.killer().kill();
    until("the death is found", || host.apart.held_back().is_err());
    host.ends(0);
}

#[test]
fn a_program_that_is_no_child() {
    let ledger = Box::leak(Box::default());
    // The role makes it an ordinary test program, which ends.
    let fault = start_as("nothing", launch(PATIENCE), ledger).err().unwrap().to_string();
    assert!(fault.contains("exit status 0") && fault.contains("its start"), "{fault}");
}
