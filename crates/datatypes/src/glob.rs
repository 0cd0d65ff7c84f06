//! Patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before what stands for itself.

/// Whether the whole text fits the pattern.
///
/// Only the last star is ever reconsidered: what stood before it has matched as early as it could, and to match later
/// leaves less to match with. So it takes at most the product of both lengths, where the textbook's recursion is exponential.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            star = Some((after, at));
            rest = after;
            continue;
        }
        let step = text.get(at).and_then(|byte| one(rest, *byte));
        if let Some(after) = step {
            (rest, at) = (after, at + 1);
            continue;
        }
        if rest.is_empty() && at == text.len() {
            return true;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (rest, at) = (after, from + 1);
            }
            Some(_) | None => return false,
        }
    }
}

/// What is left of the pattern once its first element has matched the byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// A class without its bracket. One that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        other => (false, other),
    };
    let mut is_in = false;
    loop {
        match rest {
            [] | [b']', ..] => break,
            [b'\\', literal, after @ ..] => {
                is_in |= *literal == byte;
                rest = after;
            }
            [first, b'-', last, after @ ..] => {
                is_in |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest = after;
            }
            [literal, after @ ..] => {
                is_in |= *literal == byte;
                rest = after;
            }
        }
    }
    (is_in != is_negated).then(|| rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_what_they_say() {
        let golden = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[abc", "b", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("user:*:name", "user:17:name", true),
        ];
        for (pattern, text, is_match) in golden {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), is_match, "{pattern} of {text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 20_000]));
    }

    /// The textbook's way.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skipped| model(rest, &text[skipped..])),
            [b'?', rest @ ..] => !text.is_empty() && model(rest, &text[1..]),
            [literal, rest @ ..] => text.first() == Some(literal) && model(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_textbook(pattern in "[ab?*]{0,7}", text in "[ab]{0,9}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_pattern_is_borne(pattern: Vec<u8>, text: Vec<u8>) {
            let _ = matches(&pattern, &text);
        }
    }
}
