//! The examples that the documentation shows do what it says: each checks itself.

#[path = "../examples/lww_and_the_clock.rs"]
mod lww_and_the_clock;

#[test]
fn where_the_last_writer_wins_by_the_clock_a_write_is_lost_and_here_it_is_not() {
    lww_and_the_clock::main();
}
