//! Further names of files: made when the files themselves are in place.

use std::sync::Arc;

use crate::connector::DestinationDir;
use crate::error::{During, Result};

/// Another name of a file that was restored under its first one.
pub(super) struct Link {
    /// The names of the directories from the root to the new name, and the name.
    pub(super) names: Vec<Vec<u8>>,
    /// Likewise of the first name.
    pub(super) first: Arc<Vec<Vec<u8>>>,
}

/// Makes `link` below `root`.
pub(super) fn make(root: &dyn DestinationDir, link: &Link) -> Result<()> {
    let (name, directories) = link.names.split_last().expect("a link has a name");
    let (first, first_directories) = link.first.split_last().expect("a file has a name");
    let existing = descend(root, first_directories)?;
    let dir = descend(root, directories)?;
    let existing = existing.as_deref().unwrap_or(root);
    dir.as_deref()
        .unwrap_or(root)
        .link(name, existing, first)
        .during(|| format!("link to {}", link.first.join(&b'/').escape_ascii()))
}

/// The directory that lies at `names` below `root`, if that is not `root` itself.
fn descend(
    root: &dyn DestinationDir,
    names: &[Vec<u8>],
) -> Result<Option<Arc<dyn DestinationDir>>> {
    let mut dir: Option<Arc<dyn DestinationDir>> = None;
    for name in names {
        dir = Some(dir.as_deref().unwrap_or(root).enter(name)?.0);
    }
    Ok(dir)
}
