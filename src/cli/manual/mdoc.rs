//! Renders pages written in mdoc(7) as text. Supports the macros that the manual of plakar uses.
//!
//! Each line is text, or a macro with arguments, some of which can be macros again.
//! [`Page::called`] implements macros that affect the rest of their line, [`Page::block`] those
//! that affect the lines after it. `tests/man.rs` compares the output with that of mandoc(1) for
//! the same pages, so a page that uses an unsupported macro fails that test.

use super::sheet::{Font, Fonts, Sheet};
use super::words::{Argument, Delimiter, arguments, unescaped};

/// The indentation of text.
const TEXT_COLUMN: usize = 5;
/// The indentation of subsection headings.
const PART_COLUMN: usize = 3;
/// The additional indentation of `-offset indent`.
const OFFSET_COLUMNS: usize = 6;
/// The indentation of list bodies, relative to the tag, if the page does not specify a width.
const TAG_COLUMNS: usize = 8;
/// The same for numbered and bulleted items.
const BULLET_COLUMNS: usize = 4;
/// The number of blanks between columns.
const COLUMN_GAP: usize = 2;

/// An open list.
struct List {
    kind: ListKind,
    /// Whether there are no blank lines between items.
    is_compact: bool,
    /// The indentation of the items.
    indent: usize,
    /// The indentation of the text around the list.
    around: usize,
}

enum ListKind {
    /// Tagged items, with the indentation of the body relative to the tag.
    Tag(usize),
    Bullet,
    /// Numbered items, with the number of items so far.
    Enum(usize),
    /// A table, with the widths of the columns.
    Column(Vec<usize>),
}

/// The state of a page that is being rendered.
struct Page {
    sheet: Sheet,
    /// The name that `.Nm` without arguments inserts.
    name: String,
    title: String,
    date: String,
    is_synopsis: bool,
    lists: Vec<List>,
    /// The indentation of a literal display, if one is open: lines are not filled.
    literal: Option<usize>,
    /// Whether the head of the current item extends over several lines.
    is_long_head: bool,
    /// The parts of a reference, each with its macro.
    reference: Vec<(String, String)>,
}

/// Renders a page in mdoc as text that is `width_columns` wide, except for lines that must not be
/// broken.
pub fn rendered(page: &str, width_columns: usize, fonts: Fonts) -> String {
    let mut setter = Page {
        sheet: Sheet::new(width_columns, fonts),
        name: String::new(),
        title: String::new(),
        date: String::new(),
        is_synopsis: false,
        lists: Vec::new(),
        literal: None,
        is_long_head: false,
        reference: Vec::new(),
    };
    for line in page.lines() {
        setter.line(line);
    }
    setter.sheet.gap();
    setter.sheet.indent = 0;
    let foot = format!("{}  {}", setter.title, setter.date);
    setter.sheet.word(&foot, Font::Plain);
    setter.sheet.into_text()
}

impl Page {
    fn line(&mut self, line: &str) {
        match line.strip_prefix('.') {
            Some(comment) if comment.starts_with("\\\"") => {}
            Some(request) => self.request(&arguments(request)),
            None => self.text(line),
        }
        if let Some(indent) = self.literal
            && (self.sheet.waiting() > 0 || line.is_empty())
        {
            let line = self.sheet.take();
            self.sheet.line(&line, indent);
        }
    }

    fn text(&mut self, line: &str) {
        if self.literal.is_some() {
            return self.sheet.word(&unescaped(line), Font::Plain);
        }
        for word in line.split_whitespace() {
            self.sheet.word(&unescaped(word), Font::Plain);
        }
    }

    /// Processes a line that begins with a macro.
    fn request(&mut self, line: &[Argument]) {
        let Some((first, rest)) = line.split_first() else {
            return;
        };
        if first.text == "Nm" && self.is_synopsis {
            self.sheet.end_paragraph();
            let name = rest.first().map_or(&self.name, |word| &word.text);
            self.sheet.hang = name.chars().count() + 1;
        }
        if !self.block(&first.text, rest) {
            self.called(&first.text, rest);
        }
    }

