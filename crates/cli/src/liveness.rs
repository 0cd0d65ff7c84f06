//! How the nodes look to each other, read from the metrics page of one of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::samples::{label, labelled};

/// How one node looks to another one. A hint: consensus does not ask for it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Liveness {
    /// `alive`, `suspected`, `down` or `left`.
    pub state: String,
    /// Since how many seconds.
    pub seconds: f64,
    /// How surprising its silence is: phi of the accrual failure detector.
    pub phi: f64,
}

impl Liveness {
    /// In a word or a few, for people.
    #[must_use]
    pub fn words(&self) -> String {
        match self.state.as_str() {
            "alive" => format!("alive, phi {:.1}", self.phi),
            state => format!("{state} for {}", age(self.seconds)),
        }
    }
}

/// A time in words, for people.
#[must_use]
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600.. => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// What the page of a node says of the others, by their ids in hexadecimal digits.
#[must_use]
pub fn read(page: &str) -> BTreeMap<String, Liveness> {
    let mut found = BTreeMap::new();
    for (labels, seconds) in labelled(page, "althing_gossip_member_seconds") {
        if let (Some(peer), Some(state)) = (label(labels, "peer"), label(labels, "state")) {
            found.insert(peer.to_owned(), Liveness { state: state.to_owned(), seconds, phi: 0.0 });
        }
    }
    for (labels, phi) in labelled(page, "althing_gossip_phi") {
        if let Some(liveness) = label(labels, "peer").and_then(|peer| found.get_mut(peer)) {
            liveness.phi = phi;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_each_node_looks() {
        let page = "# HELP althing_gossip_phi x\n\
                    althing_gossip_member_seconds{peer=\"ab\",state=\"alive\"} 12.5\n\
                    althing_gossip_member_seconds{peer=\"c\",state=\"down\"} 130.0\n\
                    althing_gossip_phi{peer=\"ab\"} 0.31\n\
                    althing_gossip_phi{peer=\"c\"} 100.0\n\
                    althing_gossip_phi{peer=\"d\"} 1.0\n";
        let found = read(page);
        let words: Vec<_> = found.iter().map(|(peer, liveness)| format!("{peer} {}", liveness.words())).collect();
        assert_eq!(words, ["ab alive, phi 0.3", "c down for 2 min 10 s"]);
    }

    #[test]
    fn a_page_without_the_membership_says_nothing() {
        assert!(read("althing_requests_total 7\n").is_empty());
    }

    #[test]
    fn long_times_are_short_words() {
        let down = |seconds| Liveness { state: "down".into(), seconds, phi: 0.0 }.words();
        assert_eq!((down(5.9).as_str(), down(7_260.0).as_str()), ("down for 5 s", "down for 2 h 1 min"));
    }
}
