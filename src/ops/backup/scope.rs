//! What a walk takes of a source: the places, and what is left out of them.

use std::sync::Arc;

use super::plan::Plan;
use super::{Options, Switch};
use crate::connector::exclude::is_cache;
use crate::connector::{FileKind, Item, Metadata, SourceDir};
use crate::error::Result;

/// What a cache directory keeps of itself when its contents are left out.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";

/// Where a directory stands to the places that are backed up.
#[derive(Clone)]
pub(super) enum Scope {
    /// On the way to one: only what the plan names is wanted.
    Way(Arc<Plan>),
    /// In one that is on this file system and whose path has this many bytes.
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

    /// How the item at `path`, called `name` in a directory of this scope, stands to the places.
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

    /// Whether the user, or good sense, wants the item at `path`, which has this scope, left out.
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

    /// Whether a directory of this scope is recorded, but not entered: it is on another file system.
    pub(super) fn is_elsewhere(&self, options: &Options, metadata: &Metadata) -> bool {
        let is_other = matches!(self, Scope::Inside { device, .. } if *device != metadata.device);
        is_other && options.one_file_system == Switch::On
    }

    /// What is wanted of the directory `dir` of this scope, in any order.
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
