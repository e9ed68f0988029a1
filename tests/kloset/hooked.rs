//! A store that calls a hook before or after each call: to simulate other clients, failures, or
//! waiting.

use std::sync::Arc;

use plakar::error::{Error, Kind, Result};
use plakar::store::{Area, Manner, Object, Store, Upload};
use plakar::util::Id;

/// A call to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    List(Area),
    /// Reads an object, or a part of it.
    Read(Area, Id),
    Stat(Area, Id),
    /// Makes an object visible.
    Put(Area, Id),
    Delete(Area, Id),
}

type Before = dyn Fn(Asked) -> Result<()> + Send + Sync;
type After = dyn Fn(Asked) + Send + Sync;

#[derive(Clone)]
pub(crate) struct Hooked {
    inner: Arc<dyn Store>,
    before: Arc<Before>,
    after: Arc<After>,
    shift_ns: i64,
    manner: Manner,
}

impl Hooked {
    /// A store without hooks.
    pub(crate) fn new(store: &Arc<dyn Store>) -> Hooked {
        Hooked {
            inner: store.clone(),
            before: Arc::new(|_| Ok(())),
            after: Arc::new(|_| {}),
            shift_ns: 0,
            manner: store.manner(),
        }
    }

    /// Calls `hook` before each call. If the hook fails, the call fails.
    pub(crate) fn before(
        self,
        hook: impl Fn(Asked) -> Result<()> + Send + Sync + 'static,
    ) -> Hooked {
        let before = Arc::new(hook);
        Hooked { before, ..self }
    }

    /// Calls `hook` after each call, regardless of its result.
    pub(crate) fn after(self, hook: impl Fn(Asked) + Send + Sync + 'static) -> Hooked {
        let after = Arc::new(hook);
        Hooked { after, ..self }
    }

    /// Shifts the clock of the store.
    pub(crate) fn shifted(self, shift_ns: i64) -> Hooked {
        Hooked { shift_ns, ..self }
    }

    /// Sets the manner in which the store is used.
    pub(crate) fn used(self, manner: Manner) -> Hooked {
        Hooked { manner, ..self }
    }

    /// Returns the store in an `Arc`.
    pub(crate) fn shared(self) -> Arc<dyn Store> {
        Arc::new(self)
    }

    fn call<T>(&self, asked: Asked, call: impl FnOnce() -> Result<T>) -> Result<T> {
        (self.before)(asked)?;
        let answer = call();
        (self.after)(asked);
        answer
    }

    fn shift(&self, object: Object) -> Object {
        Object {
            modified_ns: object.modified_ns + self.shift_ns,
            ..object
        }
    }
}

/// `store`, with deletions denied.
pub(crate) fn no_delete(store: &Arc<dyn Store>) -> Arc<dyn Store> {
    let refuse = |asked| match asked {
        Asked::Delete(..) => Err(Error::new(Kind::Denied, "403")),
        _ => Ok(()),
    };
    Hooked::new(store).before(refuse).shared()
}

/// `store`, in which reading one object fails with `kind`.
pub(crate) fn closed(store: &Arc<dyn Store>, object: (Area, Id), kind: Kind) -> Arc<dyn Store> {
    let refuse = move |asked| match asked == Asked::Read(object.0, object.1) {
        true => Err(Error::new(
            kind,
            format!("cannot read {}", object.1.short()),
        )),
        false => Ok(()),
    };
    Hooked::new(store).before(refuse).shared()
}

impl Store for Hooked {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn manner(&self) -> Manner {
        self.manner
    }

    fn prepare(&self) -> Result<()> {
        self.inner.prepare()
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.inner.put_config(bytes)
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.inner.get_config()
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        self.call(Asked::Put(area, id), || self.inner.put(area, id, bytes))
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        Ok(Box::new(HookedUpload {
            inner: self.inner.upload(area)?,
            store: self.clone(),
            area,
        }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        self.call(Asked::Read(area, id), || self.inner.get(area, id))
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.call(Asked::Read(area, id), || {
            self.inner.read_at(area, id, offset, buffer)
        })
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        let found = self.call(Asked::Stat(area, id), || self.inner.stat(area, id));
        found.map(|object| self.shift(object))
    }

    /// A listing of one moment, after which each call of `each` takes time.
    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        let mut objects = Vec::new();
        self.call(Asked::List(area), || {
            self.inner.list_after(area, after, &mut |object| {
                objects.push(self.shift(object));
                Ok(())
            })
        })?;
        objects.into_iter().try_for_each(each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        self.call(Asked::Delete(area, id), || self.inner.delete(area, id))
    }
}

struct HookedUpload {
    inner: Box<dyn Upload>,
    store: Hooked,
    area: Area,
}

impl Upload for HookedUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        let HookedUpload { inner, store, area } = *self;
        store.call(Asked::Put(area, id), || inner.commit(id))
    }
}