    /// Executes a macro that takes its whole line. Returns whether `name` is such a macro.
    fn block(&mut self, name: &str, rest: &[Argument]) -> bool {
        match name {
            "Dd" => self.date = joined(rest),
            "Dt" => self.titled(rest),
            "Os" => {}
            "Sh" => self.section(rest),
            "Ss" => {
                self.sheet.end_tag();
                self.inline(rest, Font::Bold);
                self.sheet.heading(PART_COLUMN);
            }
            "Pp" => self.sheet.gap(),
            "Bd" => self.begin_display(rest),
            "Ed" => self.literal = None,
            "Dl" => {
                self.sheet.end_tag();
                self.inline(rest, Font::Plain);
                let line = self.sheet.take();
                self.sheet.line(&line, self.sheet.indent + OFFSET_COLUMNS);
            }
            "Bl" => self.begin_list(rest),
            "It" => self.item(rest),
            "El" => self.end_list(),
            "Rs" => self.sheet.gap(),
            "Re" => self.end_reference(),
            _ if name.starts_with('%') => {
                let part = (name.to_owned(), unescaped(&joined(rest)));
                self.reference.push(part);
            }
            _ => return false,
        }
        true
    }

    /// `.Dt NAME SECTION`: the title line.
    fn titled(&mut self, rest: &[Argument]) {
        let Some((name, section)) = rest.split_first() else {
            return;
        };
        self.title = format!("{}({})", name.text, joined(section));
        let title = self.title.clone();
        self.sheet.word(&title, Font::Plain);
        self.sheet.gap();
    }

    fn section(&mut self, rest: &[Argument]) {
        self.sheet.end_tag();
        self.inline(rest, Font::Bold);
        self.sheet.heading(0);
        self.sheet.indent = TEXT_COLUMN;
        self.is_synopsis = joined(rest) == "SYNOPSIS";
    }

    fn begin_display(&mut self, rest: &[Argument]) {
        match has(rest, "-compact") {
            true => self.sheet.end_tag(),
            false => self.sheet.gap(),
        }
        self.literal = Some(self.sheet.indent + offset(rest));
    }

    fn begin_list(&mut self, rest: &[Argument]) {
        self.sheet.end_paragraph();
        let widths = || rest.iter().filter(|word| word.is_quoted);
        let width = |word: &Argument| word.text.chars().count() + COLUMN_GAP;
        let kind = match rest.first().map(|word| word.text.as_str()) {
            Some("-bullet") => ListKind::Bullet,
            Some("-enum") => ListKind::Enum(0),
            Some("-column") => ListKind::Column(widths().map(width).collect()),
            _ => ListKind::Tag(widths().next().map_or(TAG_COLUMNS, width)),
        };
        self.lists.push(List {
            kind,
            is_compact: has(rest, "-compact") || has(rest, "-column"),
            indent: self.sheet.indent + offset(rest),
            around: self.sheet.indent,
        });
        if has(rest, "-column") {
            self.sheet.gap();
        }
    }

    fn end_list(&mut self) {
        self.sheet.end_tag();
        if let Some(list) = self.lists.pop() {
            self.sheet.indent = list.around;
        }
    }

    fn item(&mut self, head: &[Argument]) {
        let Some(list) = self.lists.last_mut() else {
            return;
        };
        match list.is_compact {
            true => self.sheet.end_tag(),
            false => self.sheet.gap(),
        }
        self.sheet.indent = list.indent;
        match &mut list.kind {
            ListKind::Tag(_) => {
                self.is_long_head = head.last().is_some_and(|word| word.text == "Xo");
                self.inline(head, Font::Plain);
                self.end_head();
            }
            ListKind::Bullet => self.numbered("o"),
            ListKind::Enum(number) => {
                *number += 1;
                let number = format!("{number}.");
                self.numbered(&number);
            }
            ListKind::Column(widths) => {
                let widths = widths.clone();
                self.row(head, &widths);
            }
        }
    }

    /// Begins a numbered or bulleted item.
    fn numbered(&mut self, bullet: &str) {
        self.sheet.word(bullet, Font::Plain);
        self.sheet.tag(self.sheet.indent + BULLET_COLUMNS);
    }

