//! What repair may cost: the one budget of all rounds of a node.

use althing_merkle::Pace;
use althing_merkle::pace::Rate;
use althing_types::Instant;

use crate::config::RepairConfig;

/// The budget, and how many rounds share it.
#[derive(Debug)]
pub(crate) struct Repairing {
    config: RepairConfig,
    pace: Pace,
    under_way: usize,
}

impl Repairing {
    pub(crate) fn new(config: RepairConfig) -> Self {
        let RepairConfig { bytes_per_second: bytes, keys_per_second: buckets, burst } = config;
        Self { config, pace: Pace::new(Rate { bytes, buckets, burst }, Instant::ZERO), under_way: 0 }
    }

    /// Whether one more round may begin now.
    pub(super) fn begin(&mut self, now: Instant, most: usize) -> bool {
        let may = self.config.is_on() && self.under_way < most && self.is_affordable(now);
        self.under_way += usize::from(may);
        may
    }

    /// A round is over.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether something may be begun now.
    pub(super) fn is_affordable(&mut self, now: Instant) -> bool {
        let allowance = self.pace.allowance(now);
        allowance.bytes > 0 && allowance.buckets > 0
    }

    /// So much was moved and compared.
    pub(super) fn spend(&mut self, bytes: u64, keys: u64) {
        self.pace.spend(bytes, keys);
    }
}
