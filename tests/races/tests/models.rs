//! In every thread order, no wake-up, no event and no byte is lost.

use framegate_races as models;

#[test]
fn whoever_sleeps_is_woken_for_all_that_was_left_before_a_ring_and_does_not_spin_after() {
    models::two_ringers_and_a_sleeper();
}

#[test]
fn whoever_waits_for_a_full_account_is_rung_when_bytes_come_back() {
    models::a_full_account_and_who_gives_back();
}

#[test]
fn an_account_never_grants_more_than_its_limit() {
    models::two_takers_and_room_for_one();
}

#[test]
fn each_event_arrives_once_and_in_order_when_its_stream_blocks() {
    models::a_reader_and_the_forwarder(false);
}

#[test]
fn each_event_arrives_or_its_place_is_kept_when_its_stream_drops() {
    models::a_reader_and_the_forwarder(true);
}

#[test]
fn each_event_is_taken_when_readers_take_turns_and_the_own_thread_sleeps() {
    models::two_readers_that_take_turns();
}

#[test]
fn each_event_of_a_scan_that_is_replaced_is_taken_or_counted_once() {
    models::a_reader_and_a_new_scan();
}

#[test]
fn a_source_is_rung_for_each_order_before_it_is_taken_and_not_after() {
    models::a_reader_and_its_orders();
}

#[test]
fn a_source_is_rung_for_urgent_orders_only() {
    models::orders_that_can_wait_and_one_that_is_urgent();
}

#[test]
fn a_source_stays_rung_while_an_urgent_order_waits_behind_the_one_that_was_taken() {
    models::an_urgent_order_behind_another();
}
