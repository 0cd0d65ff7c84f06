use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn group(part: Part, term: u64) -> GroupReport {
    GroupReport {
        part,
        configuration: Configuration::Simple,
        term,
        applied: 0,
        keys: 0,
        bytes: 0,
        voters: [NodeId(1), NodeId(2)].into(),
        learners: BTreeSet::new(),
        stage: Stage::Serving,
        middle: None,
    }
}

fn report(groups: &[(u64, GroupReport)]) -> Report {
    let groups = groups.iter().map(|(id, report)| (GroupId(*id), report.clone())).collect();
    Report { name: "n".to_owned(), groups, ..Report::default() }
}

#[test]
fn of_two_that_lead_the_one_with_the_later_term_counts_while_it_is_heard() {
    let mut reports = Reports::new(at(0));
    reports.hear(at(1), NodeId(1), report(&[(7, group(Part::Leads, 4))]));
    reports.hear(at(5), NodeId(2), report(&[(7, group(Part::Leads, 3))]));
    let leader = |seconds| reports.leader(at(seconds), GroupId(7)).map(|(node, _)| node);
    assert_eq!(leader(6), Some(NodeId(1)));
    assert_eq!(leader(12), Some(NodeId(2)), "the other is silent");
    assert_eq!(leader(20), None);
    assert_eq!(reports.leader(at(6), GroupId(8)), None);
}

#[test]
fn a_report_replaces_the_last_one() {
    let mut reports = Reports::new(at(0));
    reports.hear(at(1), NodeId(1), report(&[(7, group(Part::Leads, 1)), (8, group(Part::Holds, 1))]));
    assert_eq!(reports.holders(GroupId(8)).count(), 1);
    reports.hear(at(2), NodeId(1), report(&[(7, group(Part::Holds, 2))]));
    assert_eq!((reports.holders(GroupId(8)).count(), reports.leader(at(2), GroupId(7))), (0, None));
    assert_eq!(reports.node(NodeId(1)).map(|heard| heard.groups().len()), Some(1));
}

#[test]
fn only_what_matters_counts_as_a_change() {
    let mut reports = Reports::new(at(0));
    let mut changes = Vec::new();
    let mut grown = group(Part::Leads, 1);
    (grown.applied, grown.keys, grown.bytes) = (9, 9, 9);
    let mut moved = grown.clone();
    moved.learners.insert(NodeId(3));
    let all = [group(Part::Leads, 1), group(Part::Leads, 1), grown, moved, group(Part::Holds, 1)];
    for told in all {
        reports.hear(at(1), NodeId(1), report(&[(7, told)]));
        changes.push(reports.changes());
    }
    assert_eq!(changes, [2, 2, 2, 3, 4]);
    reports.hear(at(1), NodeId(1), report(&[]));
    assert_eq!(reports.changes(), 5);
}

#[test]
fn a_stage_and_a_first_middle_count_as_changes_and_another_middle_does_not() {
    let mut reports = Reports::new(at(0));
    let mut changes = Vec::new();
    let with = |stage, middle: Option<&'static str>| GroupReport {
        stage,
        middle: middle.map(Bytes::from),
        ..group(Part::Leads, 1)
    };
    let all = [(Stage::Serving, None), (Stage::Serving, Some("m")), (Stage::Serving, Some("n")), (Stage::Sealed, None)];
    for (stage, middle) in all {
        reports.hear(at(1), NodeId(1), report(&[(7, with(stage, middle))]));
        changes.push(reports.changes());
    }
    assert_eq!(changes, [2, 3, 3, 4]);
}

#[test]
fn who_was_not_heard_is_silent_since_the_beginning() {
    let mut reports = Reports::new(at(50));
    assert_eq!((reports.last_heard(NodeId(1)), reports.is_up(at(51), NodeId(1))), (at(50), false));
    reports.hear(at(60), NodeId(1), report(&[]));
    assert_eq!(reports.last_heard(NodeId(1)), at(60));
    let last = at(60) + SILENT_AFTER;
    assert!(reports.is_up(at(69), NodeId(1)) && !reports.is_up(last, NodeId(1)));
}

#[test]
fn the_bytes_of_a_report_are_what_the_format_says() {
    let mut told = group(Part::Leads, 300);
    told.configuration = Configuration::Joint;
    told.stage = Stage::Sealed;
    let large = GroupReport { middle: Some(Bytes::from_static(b"m")), ..group(Part::Leads, 1) };
    let report = Report { zone: "z".to_owned(), peer_urls: vec!["u".to_owned()], ..report(&[(7, told), (8, large)]) };
    let encoded = [
        &b"\x02\x01n\x01\x01u\x00\x01z\x00\x02"[..],
        b"\x07\x03\x02\xac\x02\x00\x00\x00\x02\x01\x02\x00",
        b"\x08\x05\x00\x01\x00\x00\x00\x02\x01\x02\x00\x01m",
    ];
    assert_eq!(report.encode(), encoded.concat());
    assert_eq!(Report::decode(report.encode()), Ok(report));
}

proptest! {
    #[test]
    fn any_bytes_are_a_report_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(report) = Report::decode(Bytes::from(bytes)) {
            prop_assert_eq!(Report::decode(report.encode()), Ok(report));
        }
    }
}
