//! `plakar help`: lists commands, and shows the manual page of a command.

use crate::cli::manual::{Fonts, Page};
use crate::cli::output::Format;
use crate::cli::{Args, COMMANDS, Command, Globals, Status, help, pager, peers};
use crate::error::Result;

/// The maximum width of a page, because long lines are hard to read.
const WIDTH_COLUMNS: u16 = 80;

/// The table entry of the command.
pub const COMMAND: Command = Command {
    name: "help",
    synopsis: "[COMMAND [SUBCOMMAND ...] | PAGE]",
    about: "list the commands, or show a page of the manual",
    run,
    ..Command::BLANK
};

fn run(globals: &Globals, args: Args) -> Result<Status> {
    let words = args.texts()?;
    let page = match words.as_slice() {
        [word] => page_called(word),
        _ => None,
    };
    match page {
        Some(page) => show(globals, page)?,
        None => {
            let text = explained(&words).map_err(|error| error.during("help"))?;
            globals.out.bytes(text.as_bytes())?;
        }
    }
    Ok(Status::Success)
}

/// The page of the command `word`, or the page with that name.
fn page_called(word: &str) -> Option<&'static Page> {
    match Command::find(COMMANDS, word) {
        Some(command) => Page::on(command.name),
        None => Page::called(word).or_else(|| Page::on(word)),
    }
}

/// Shows a page: in a pager on a terminal, otherwise as plain text.
fn show(globals: &Globals, page: &Page) -> Result<()> {
    let width = usize::from(width_columns());
    if globals.out.format() == Format::Human && pager::is_wanted(&globals.environment) {
        let text = page.text(width, Fonts::Overstruck);
        // Without a pager, or if it cannot be started, the text is printed.
        let _ = pager::show(&text, &globals.environment);
    }
    globals
        .out
        .bytes(page.text(width, Fonts::Dropped).as_bytes())
}

/// The width of the text: that of the terminal, up to the maximum.
fn width_columns() -> u16 {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.min(WIDTH_COLUMNS),
        _ => WIDTH_COLUMNS,
    }
}

/// The help of the command that `words` name, or of the program without words.
fn explained(words: &[String]) -> Result<String> {
    let mut commands = COMMANDS;
    let mut path: Vec<&str> = Vec::new();
    let mut found = None;
    for word in words {
        let command = Command::find(commands, word)
            .ok_or_else(|| peers::unknown(word, commands, "command"))?;
        path.push(command.name);
        commands = command.subcommands;
        found = Some(command);
    }
    Ok(match found {
        Some(command) => help::command(&path.join(" "), command),
        None => help::program(COMMANDS),
    })
}
