//! The cost and label of a key slot: the flags of `create` and `key` for a new slot, and the cost
//! limit for the slots of a store, which `-kdf-limit` raises.

use super::args::{Args, Settings};
use super::escape::printable;
use super::table::Flag;
use crate::error::{Error, Result};
use crate::format::slot::{Cost, SlotInfo};
use crate::kloset::kdf_limit::Limit;
use crate::util::clock;

/// The maximum length of the label of a new slot, and of the part of a label that is shown.
const LABEL_LIMIT_CHARACTERS: usize = 64;
/// The maximum time that `-kdf-limit` accepts, in seconds.
const SECONDS_LIMIT: u32 = 3600;

/// The memory of the key derivation.
pub const KDF_MEMORY: Flag = Flag::value(
    "kdf-memory",
    "MIB",
    "argon2 memory in MiB, 19 to 1024 (default 32)",
);
/// The number of passes of the key derivation.
pub const KDF_PASSES: Flag = Flag::value("kdf-passes", "N", "argon2 passes, 2 to 64 (default 6)");

/// The cost that the flags specify.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for a cost that no store accepts, or that exceeds `limit`: the new
/// passphrase would not open the store.
fn given(args: &Args, limit: Limit) -> Result<Cost> {
    let memory_mib = args.number::<u32>("kdf-memory")?;
    let cost = Cost {
        memory_kib: memory_mib.map_or(Cost::DEFAULT.memory_kib, |mib| mib.saturating_mul(1024)),
        passes: args.number("kdf-passes")?.unwrap_or(Cost::DEFAULT.passes),
        ..Cost::DEFAULT
    };
    match cost.check().and_then(|()| limit.check(cost)) {
        Ok(()) => Ok(cost),
        Err(error) => Err(args.usage(format!("-kdf-memory, -kdf-passes: {error}"))),
    }
}

/// The label, time and cost of a new slot, from `-label` and the flags above.
///
/// # Errors
/// The same as [`given`]; [`crate::error::Kind::Usage`] for a label that is too long.
pub fn slot_info(args: &Args, limit: Limit) -> Result<SlotInfo> {
    let label = args.text("label")?.unwrap_or_default();
    if label.chars().count() > LABEL_LIMIT_CHARACTERS {
        let words = format!("-label: it is longer than {LABEL_LIMIT_CHARACTERS} characters");
        return Err(args.usage(words));
    }
    Ok(SlotInfo {
        label,
        created_ns: clock::now_ns(),
        cost: given(args, limit)?,
    })
}

/// `label` in the form of listings: printable, and truncated if it is longer than plakar accepts.
/// Anyone with write access to a store can create a label.
pub fn shown_label(label: &str) -> String {
    let mut shown = printable(label.as_bytes());
    if let Some((end, _)) = shown.char_indices().nth(LABEL_LIMIT_CHARACTERS) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The limit of `-kdf-limit MIB[,SECONDS]`, or the default.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for invalid syntax or a value out of range.
pub fn limit(settings: &Settings) -> Result<Limit> {
    let usual = Limit::default();
    let Some(text) = settings.text("kdf-limit")? else {
        return Ok(usual);
    };
    let (mib, seconds) = match text.split_once(',') {
        Some((mib, seconds)) => (mib, Some(seconds)),
        None => (text.as_str(), None),
    };
    let memory_kib = mib
        .parse::<u32>()
        .ok()
        .and_then(|mib| mib.checked_mul(1024));
    let memory_kib =
        memory_kib.filter(|kib| (Cost::FLOOR.memory_kib..=Cost::CEILING.memory_kib).contains(kib));
    let seconds = seconds.map_or(Some(usual.seconds), |text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=SECONDS_LIMIT).contains(seconds));
    match (memory_kib, seconds) {
        (Some(memory_kib), Some(seconds)) => Ok(Limit {
            memory_kib,
            seconds,
        }),
        _ => Err(Error::usage(format!(
            "-kdf-limit: {text:?} is not MIB[,SECONDS], 19 to 1024 and 1 to {SECONDS_LIMIT}, such \
             as 1024,60"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::parse;

    fn given(text: &str) -> Result<Limit> {
        let words = ["-kdf-limit", text].map(std::ffi::OsString::from);
        limit(&parse(words, &[]).unwrap().options)
    }

    #[test]
    fn long_labels_are_cut_off() {
        assert_eq!(shown_label("phone"), "phone");
        assert_eq!(shown_label(&"é".repeat(64)), "é".repeat(64));
        let long = format!("\x1b{}", "x".repeat(300));
        assert_eq!(shown_label(&long), format!("\\u{{1b}}{}…", "x".repeat(58)));
    }

    #[test]
    fn a_limit_is_mebibytes_and_seconds() {
        let both = Limit {
            memory_kib: 1 << 20,
            seconds: 60,
        };
        assert_eq!(given("1024,60").unwrap(), both);
        assert_eq!(given("1024").unwrap().seconds, Limit::default().seconds);
        for text in [
            "", ",", "18", "1025", "512,", "512,0", "512,3601", "1 GiB", "512,1,1",
        ] {
            assert!(
                given(text).unwrap_err().to_string().contains("-kdf-limit"),
                "{text}"
            );
        }
    }
}
