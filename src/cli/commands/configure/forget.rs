//! `plakar store forget`: the next store that is opened at a location is trusted.

use crate::cli::{Args, Globals, Status, known};
use crate::config::Role;
use crate::error::{During, Error, Kind, Result};

pub(super) fn run(globals: &Globals, args: Args) -> Result<Status> {
    let words = args.at_least_one("a LOCATION")?;
    for word in words {
        let place = globals.place_of(Role::Store, word).during(|| args.path())?;
        if !known::forget(globals, &place).during(|| args.path())? {
            let cause = format!("no store is known at {}", place.location);
            return Err(Error::new(Kind::NotFound, cause).during(args.path()));
        }
    }
    Ok(Status::Success)
}
