//! The door to `foca`: what it calls during one step is written down and carried out afterwards.

use std::convert::Infallible;

use althing_types::Duration;
use foca::{Foca, NoCustomBroadcast, Notification, OwnedNotification};

use crate::codec::SwimCodec;
use crate::identity::Identity;

/// The protocol.
pub(crate) type Swim = Foca<Identity, SwimCodec, SeededRng, NoCustomBroadcast>;

/// What `foca` called for during one step.
#[derive(Default)]
pub(crate) struct Calls {
    pub sends: Vec<(Identity, Vec<u8>)>,
    pub timers: Vec<(foca::Timer<Identity>, Duration)>,
    pub notes: Vec<OwnedNotification<Identity>>,
}

impl foca::Runtime<Identity> for Calls {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        self.notes.push(notification.to_owned());
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: foca::Timer<Identity>, after: Duration) {
        self.timers.push((event, after));
    }
}

/// The house's seeded generator, as `foca` wants it.
pub(crate) struct SeededRng(pub fastrand::Rng);

impl rand_core::TryRng for SeededRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.u32(..))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.u64(..))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}
