//! Tests which snapshots prune keeps, and the reasons it shows.

use crate::harness::{Sandbox, store};
use crate::query::{backup, came_then};

/// Three snapshots of one day and one of the next year, by two jobs.
fn with_snapshots(name: &str) -> (Sandbox, String, Vec<String>) {
    let sandbox = Sandbox::with_store(name);
    let at = store(name);
    sandbox.write("d/a", b"hello");
    let made = [
        ("2024-02-29 00:00", "x"),
        ("2024-02-29 12:00", "y"),
        ("2024-02-29 23:59:59", "x"),
        ("2025-01-01", "x"),
    ];
    let ids = made.map(|(time, job)| backup(&sandbox, &at, time, &["-job", job]));
    (sandbox, at, ids.to_vec())
}

#[test]
fn every_snapshot_has_a_reason() {
    let (sandbox, at, ids) = with_snapshots("prune");
    let run = sandbox
        .run(&["at", &at, "prune", "-per-day", "1", "-per-monday", "1"])
        .ended(0);
    let lines = run.stdout();
    let lines: Vec<&str> = lines.lines().collect();
    let begins =
        |verb: &str, time: &str, id: &str| format!("{verb} {time} {}        5 B /", &id[..8]);
    let expected = [
        (
            begins("keep  ", "2025-01-01T00:00:00Z", &ids[3]),
            "/d match=day:2025-01-01 rank=1",
        ),
        (
            begins("keep  ", "2024-02-29T23:59:59Z", &ids[2]),
            "/d match=day:2024-02-29 rank=1",
        ),
        (
            begins("remove", "2024-02-29T12:00:00Z", &ids[1]),
            "/d over=day:2024-02-29 rank=2 cap=1",
        ),
        (
            begins("remove", "2024-02-29T00:00:00Z", &ids[0]),
            "/d over=day:2024-02-29 rank=3 cap=1",
        ),
    ];
    for (line, (start, end)) in lines.iter().zip(&expected) {
        assert!(
            line.starts_with(start) && line.ends_with(end),
            "{line}\n{start} {end}"
        );
    }
    assert_eq!(
        lines[4..],
        ["prune: of 4 snapshots, 2 would be kept and 2 removed"]
    );
    let left = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert_eq!(left.lines().count(), 4, "nothing is removed");
}

#[test]
fn what_is_outside_of_every_limit_has_a_dash() {
    let (sandbox, at, _) = with_snapshots("prune_outside");
    let fresh = sandbox.backup(&at, "d");
    let run = sandbox.run(&["at", &at, "prune", "-years", "1"]).ended(0);
    let lines = run.stdout();
    let (first, rest) = lines.split_once('\n').expect("there are several");
    assert!(
        first.starts_with("keep ") && first.contains(&fresh[..8]) && first.contains("match=year:2"),
        "{first}"
    );
    assert_eq!(rest.matches("/d -\n").count(), 4, "{rest}");
}

#[test]
fn groups_are_judged_by_themselves_and_a_lost_one_is_told() {
    let (sandbox, at, ids) = with_snapshots("prune_groups");
    let run = sandbox
        .run(&["at", &at, "prune", "-per-year", "1", "-group-by", "job"])
        .ended(0);
    let run = run
        .prints("job x: 3 snapshots\n")
        .prints("\njob y: 1 snapshot\n")
        .says_nothing();
    run.prints("prune: of 4 snapshots, 3 would be kept and 1 removed\n");
    let run = sandbox
        .run(&[
            "at",
            &at,
            "prune",
            "-per-wednesday",
            "1",
            "-group-by",
            "job",
        ])
        .ended(0);
    run.says("plakar: warning: job y: nothing would be kept");
    // Snapshots that do not match the filters are neither kept nor removed.
    let run = sandbox
        .run(&["at", &at, "prune", "-job", "y", "-per-year", "1"])
        .ended(0);
    let lines = run.stdout();
    assert!(
        lines.lines().count() == 2 && lines.contains(&ids[1][..8]),
        "{lines}"
    );
}

