//! `plakar server token`: manages access tokens.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Args, Command, Flag, Globals, Status};
use crate::config::tokens::{self, Token};
use crate::error::{During, Error, Kind, Result};
use crate::server::access::{self, Role};
use crate::util::{Id, clock, human};

/// The number of random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// The location of the token file.
pub(super) const TOKENS: Flag = Flag::value(
    "tokens",
    "FILE",
    "keep tokens in FILE instead of tokens.toml in the configuration directory",
);

/// The table entry of the command.
pub(super) const COMMAND: Command = Command {
    name: "token",
    synopsis: "list | add | rm",
    about: "list, add and remove access tokens",
    subcommands: &[
        Command {
            name: "list",
            synonyms: &["ls"],
            synopsis: "[-tokens FILE]",
            about: "list the tokens",
            flags: &[TOKENS],
            run: list,
            ..Command::BLANK
        },
        Command {
            name: "add",
            synopsis: "-role read|append|full [-tokens FILE] NAME",
            about: "create a token and print it",
            flags: &[
                Flag::value("role", "read|append|full", "what the token allows"),
                TOKENS,
            ],
            run: add,
            ..Command::BLANK
        },
        Command {
            name: "rm",
            synopsis: "[-tokens FILE] NAME",
            about: "remove a token",
            flags: &[TOKENS],
            run: remove,
            ..Command::BLANK
        },
    ],
    ..Command::BLANK
};

/// A token as shown in a list.
#[derive(Serialize)]
struct Listed {
    name: String,
    role: String,
    created: String,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listed {
            name,
            role,
            created,
        } = self;
        write!(f, "{created} {role:<6} {name}")
    }
}

/// A new token. It is printed once and cannot be shown again.
#[derive(Serialize)]
struct Made {
    name: String,
    role: &'static str,
    token: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

/// The path of the token file: the value of `-tokens`, else the default location.
pub(super) fn file(globals: &Globals, args: &Args) -> Result<PathBuf> {
    match args.value("tokens") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(globals.config_dir()?.join(tokens::FILE_NAME)),
    }
}

fn list(globals: &Globals, args: Args) -> Result<Status> {
    args.no_arguments()?;
    let path = file(globals, &args)?;
    let kept = match tokens::read(&path)? {
        None if args.value("tokens").is_some() => return Err(missing(&path)),
        kept => kept.unwrap_or_default(),
    };
    for token in kept {
        let Token {
            name,
            role,
            created,
            ..
        } = understood(token).map(|(token, _)| token)?;
        globals.out.result(
            "token",
            &Listed {
                name,
                role,
                created,
            },
        )?;
    }
    Ok(Status::Success)
}

fn add(globals: &Globals, args: Args) -> Result<Status> {
    let name = name(&args)?;
    let given = args.text("role")?;
    let given = given.ok_or_else(|| args.usage("needs -role read|append|full"))?;
    let role = Role::find(&given)
        .ok_or_else(|| args.usage(format!("-role: {given:?} is not read, append or full")))?;
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random)
        .map_err(|cause| Error::new(Kind::Failed, cause.to_string()).during("random bytes"))?;
    let token = Id(random).to_string();
    let kept = Token {
        name: name.clone(),
        role: role.word().to_owned(),
        created: human::time(clock::now_ns()),
        hash: Id::of(token.as_bytes()).to_string(),
    };
    tokens::add(&file(globals, &args)?, &kept).during(|| args.path())?;
    let role = role.word();
    globals.out.result("token", &Made { name, role, token })?;
    Ok(Status::Success)
}

fn remove(globals: &Globals, args: Args) -> Result<Status> {
    let name = name(&args)?;
    tokens::remove(&file(globals, &args)?, &name).during(|| args.path())?;
    Ok(Status::Success)
}

/// The only argument, the name of a token.
fn name(args: &Args) -> Result<String> {
    args.at_least_one("the NAME of a token")?;
    args.at_most(1)?;
    Ok(args.texts()?.remove(0))
}

/// Reads the tokens in the file at `path` for the access checks of a server. `None` if the file
/// does not exist.
pub(super) fn read(path: &std::path::Path) -> Result<Option<Vec<access::Token>>> {
    let Some(kept) = tokens::read(path)? else {
        return Ok(None);
    };
    let tokens = kept.into_iter().map(|token| {
        let (Token { name, .. }, (role, Id(hash))) = understood(token)?;
        Ok(access::Token { name, role, hash })
    });
    let tokens: Result<Vec<access::Token>> = tokens.collect();
    tokens.map(Some).during(|| path.display().to_string())
}

/// The role and hash of a token.
///
/// # Errors
/// [`Kind::Unsupported`] if either is invalid.
fn understood(token: Token) -> Result<(Token, (Role, Id))> {
    let unknown = |what: &str| {
        let cause = format!("its {what} is none");
        Error::new(Kind::Unsupported, cause).during(format!("[{}]", token.name))
    };
    let role = Role::find(&token.role).ok_or_else(|| unknown("role"))?;
    let hash = token.hash.parse().map_err(|_| unknown("hash"))?;
    Ok((token, (role, hash)))
}

/// The error for a token file that the user named but that does not exist.
pub(super) fn missing(path: &std::path::Path) -> Error {
    Error::new(Kind::NotFound, "the file does not exist").during(path.display().to_string())
}
