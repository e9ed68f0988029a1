//! Measures how much latency is hidden when working with a remote store, in which every call has a
//! delay. `cargo bench --bench remote`.
//!
//! Each row shows one operation with a store that responds immediately, and with one that delays
//! each call by `DELAY_MS` (default: 20). The length of written data does not add to the delay:
//! this benchmark is about latency, `served.py` is about bandwidth.

#![allow(clippy::print_stdout)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use plakar::connector::{LocalDestination, LocalSource, Permissions};
use plakar::error::Result;
use plakar::kloset::progress::{Counters, Event, Observer};
use plakar::kloset::{Kloset, Locked, Protection, create};
use plakar::ops::backup::{self, Base, Compare};
use plakar::ops::check::{self, Depth};
use plakar::ops::{archive, restore, select};
use plakar::store::fault::FaultStore;
use plakar::store::memory::MemoryStore;
use plakar::store::{Area, Manner, Object, Store, Upload};
use plakar::util::Id;
use plakar::util::interrupt::Interrupt;

/// The source: a few thousand small files, and a few large incompressible ones.
const SMALL_FILES: u64 = 4000;
const SMALL_BYTES: usize = 12 << 10;
const LARGE_FILES: u64 = 3;
const LARGE_BYTES: usize = 40 << 20;
/// The number of connections of an HTTP store.
const CONNECTIONS: usize = 4;

/// A store with a delay in every call.
struct Slow {
    inner: Arc<FaultStore>,
    delay: Duration,
}

impl Slow {
    fn inner(&self) -> &FaultStore {
        sleep(self.delay);
        &self.inner
    }
}

impl Store for Slow {
    fn location(&self) -> &str {
        self.inner.location()
    }

    fn manner(&self) -> Manner {
        self.inner.manner()
    }

    fn prepare(&self) -> Result<()> {
        self.inner().prepare()
    }

    fn put_config(&self, bytes: &[u8]) -> Result<()> {
        self.inner().put_config(bytes)
    }

    fn get_config(&self) -> Result<Vec<u8>> {
        self.inner().get_config()
    }

    fn put(&self, area: Area, id: Id, bytes: &[u8]) -> Result<()> {
        self.inner().put(area, id, bytes)
    }

    fn upload(&self, area: Area) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload(area)?;
        let delay = self.delay;
        Ok(Box::new(SlowUpload { inner, delay }))
    }

    fn get(&self, area: Area, id: Id) -> Result<Vec<u8>> {
        self.inner().get(area, id)
    }

    fn read_at(&self, area: Area, id: Id, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.inner().read_at(area, id, offset, buffer)
    }

    fn stat(&self, area: Area, id: Id) -> Result<Object> {
        self.inner().stat(area, id)
    }

    fn list_after(
        &self,
        area: Area,
        after: Option<Id>,
        each: &mut dyn FnMut(Object) -> Result<()>,
    ) -> Result<()> {
        self.inner().list_after(area, after, each)
    }

    fn delete(&self, area: Area, id: Id) -> Result<()> {
        self.inner().delete(area, id)
    }
}

/// An upload that is sent when it is complete.
struct SlowUpload {
    inner: Box<dyn Upload>,
    delay: Duration,
}

impl Upload for SlowUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn commit(self: Box<Self>, id: Id) -> Result<()> {
        sleep(self.delay);
        self.inner.commit(id)
    }
}

/// An observer that ignores events.
#[derive(Default)]
struct Nobody(Counters);

impl Observer for Nobody {
    fn counters(&self) -> &Counters {
        &self.0
    }

