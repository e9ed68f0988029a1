//! The manual, embedded in the program for machines where the pages are not installed.
//!
//! Pages are embedded as mdoc(7) sources: together they make up 2 percent of the program, and
//! building it requires only the compiler.

mod mdoc;
mod sheet;
mod words;

pub use mdoc::rendered;
pub use sheet::Fonts;

/// A manual page.
#[derive(Debug)]
pub struct Page {
    /// The name, such as `plakar-backup`.
    pub name: &'static str,
    /// The section, such as 1.
    pub section: u8,
    /// The source in mdoc.
    pub source: &'static str,
}

macro_rules! pages {
    ($(($name:literal, $section:literal)),* $(,)?) => {
        &[$(Page {
            name: $name,
            section: $section,
            source: include_str!(concat!("../../../man/", $name, ".", $section)),
        }),*]
    };
}

/// All pages. If two pages have the same name, the explanatory one comes before the specification.
pub static PAGES: &[Page] = pages![
    ("plakar", 1),
    ("plakar-archive", 1),
    ("plakar-backup", 1),
    ("plakar-cat", 1),
    ("plakar-check", 1),
    ("plakar-completion", 1),
    ("plakar-create", 1),
    ("plakar-destination", 1),
    ("plakar-diag", 1),
    ("plakar-diff", 1),
    ("plakar-digest", 1),
    ("plakar-dup", 1),
    ("plakar-help", 1),
    ("plakar-info", 1),
    ("plakar-key", 1),
    ("plakar-locate", 1),
    ("plakar-login", 1),
    ("plakar-logout", 1),
    ("plakar-ls", 1),
    ("plakar-maintenance", 1),
    ("plakar-pkg", 1),
    ("plakar-policy", 1),
    ("plakar-prune", 1),
    ("plakar-repair", 1),
    ("plakar-restore", 1),
    ("plakar-rm", 1),
    ("plakar-server", 1),
    ("plakar-source", 1),
    ("plakar-store", 1),
    ("plakar-sync", 1),
    ("plakar-tag", 1),
    ("plakar-version", 1),
    ("kloset", 7),
    ("kloset", 5),
    ("kloset-http", 5),
    ("plakar-disaster", 7),
    ("plakar-query", 7),
    ("plakar.conf", 5),
];

impl Page {
    /// The page of the command `name`, or else the page about the topic `name`.
    pub fn on(name: &str) -> Option<&'static Page> {
        let is_it = |page: &&Page| page.name.strip_prefix("plakar-") == Some(name);
        PAGES.iter().find(is_it)
    }

    /// The page with the name `name`, `name.section` or `name(section)`.
    pub fn called(name: &str) -> Option<&'static Page> {
        PAGES.iter().find(|page| {
            let Page {
                name: own, section, ..
            } = page;
            [
                own.to_string(),
                format!("{own}.{section}"),
                format!("{own}({section})"),
            ]
            .iter()
            .any(|known| known == name)
        })
    }

    /// The text of the page. Lines are at most `width_columns` wide, except those that must not be
    /// broken.
    pub fn text(&self, width_columns: usize, fonts: Fonts) -> String {
        rendered(self.source, width_columns, fonts)
    }
}

#[cfg(test)]
mod tests;
