//! How far it is, in one line of the terminal that is written over.

use std::io::{IsTerminal, Write};

use althing_types::Duration;

/// Characters of the bar.
const WIDTH: u64 = 24;

/// A line on standard error, if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
}

impl Progress {
    /// Shown if anybody wants it and can see it.
    #[must_use]
    pub fn new(is_wanted: bool) -> Self {
        Self { is_shown: is_wanted && std::io::stderr().is_terminal() }
    }

    /// Says how far it is.
    pub fn show(&self, text: &str) {
        if self.is_shown {
            let mut stderr = std::io::stderr().lock();
            // A progress line that cannot be written is no reason to stop.
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        }
    }

    /// Makes room for a line that stays.
    pub fn clear(&self) {
        self.show("");
    }
}

/// `[######------------------]  50 of 200 seeds, 312 s/s, 40 s left`.
#[must_use]
pub fn bar(done: u64, all: Option<u64>, failed: u64, simulated: Duration, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let speed = simulated.as_secs_f64() / seconds;
    let failed = if failed == 0 { String::new() } else { format!(", {failed} FAILED") };
    let Some(all) = all.filter(|all| *all > 0) else {
        return format!("{done} seeds in {} s{failed}, {speed:.0} s/s", elapsed.as_secs());
    };
    let full = usize::try_from(WIDTH * done.min(all) / all).unwrap_or_default();
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH as usize - full));
    let left = match done {
        0 => String::new(),
        _ => format!(", {:.0} s left", seconds / done as f64 * all.saturating_sub(done) as f64),
    };
    format!("[{bar}] {done} of {all} seeds{failed}, {speed:.0} s/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up_and_says_how_long_it_will_take() {
        let secs = Duration::from_secs;
        let half = bar(50, Some(200), 0, secs(3120), secs(10));
        assert_eq!(half, "[######------------------] 50 of 200 seeds, 312 s/s, 30 s left");
        assert_eq!(bar(7, None, 1, secs(70), secs(7)), "7 seeds in 7 s, 1 FAILED, 10 s/s");
    }
}
