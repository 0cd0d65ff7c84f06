//! Samples of a metrics page in the Prometheus text format.

/// The labels and the value of every sample of a family that has labels.
pub fn labelled<'a>(page: &'a str, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(family)?.strip_prefix('{')?.split_once("} ")?;
        Some((labels, value.split(' ').next()?.parse().ok()?))
    })
}

/// The value of a family without labels.
pub fn value(page: &str, family: &str) -> Option<f64> {
    let sample = |line: &str| line.strip_prefix(family)?.strip_prefix(' ')?.split(' ').next()?.parse().ok();
    page.lines().find_map(sample)
}

/// The value of one label.
pub fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total x\na_total 7\nb{g=\"1\",k=\"x\"} 2.5\nb{g=\"2\"} 3\nab 4\n# EOF\n";

    #[test]
    fn samples_are_found_by_family_and_label() {
        assert_eq!(value(PAGE, "a_total"), Some(7.0));
        assert_eq!(value(PAGE, "a"), None);
        let found: Vec<_> = labelled(PAGE, "b").map(|(labels, value)| (label(labels, "g"), value)).collect();
        assert_eq!(found, [(Some("1"), 2.5), (Some("2"), 3.0)]);
    }
}
