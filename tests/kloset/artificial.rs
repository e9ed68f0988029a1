//! An artificial source, whose times, attributes and failures are set by a test.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plakar::connector::{Details, FileKind, Item, Metadata, Source, SourceDir, SourceFile};
use plakar::error::{Error, Kind, Result};

/// A file or directory.
#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(crate) metadata: Metadata,
    pub(crate) contents: Vec<u8>,
    pub(crate) details: Details,
    /// Whether reading its details fails.
    pub(crate) details_fail: bool,
    /// Whether it is listed and has metadata, but does not exist when it is opened.
    pub(crate) vanishes: bool,
    pub(crate) children: BTreeMap<Vec<u8>, Node>,
}

/// A file that was last changed in 2001.
pub(crate) fn file(inode: u64, contents: &[u8]) -> Node {
    let metadata = Metadata {
        inode,
        device: 1,
        links: 1,
        mode: 0o644,
        size_bytes: contents.len() as u64,
        allocated_bytes: u64::MAX,
        mtime_ns: 1_000_000_000_000_000_001,
        ctime_ns: 1_000_000_000_000_000_001,
        ..Metadata::default()
    };
    Node {
        metadata,
        contents: contents.to_vec(),
        ..Node::default()
    }
}

/// A directory that was last changed in 2001.
pub(crate) fn directory(inode: u64, children: &[(&str, Node)]) -> Node {
    let mut node = file(inode, b"");
    node.metadata.kind = FileKind::Directory;
    let named = |(name, child): &(&str, Node)| (name.as_bytes().to_vec(), child.clone());
    node.children = children.iter().map(named).collect();
    node
}

/// A source with a node as its root.
pub(crate) struct Artificial {
    root: Node,
    opened: Arc<AtomicUsize>,
}

impl Artificial {
    pub(crate) fn new(root: Node) -> Artificial {
        Artificial {
            root,
            opened: Arc::default(),
        }
    }

    /// The number of files that were opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Source for Artificial {
    fn kind(&self) -> &str {
        "fs"
    }

    fn origin(&self) -> &str {
        "artificial"
    }

    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)> {
        let dir = Dir(self.root.clone(), self.opened.clone());
        Ok((Arc::new(dir), self.root.metadata.clone()))
    }

    fn user_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }

    fn group_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }
}

struct Dir(Node, Arc<AtomicUsize>);

impl Dir {
    fn child(&self, name: &[u8]) -> Result<&Node> {
        let none = || Error::new(Kind::NotFound, "no such file");
        self.0.children.get(name).ok_or_else(none)
    }

    fn opening(&self, name: &[u8]) -> Result<&Node> {
        match self.child(name)? {
            node if node.vanishes => Err(Error::new(Kind::NotFound, "no such file")),
            node => Ok(node),
        }
    }
}

impl Node {
    fn details(&self) -> Result<Details> {
        match self.details_fail {
            true => Err(Error::new(Kind::Failed, "no attributes today")),
            false => Ok(self.details.clone()),
        }
    }
}

impl SourceDir for Dir {
    fn items(&self) -> Result<Vec<Item>> {
        let item = |(name, node): (&Vec<u8>, &Node)| Item {
            name: name.clone(),
            metadata: Ok(node.metadata.clone()),
        };
        Ok(self.0.children.iter().map(item).collect())
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        Ok(self.child(name)?.metadata.clone())
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        Ok(Arc::new(Dir(self.opening(name)?.clone(), self.1.clone())))
    }

    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        let node = self.opening(name)?.clone();
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(OpenFile(node, 0)))
    }

    fn details(&self, name: &[u8], _: FileKind) -> Result<Details> {
        self.child(name)?.details()
    }

    fn own_details(&self) -> Result<Details> {
        self.0.details()
    }
}

struct OpenFile(Node, usize);

impl SourceFile for OpenFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.0.metadata.clone())
    }

    fn details(&self) -> Result<Details> {
        self.0.details()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let rest = &self.0.contents[self.1..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.1 += length;
        Ok(length)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        self.1 = usize::try_from(offset).unwrap();
        Ok(())
    }

    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>> {
        Ok(std::iter::once(0..size_bytes).collect())
    }
}
