//! What the lessor promises, as rules and against a log with losses and changes of leader.

mod model;
mod rules;
