//! What keeps a failure small and an overload cheap: pure mechanisms that are told the time and return what they decide.
//!
//! | module | the question it answers | after |
//! |---|---|---|
//! | [`deadline`] | how long may this still take, here and at the next hop? | gRPC's deadline propagation |
//! | [`backoff`] | how long until the next try? | Brooker, *Exponential Backoff And Jitter*, 2015 |
//! | [`budget`] | may this be tried again at all? | *Site Reliability Engineering*, ch. 21; Finagle's `RetryBudget` |
//! | [`breaker`] | is the other side worth asking now? | Nygard, *Release It!*, ch. 5 |
//! | [`bulkhead`] | is there a place left for this kind of work? | Nygard, *Release It!*, ch. 5 |
//! | [`limit`] | how many requests at once are worth having? | Nichols and Jacobson, *Controlling Queue Delay*, 2012; Netflix, `concurrency-limits` |
//! | [`admission`] | is this request let in? | the two before it, together |
//!
//! None of them keeps a queue, so none of them grows: what is refused is refused at once, and the caller is told while it
//! can still do something better. Chance is seeded, numbers are integers wherever the decision hangs on them, and the same
//! calls with the same times give the same answers.
//!
//! ```
//! use althing_resilience::admission::{Admission, Refused};
//! use althing_resilience::bulkhead::Work;
//! use althing_resilience::limit::LimitConfig;
//! use althing_types::{Duration, Instant};
//!
//! let mut admission = Admission::new(LimitConfig { initial: 2, floor: 2, ..LimitConfig::default() }, 1_000);
//! let now = Instant::ZERO;
//! let first = admission.admit(now, Work::Clients, 100).expect("there is room");
//! admission.admit(now, Work::Consensus, 100).expect("and for what keeps the cluster alive");
//! assert_eq!(admission.admit(now, Work::Clients, 100), Err(Refused::Limit));
//! admission.answered(now + Duration::from_millis(3), first);
//! assert!(admission.admit(now, Work::Clients, 100).is_ok());
//! ```

pub mod admission;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod deadline;
pub mod limit;

pub use admission::{Admission, Ticket};
pub use backoff::{Backoff, Jitter};
pub use breaker::Breaker;
pub use budget::RetryBudget;
pub use bulkhead::{Bulkhead, Work};
pub use deadline::{Deadline, Remaining};
pub use limit::{Limit, LimitConfig};
