//! Which commit is checked out, read from the files of git: git itself may be missing.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest chain of a reference that leads to a reference; git itself takes five.
const LINK_LIMIT: usize = 5;

/// What is checked out, and the files that tell of it.
#[derive(Debug, Default)]
pub(crate) struct Checkout {
    /// The commit in hexadecimal digits; none where the sources came without their history.
    pub(crate) commit: Option<String>,
    /// Files that change when another commit is checked out.
    pub(crate) files: Vec<PathBuf>,
}

impl Checkout {
    /// The work tree at `top`.
    pub(crate) fn at(top: &Path) -> Checkout {
        let Some(own) = directory(&top.join(".git")) else {
            return Checkout::default();
        };
        // A further work tree has a HEAD of its own, and the branches in common.
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
        // It grows by a line with each commit, and when a reference stops to be packed.
        checkout.files.push(own.join("logs/HEAD"));
        checkout.files.retain(|path| path.exists());
        checkout.commit = checkout.commit.filter(|commit| is_id(commit));
        checkout
    }
}

/// The directory of git that `path` is, or that a file of one line there leads to.
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

/// Whether this is the name of a commit: SHA-1, or SHA-256.
fn is_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().next().map(str::to_owned)
}
