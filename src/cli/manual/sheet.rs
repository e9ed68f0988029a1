//! A sheet of text as it is set: words put into lines, indented, with gaps between.
//!
//! It knows nothing of manuals, only of fonts. Pagers are shown them the way typewriters
//! did it, which each of them understands: a letter, a step back, and the letter again or
//! a stroke below it.

/// How a letter looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    /// As it is.
    Plain,
    /// What is typed as it stands.
    Bold,
    /// What something else is typed for.
    Underlined,
}

/// Whether fonts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fonts {
    /// The text alone, for files and pipes.
    Dropped,
    /// By overstriking, for pagers.
    Overstruck,
}

/// Letters, blanks among them, that stay in one line.
pub(super) type Word = Vec<(char, Font)>;

/// Lines that are being set.
pub(super) struct Sheet {
    text: String,
    width_columns: usize,
    fonts: Fonts,
    /// Columns before each line.
    pub(super) indent: usize,
    /// Further columns before each line of a paragraph but its first.
    pub(super) hang: usize,
    words: Vec<Word>,
    /// The next word follows the last one without a blank.
    is_glued: bool,
    /// A blank line is wanted before the next one.
    wants_gap: bool,
    /// What was set last is a heading, which nothing is kept apart from.
    follows_heading: bool,
    /// What stands in the margin of the next line, and how far from the edge.
    tag: Option<(usize, Word)>,
}

impl Sheet {
    /// An empty sheet.
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

    /// What was set.
    pub(super) fn into_text(mut self) -> String {
        self.end_tag();
        self.text
    }

    /// Adds a word to the paragraph.
    pub(super) fn word(&mut self, letters: &str, font: Font) {
        let letters = letters.chars().map(|letter| (letter, font));
        match self.words.last_mut().filter(|_| self.is_glued) {
            Some(last) => last.extend(letters),
            None => self.words.push(letters.collect()),
        }
        self.is_glued = false;
    }

    /// The next word follows the last one without a blank.
    pub(super) fn glue(&mut self) {
        self.is_glued = true;
    }

    /// Takes the words that are not set yet, as one.
    pub(super) fn take(&mut self) -> Word {
        self.is_glued = false;
        let words = std::mem::take(&mut self.words);
        words.join(&(' ', Font::Plain))
    }

    /// How many words are not set yet.
    pub(super) fn waiting(&self) -> usize {
        self.words.len()
    }

    /// Makes one word of those that wait from place `first` on.
    pub(super) fn bind(&mut self, first: usize) {
        let bound = self.words.split_off(first.min(self.words.len()));
        if !bound.is_empty() {
            self.words.push(bound.join(&(' ', Font::Plain)));
        }
    }

    /// Leaves a blank line before the next one, unless that follows a heading.
    pub(super) fn gap(&mut self) {
        self.end_tag();
        self.wants_gap = !self.follows_heading;
    }

    /// Puts the words that wait before the next line, or on one of their own if they reach
    /// beyond `indent`, which is that of what follows.
    pub(super) fn tag(&mut self, indent: usize) {
        self.tag = Some((self.indent, self.take()));
        self.indent = indent;
    }

    /// Sets the words that wait, and a tag that has nothing beside it.
    pub(super) fn end_tag(&mut self) {
        self.end_paragraph();
        if let Some((indent, tag)) = self.tag.take() {
            self.line(&tag, indent);
        }
    }

    /// Sets the words that wait.
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

    /// Sets a heading, which a blank line comes before.
    pub(super) fn heading(&mut self, indent: usize) {
        self.hang = 0;
        let words = self.take();
        self.wants_gap = !self.follows_heading;
        self.line(&words, indent);
        self.follows_heading = true;
    }

    /// Sets one line as it is, however long.
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

    /// `letters` after so many blanks.
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
