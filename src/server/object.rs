//! Objects: reading ranges, storing under the hash of the bytes, and deletion, if it is allowed.

use super::answer::{Answer, Content, During, Part};
use super::exchange::Exchange;
use super::range::{Wanted, wanted};
use super::{Deletes, time};
use crate::error::{Error, Kind};
use crate::store::{Area, Object, Upload};
use crate::util::Id;

/// The response to a deletion if the server does not allow it.
const KEEPS_ALL: &str = "the server deletes nothing: it runs without -allow-delete";

/// Handles `GET` and `HEAD`.
pub(super) fn get(exchange: &Exchange<'_>, area: Area, id: Id) -> Result<Answer, Answer> {
    let object = stat(exchange, area, id)?.ok_or_else(|| missing(area))?;
    let is_named = |name| exchange.field(name).map(|field| names(field, id));
    if is_named("if-match") == Some(false) {
        return Err(Answer::failure(412, "failed", "it has another ETag"));
    }
    let modified = time::http(object.modified_ns);
    let is_old = || exchange.field("if-modified-since") == Some(modified.as_str());
    if is_named("if-none-match").unwrap_or_else(is_old) {
        return Ok(described(Answer::empty(304), &object, &modified));
    }
    let size = object.size_bytes;
    let range = exchange
        .field("range")
        .filter(|_| exchange.request.method == "GET");
    let range = range.filter(|_| is_named("if-range") != Some(false));
    let (status, offset, length) = match range.map_or(Wanted::All, |range| wanted(range, size)) {
        Wanted::All => (200, 0, size),
        Wanted::Part { offset, length } => (206, offset, length),
        Wanted::Beyond => {
            let answer = Answer::failure(416, "usage", format!("it has {size} bytes"));
            return Err(answer.with("Content-Range", format!("bytes */{size}")));
        }
    };
    let mut answer = described(Answer::empty(status), &object, &modified)
        .with("Content-Type", "application/octet-stream")
        .with("Accept-Ranges", "bytes");
    if status == 206 {
        let last = offset.saturating_add(length).saturating_sub(1);
        answer = answer.with("Content-Range", format!("bytes {offset}-{last}/{size}"));
    }
    let part = Part {
        area,
        id,
        offset,
        length,
    };
    answer.content = Content::Object(part);
    Ok(answer)
}

/// Adds the header fields that describe an object.
fn described(answer: Answer, object: &Object, modified: &str) -> Answer {
    answer
        .with("ETag", format!("\"{}\"", object.id))
        .with("Last-Modified", modified)
        .with("Kloset-Modified-Ns", object.modified_ns.to_string())
}

/// Handles `PUT`. An existing object is kept. A new one is stored if its bytes match its id.
pub(super) fn put(exchange: &mut Exchange<'_>, area: Area, id: Id) -> Result<Answer, Answer> {
    exchange.check_length(area.limit_bytes())?;
    let there = stat(exchange, area, id)?;
    refuse_unwanted(exchange, id, there.is_some())?;
    match there {
        // An object that is being published might not become durable. Therefore it is stored again,
        // which completes only when the object is durable.
        Some(object) if !exchange.server.is_committing(area, id) => keep(exchange, area, &object),
        _ => store(exchange, area, id),
    }
}

/// Checks the conditions of the request.
///
/// # Errors
/// 412 if `If-Match` or `If-None-Match` does not hold.
fn refuse_unwanted(exchange: &Exchange<'_>, id: Id, is_there: bool) -> Result<(), Answer> {
    let holds = |name| {
        exchange
            .field(name)
            .map(|field| is_there && names(field, id))
    };
    if holds("if-match") == Some(false) || holds("if-none-match") == Some(true) {
        return Err(Answer::failure(
            412,
            "exists",
            "the condition does not hold",
        ));
    }
    Ok(())
}

/// Keeps an existing object: reads and discards the bytes of the request.
fn keep(exchange: &mut Exchange<'_>, area: Area, object: &Object) -> Result<Answer, Answer> {
    let is_same = |length| length == object.size_bytes;
    if exchange.declared().is_some_and(|length| !is_same(length)) {
        return Err(other_length(object));
    }
    // A client that waits for `100 Continue` need not send the bytes at all.
    if exchange.is_held_back() {
        return Ok(Answer::empty(200));
    }
    let length = exchange.each_piece(area.limit_bytes(), |_| Ok(()))?;
    match is_same(length) {
        true => Ok(Answer::empty(200)),
        false => Err(other_length(object)),
    }
}

fn other_length(object: &Object) -> Answer {
    let there = object.size_bytes;
    Answer::failure(
        409,
        "corrupt",
        format!("the one already there has {there} bytes"),
    )
}

/// Stores an object. It becomes visible only after all of its bytes were read and match its id.
fn store(exchange: &mut Exchange<'_>, area: Area, id: Id) -> Result<Answer, Answer> {
    let server = exchange.server;
    let failed = |error: Error| server.failed(&error, During::Writing);
    let mut upload: Box<dyn Upload> = server.store.upload(area).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    exchange.each_piece(area.limit_bytes(), |piece| {
        hasher.update(piece);
        upload.write(piece).map_err(failed)
    })?;
    if *hasher.finalize().as_bytes() != id.0 {
        return Err(Answer::failure(
            422,
            "corrupt",
            "the bytes are not those of that name",
        ));
    }
    server.commit(upload, area, id).map_err(failed)?;
    Ok(Answer::empty(201))
}

/// Handles `DELETE`.
pub(super) fn delete(exchange: &Exchange<'_>, area: Area, id: Id) -> Result<Answer, Answer> {
    let server = exchange.server;
    if server.deletes == Deletes::Refused {
        return Err(Answer::failure(403, "denied", KEEPS_ALL));
    }
    let is_named = exchange.field("if-match").map(|field| names(field, id));
    if is_named == Some(false) {
        return Err(Answer::failure(412, "failed", "it has another ETag"));
    }
    let deleted = server.store.delete(area, id);
    deleted.map_err(|error| server.failed(&error, During::Writing))?;
    Ok(Answer::empty(204))
}

/// Returns the size and time of an object, or `None` if it does not exist.
fn stat(exchange: &Exchange<'_>, area: Area, id: Id) -> Result<Option<Object>, Answer> {
    match exchange.server.store.stat(area, id) {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(exchange.server.failed(&error, During::Reading)),
    }
}

fn missing(area: Area) -> Answer {
    let area = area.name();
    Answer::failure(404, "not-found", format!("no such object among {area}"))
}

/// Whether a list of ETags contains that of `id` (RFC 9110, section 8.8.3).
fn names(field: &str, id: Id) -> bool {
    let id = format!("\"{id}\"");
    let mut tags = field.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == id)
}
