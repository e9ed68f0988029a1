//! Tests the output of a watch, and that it erases its line.

use super::super::output::tests::recorded;
use super::*;
use crate::error::{Error, Kind};
use crate::kloset::progress::add;

fn counters() -> Counters {
    let counters = Counters::default();
    add(&counters.files, 12);
    add(&counters.bytes, 512 << 20);
    counters
}

#[test]
fn the_line_tells_what_is_known() {
    let counters = counters();
    let line =
        |counters: &Counters| Snapshot::of(counters, 1048576.0, Duration::from_secs(9)).line(80);
    assert_eq!(line(&counters), "12 files  512.0 MiB  1.0 MiB/s");
    add(&counters.expected_bytes, 1 << 30);
    add(&counters.errors, 2);
    assert_eq!(
        line(&counters),
        "50%  12 files  512.0 MiB  1.0 MiB/s  8m32s left  2 errors"
    );
}

#[test]
fn the_line_leaves_the_last_column_free() {
    let mut snapshot = Snapshot::of(&counters(), 1.0, Duration::ZERO);
    for path in ["", "/home/user/Documents/notes.txt"] {
        snapshot.shown = path.to_owned();
        for columns in 1..100 {
            let line = snapshot.line(columns);
            assert!(line.len() < usize::from(columns), "{columns}: {line}");
        }
    }
}

#[test]
fn the_line_ends_with_as_much_of_the_path_as_fits() {
    let mut snapshot = Snapshot::of(&counters(), 1.0, Duration::ZERO);
    snapshot.shown = "/home/user/Documents/notes.txt".to_owned();
    let counts = snapshot.line(40);
    assert_eq!(counts, "12 files  512.0 MiB  1 B/s");
    assert_eq!(
        snapshot.line(80),
        format!("{counts}  /home/user/Documents/notes.txt")
    );
    assert_eq!(snapshot.line(48), format!("{counts}  ...uments/notes.txt"));
    // Characters that are two columns wide.
    assert_eq!(
        end_of("/a/\u{65e5}\u{672c}\u{8a9e}", 8),
        "...\u{672c}\u{8a9e}"
    );
    assert_eq!(end_of("/a/\u{65e5}", 5), "/a/\u{65e5}");
}

#[test]
fn objects_are_counted_until_there_are_files() {
    let counters = Counters::default();
    let line = || Snapshot::of(&counters, 1.0, Duration::ZERO).line(80);
    assert_eq!(line(), "0 files  0 B  1 B/s");
    add(&counters.objects, 1);
    assert_eq!(line(), "1 object  0 B  1 B/s");
    add(&counters.files, 1);
    assert_eq!(line(), "1 object  1 file  0 B  1 B/s");
}

#[test]
fn the_rate_follows_slowly_and_starts_at_once() {
    let mut rate = Rate::default();
    rate.update(1000, Duration::from_secs(1));
    assert_eq!(rate.per_second as u64, 1000);
    rate.update(1000, Duration::from_secs(1));
    assert!(
        (700.0..1000.0).contains(&rate.per_second),
        "{}",
        rate.per_second
    );
}

#[test]
fn paths_are_shown_in_a_log_and_in_a_dry_run_only() {
    let path = Event::Path {
        path: b"/a\x1b",
        action: "new",
        size_bytes: 1,
    };
    let line = "new       /a\\u{1b}\n";
    let object = "{\"type\":\"path\",\"action\":\"new\",\"path\":\"/a\\u001b\",\"size_bytes\":1}\n";
    for (format, paths, shown) in [
        (Format::Human, Paths::Hidden, ""),
        (Format::Json, Paths::Hidden, ""),
        (Format::Lines, Paths::Shown, line),
        (Format::Human, Paths::Result, line),
        (Format::Json, Paths::Shown, object),
    ] {
        let (output, results, _) = recorded(format, Verbosity::Normal);
        Watch::new(Arc::new(output), paths, Progress::Hidden).event(&path);
        assert_eq!(results.text(), shown, "{format:?} {paths:?}");
    }
}

#[test]
fn errors_are_told_while_work_goes_on() {
    let (output, _, messages) = recorded(Format::Human, Verbosity::Quiet);
    let watch = Watch::new(Arc::new(output), Paths::Hidden, Progress::Shown);
    watch.show();
    let error = Error::new(Kind::Denied, "permission denied");
    watch.event(&Event::Failed {
        path: b"/secret",
        error: &error,
    });
    watch.finish();
    assert_eq!(
        messages.text().lines().last(),
        Some("plakar: /secret: permission denied")
    );
}
