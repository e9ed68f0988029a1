//! The interpretation of request targets. Paths are compared literally, without decoding or
//! normalization. Therefore `..`, `%2e` and `//` match nothing, and no text of a client is passed
//! to other modules.

use std::str::FromStr;

use crate::store::Area;
use crate::util::Id;

/// The maximum and default number of objects on a page.
pub(super) const PAGE_LIMIT: usize = 10_000;

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: CONFIG.
    Config,
    /// `/resources`: the place itself.
    Place,
    /// `/resources/AREA`: a page of a listing.
    Listing(Area, Page),
    /// `/resources/AREA/ID`: an object.
    Object(Area, Id),
    /// `/healthz`: a health check.
    Health,
    /// `/metrics`: the counters.
    Metrics,
}

/// The requested part of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Only objects with ids above this one.
    pub(super) after: Option<Id>,
    /// The maximum number of objects, at least one.
    pub(super) limit: usize,
}

/// Why a target is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    /// No such resource.
    Unknown,
    /// The resource exists, but the query is invalid.
    BadQuery,
}

impl Route {
    /// Parses `target`, which may be an absolute URL (RFC 9112, section 3.2.2).
    pub(super) fn of(target: &str) -> Result<Route, NoRoute> {
        let path = origin_form(target).ok_or(NoRoute::Unknown)?;
        match path {
            "/" => return Ok(Route::Config),
            "/resources" => return Ok(Route::Place),
            "/healthz" => return Ok(Route::Health),
            "/metrics" => return Ok(Route::Metrics),
            _ => {}
        }
        let path = path.strip_prefix("/resources/").ok_or(NoRoute::Unknown)?;
        match path.split_once('/') {
            Some((name, id)) => {
                let id = Id::from_str(id).map_err(|_| NoRoute::Unknown)?;
                Ok(Route::Object(area(name)?, id))
            }
            None => {
                let (name, query) = path.split_once('?').unwrap_or((path, ""));
                let area = area(name)?;
                page(query)
                    .map(|page| Route::Listing(area, page))
                    .ok_or(NoRoute::BadQuery)
            }
        }
    }

    /// The allowed HTTP methods.
    pub(super) fn allowed(self) -> &'static str {
        match self {
            Route::Config => "GET, HEAD, PUT",
            Route::Place => "PUT",
            Route::Object(..) => "GET, HEAD, PUT, DELETE",
            Route::Listing(..) | Route::Health | Route::Metrics => "GET, HEAD",
        }
    }

    /// Whether the method `verb` is allowed.
    pub(super) fn allows(self, verb: &str) -> bool {
        self.allowed().split(", ").any(|allowed| allowed == verb)
    }
}

/// Returns the path of a target, which may be an absolute URL.
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let rest = without_scheme(target)?;
    match rest.find(['/', '?']) {
        Some(0) => None,
        Some(end) if rest[end..].starts_with('/') => Some(&rest[end..]),
        Some(_) => None,
        None => Some("/"),
    }
}

/// Returns the host of a target that is an absolute URL.
pub(super) fn authority(target: &str) -> Option<&str> {
    without_scheme(target)?.split(['/', '?']).next()
}

/// Removes the scheme of a target that is an absolute URL.
fn without_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let is_known = ["http", "https"].map(|known| scheme.eq_ignore_ascii_case(known));
    is_known.contains(&true).then_some(rest)
}

fn area(name: &str) -> Result<Area, NoRoute> {
    let mut areas = Area::ALL.into_iter();
    areas
        .find(|area| area.name() == name)
        .ok_or(NoRoute::Unknown)
}

/// Parses the query of a listing. Returns `None` if it is invalid.
fn page(query: &str) -> Option<Page> {
    let (mut after, mut limit) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("after", id) if after.is_none() => after = Some(Id::from_str(id).ok()?),
            ("limit", number) if limit.is_none() => limit = Some(count(number)?),
            _ => return None,
        }
    }
    Some(Page {
        after,
        limit: limit.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT),
    })
}

fn count(text: &str) -> Option<usize> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| is_number && *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const ID: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

    #[test]
    fn whole_urls_and_paths_are_the_same() {
        let object = Route::of(&format!("/resources/packs/{ID}")).unwrap();
        assert_eq!(object, Route::Object(Area::Packs, ID.parse().unwrap()));
        let whole = Route::of(&format!("HTTP://nas:9876/resources/packs/{ID}"));
        assert_eq!(whole, Ok(object));
        assert_eq!(Route::of("http://nas"), Ok(Route::Config));
        assert_eq!(Route::of("https://nas/metrics"), Ok(Route::Metrics));
        let page = Page {
            after: ID.parse().ok(),
            limit: 5,
        };
        let listing = Route::of(&format!("/resources/keys?limit=5&after={ID}"));
        assert_eq!(listing, Ok(Route::Listing(Area::Keys, page)));
        let all = Page {
            after: None,
            limit: PAGE_LIMIT,
        };
        for target in [
            "/resources/index",
            "/resources/index?",
            "/resources/index?limit=99999999",
        ] {
            assert_eq!(
                Route::of(target),
                Ok(Route::Listing(Area::Index, all)),
                "{target}"
            );
        }
    }

    #[test]
    fn nothing_else_is_anything() {
        let upper = ID.to_uppercase();
        for target in [
            "",
            "*",
            "//",
            "/.",
            "/..",
            "/CONFIG",
            "/?",
            "/resources/",
            "/Resources",
            "/healthz/",
            "/healthz?x",
            "/resources/packs/",
            "/resources/tmp",
            "/resources/packs/..",
            "/resources//packs",
            "/resources/packs/%2e%2e",
            "ftp://nas/",
            "http:///",
            "http://nas?x",
            "nas:9876",
            "/resources/./packs",
            &format!("/resources/packs/{upper}"),
            &format!("/resources/packs/{ID}/"),
            &format!("/resources/packs/{ID}?x"),
            &format!("/resources/packs//{ID}"),
            &format!("/resources/packs/../keys/{ID}"),
            &format!("/resources/packs/{ID}\0"),
            &format!("/resources/packs/{}é", &ID[2..]),
        ] {
            assert_eq!(Route::of(target), Err(NoRoute::Unknown), "{target}");
        }
        for query in [
            "limit=0",
            "limit=-1",
            "limit=x",
            "after=x",
            "limit=1&limit=1",
            "x=1",
            "x",
        ] {
            let target = format!("/resources/packs?{query}");
            assert_eq!(Route::of(&target), Err(NoRoute::BadQuery), "{query}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_target_has_one_spelling(
            parts in vec(prop_oneof!["/", "resources", "packs", "keys", ID, "[.?&=%a-z0-9]{0,3}"], 0..8),
        ) {
            let target = parts.concat();
            if let Ok(Route::Object(area, id)) = Route::of(&target) {
                prop_assert_eq!(target, format!("/resources/{}/{id}", area.name()));
            }
        }
    }
}
