//! Text layout: fills lines with words, with indentation and blank lines.
//!
//! This module knows fonts, but nothing about manuals. Fonts are encoded by overstriking, as on a
//! typewriter, which every pager supports: a character, a backspace, and the character again (bold)
//! or an underscore (underlined).

/// The font of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    /// The normal font.
    Plain,
    /// For literal text.
    Bold,
    /// For placeholders.
    Underlined,
}

/// Whether fonts are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fonts {
    /// Plain text, for files and pipes.
    Dropped,
    /// Overstriking, for pagers.
    Overstruck,
}

/// Characters, including blanks, that stay on one line.
pub(super) type Word = Vec<(char, Font)>;

/// The layout state.
pub(super) struct Sheet {
    text: String,
    width_columns: usize,
    fonts: Fonts,
    /// The indentation of each line.
    pub(super) indent: usize,
    /// The additional indentation of each line of a paragraph except the first.
    pub(super) hang: usize,
    words: Vec<Word>,
    /// Whether the next word follows the last one without a blank.
    is_glued: bool,
    /// Whether a blank line precedes the next line.
    wants_gap: bool,
    /// Whether the last line is a heading. No blank line follows it.
    follows_heading: bool,
    /// The tag in the margin of the next line, with its indentation.
    tag: Option<(usize, Word)>,
}

impl Sheet {
    pub(super) fn new(width_columns: usize, fonts: Fonts) -> Sheet {
        Sheet {
            text: String::new(),
            width_columns,
            fonts,
            indent: 0,
            hang: 0,
            words: Vec::new(),
            is_glued: false,
            wants_gap: false,
            follows_heading: false,
            tag: None,
        }
    }

    /// Returns the finished text.
    pub(super) fn into_text(mut self) -> String {
        self.end_tag();
        self.text
    }

    /// Appends a word to the paragraph.
    pub(super) fn word(&mut self, letters: &str, font: Font) {
        let letters = letters.chars().map(|letter| (letter, font));
        match self.words.last_mut().filter(|_| self.is_glued) {
            Some(last) => last.extend(letters),
            None => self.words.push(letters.collect()),
        }
        self.is_glued = false;
    }

    /// Suppresses the blank between the last word and the next one.
    pub(super) fn glue(&mut self) {
        self.is_glued = true;
    }

    /// Removes the pending words and returns them as one word.
    pub(super) fn take(&mut self) -> Word {
        self.is_glued = false;
        let words = std::mem::take(&mut self.words);
        words.join(&(' ', Font::Plain))
    }

    /// The number of pending words.
    pub(super) fn waiting(&self) -> usize {
        self.words.len()
    }

    /// Joins the pending words from index `first` on into one word.
    pub(super) fn bind(&mut self, first: usize) {
        let bound = self.words.split_off(first.min(self.words.len()));
        if !bound.is_empty() {
            self.words.push(bound.join(&(' ', Font::Plain)));
        }
    }

    /// Requests a blank line before the next line, unless it follows a heading.
    pub(super) fn gap(&mut self) {
        self.end_tag();
        self.wants_gap = !self.follows_heading;
    }

    /// Turns the pending words into a tag before the next line, or on a separate line if they
    /// extend beyond `indent`. `indent` becomes the indentation of the text that follows.
    pub(super) fn tag(&mut self, indent: usize) {
        self.tag = Some((self.indent, self.take()));
        self.indent = indent;
    }

    /// Prints the pending words, and a pending tag without a body.
    pub(super) fn end_tag(&mut self) {
        self.end_paragraph();
        if let Some((indent, tag)) = self.tag.take() {
            self.line(&tag, indent);
        }
    }

    /// Prints the pending words.
    pub(super) fn end_paragraph(&mut self) {
        let mut indent = self.indent;
        let mut line = Word::new();
        for word in std::mem::take(&mut self.words) {
            let is_full = indent + line.len() + 1 + word.len() > self.width_columns;
            if is_full && !line.is_empty() {
                self.line(&line, indent);
                line.clear();
                indent = self.indent + self.hang;
            } else if !line.is_empty() {
                line.push((' ', Font::Plain));
            }
            line.extend(word);
        }
        if !line.is_empty() {
            self.line(&line, indent);
        }
        self.is_glued = false;
    }

    /// Prints a heading, preceded by a blank line.
    pub(super) fn heading(&mut self, indent: usize) {
        self.hang = 0;
        let words = self.take();
        self.wants_gap = !self.follows_heading;
        self.line(&words, indent);
        self.follows_heading = true;
    }

    /// Prints one line unchanged, regardless of its length.
    pub(super) fn line(&mut self, letters: &[(char, Font)], indent: usize) {
        if std::mem::take(&mut self.wants_gap) {
            self.text.push('\n');
        }
        self.follows_heading = false;
        let mut column = 0;
        if let Some((margin, tag)) = self.tag.take() {
            column = margin + tag.len();
            self.letters(&tag, margin);
            if column >= indent {
                self.text.push('\n');
                column = 0;
            }
        }
        if !letters.is_empty() {
            self.letters(letters, indent - column);
        }
        self.text.push('\n');
    }

    /// Prints `letters` after `blanks` blanks.
    fn letters(&mut self, letters: &[(char, Font)], blanks: usize) {
        self.text.extend(std::iter::repeat_n(' ', blanks));
        for (letter, font) in letters {
            match (self.fonts, font) {
                (Fonts::Overstruck, Font::Bold) => self.text.extend([*letter, '\u{8}']),
                (Fonts::Overstruck, Font::Underlined) => self.text.push_str("_\u{8}"),
                _ => {}
            }
            self.text.push(*letter);
        }
    }
}