    fn event(&self, _: &Event<'_>) {}
}

/// An operation: its name and its implementation.
type Work<'a> = (&'a str, &'a dyn Fn(&Kloset, &Path) -> Result<()>);

fn main() -> Result<()> {
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let files = work.path().join("files");
    make_files(&files)?;
    let delay = std::env::var("DELAY_MS")
        .ok()
        .and_then(|ms| ms.parse().ok());
    let delay = Duration::from_millis(delay.unwrap_or(20));
    let back_up = |kloset: &Kloset, _: &Path| back_up(kloset, &files);
    let steps: [Work<'_>; 6] = [
        ("first backup", &back_up),
        ("nothing changed", &back_up),
        ("restore", &restore),
        ("archive", &archive),
        ("check", &|kloset, _| check(kloset, Depth::Contents)),
        ("check -fast", &|kloset, _| check(kloset, Depth::Structure)),
    ];
    let stores = [(); 2].map(|()| MemoryStore::new());
    stores
        .iter()
        .try_for_each(|store| create(store, &Protection::Plaintext, 3).map(drop))?;
    println!(
        "{:<18}{:>10}{:>12}{:>10}",
        "",
        "at once",
        format!("{delay:?}"),
        "calls"
    );
    for (name, step) in steps {
        let mut seconds = [0.0; 2];
        let mut calls = 0;
        for (number, delay) in [Duration::ZERO, delay].into_iter().enumerate() {
            let place = work.path().join(format!("{number}"));
            fs::create_dir_all(&place)?;
            (seconds[number], calls) = timed(&stores[number], delay, &place, step)?;
        }
        println!(
            "{name:<18}{:>8.2} s{:>10.2} s{calls:>10}",
            seconds[0], seconds[1]
        );
    }
    Ok(())
}

/// The time of `step`, run as in a separate process, and the number of its calls.
fn timed(
    store: &MemoryStore,
    delay: Duration,
    place: &Path,
    step: &dyn Fn(&Kloset, &Path) -> Result<()>,
) -> Result<(f64, u64)> {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let inner = Arc::new(FaultStore::counting(&store).remote(CONNECTIONS));
    let slow = Slow {
        inner: inner.clone(),
        delay,
    };
    let started = Instant::now();
    let locked = Locked::new(Arc::new(slow))?;
    let key = locked.plaintext_key()?.expect("it was made so");
    let cache = Some(place.join("cache"));
    step(
        &locked.open(key, cache, Arc::new(Nobody::default()))?,
        place,
    )?;
    Ok((started.elapsed().as_secs_f64(), inner.requests()))
}

fn make_files(path: &Path) -> Result<()> {
    let noise = |seed: u64, length: usize| {
        let mut bytes = vec![0; length];
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    };
    for file in 0..SMALL_FILES {
        let directory = path.join(format!("{:02}", file / 50));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("{file}")), noise(file, SMALL_BYTES))?;
    }
    for file in 0..LARGE_FILES {
        fs::write(
            path.join(format!("large {file}")),
            noise(!file, LARGE_BYTES),
        )?;
    }
    Ok(())
}

fn back_up(kloset: &Kloset, files: &Path) -> Result<()> {
    let options = backup::Options {
        places: vec![files.canonicalize()?.as_os_str().as_bytes().to_vec()],
        workers: 2,
        readers: 2,
        compare: Some(Compare::default()),
        base: Base::Any,
        ..backup::Options::default()
    };
    backup::run(kloset, &LocalSource::new()?, &options).map(drop)
}

fn restore(kloset: &Kloset, place: &Path) -> Result<()> {
    let newest = select::by_prefix(&select::all(kloset)?, "latest")?.snapshot;
    let options = restore::Options {
        permissions: Permissions::Restore,
        existing: restore::Existing::Replace,
        mode: restore::Mode::Write,
        workers: 2,
        interrupt: Interrupt::default(),
    };
    let target = LocalDestination::new(place.join("restored"));
    restore::run(kloset, &newest, &newest.base(), &target, &options).map(drop)
}

fn archive(kloset: &Kloset, _: &Path) -> Result<()> {
    let newest = select::by_prefix(&select::all(kloset)?, "latest")?.snapshot;
    let options = archive::Options {
        format: archive::Format::Tar,
        names: archive::Names::FromPath,
        interrupt: Interrupt::default(),
    };
    archive::run(kloset, &newest, &newest.base(), &options, &mut |_| Ok(())).map(drop)
}

fn check(kloset: &Kloset, depth: Depth) -> Result<()> {
    let options = check::Options {
        depth,
        workers: 2,
        interrupt: Interrupt::default(),
    };
    let found = check::run(kloset, None, &options)?;
    assert!(!found.is_damaged(), "{found:?}");
    Ok(())
}
