//! The word that a person probably meant.

/// Of the words that are known, the nearest to one that is not; `None` if no word is near.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normal = plain(word);
    let distance = |known: &str| {
        let known = plain(known);
        let is_longer_form = normal.starts_with(&known) || known.starts_with(&normal);
        if is_longer_form { 0 } else { strsim::damerau_levenshtein(&normal, &known) }
    };
    let best = known.into_iter().min_by_key(|known| distance(known))?;
    (distance(best) <= best.len() / 3).then_some(best)
}

/// What follows an error about an unknown word: the nearest one, or all that are known.
#[must_use]
pub fn hint(word: &str, known: &[&str], what: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(known) => format!("; did you mean `{known}`?"),
        None => format!("; the {what} are {}", known.join(", ")),
    }
}

fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_a_hyphen_and_a_longer_form_are_understood() {
        let known = ["name", "data_dir", "peer_tls_cert"];
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("Data-Dir", known), Some("data_dir"));
        assert_eq!(nearest("peer_tls_certificate", known), Some("peer_tls_cert"));
        assert_eq!(nearest("zzz", known), None);
    }

    #[test]
    fn where_nothing_is_near_everything_is_listed() {
        assert_eq!(hint("zzz", &["name", "port"], "keys"), "; the keys are name, port");
        assert_eq!(hint("nmae", &["name", "port"], "keys"), "; did you mean `name`?");
    }
}