#[test]
fn no_source_displaces_another_unless_that_is_meant() {
    let sandbox = Sandbox::with_store("prune_sources");
    let at = store("prune_sources");
    let backup = |place: &str, time: &str| {
        sandbox.write(&format!("{place}/a"), b"hello");
        let words = ["at", &at, "backup", "-force-timestamp", time, place];
        sandbox.run(&words).ended(0);
        came_then(&sandbox, &at, time);
    };
    backup("mail", "2024-02-29 01:00");
    backup("mail", "2024-02-29 02:00");
    backup("web", "2024-02-29 03:00");
    let prune = |more: &[&str]| {
        let words = [&["at", &at, "prune", "-per-day", "1"], more].concat();
        sandbox.run(&words).ended(0)
    };
    let run = prune(&[]).prints("of 3 snapshots, 2 would be kept and 1 removed");
    let lines = run.stdout();
    let kept: Vec<&str> = lines
        .lines()
        .filter(|line| line.starts_with("keep "))
        .collect();
    assert!(
        kept[0].contains("T02:00") && kept[1].contains("T03:00"),
        "{lines}"
    );
    prune(&["-group-by", "none"]).prints("of 3 snapshots, 1 would be kept and 2 removed");
    prune(&["-group-by", "root"]).prints("of 3 snapshots, 2 would be kept and 1 removed");
}

#[test]
fn programs_get_every_period() {
    let (sandbox, at, ids) = with_snapshots("prune_json");
    let words = [
        "at",
        &at,
        "-json",
        "prune",
        "-per-day",
        "1",
        "-years",
        "900",
        "-group-by",
        "job",
    ];
    let objects = sandbox.run(&words).ended(0).objects();
    let verdict = objects
        .iter()
        .find(|object| object["snapshot"] == ids[0].as_str());
    let verdict = verdict.expect("each snapshot has a verdict");
    assert_eq!(
        (&verdict["type"], &verdict["is_kept"]),
        (&"verdict".into(), &true.into())
    );
    assert_eq!(verdict["group"], serde_json::json!(["x"]));
    let expected = serde_json::json!([
        {"period": "day", "bucket": "2024-02-29", "rank": 2, "cap": 1, "is_match": false},
        {"period": "year", "bucket": "2024", "rank": 2, "is_match": true},
    ]);
    assert_eq!(verdict["periods"], expected);
    let summary = objects.last().expect("there is a summary");
    let expected = serde_json::json!({"type": "summary", "command": "prune", "snapshots": 4, "kept": 4, "is_applied": false});
    assert_eq!(summary, &expected);
}

#[test]
fn what_would_keep_all_or_nothing_is_refused() {
    let (sandbox, at, _) = with_snapshots("prune_refused");
    let prune = |flags: &[&str]| sandbox.run(&[&["at", &at, "prune"], flags].concat());
    prune(&[])
        .ended(64)
        .prints_nothing()
        .says("without one, everything is kept");
    prune(&["-job", "x"])
        .ended(64)
        .prints_nothing()
        .says("such as -days 7");
    prune(&["-days", "7", "-latest"])
        .ended(64)
        .says("-per-year 1 keeps the newest");
    prune(&["-days", "1", "x"])
        .ended(64)
        .says("unexpected argument");
    let run = prune(&["-days", "1"])
        .ended(64)
        .says("would keep nothing of 4 snapshots");
    run.prints("remove 2024").says("-keep-none");
    prune(&["-days", "1", "-keep-none"])
        .ended(0)
        .prints("0 would be kept and 4 removed");
    prune(&["-days", "1", "-job", "z"])
        .ended(0)
        .prints_just("prune: of 0 snapshots, 0 would be kept and 0 removed\n");
}

#[test]
fn a_policy_is_where_flags_start_from() {
    let (sandbox, at, ids) = with_snapshots("prune_policy");
    let policies = "[usual]\nper-day = 1\ntag = \"!keep\"\njob = \"x\"\n\n[all]\nyears = 900\nroot = [\"/nowhere\", \"/d\"]\n\n[odd]\nper-dya = 1\n\n[none]\n";
    sandbox.write("home/.config/plakar/policies.toml", policies.as_bytes());
    let prune = |flags: &[&str]| sandbox.run(&[&["at", &at, "prune", "-policy"], flags].concat());
    let run = prune(&["usual"]).ended(0);
    run.prints("prune: of 3 snapshots, 2 would be kept and 1 removed");
    let run = prune(&["usual", "-per-day", "3"]).ended(0);
    run.prints("prune: of 3 snapshots, 3 would be kept and 0 removed");
    let run = prune(&["usual", "-job", "y"]).ended(0);
    run.prints(&ids[1][..8]).prints("of 1 snapshot, 1 would");
    prune(&["all"]).ended(0).prints("of 0 snapshots");
    prune(&["all", "-root", "d"])
        .ended(0)
        .prints("of 4 snapshots");
    prune(&["usul"])
        .ended(66)
        .says("no policy named usul (did you mean usual?)");
    let run = prune(&["odd"])
        .ended(78)
        .says("policies.toml: policy odd: ");
    run.says("\"per-dya\" (did you mean per-day?)");
    prune(&["none"])
        .ended(64)
        .says("without one, everything is kept");
}

