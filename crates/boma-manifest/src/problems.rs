//! Codes of this crate's problems, and words that the messages share.

use std::fmt::Write as _;

use boma_problem::{Class, Problem};

/// Longest piece of a user's text that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// Longest word that a suggestion is looked for: the search is quadratic in it.
const LONGEST_WORD: usize = 80;

/// Stable code of a problem; each has an entry in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Code {
    /// An alias that leads nowhere, into itself, or grows too large when written out.
    AliasRefused,
    /// The read-only block `computed` in a user's file; a warning.
    ComputedIgnored,
    /// Fields that exclude each other.
    ConflictingFields,
    /// Two grants on one database.
    DuplicateGrant,
    /// One key twice in a mapping, or one entry twice in a list.
    DuplicateKey,
    /// One environment variable with two meanings.
    DuplicateVariable,
    /// A file above the limit of size.
    FileTooLarge,
    /// A name that breaks its rules.
    InvalidName,
    /// A quantity that cannot be read.
    InvalidQuantity,
    /// A cron schedule that cannot be read.
    InvalidSchedule,
    /// A text that must not be empty or hold control characters.
    InvalidText,
    /// A moment that cannot be read, or that has no time zone.
    InvalidTime,
    /// A required field that is not there.
    MissingField,
    /// A file that is not text in UTF-8.
    NotUtf8,
    /// A number or quantity beyond its limits.
    OutOfRange,
    /// YAML or JSON that cannot be read.
    SyntaxError,
    /// More problems in one file than are shown.
    TooManyProblems,
    /// An apiVersion that is nearly ours.
    UnknownApiVersion,
    /// A field that does not exist.
    UnknownField,
    /// A kind that does not exist.
    UnknownKind,
    /// A plan that is not in the platform's table.
    UnknownPlan,
    /// A word that is not one of the words possible.
    UnknownValue,
    /// YAML that manifests do without: tags, merge keys, keys that are not text.
    UnsupportedYaml,
    /// A value of another type than the field's.
    WrongType,
}

impl Code {
    /// The code as people and machines see it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::AliasRefused => "alias-refused",
            Self::ComputedIgnored => "computed-ignored",
            Self::ConflictingFields => "conflicting-fields",
            Self::DuplicateGrant => "duplicate-grant",
            Self::DuplicateKey => "duplicate-key",
            Self::DuplicateVariable => "duplicate-variable",
            Self::FileTooLarge => "file-too-large",
            Self::InvalidName => "invalid-name",
            Self::InvalidQuantity => "invalid-quantity",
            Self::InvalidSchedule => "invalid-schedule",
            Self::InvalidText => "invalid-text",
            Self::InvalidTime => "invalid-time",
            Self::MissingField => "missing-field",
            Self::NotUtf8 => "not-utf8",
            Self::OutOfRange => "out-of-range",
            Self::SyntaxError => "syntax-error",
            Self::TooManyProblems => "too-many-problems",
            Self::UnknownApiVersion => "unknown-api-version",
            Self::UnknownField => "unknown-field",
            Self::UnknownKind => "unknown-kind",
            Self::UnknownPlan => "unknown-plan",
            Self::UnknownValue => "unknown-value",
            Self::UnsupportedYaml => "unsupported-yaml",
            Self::WrongType => "wrong-type",
        }
    }
}

/// Makes an error under a code; whoever wrote the manifest has to act on it.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Problem {
    Problem::new(Class::User, code.code(), message)
}

/// A user's text in backticks: shortened, without control characters.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == LONGEST_QUOTE {
            quoted.push('…');
            break;
        }
        if is_unprintable(character) {
            write!(quoted, "\\u{{{:x}}}", u32::from(character))
                .expect("writing to a string should not fail");
        } else {
            quoted.push(character);
        }
    }
    quoted.push('`');
    quoted
}

/// Whether a character would act on a terminal instead of being shown: control characters, and
/// the marks that change the direction of the text around them.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The candidate nearest to a word, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (candidate, likeness(&word, &plain(candidate))))
        .filter(|(_, likeness)| *likeness >= 0.8)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}

/// How alike two words are, 1 being the same. Beginnings count most; in short words one slip of
/// the fingers is enough to make the beginning differ.
fn likeness(word: &str, candidate: &str) -> f64 {
    let slip = word.len() >= 3 && strsim::osa_distance(word, candidate) == 1;
    strsim::jaro_winkler(word, candidate).max(if slip { 0.85 } else { 0.0 })
}

/// What two spellings of one word have in common: `backup_config` is `backupConfig`.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|character| !matches!(character, '-' | '_' | ' ' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Words to choose from, as a sentence has them: `a`, `b` or `c`.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    sentence(words, "or")
}

/// Words as a sentence has them: `a`, `b` and `c`.
pub(crate) fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    sentence(words, "and")
}

fn sentence<'a>(words: impl IntoIterator<Item = &'a str>, joint: &str) -> String {
    let mut quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match (quoted.pop(), quoted.is_empty()) {
        (Some(last), false) => format!("{} {joint} {last}", quoted.join(", ")),
        (Some(only), true) => only,
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_finds_the_word() {
        for (word, meant) in [
            ("backup_config", Some("backupConfig")),
            ("cpuCuont", Some("cpuCount")),
            ("cpu", Some("cpuCount")),
            ("zebra", None),
        ] {
            assert_eq!(
                nearest(word, ["backupConfig", "cpuCount", "memory"]),
                meant,
                "{word}"
            );
        }
    }

    #[test]
    fn a_quote_cannot_act_on_a_terminal() {
        assert_eq!(quote("a\u{1b}[31m"), "`a\\u{1b}[31m`");
        assert_eq!(quote("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(quote(&"x".repeat(99)), format!("`{}…`", "x".repeat(60)));
    }

    #[test]
    fn words_read_as_a_sentence() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(all_of(["a", "b"]), "`a` and `b`");
    }
}
