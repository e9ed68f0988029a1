//! The two sides of a comparison: the contents of a snapshot, and the current contents of a source.
//!
//! A [`Node`] is a name on either side with its entry. [`Children`] are the nodes in one directory,
//! in the order of their names. Data that requires further calls to a source, such as extended
//! attributes and contents, is requested only when it is needed.

use std::sync::Arc;
use std::vec::IntoIter;

use crate::connector::{Details, FileKind, Item, Metadata, Source, SourceDir, SourceFile};
use crate::error::{During, Error, Kind, Result};
use crate::format::entry::Entry;
use crate::kloset::blob::BlobReader;
use crate::kloset::content::reader::Contents;
use crate::kloset::tree::TreeReader;
use crate::util::printable::printable;

/// A file, directory or other node on one side.
pub struct Node<'a> {
    /// The entry; that of a live node lacks details, tree and content.
    pub entry: Entry,
    origin: Origin<'a>,
}

/// The origin of a node.
enum Origin<'a> {
    Stored(&'a BlobReader<'a>),
    Live(Live<'a>),
}

/// A place in a source.
struct Live<'a> {
    source: &'a dyn Source,
    /// The parent directory; for the root, the root itself.
    dir: Arc<dyn SourceDir>,
}

impl<'a> Node<'a> {
    /// A node for an entry of a snapshot.
    pub fn stored(blobs: &'a BlobReader<'a>, entry: Entry) -> Node<'a> {
        Node {
            entry,
            origin: Origin::Stored(blobs),
        }
    }

    /// The node at the absolute `path` in `source`. No link on the path is followed.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such node.
    pub fn live(source: &'a dyn Source, path: &[u8]) -> Result<Node<'a>> {
        find(source, path).during(|| printable(path))
    }

    /// Whether the node is in a source, not in a snapshot.
    pub fn is_live(&self) -> bool {
        matches!(self.origin, Origin::Live(_))
    }

    /// Whether its extended attributes and flags are known or can be requested.
    pub(super) fn has_attributes(&self) -> bool {
        self.is_live() || !self.entry.details_missing
    }

    pub(super) fn details(&self) -> Result<Details> {
        let Origin::Live(live) = &self.origin else {
            return Ok(self.entry.details.clone());
        };
        match self.entry.metadata.kind {
            _ if self.is_root() => live.dir.own_details(),
            FileKind::File => live.dir.open_file(&self.entry.name)?.details(),
            kind => live.dir.details(&self.entry.name, kind),
        }
    }

    /// Opens a file for reading.
    pub fn open(&self) -> Result<Bytes<'a>> {
        match &self.origin {
            Origin::Stored(blobs) => {
                Ok(Bytes::Stored(Box::new(Contents::new(blobs, &self.entry)?)))
            }
            Origin::Live(live) => Ok(Bytes::Live(live.dir.open_file(&self.entry.name)?)),
        }
    }

    /// The children of a directory.
    pub(super) fn children(&self) -> Result<Children<'a>> {
        let feed = match &self.origin {
            Origin::Stored(blobs) => Feed::Stored(Box::new(TreeReader::new(blobs, &self.entry))),
            Origin::Live(live) => {
                let dir = match self.is_root() {
                    true => live.dir.clone(),
                    false => live.dir.open_dir(&self.entry.name)?,
                };
                let mut items = dir.items()?;
                items.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                Feed::Live(live.source, dir, items.into_iter())
            }
        };
        Ok(Children {
            blobs: match &self.origin {
                Origin::Stored(blobs) => Some(blobs),
                Origin::Live(_) => None,
            },
            feed,
            head: None,
            has_gap: false,
            has_ended: false,
        })
    }

    /// Whether the node is the root of a source.
    fn is_root(&self) -> bool {
        self.entry.name.is_empty()
    }
}

/// The node at the absolute `path` in `source`.
fn find<'a>(source: &'a dyn Source, path: &[u8]) -> Result<Node<'a>> {
    let (mut dir, mut metadata) = source.root()?;
    let mut last: &[u8] = b"";
    let names = path.split(|byte| *byte == b'/');
    for name in names.filter(|name| !name.is_empty()) {
        if !last.is_empty() {
            dir = dir.open_dir(last)?;
        }
        metadata = dir.stat(name)?;
        last = name;
    }
    Ok(live_node(source, dir, last, metadata))
}