    /// Turns the head of an item into a tag, if the head is complete.
    fn end_head(&mut self) {
        if let Some(ListKind::Tag(width)) = self.lists.last().map(|list| &list.kind)
            && !self.is_long_head
        {
            self.sheet.tag(self.sheet.indent + width);
        }
    }

    /// Renders one line of a table.
    fn row(&mut self, head: &[Argument], widths: &[usize]) {
        let mut line = Vec::new();
        let mut column = 0;
        let cells = head.split(|word| word.text == "Ta");
        for (place, cell) in cells.enumerate() {
            self.inline(cell, Font::Plain);
            let letters = self.sheet.take();
            if !letters.is_empty() {
                // A cell that is too long for its column shifts the next one, with at least one
                // blank between.
                let start = column.max(line.len() + usize::from(place > 0));
                line.resize(start, (' ', Font::Plain));
                line.extend(letters);
            }
            column += widths.get(place).copied().unwrap_or_default();
        }
        self.sheet.line(&line, self.sheet.indent);
    }

    /// `.Re`: prints the reference as one sentence, authors first.
    fn end_reference(&mut self) {
        let mut reference = std::mem::take(&mut self.reference);
        if reference.iter().any(|(letter, _)| letter == "%J") {
            // The title of an article in a journal is quoted, any other title is not.
            let titles = reference.iter_mut().filter(|(letter, _)| letter == "%T");
            titles.for_each(|(_, title)| *title = format!("\"{title}\""));
        }
        let (authors, rest): (Vec<_>, Vec<_>) = reference
            .into_iter()
            .partition(|(letter, _)| letter == "%A");
        let texts = |parts: Vec<(String, String)>| parts.into_iter().map(|(_, text)| text);
        let mut authors: Vec<String> = texts(authors).collect();
        if let [_, .., last] = authors.as_mut_slice() {
            last.insert_str(0, "and ");
        }
        let parts: Vec<String> = match authors.len() {
            0 => texts(rest).collect(),
            2 => [authors.join(" ")].into_iter().chain(texts(rest)).collect(),
            _ => authors.into_iter().chain(texts(rest)).collect(),
        };
        self.text(&(parts.join(", ") + "."));
    }

    /// Prints arguments in `font`, up to a macro, which processes the rest.
    fn inline(&mut self, rest: &[Argument], font: Font) {
        self.prefixed(rest, "", font);
    }

    /// Like [`Page::inline`], with `prefix` before every word.
    fn prefixed(&mut self, rest: &[Argument], prefix: &str, font: Font) {
        for (at, argument) in rest.iter().enumerate() {
            if argument.is_macro() {
                return self.called(&argument.text, &rest[at + 1..]);
            }
            self.argument(argument, prefix, font);
        }
    }

    fn argument(&mut self, argument: &Argument, prefix: &str, font: Font) {
        let text = unescaped(&argument.text);
        match argument.delimiter() {
            Some(Delimiter::Closing) => {
                self.sheet.glue();
                self.sheet.word(&text, Font::Plain);
            }
            Some(Delimiter::Opening) => {
                self.sheet.word(&text, Font::Plain);
                self.sheet.glue();
            }
            Some(Delimiter::Middle) => self.sheet.word(&text, Font::Plain),
            None => self.sheet.word(&format!("{prefix}{text}"), font),
        }
    }

