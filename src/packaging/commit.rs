//! Determines the commit that is checked out from the files of git, because git itself may not be
//! installed.

use std::fs;
use std::path::{Path, PathBuf};

/// The maximum length of a chain of symbolic references. git itself has a limit of five.
const LINK_LIMIT: usize = 5;

/// The commit that is checked out, and the files that determine it.
#[derive(Debug, Default)]
pub(crate) struct Checkout {
    /// The commit id in hexadecimal digits. `None` if the sources are not a git repository.
    pub(crate) commit: Option<String>,
    /// Files that change when another commit is checked out.
    pub(crate) files: Vec<PathBuf>,
}

impl Checkout {
    /// Reads the work tree at `top`.
    pub(crate) fn at(top: &Path) -> Checkout {
        let Some(own) = directory(&top.join(".git")) else {
            return Checkout::default();
        };
        // A linked work tree has its own HEAD, but shares the branches.
        let common = first_line(&own.join("commondir"));
        let common = common.map_or_else(|| own.clone(), |path| own.join(path));
        let mut checkout = Checkout::default();
        let mut path = own.join("HEAD");
        for _ in 0..LINK_LIMIT {
            let line = first_line(&path);
            checkout.files.push(path);
            match line.as_deref().map(|line| line.strip_prefix("ref: ")) {
                Some(Some(name)) => {
                    path = common.join(name);
                    if !path.exists() {
                        path = common.join("packed-refs");
                        checkout.commit = packed(&path, name);
                        checkout.files.push(path);
                        break;
                    }
                }
                _ => {
                    checkout.commit = line;
                    break;
                }
            }
        }
        // This log gets one line per commit, and also changes when a packed reference becomes a
        // file.
        checkout.files.push(own.join("logs/HEAD"));
        checkout.files.retain(|path| path.exists());
        checkout.commit = checkout.commit.filter(|commit| is_id(commit));
        checkout
    }
}

/// The git directory at `path`, or the one that the file `path` refers to.
fn directory(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let line = first_line(path)?;
    let target = line.strip_prefix("gitdir: ")?;
    Some(path.with_file_name("").join(target))
}

/// The commit of the reference `name` in a file of packed references.
fn packed(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(_, found)| *found == name);
    found.map(|(commit, _)| commit.to_owned())
}

/// Whether this is a commit id: SHA-1 or SHA-256.
fn is_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(str::to_owned)
}
