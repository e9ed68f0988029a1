//! Renders help from the tables: usage, description, flags, and references to the manual.
//!
//! Lines are at most 80 columns wide. This module knows no command by name.

use super::table::{Command, Flag, GLOBAL_FLAGS, Times};

/// The maximum width of a line.
const WIDTH_COLUMNS: usize = 80;
/// The column where descriptions begin, unless a flag is longer.
const ABOUT_COLUMN: usize = 20;

/// The indentation of continuation lines of long names.
const NAME_INDENT: usize = 8;

/// Help for the whole program, with all `commands`.
pub fn program(commands: &[Command]) -> String {
    let mut text = String::from("usage: plakar [OPTIONS] [at STORE] COMMAND [FLAGS] [ARGUMENTS]\n");
    text.push_str("\nDeduplicated, compressed, end-to-end encrypted snapshots of files.\n");
    text.push_str("\nCommands:\n");
    for command in commands {
        text.push_str(&row(&names(command), command.about));
    }
    text.push_str("\nOptions:\n");
    text.extend(GLOBAL_FLAGS.iter().map(flag_row));
    text.push('\n');
    let store = "STORE is a path, a URL or @name of a configured store; without it, \
                 PLAKAR_REPOSITORY, the default store or ~/.plakar. \
                 \"plakar help COMMAND\" explains a command, plakar(1) the exit codes, \
                 \"plakar help disaster\" how to restore a lost machine.";
    text.push_str(&wrapped(String::new(), store, 0));
    text
}

/// Help for one command; `path` is its full name, such as `key add`.
pub fn command(path: &str, command: &Command) -> String {
    let usage = format!("usage: plakar [OPTIONS] [at STORE] {path}");
    let mut text = wrapped(
        String::new(),
        format!("{usage} {}", command.synopsis).trim_end(),
        8,
    );
    text.push_str(&format!("\n{}.\n", capitalised(command.about)));
    if !command.synonyms.is_empty() {
        text.push_str(&format!("\nAlso called {}.\n", command.synonyms.join(", ")));
    }
    if !command.subcommands.is_empty() {
        text.push_str("\nSubcommands:\n");
    }
    for subcommand in command.subcommands {
        let head = format!("{} {}", names(subcommand), subcommand.synopsis);
        text.push_str(&row(head.trim_end(), subcommand.about));
    }
    if !command.flags.is_empty() {
        text.push_str("\nFlags:\n");
        text.extend(command.flags.iter().map(flag_row));
    }
    for group in command.groups {
        let (page, section) = group.page;
        text.push_str(&format!("\n{}, see {page}({section}):\n", group.title));
        text.extend(group.flags.iter().map(flag_row));
    }
    let page = path.split(' ').next().unwrap_or(path);
    let more =
        format!("Options of every command and exit codes: plakar(1). Manual: plakar-{page}(1).");
    text + "\n" + &wrapped(String::new(), &more, 0)
}

/// The name and synonyms of a command, for a list of commands.
fn names(command: &Command) -> String {
    command.names().collect::<Vec<_>>().join(", ")
}

/// A flag with its description.
fn flag_row(flag: &Flag) -> String {
    let names: Vec<String> = flag.names().map(|name| format!("-{name}")).collect();
    let value = flag
        .value
        .map(|value| format!(" {value}"))
        .unwrap_or_default();
    let again = match flag.times {
        Times::Once => "",
        Times::Repeatable => " (may be repeated)",
    };
    row(
        &format!("{}{value}", names.join(", ")),
        &format!("{}{again}", flag.about),
    )
}

/// `name`, and `about` in a common column.
fn row(name: &str, about: &str) -> String {
    let head = format!("  {name}");
    if head.chars().count() + 2 <= ABOUT_COLUMN {
        return wrapped(format!("{head:ABOUT_COLUMN$}"), about, ABOUT_COLUMN);
    }
    let head = wrapped(String::new(), &head, NAME_INDENT);
    wrapped(format!("{head}{:ABOUT_COLUMN$}", ""), about, ABOUT_COLUMN)
}

/// Appends `text` to `head`, breaking lines between words. The last line of `head` must be `indent`
/// columns wide, or `head` must be empty. Later lines are indented by `indent`.
fn wrapped(head: String, text: &str, indent: usize) -> String {
    let mut column = if head.is_empty() { 0 } else { indent };
    let mut out = head;
    for (place, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if place > 0 && column + 1 + length > WIDTH_COLUMNS {
            out.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if place > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out + "\n"
}

/// `words` with the first letter capitalized.
fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: &[Flag] = &[
        Flag::switch(
            "fast",
            "check the structure only, read no contents at all, which is quicker by far",
        ),
        Flag::value("a-flag-with-a-long-name", "VALUE", "something").repeatable(),
    ];

    #[test]
    fn flags_are_aligned_and_lines_are_broken() {
        let synopsis = "[-fast] [-a-flag-with-a-long-name VALUE] [SNAPSHOT[:PATH] ...]";
        let about = "verify the integrity of snapshots";
        let check = Command {
            name: "check",
            synonyms: &["verify"],
            synopsis,
            about,
            flags: FLAGS,
            ..Command::BLANK
        };
        let expected = "\
usage: plakar [OPTIONS] [at STORE] check [-fast] [-a-flag-with-a-long-name
        VALUE] [SNAPSHOT[:PATH] ...]

Verify the integrity of snapshots.

Also called verify.

Flags:
  -fast             check the structure only, read no contents at all, which is
                    quicker by far
  -a-flag-with-a-long-name VALUE
                    something (may be repeated)

Options of every command and exit codes: plakar(1). Manual: plakar-check(1).
";
        assert_eq!(command("check", &check), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let help = crate::cli::COMMANDS.iter().map(|it| command(it.name, it));
        for text in help.chain([program(crate::cli::COMMANDS)]) {
            let mut lines = text.lines();
            let wide = lines.find(|line| line.chars().count() > WIDTH_COLUMNS);
            assert_eq!(wide, None);
        }
    }

    #[test]
    fn subcommands_are_listed_with_their_arguments() {
        for (name, row) in [("key", "  rm ID "), ("store", "  add NAME LOCATION ")] {
            let it = Command::find(crate::cli::COMMANDS, name).unwrap();
            let text = command(name, it);
            assert!(text.lines().any(|line| line.starts_with(row)), "{text}");
        }
    }
}
