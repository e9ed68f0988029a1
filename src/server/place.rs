//! The store as a whole: CONFIG and its creation.

use super::answer::{Answer, During};
use super::exchange::Exchange;
use crate::error::Kind;
use crate::store::CONFIG_LIMIT_BYTES;

/// `PUT /resources` needs no body. A body up to this size is discarded.
const NO_BODY_LIMIT_BYTES: u64 = 64 << 10;

/// Handles `GET` and `HEAD` for CONFIG.
pub(super) fn config(exchange: &Exchange<'_>) -> Result<Answer, Answer> {
    let config = exchange.server.store.get_config();
    let config = config.map_err(|error| exchange.server.failed(&error, During::Reading))?;
    Ok(Answer::bytes("application/toml", config))
}

/// Handles `PUT` for CONFIG, which makes the place a store.
pub(super) fn create(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    exchange.check_length(CONFIG_LIMIT_BYTES)?;
    let server = exchange.server;
    match server.store.get_config() {
        Ok(_) => return Err(Answer::failure(409, "exists", "there is a store already")),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(server.failed(&error, During::Reading)),
    }
    let config = exchange.whole(CONFIG_LIMIT_BYTES)?;
    let put = server.store.put_config(&config);
    put.map_err(|error| server.failed(&error, During::Writing))?;
    Ok(Answer::empty(201))
}

/// Handles `PUT` for the place: prepares it for its first object.
pub(super) fn prepare(exchange: &mut Exchange<'_>) -> Result<Answer, Answer> {
    exchange.each_piece(NO_BODY_LIMIT_BYTES, |_| Ok(()))?;
    let server = exchange.server;
    let prepared = server.store.prepare();
    prepared.map_err(|error| server.failed(&error, During::Writing))?;
    Ok(Answer::empty(200))
}
