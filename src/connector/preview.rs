//! A destination for a dry run, at which nothing is written: [`Preview`].
//!
//! It reports the existing files, and discards everything that would be restored. A missing
//! directory counts as new and empty. This module does not know the purpose of the files.

use std::any::Any;
use std::sync::Arc;

use super::{
    Attributes, Destination, DestinationDir, FileKind, Identity, Lost, Made, Metadata, NewFile,
    OldFile, Permissions,
};
use crate::error::{Error, Kind, Result};

/// Another destination, at which nothing is changed.
pub struct Preview<'a>(pub &'a dyn Destination);

impl Destination for Preview<'_> {
    fn location(&self) -> &str {
        self.0.location()
    }

    fn root(&self) -> Result<(Arc<dyn DestinationDir>, Made)> {
        self.0.look().map(shared)
    }

    fn look(&self) -> Result<Option<Arc<dyn DestinationDir>>> {
        self.0.look()
    }
}

/// A directory that exists (`Some`) or would be created (`None`).
struct PreviewDir(Option<Arc<dyn DestinationDir>>);

/// Wraps a directory that may exist.
fn shared(dir: Option<Arc<dyn DestinationDir>>) -> (Arc<dyn DestinationDir>, Made) {
    let made = match dir {
        Some(_) => Made::Existed,
        None => Made::New,
    };
    (Arc::new(PreviewDir(dir)), made)
}

impl PreviewDir {
    /// Checks that no directory has the name of another kind of entry.
    ///
    /// # Errors
    /// [`Kind::Exists`] if one has.
    fn check_free(&self, name: &[u8]) -> Result<()> {
        match self.stat(name)? {
            Some(found) if found.kind == FileKind::Directory => Err(Error::new(
                Kind::Exists,
                "a directory has this name, and is not replaced",
            )),
            _ => Ok(()),
        }
    }
}

impl DestinationDir for PreviewDir {
    fn enter(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<(Arc<dyn DestinationDir>, Made)> {
        let Some(dir) = &self.0 else {
            return Ok(shared(None));
        };
        dir.look(name, attributes, permissions).map(shared)
    }

    fn look(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Option<Arc<dyn DestinationDir>>> {
        let (dir, made) = self.enter(name, attributes, permissions)?;
        Ok((made == Made::Existed).then_some(dir))
    }

    fn open(&self, name: &[u8]) -> Result<Arc<dyn DestinationDir>> {
        let attributes = Attributes {
            metadata: &Metadata::default(),
            user: None,
            group: None,
            xattrs: &[],
            flags: 0,
        };
        // No attributes are set on a directory that is only opened.
        self.enter(name, &attributes, Permissions::Skip)
            .map(|(dir, _)| dir)
    }

    fn stat(&self, name: &[u8]) -> Result<Option<Metadata>> {
        self.0.as_ref().map_or(Ok(None), |dir| dir.stat(name))
    }

    fn read(
        &self,
        name: &[u8],
        attributes: &Attributes<'_>,
        permissions: Permissions,
    ) -> Result<Box<dyn OldFile>> {
        let missing = || Error::new(Kind::NotFound, "no such file");
        let dir = self.0.as_ref().ok_or_else(missing)?;
        let file = dir.read(name, attributes, permissions)?;
        Ok(Box::new(PreviewFile(file)))
    }

    fn create(&self, name: &[u8], _: u64) -> Result<Arc<dyn NewFile>> {
        self.check_free(name)?;
        Ok(Arc::new(NoFile))
    }

    fn make(&self, name: &[u8], _: &[u8], _: &Attributes<'_>, _: Permissions) -> Result<Vec<Lost>> {
        self.check_free(name).map(|()| Vec::new())
    }

    fn link(
        &self,
        name: &[u8],
        _: &dyn DestinationDir,
        _: &[u8],
        file: Option<Identity>,
    ) -> Result<(Made, Vec<Lost>)> {
        self.check_free(name)?;
        let there = self.stat(name)?.map(|there| there.identity());
        let made = match there.is_some() && there == file {
            true => Made::Existed,
            false => Made::New,
        };
        Ok((made, Vec::new()))
    }

    fn finish(&self, _: &Attributes<'_>, _: Permissions) -> Result<Vec<Lost>> {
        Ok(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A new file whose contents are discarded.
struct NoFile;

impl NewFile for NoFile {
    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        Ok(())
    }

    fn finish(&self, _: &Attributes<'_>, _: Permissions) -> Result<Vec<Lost>> {
        Ok(Vec::new())
    }
}

/// An existing file whose attributes are not changed.
struct PreviewFile(Box<dyn OldFile>);

impl OldFile for PreviewFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }

    fn adjust(&mut self, _: &Attributes<'_>, _: Permissions) -> Result<Vec<Lost>> {
        Ok(Vec::new())
    }

    fn identity(&self) -> Option<Identity> {
        self.0.identity()
    }
}