/// The node with the name `name` in the directory `dir` of a source.
fn live_node<'a>(
    source: &'a dyn Source,
    dir: Arc<dyn SourceDir>,
    name: &[u8],
    metadata: Metadata,
) -> Node<'a> {
    let (user, group) = (
        source.user_name(metadata.uid),
        source.group_name(metadata.gid),
    );
    Node {
        entry: Entry {
            user,
            group,
            ..Entry::new(name.to_vec(), metadata)
        },
        origin: Origin::Live(Live { source, dir }),
    }
}

/// An open file on one side.
pub enum Bytes<'a> {
    /// A file in a snapshot.
    Stored(Box<Contents<'a>>),
    /// A file in a source.
    Live(Box<dyn SourceFile>),
}

impl Bytes<'_> {
    /// Fills `buffer` as far as bytes are left. A short read means the end of the file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Bytes::Stored(contents) => contents.read(buffer),
            Bytes::Live(file) => file.read(buffer),
        }
    }
}

/// A name in a directory, with its node or the error that prevents reading it.
pub(super) struct Child<'a> {
    pub(super) name: Vec<u8>,
    pub(super) node: Result<Node<'a>>,
}

/// The origin of children.
enum Feed<'a> {
    Stored(Box<TreeReader<'a>>),
    Live(&'a dyn Source, Arc<dyn SourceDir>, IntoIter<Item>),
}

/// The names in one directory, in order, with a lookahead of one.
pub(super) struct Children<'a> {
    blobs: Option<&'a BlobReader<'a>>,
    feed: Feed<'a>,
    head: Option<Child<'a>>,
    /// Whether names may be lost between the last name taken and the next.
    has_gap: bool,
    has_ended: bool,
}

impl<'a> Children<'a> {
    /// Finds out where the directory is stored.
    pub(super) fn begin(&mut self) -> Result<()> {
        let begun = match &mut self.feed {
            Feed::Stored(reader) => reader.begin(),
            Feed::Live(..) => Ok(()),
        };
        begun.map_err(|error| self.gap(error))
    }

    /// Skips what both directories have in common, as far as this is known without reading it.
    pub(super) fn skip_common(&mut self, other: &mut Children<'_>) {
        if self.head.is_some() || other.head.is_some() {
            return;
        }
        if let (Feed::Stored(one), Feed::Stored(two)) = (&mut self.feed, &mut other.feed) {
            one.skip_common(two);
        }
    }

    /// Makes the next name, if there is one, available to [`Children::name`].
    ///
    /// # Errors
    /// If part of the directory is lost: call again for the rest.
    pub(super) fn fill(&mut self) -> Result<()> {
        if self.head.is_some() || self.has_ended {
            return Ok(());
        }
        match self.next() {
            Ok(Some(child)) => self.head = Some(child),
            Ok(None) => self.has_ended = true,
            Err(error) => return Err(self.gap(error)),
        }
        Ok(())
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|child| child.name.as_slice())
    }

    /// Whether a name that is missing here, and sorts before the next one, may have been lost.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap
    }

    pub(super) fn take(&mut self) -> Option<Child<'a>> {
        self.has_gap = false;
        self.head.take()
    }

    fn next(&mut self) -> Result<Option<Child<'a>>> {
        match &mut self.feed {
            Feed::Stored(reader) => {
                let blobs = self.blobs.expect("stored children have a reader");
                let entry = reader.try_next()?;
                Ok(entry.map(|entry| Child {
                    name: entry.name.clone(),
                    node: Ok(Node::stored(blobs, entry)),
                }))
            }
            Feed::Live(source, dir, items) => Ok(items.next().map(|item| {
                let node = |metadata| live_node(*source, dir.clone(), &item.name, metadata);
                Child {
                    node: item.metadata.map(node),
                    name: item.name.clone(),
                }
            })),
        }
    }

    /// Notes a loss at this position, and returns it as damage instead of as a name that does not
    /// exist.
    fn gap(&mut self, error: Error) -> Error {
        self.has_gap = true;
        match error.is_of_one_object() {
            true => Error::new(Kind::Corrupt, error.to_string()),
            false => error,
        }
    }
}
