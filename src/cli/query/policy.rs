//! Named queries in `policies.toml`.

use crate::cli::Globals;
use crate::cli::escape::printable;
use crate::cli::suggest::did_you_mean;
use crate::config::Section;
use crate::config::entries::{Pair, Value};
use crate::error::{During, Error, Kind, Result};

/// The flags and values of the policy `name`, for [`super::from_policy_and_args`].
///
/// # Errors
/// [`Kind::NotFound`] if the policy does not exist; [`Kind::Unsupported`] if it contains an invalid
/// flag or value.
pub fn read(globals: &Globals, name: &str) -> Result<Vec<(String, String)>> {
    let entries = globals.entries(Section::Policies)?;
    let shown = printable(name.as_bytes());
    let entry = entries.get(name).ok_or_else(|| {
        let hint = did_you_mean(name, entries.names(), "");
        Error::new(Kind::NotFound, format!("no policy named {shown}{hint}"))
    })?;
    let file = globals.configuration()?.path(Section::Policies);
    let doing = || format!("{}: policy {shown}", file.display());
    let words = words(entry.pairs().during(doing)?);
    match super::from_policy(&words) {
        Ok(_) => Ok(words),
        // The command line is valid, the configuration is not. Therefore the error is not a usage
        // error.
        Err(error) => Err(Error::new(Kind::Unsupported, error.to_string()).during(doing())),
    }
}

/// The values of a policy in the form of the command line. Each item of a list becomes one value.
pub fn words(pairs: &[Pair]) -> Vec<(String, String)> {
    let mut words = Vec::new();
    for (key, value) in pairs {
        match value {
            Value::List(items) => {
                let items = items.iter().map(|item| (key.clone(), item.to_string()));
                words.extend(items);
            }
            one => words.push((key.clone(), one.text().to_string())),
        }
    }
    words
}
