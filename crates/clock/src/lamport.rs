//! Lamport's clock: one number that never contradicts causality.
//!
//! *Time, Clocks, and the Ordering of Events in a Distributed System*, 1978, rules IR1 and IR2. If one event happened before
//! another, its number is less; the converse does not hold, so it orders and cannot tell what is concurrent.

use althing_codec::{DecodeError, Reader, Writer};

use crate::coded::Coded;

/// The clock of one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Lamport(u64);

impl Lamport {
    /// The greatest number that is taken over from somebody else: counting on from there lasts for ever.
    pub const MAX_OBSERVED: u64 = u64::MAX >> 1;
    /// The greatest number that is read from bytes: more events above [`Lamport::MAX_OBSERVED`] than a process can have.
    pub const MAX: u64 = Self::MAX_OBSERVED + (u64::MAX >> 2);

    /// The number of the last event; zero before the first.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of an event here, a message that is sent among them (IR1).
    pub const fn tick(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// The number of the event that a message with this number has arrived (IR2).
    pub fn observe(&mut self, remote: u64) -> u64 {
        self.0 = self.0.max(remote.min(Self::MAX_OBSERVED));
        self.tick()
    }
}

impl Coded for Lamport {
    const NAME: &'static str = "a Lamport clock";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.0);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let value = reader.u64(Self::NAME)?;
        if value > Self::MAX {
            return Err(DecodeError::Unknown { field: Self::NAME, value });
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_after_it_was_sent() {
        let (mut sender, mut receiver) = (Lamport::default(), Lamport::default());
        (0..4).for_each(|_| _ = sender.tick());
        let sent = sender.tick();
        assert_eq!(sent, 5);
        assert_eq!(receiver.tick(), 1);
        assert_eq!(receiver.observe(sent), 6);
        assert_eq!(receiver.observe(2), 7);
        assert_eq!(sender.observe(receiver.tick()), 9);
    }

    #[test]
    fn a_hostile_number_does_not_stop_the_clock() {
        let mut clock = Lamport::default();
        assert_eq!(clock.observe(u64::MAX), Lamport::MAX_OBSERVED + 1);
        clock.tick();
        assert_eq!(Lamport::decode(clock.encode()), Ok(clock));
        assert!(Lamport::decode(Lamport(u64::MAX).encode()).is_err());
    }
}