    /// Executes the macro `name` on the rest of its line.
    fn called(&mut self, name: &str, rest: &[Argument]) {
        let is_alone = rest.first().is_none_or(|word| !word.is_word());
        match name {
            "Nm" if is_alone => self.then(&self.name.clone(), Font::Bold, rest),
            "Nm" => {
                if self.name.is_empty() {
                    self.name = rest[0].text.clone();
                }
                self.inline(rest, Font::Bold);
            }
            "Nd" => {
                self.sheet.word("-", Font::Plain);
                self.inline(rest, Font::Plain);
            }
            "Fl" if is_alone => {
                self.sheet.word("-", Font::Bold);
                if rest.first().is_some_and(Argument::is_macro) {
                    self.sheet.glue();
                }
                self.inline(rest, Font::Plain);
            }
            "Fl" => self.prefixed(rest, "-", Font::Bold),
            "Cm" | "Ic" => self.inline(rest, Font::Bold),
            "Ar" | "Pa" | "Em" => self.inline(rest, Font::Underlined),
            "Ns" => {
                self.sheet.glue();
                self.inline(rest, Font::Plain);
            }
            "Xr" if rest.len() >= 2 => {
                let page = format!("{}({})", rest[0].text, rest[1].text);
                self.then(&page, Font::Plain, &rest[2..]);
            }
            "Fn" => self.function(rest),
            "Ex" => self.exit_status(rest),
            "Op" => self.option(rest),
            "Dq" => self.enclosed("\"", rest, "\""),
            "Sq" | "Ql" => self.enclosed("'", rest, "'"),
            "Pq" => self.enclosed("(", rest, ")"),
            "Oo" => self.opened("[", rest),
            "Po" => self.opened("(", rest),
            "Oc" => self.closed("]", rest),
            "Pc" => self.closed(")", rest),
            "Xc" => {
                self.is_long_head = false;
                self.inline(rest, Font::Plain);
                self.end_head();
            }
            // Ev, Dv, Li, No, Sx, Xo: printed like plain text.
            _ => self.inline(rest, Font::Plain),
        }
    }

    /// Prints a word, then the rest of the line.
    fn then(&mut self, word: &str, font: Font, rest: &[Argument]) {
        self.sheet.word(word, font);
        self.inline(rest, Font::Plain);
    }

    /// Keeps an option on one line in a synopsis.
    fn option(&mut self, rest: &[Argument]) {
        let first = self.sheet.waiting();
        self.enclosed("[", rest, "]");
        if self.is_synopsis {
            self.sheet.bind(first);
        }
    }

    /// Encloses the rest of the line in quotes or brackets. Punctuation at its end stays outside.
    fn enclosed(&mut self, open: &str, rest: &[Argument], close: &str) {
        let is_outside = |argument: &&Argument| argument.delimiter() == Some(Delimiter::Closing);
        let outside = rest.iter().rev().take_while(is_outside).count();
        let (inside, outside) = rest.split_at(rest.len() - outside);
        self.opened(open, inside);
        self.closed(close, outside);
    }

    fn opened(&mut self, open: &str, rest: &[Argument]) {
        self.sheet.word(open, Font::Plain);
        self.sheet.glue();
        self.inline(rest, Font::Plain);
    }

    fn closed(&mut self, close: &str, rest: &[Argument]) {
        self.sheet.glue();
        self.then(close, Font::Plain, rest);
    }

    /// `.Fn name argument ...`: a function with its arguments.
    fn function(&mut self, rest: &[Argument]) {
        let count = rest.iter().take_while(|word| word.is_word()).count();
        let mut words = rest[..count].iter().map(|word| unescaped(&word.text));
        let name = words.next().unwrap_or_default();
        let parameters: Vec<String> = words.collect();
        self.sheet.word(&name, Font::Bold);
        self.sheet.glue();
        for word in format!("({})", parameters.join(", ")).split(' ') {
            self.sheet.word(word, Font::Plain);
        }
        self.inline(&rest[count..], Font::Plain);
    }

    /// `.Ex -std name`: the standard sentence about the exit status.
    fn exit_status(&mut self, rest: &[Argument]) {
        let name = rest.get(1).map_or(self.name.as_str(), |word| &word.text);
        let text = format!("The {name} utility exits 0 on success, and >0 if an error occurs.");
        self.text(&text);
    }
}

/// The texts of the arguments, joined with blanks.
fn joined(rest: &[Argument]) -> String {
    let words: Vec<&str> = rest.iter().map(|word| word.text.as_str()).collect();
    words.join(" ")
}

/// Whether `word` is one of the arguments.
fn has(rest: &[Argument], word: &str) -> bool {
    rest.iter().any(|argument| argument.text == word)
}

/// The additional indentation that the argument `-offset` requests.
fn offset(rest: &[Argument]) -> usize {
    match has(rest, "-offset") {
        true => OFFSET_COLUMNS,
        false => 0,
    }
}
