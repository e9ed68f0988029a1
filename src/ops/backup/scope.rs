//! The scope of a walk: the places, and what is excluded from them.

use std::sync::Arc;

use super::plan::Plan;
use super::{Options, Switch};
use crate::connector::exclude::is_cache;
use crate::connector::{FileKind, Item, Metadata, SourceDir};
use crate::error::Result;

/// The only file that is kept of a cache directory whose contents are excluded.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";

/// The relation of a directory to the places.
#[derive(Clone)]
pub(super) enum Scope {
    /// On the path to a place: only the names in the plan are included.
    Way(Arc<Plan>),
    /// In a place that is on this file system and whose path has this many bytes.
    Inside { device: u64, place_bytes: usize },
}

impl Scope {
    /// The scope of the root directory of a source.
    pub(super) fn of_root(plan: Plan, metadata: &Metadata) -> Scope {
        match plan.whole {
            true => Scope::Inside {
                device: metadata.device,
                place_bytes: 0,
            },
            false => Scope::Way(Arc::new(plan)),
        }
    }

    /// The scope of the item at `path`, which has the name `name` in a directory of this scope.
    pub(super) fn of_item(&self, name: &[u8], path: &[u8], metadata: &Metadata) -> Scope {
        let Scope::Way(plan) = self else {
            return self.clone();
        };
        match plan.children.get(name) {
            Some(child) if !child.whole => Scope::Way(child.clone()),
            _ => Scope::Inside {
                device: metadata.device,
                place_bytes: path.len(),
            },
        }
    }

    /// Whether the item at `path`, which has this scope, is excluded by an option or always skipped.
    pub(super) fn leaves_out(&self, options: &Options, path: &[u8], metadata: &Metadata) -> bool {
        let is_dir = metadata.kind == FileKind::Directory;
        let identity = (metadata.device, metadata.inode);
        let is_skipped = || options.skip_paths.iter().any(|skipped| skipped == path);
        if is_dir && (options.skip.contains(&identity) || is_skipped()) {
            return true;
        }
        match self {
            Scope::Inside { place_bytes, .. } if path.len() > *place_bytes => options
                .excludes
                .excludes(&path[place_bytes + 1..], metadata.kind),
            _ => false,
        }
    }

    /// Whether a directory of this scope is recorded but not entered, because it is on another file
    /// system.
    pub(super) fn is_elsewhere(&self, options: &Options, metadata: &Metadata) -> bool {
        let is_other = matches!(self, Scope::Inside { device, .. } if *device != metadata.device);
        is_other && options.one_file_system == Switch::On
    }

    /// The included items of the directory `dir` of this scope, in any order.
    pub(super) fn items(&self, options: &Options, dir: &dyn SourceDir) -> Result<Vec<Item>> {
        if let Scope::Way(plan) = self {
            let named = |name: &Vec<u8>| Item {
                name: name.clone(),
                metadata: dir.stat(name),
            };
            return Ok(plan.children.keys().map(named).collect());
        }
        let mut items = dir.items()?;
        let may_be_cache = || items.iter().any(|item| item.name == CACHE_TAG);
        if options.exclude_caches == Switch::On && may_be_cache() && is_cache(dir) {
            items.retain(|item| item.name == CACHE_TAG);
        }
        Ok(items)
    }
}
