//! Paginated listings.
//!
//! A page has one JSON object per line, in ascending order of ids. A `Link` header (RFC 8288) shows
//! whether another page follows. The start of the next page is derived from the last id, so a
//! server behind a path of a proxy need not know that path. Ids that do not ascend are rejected:
//! they would make a listing endless or repeat objects. Also rejected are more objects than an area
//! can have, and listings with very many short pages.

use serde::Deserialize;

use super::{Peer, bare, refusal};
use crate::error::{During, Error, Result};
use crate::net::client::Answer;
use crate::net::retry::Failure;
use crate::store::{Area, Object, words};
use crate::util::Id;

/// The maximum number of objects per page, defined by the protocol.
const PAGE_LIMIT: usize = 10_000;
/// A page with fewer objects is short, unless it is the last one.
const SHORT_PAGE: usize = 100;
/// The maximum number of short pages per listing. Each page costs a request, so a server that lists
/// one object per page could keep the client busy for days.
const SHORT_PAGES_LIMIT: usize = 1000;
/// The maximum length of a line. A plakar server sends at most 140 characters.
const LINE_LIMIT_BYTES: usize = 512;
/// The number of bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// The maximum size of a listed object, 1 PiB, far beyond any real object. Prevents overflows when
/// sizes are added.
const SIZE_LIMIT_BYTES: u64 = 1 << 50;

#[derive(Deserialize)]
struct Line<'a> {
    id: &'a str,
    size: u64,
    modified_ns: i64,
}

struct Page {
    objects: Vec<Object>,
    has_next: bool,
}

/// Calls `each` for every object of `area` with an id above `after`.
pub(super) fn list(
    peer: &Peer,
    area: Area,
    mut after: Option<Id>,
    each: &mut dyn FnMut(Object) -> Result<()>,
) -> Result<()> {
    let (mut listed, mut short) = (0, 0);
    loop {
        let page = peer.run(|| {
            let page = page(peer, area, after)?;
            listed += page.objects.len();
            short += usize::from(page.objects.len() < SHORT_PAGE);
            let limit = area.limit_objects();
            match page.has_next {
                _ if listed > limit => Err(refusal::lie(&words::too_many(limit))),
                true if short > SHORT_PAGES_LIMIT => {
                    Err(refusal::lie("it lists too few objects at a time"))
                }
                _ => Ok(page),
            }
        });
        let page = page.during(|| format!("list {}", area.name()))?;
        after = page.objects.last().map(|object| object.id);
        page.objects.into_iter().try_for_each(&mut *each)?;
        if !page.has_next {
            return Ok(());
        }
    }
}

/// Reads the page with the ids above `after`. An empty page is the last one.
fn page(peer: &Peer, area: Area, after: Option<Id>) -> Result<Page, Failure> {
    let target = match after {
        None => format!("/resources/{}", area.name()),
        Some(id) => format!("/resources/{}?after={id}", area.name()),
    };
    let mut answer = peer.ask(&bare("GET", &target), &[200])?;
    let is_next = |link: &str| link.contains("rel=\"next\"");
    let mut page = Page {
        has_next: answer.headers().all("link").any(is_next),
        objects: Vec::new(),
    };
    read_lines(&mut answer, |line| page.add(line, after))?;
    match page.objects.is_empty() && page.has_next {
        true => Err(refusal::lie(
            "it lists nothing, and says that there is more",
        )),
        false => Ok(page),
    }
}

impl Page {
    fn add(&mut self, line: &[u8], after: Option<Id>) -> Result<(), Failure> {
        let lie = |words| Err(refusal::lie(words));
        let Some(object) = object(line) else {
            return lie("a line of its listing is not one object");
        };
        let before = self.objects.last().map(|object| object.id).or(after);
        if before.is_some_and(|before| object.id <= before) {
            return lie("its listing is not in order");
        }
        if self.objects.len() >= PAGE_LIMIT {
            return lie("a page of its listing is too long");
        }
        self.objects.push(object);
        Ok(())
    }
}

/// Parses a line.
fn object(line: &[u8]) -> Option<Object> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    Some(Object {
        id: line.id.parse().ok()?,
        size_bytes: checked_size(line.size)?,
        modified_ns: line.modified_ns,
    })
}

/// Returns `size_bytes`, unless it exceeds the maximum.
pub(super) fn checked_size(size_bytes: u64) -> Option<u64> {
    (size_bytes <= SIZE_LIMIT_BYTES).then_some(size_bytes)
}

/// Calls `each` for every line of the body of `answer`.
fn read_lines(
    answer: &mut Answer<'_>,
    mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        match answer.read(&mut buffer[filled..])? {
            0 if filled == 0 => return Ok(()),
            // A line without a line end may be truncated.
            0 => return Err(Error::corrupt("its listing ends within a line").into()),
            read => filled += read,
        }
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|byte| *byte == b'\n') {
            each(&buffer[start..start + length])?;
            start += length + 1;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled > LINE_LIMIT_BYTES {
            return Err(refusal::lie("a line of its listing is too long"));
        }
    }
}
