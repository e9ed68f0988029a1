//! `plakar help`: which commands are there, and how is one used?

use crate::cli::suggest::did_you_mean;
use crate::cli::{Args, COMMANDS, Command, Globals, Status, help};
use crate::error::{Error, Result};

/// The entry in the table.
pub const COMMAND: Command = Command {
    name: "help",
    synopsis: "[COMMAND [SUBCOMMAND ...]]",
    about: "list the commands, or explain one",
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let text = explained(&args.texts()?).map_err(|error| error.during("help"))?;
    globals.out.bytes(text.as_bytes())?;
    Ok(Status::Success)
}

/// Help on the command that `words` name, or on the program if there are none.
fn explained(words: &[String]) -> Result<String> {
    let mut commands = COMMANDS;
    let mut path: Vec<&str> = Vec::new();
    let mut found = None;
    for word in words {
        let command = Command::find(commands, word).ok_or_else(|| unknown(word, commands))?;
        path.push(command.name);
        commands = command.subcommands;
        found = Some(command);
    }
    Ok(match found {
        Some(command) => help::command(&path.join(" "), command),
        None => help::program(COMMANDS),
    })
}

/// Says that there is no such command.
fn unknown(word: &str, commands: &[Command]) -> Error {
    let names = commands.iter().flat_map(Command::names);
    let hint = did_you_mean(word, names, "");
    Error::usage(format!("unknown command {word:?}{hint}"))
}
