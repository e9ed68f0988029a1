//! Local files with hooks at certain moments: when a file is opened, before it is read, after its
//! metadata was read.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plakar::connector::{
    Details, FileKind, Item, LocalSource, Metadata, Source, SourceDir, SourceFile,
};
use plakar::error::Result;
use plakar::util::interrupt::Interrupt;

/// A moment during the reading of the file with this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before it is opened.
    Open,
    /// Before its holes are determined.
    Runs,
    /// Before the nth read of this file since it was opened, counted from 0.
    Read(usize),
    /// Before its metadata is read after the contents, the nth time.
    Stat(usize),
}

type Hook = Arc<dyn Fn(&[u8], Moment) + Send + Sync>;

pub(crate) struct Wrapped {
    inner: LocalSource,
    hook: Hook,
    opened: Arc<AtomicUsize>,
    top: PathBuf,
}

impl Wrapped {
    /// Calls `hook` at every moment of every file.
    pub(crate) fn new(hook: impl Fn(&[u8], Moment) + Send + Sync + 'static) -> Wrapped {
        Wrapped {
            inner: LocalSource::new().unwrap(),
            hook: Arc::new(hook),
            opened: Arc::default(),
            top: PathBuf::from("/"),
        }
    }

    /// Shows only the files below `top`, as if that were the root: directories above it change
    /// whenever another test creates one.
    pub(crate) fn rooted(self, top: &Path) -> Wrapped {
        Wrapped {
            top: top.canonicalize().unwrap(),
            ..self
        }
    }

    /// Only counts the files that are opened.
    pub(crate) fn counting() -> Wrapped {
        Wrapped::new(|_, _| {})
    }

    /// Sets `interrupt` when the file number `count` is opened.
    pub(crate) fn interrupting(count: usize, interrupt: Interrupt) -> Wrapped {
        let seen = AtomicUsize::new(0);
        Wrapped::new(move |_, moment| {
            if moment == Moment::Open && seen.fetch_add(1, Ordering::SeqCst) + 1 == count {
                interrupt.set();
            }
        })
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Source for Wrapped {
    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn origin(&self) -> &str {
        self.inner.origin()
    }

    fn root(&self) -> Result<(Arc<dyn SourceDir>, Metadata)> {
        let (mut inner, mut metadata) = self.inner.root()?;
        for name in self.top.iter().skip(1) {
            metadata = inner.stat(name.as_bytes())?;
            inner = inner.open_dir(name.as_bytes())?;
        }
        Ok((
            Arc::new(Dir {
                inner,
                hook: self.hook.clone(),
                opened: self.opened.clone(),
            }),
            metadata,
        ))
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.inner.user_name(uid)
    }

    fn group_name(&self, gid: u32) -> Option<Arc<str>> {
        self.inner.group_name(gid)
    }
}

struct Dir {
    inner: Arc<dyn SourceDir>,
    hook: Hook,
    opened: Arc<AtomicUsize>,
}

impl SourceDir for Dir {
    fn items(&self) -> Result<Vec<Item>> {
        self.inner.items()
    }

    fn stat(&self, name: &[u8]) -> Result<Metadata> {
        self.inner.stat(name)
    }

    fn open_dir(&self, name: &[u8]) -> Result<Arc<dyn SourceDir>> {
        let inner = self.inner.open_dir(name)?;
        Ok(Arc::new(Dir {
            inner,
            hook: self.hook.clone(),
            opened: self.opened.clone(),
        }))
    }

    fn open_file(&self, name: &[u8]) -> Result<Box<dyn SourceFile>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        (self.hook)(name, Moment::Open);
        let inner = self.inner.open_file(name)?;
        let (hook, name) = (self.hook.clone(), name.to_vec());
        Ok(Box::new(OpenFile {
            inner,
            hook,
            name,
            reads: AtomicUsize::new(0),
            stats: AtomicUsize::new(0),
        }))
    }

    fn details(&self, name: &[u8], kind: FileKind) -> Result<Details> {
        self.inner.details(name, kind)
    }

    fn own_details(&self) -> Result<Details> {
        self.inner.own_details()
    }
}

struct OpenFile {
    inner: Box<dyn SourceFile>,
    hook: Hook,
    name: Vec<u8>,
    reads: AtomicUsize,
    stats: AtomicUsize,
}

impl SourceFile for OpenFile {
    fn metadata(&self) -> Result<Metadata> {
        (self.hook)(
            &self.name,
            Moment::Stat(self.stats.fetch_add(1, Ordering::SeqCst)),
        );
        self.inner.metadata()
    }

    fn details(&self) -> Result<Details> {
        self.inner.details()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        (self.hook)(
            &self.name,
            Moment::Read(self.reads.fetch_add(1, Ordering::SeqCst)),
        );
        self.inner.read(buffer)
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        self.inner.seek(offset)
    }

    fn data_runs(&self, size_bytes: u64) -> Result<Vec<Range<u64>>> {
        (self.hook)(&self.name, Moment::Runs);
        self.inner.data_runs(size_bytes)
    }
}
