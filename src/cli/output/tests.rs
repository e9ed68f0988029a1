//! Tests which output goes to which stream.

use std::sync::Arc;

use super::*;
use crate::error::Kind;

/// A stream that records its data, and can simulate a closed pipe.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<u8>>>);

impl Recorder {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output, and the recorders of its standard output and standard error.
pub(crate) fn recorded(format: Format, verbosity: Verbosity) -> (Output, Recorder, Recorder) {
    let (results, messages) = (Recorder::default(), Recorder::default());
    let output = Output::new(
        format,
        verbosity,
        Box::new(results.clone()),
        Box::new(messages.clone()),
    );
    (output, results, messages)
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

impl Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}", self.version)
    }
}

fn hostile() -> Error {
    Error::new(Kind::Denied, "permission denied").during("read a\n\x1b[2J")
}

#[test]
fn a_result_is_a_line_or_an_object() {
    let (output, results, _) = recorded(Format::Human, Verbosity::Silent);
    output.result("version", &Version { version: "1" }).unwrap();
    assert_eq!(results.text(), "version 1\n");
    let (output, results, _) = recorded(Format::Json, Verbosity::Silent);
    output.result("version", &Version { version: "1" }).unwrap();
    assert_eq!(results.text(), "{\"type\":\"version\",\"version\":\"1\"}\n");
}

#[test]
fn errors_are_one_printable_line() {
    let (output, results, messages) = recorded(Format::Human, Verbosity::Quiet);
    output.failed(b"/x\x07", &hostile());
    output.warning(&hostile());
    assert_eq!(
        messages.text(),
        "plakar: /x\\u{7}: read a\\n\\u{1b}[2J: permission denied\n"
    );
    assert_eq!(results.text(), "");
}

#[test]
fn errors_of_items_are_objects_and_the_last_error_is_told_twice() {
    let (output, results, messages) = recorded(Format::Json, Verbosity::Normal);
    output.failed(b"/caf\xe9", &Error::corrupt("bad"));
    assert_eq!(
        results.text(),
        "{\"type\":\"error\",\"path\":\"/caf\u{fffd}\",\"path_bytes\":\"2f636166e9\",\"message\":\"bad\",\"code\":65}\n"
    );
    assert_eq!(messages.text(), "");
    output.fatal(&Error::corrupt("worse"));
    assert_eq!(messages.text(), "plakar: worse\n");
    assert!(
        results
            .text()
            .ends_with("{\"type\":\"error\",\"message\":\"worse\",\"code\":65}\n")
    );
}

#[test]
fn the_progress_line_is_wiped_before_anything_is_printed() {
    let (output, _, messages) = recorded(Format::Human, Verbosity::Normal);
    output.draw("1 file");
    output.message("hello");
    output.draw("2 files");
    output.bytes(b"result").unwrap();
    output.wipe();
    assert_eq!(
        messages.text(),
        "1 file\r\x1b[Kplakar: hello\n2 files\r\x1b[K"
    );
}

#[test]
fn silence_is_silent() {
    let (output, results, messages) = recorded(Format::Human, Verbosity::Silent);
    output.fatal(&hostile());
    output.failed(b"x", &hostile());
    output.summary(&Version { version: "1" }).unwrap();
    assert_eq!(results.text() + &messages.text(), "");
}

#[test]
fn a_reader_that_left_is_noticed_for_results_only() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Output::new(
        Format::Json,
        Verbosity::Normal,
        Box::new(Closed),
        Box::new(io::sink()),
    );
    output.emit("progress", &Version { version: "1" });
    assert!(!output.reader_left());
    assert!(output.bytes(b"x").is_err());
    assert!(output.reader_left());
}
