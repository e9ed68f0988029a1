//! Paginated listings, with one JSON object per line.
//!
//! The length of a page is limited by the request and by the available memory. A client that
//! receives fewer objects than requested continues in the same way as after any page.

use std::fmt::Write;

use super::answer::{Answer, During};
use super::exchange::Exchange;
use super::route::Page;
use crate::error::{Error, Kind};
use crate::store::{Area, Object};

/// The memory for a line and for the object from which it is created.
const LINE_BYTES: u64 = 200;
/// The number of objects for which memory is always available.
const LEAST: u64 = 100;

/// Handles `GET` and `HEAD` for a listing.
pub(super) fn list(exchange: &Exchange<'_>, area: Area, page: Page) -> Result<Answer, Answer> {
    let server = exchange.server;
    let wanted = page.limit as u64;
    let room = server
        .budget
        .room(wanted * LINE_BYTES, wanted.min(LEAST) * LINE_BYTES);
    let limit = usize::try_from(room.bytes / LINE_BYTES).unwrap_or(page.limit);
    let page = Page {
        limit: limit.clamp(1, page.limit),
        ..page
    };
    let (objects, has_more) =
        objects(exchange, area, page).map_err(|error| server.failed(&error, During::Reading))?;
    let mut lines = String::with_capacity(objects.len() * 140);
    for object in &objects {
        let Object {
            id,
            size_bytes,
            modified_ns,
        } = object;
        // Writing to a string cannot fail.
        let _ = writeln!(
            lines,
            r#"{{"id":"{id}","size":{size_bytes},"modified_ns":{modified_ns}}}"#
        );
    }
    let mut answer = Answer::bytes("application/x-ndjson", lines.into_bytes());
    answer.room = Some(room);
    Ok(match objects.last() {
        Some(last) if has_more => {
            let (area, limit) = (area.name(), page.limit);
            let next = format!(
                "</resources/{area}?after={}&limit={limit}>; rel=\"next\"",
                last.id
            );
            answer.with("Link", next)
        }
        _ => answer,
    })
}

/// Returns the objects of a page, and whether more follow.
fn objects(exchange: &Exchange<'_>, area: Area, page: Page) -> Result<(Vec<Object>, bool), Error> {
    let (mut objects, mut has_more) = (Vec::new(), false);
    let listed = exchange
        .server
        .store
        .list_after(area, page.after, &mut |object| {
            if objects.len() == page.limit {
                has_more = true;
                return Err(Error::new(Kind::Interrupted, "the page is full"));
            }
            objects.push(object);
            Ok(())
        });
    match listed {
        Err(error) if !has_more => Err(error),
        _ => Ok((objects, has_more)),
    }
}
