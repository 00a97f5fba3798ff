//! Codes of this crate's problems, and words that the messages share.

use std::fmt::Write as _;

use boma_problem::{Class, Problem};

/// Longest piece of a user's text that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// Longest word that a suggestion is looked for: the search is quadratic in it.
const LONGEST_WORD: usize = 80;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Stable code of a problem; each has an entry in `docs/errors.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as people and machines see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// An alias that leads nowhere, into itself, or grows too large when written out.
    AliasRefused = "alias-refused",
    /// The read-only block `computed` in a user's file; a warning.
    ComputedIgnored = "computed-ignored",
    /// Fields that exclude each other.
    ConflictingFields = "conflicting-fields",
    /// Two grants on one database.
    DuplicateGrant = "duplicate-grant",
    /// One key twice in a mapping, or one entry twice in a list.
    DuplicateKey = "duplicate-key",
    /// One environment variable with two meanings.
    DuplicateVariable = "duplicate-variable",
    /// A file above the limit of size.
    FileTooLarge = "file-too-large",
    /// A name that breaks its rules.
    InvalidName = "invalid-name",
    /// A quantity that cannot be read.
    InvalidQuantity = "invalid-quantity",
    /// A cron schedule that cannot be read.
    InvalidSchedule = "invalid-schedule",
    /// A text that must not be empty or hold control characters.
    InvalidText = "invalid-text",
    /// A moment that cannot be read, or that has no time zone.
    InvalidTime = "invalid-time",
    /// A required field that is not there.
    MissingField = "missing-field",
    /// A file that is not text in UTF-8.
    NotUtf8 = "not-utf8",
    /// A number or quantity beyond its limits.
    OutOfRange = "out-of-range",
    /// YAML or JSON that cannot be read.
    SyntaxError = "syntax-error",
    /// More problems in one file than are shown.
    TooManyProblems = "too-many-problems",
    /// An apiVersion that is nearly ours.
    UnknownApiVersion = "unknown-api-version",
    /// A field that does not exist.
    UnknownField = "unknown-field",
    /// A kind that does not exist.
    UnknownKind = "unknown-kind",
    /// A plan that is not in the platform's table.
    UnknownPlan = "unknown-plan",
    /// A word that is not one of the words possible.
    UnknownValue = "unknown-value",
    /// YAML that manifests do without: tags, merge keys, keys that are not text.
    UnsupportedYaml = "unsupported-yaml",
    /// A value of another type than the field's.
    WrongType = "wrong-type",
}

/// Makes an error under a code; whoever wrote the manifest has to act on it.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Problem {
    Problem::new(Class::User, code.as_str(), message)
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
        .map(|candidate| (candidate, strsim::jaro_winkler(&word, &plain(candidate))))
        .filter(|(_, likeness)| *likeness >= 0.8)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}

/// What two spellings of one word have in common: `backup_config` is `backupConfig`.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|character| !matches!(character, '-' | '_' | ' ' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Words as a sentence has them: `a`, `b` or `c`.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match (quoted.pop(), quoted.is_empty()) {
        (Some(last), false) => format!("{} or {last}", quoted.join(", ")),
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
    }
}