#[test]
fn what_is_not_kept_goes_when_told_to() {
    let (sandbox, at, ids) = with_snapshots("prune_apply");
    let run = sandbox
        .run(&["at", &at, "prune", "-apply", "-per-day", "1"])
        .ended(0);
    run.prints("remove 2024-02-29T12:00:00Z")
        .prints("of 4 snapshots, 2 kept and 2 removed; maintenance now, and");
    let left = sandbox.run(&["at", &at, "ls", "-uuid"]).ended(0).stdout();
    let is_left: Vec<bool> = ids.iter().map(|id| left.contains(id)).collect();
    assert_eq!(is_left, [false, false, true, true], "{left}");
    let again = sandbox
        .run(&["at", &at, "prune", "-apply", "-per-day", "1"])
        .ended(0);
    again.prints("of 2 snapshots, 2 kept and 0 removed");
    let none = ["at", &at, "prune", "-apply", "-days", "1"];
    sandbox.run(&none).ended(64).says("-keep-none");
    let left = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert_eq!(left.lines().count(), 2, "{left}");
    let meant = [&none[..], &["-keep-none"]].concat();
    sandbox.run(&meant).ended(0).prints("0 kept and 2 removed");
    let left = sandbox.run(&["at", &at, "ls"]).ended(0).stdout();
    assert_eq!(left, "");
}

/// The attack of restic's issue 22057: an attacker who can only add data creates empty snapshots
/// that claim to be the newest of every period, and waits for the owner to remove the others.
#[test]
fn forged_times_remove_no_honest_snapshot() {
    let sandbox = Sandbox::with_store("prune_forged");
    let at = store("prune_forged");
    sandbox.write("d/a", b"honest");
    let honest: Vec<String> = (1..=5)
        .map(|day| backup(&sandbox, &at, &format!("2024-03-0{day} 02:00"), &[]))
        .collect();
    sandbox.write("d/a", b"worthless");
    let forge = |time: &str| {
        let words = ["at", &at, "backup", "-json", "-force-timestamp", time, "d"];
        let summary = sandbox.run(&words).ended(0).object("summary");
        summary["snapshot"].as_str().map(str::to_owned)
    };
    let mut forged: Vec<String> = (1..=5)
        .filter_map(|day| forge(&format!("2024-03-0{day} 23:59:59")))
        .collect();
    forged.extend(forge("2099-12-31 23:59:59"));
    for flags in [
        &["-per-day", "1"][..],
        &["-per-year", "5"],
        &["-years", "900", "-per-week", "4"],
    ] {
        let words = [&["at", &at, "prune"], flags].concat();
        let run = sandbox.run(&words).ended(0);
        run.says("6 snapshots came to the store at another time than they say, and are kept");
    }
    let words = ["at", &at, "prune", "-apply", "-per-day", "1"];
    let lines = sandbox.run(&words).ended(0).stdout();
    assert_eq!(lines.matches(" suspicious=").count(), 6, "{lines}");
    assert!(lines.contains("11 kept and 0 removed"), "{lines}");
    let left = sandbox.run(&["at", &at, "ls", "-uuid"]).ended(0).stdout();
    assert!(
        honest.iter().chain(&forged).all(|id| left.contains(id)),
        "{left}"
    );
    // The owner can remove the forged snapshots by id.
    let words = [
        &["at", &at, "rm", "-apply"][..],
        &forged.iter().map(String::as_str).collect::<Vec<_>>(),
    ]
    .concat();
    sandbox.run(&words).ended(0);
    sandbox
        .run(&["at", &at, "prune", "-apply", "-per-day", "1"])
        .ended(0)
        .says_nothing();
}
