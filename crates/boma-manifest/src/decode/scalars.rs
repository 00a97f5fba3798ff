//! Decoding of single words: texts, numbers, names, moments.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use boma_problem::IntoProblem;
use jiff::Timestamp;

use crate::decode::fields::report_duplicates;
use crate::decode::{Decode, Input, Scalar};
use crate::names::{
    EnvironmentName, ExtensionName, OrganizationName, OrganizationalUnitName, PlanName,
    ProjectName, RepositoryName, ResourceName, SecretName, StorageClassName, VariableName,
};
use crate::problems::{Code, error, nearest, one_of, quote};
use crate::quantity::{CpuCount, Quantity};
use crate::reference::DatabaseReference;
use crate::schedule::Schedule;
use crate::syntax::Value;

/// Whether YAML 1.2's core schema reads a plain scalar as a number
/// (<https://yaml.org/spec/1.2.2/#1032-tag-resolution>).
pub(crate) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all =
        |digits: &str, is: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|b| is(&b));
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return true,
        ".nan" | ".NaN" | ".NAN" => return text == unsigned,
        _ => {}
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return all(octal, |digit| (b'0'..=b'7').contains(digit));
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return all(hexadecimal, u8::is_ascii_hexdigit);
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| all(exponent, u8::is_ascii_digit))
}

impl<'i> Input<'i> {
    /// The node as a text; anything else is reported.
    pub(crate) fn string(&self) -> Option<&'i str> {
        match self.scalar() {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Bool(_) | Scalar::Number(_)) => {
                let text = self.node.text().unwrap_or_default();
                let quoted = quote(&format!("\"{text}\""));
                self.wrong_type("a text", format!("Put it in quotes: {quoted}."));
                None
            }
            Some(Scalar::Null) => {
                self.wrong_type("a text", "Write a text; `\"\"` is the empty one.");
                None
            }
            None => {
                self.wrong_type("a text", "Write one word, or a text in quotes.");
                None
            }
        }
    }

    /// Decodes a text by the rules of its type.
    pub(crate) fn parsed<T>(&self) -> Option<T>
    where
        T: FromStr<Err: IntoProblem>,
    {
        self.read(self.string()?)
    }

    /// Reads a text by the rules of its type.
    pub(crate) fn read<T>(&self, text: &str) -> Option<T>
    where
        T: FromStr<Err: IntoProblem>,
    {
        text.parse()
            .map_err(|error: T::Err| self.report(error.problem()))
            .ok()
    }

    /// Reads the name that leads to this value by the rules of its type.
    pub(crate) fn read_name<T>(&self, name: &str) -> Option<T>
    where
        T: FromStr<Err: IntoProblem>,
    {
        let complain = |error: T::Err| self.report_name(error.problem());
        name.parse().map_err(complain).ok()
    }

    /// A whole number within its limits.
    pub(crate) fn number<T>(&self, range: &RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let (least, most) = (range.start(), range.end());
        let hint = format!("Write a whole number between {least} and {most}.");
        let Some(Scalar::Number(text)) = self.scalar() else {
            self.wrong_type("a whole number", hint);
            return None;
        };
        if text.contains(['.', 'e', 'E', 'x', 'o']) {
            self.wrong_type("a whole number", hint);
            return None;
        }
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let path = self.path();
            let message = format!(
                "`{path}` is {}, not between {least} and {most}",
                quote(text)
            );
            self.report(error(Code::OutOfRange, message).hint(hint));
        }
        number
    }

    /// A part of the node's text that is one word of several.
    pub(crate) fn word_of<T: Copy>(&self, text: &str, words: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let message = format!("`{}` cannot be {}", self.path(), quote(text));
        let problem = error(Code::UnknownValue, message);
        self.report(match nearest(text, names()) {
            Some(meant) => problem.hint(format!("Did you mean `{meant}`?")),
            None => problem.hint(format!("Write {}.", one_of(names()))),
        });
        None
    }

    /// A quantity within its limits.
    pub(crate) fn quantity(&self, range: &RangeInclusive<Quantity>) -> Option<Quantity> {
        let Some(Scalar::Number(text) | Scalar::Text(text)) = self.scalar() else {
            self.wrong_type(
                "a quantity",
                "Write a number with a suffix, such as `10Gi`.",
            );
            return None;
        };
        let quantity: Quantity = self.read(text)?;
        if range.contains(&quantity) {
            return Some(quantity);
        }
        let (path, least, most) = (self.path(), range.start(), range.end());
        let message = format!(
            "`{path}` is {}, not between {least} and {most}",
            quote(text)
        );
        let problem = error(Code::OutOfRange, message);
        // A bare number is in bytes; who writes 4 means gibibytes.
        let meant: Option<Quantity> = format!("{text}Gi").parse().ok();
        self.report(match meant.filter(|meant| range.contains(meant)) {
            Some(meant) => problem.hint(format!(
                "Without a suffix it is bytes; did you mean `{meant}`?"
            )),
            None => problem.hint(format!("Write a quantity between {least} and {most}.")),
        });
        None
    }

    /// A text that is not empty and has no control characters, such as a path or an image.
    pub(crate) fn line(&self) -> Option<String> {
        let text = self.string()?;
        let odd = text.chars().find(|character| character.is_control());
        if odd.is_none() && !text.is_empty() {
            return Some(text.to_owned());
        }
        self.invalid_text(odd);
        None
    }

    /// A text of any length and lines; NUL cannot be passed to a program.
    pub(crate) fn free_text(&self) -> Option<String> {
        let text = self.string()?;
        if text.contains('\0') {
            self.invalid_text(Some('\0'));
            return None;
        }
        Some(text.to_owned())
    }

    /// Reports a text that is empty or has a character that must not be in it.
    pub(crate) fn invalid_text(&self, character: Option<char>) {
        let path = self.path();
        let message = match character {
            Some(character) => format!("`{path}` has the control character {character:?}"),
            None => format!("`{path}` is empty"),
        };
        self.report(
            error(Code::InvalidText, message)
                .hint("Write it on one line, without control characters."),
        );
    }

    /// A mapping from names to values, in the order of the names; none if any of it is wrong.
    pub(crate) fn map<K, V>(
        self,
        entry: impl Fn(Input<'_>, &str) -> Option<(K, V)>,
    ) -> Option<BTreeMap<K, V>>
    where
        K: Ord,
    {
        let Value::Mapping(entries) = self.node.value() else {
            self.wrong_type("a mapping", "Write one entry per line: `name: value`.");
            return None;
        };
        report_duplicates(self, entries);
        let mut decoded = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let input = self.at_key(key, node);
            if key.text().is_none() {
                let problem = error(Code::UnsupportedYaml, "a key is not a text")
                    .hint("Write one entry per line: `name: value`.");
                input.report_name(problem);
            }
            decoded.push(key.text().and_then(|name| entry(input, name)));
        }
        decoded.into_iter().collect()
    }
}

impl Decode for bool {
    fn decode(input: Input<'_>) -> Option<Self> {
        if let Some(Scalar::Bool(value)) = input.scalar() {
            return Some(value);
        }
        // The words of YAML 1.1, which many tools still read.
        let hint = match input.node.text() {
            Some("true" | "false") => "Write it without quotes.",
            Some("yes" | "Yes" | "on" | "On" | "y") => "Write `true`.",
            Some("no" | "No" | "off" | "Off" | "n") => "Write `false`.",
            _ => "Write `true` or `false`.",
        };
        input.wrong_type("`true` or `false`", hint);
        None
    }
}

impl Decode for CpuCount {
    fn decode(input: Input<'_>) -> Option<Self> {
        let Some(Scalar::Number(text) | Scalar::Text(text)) = input.scalar() else {
            input.wrong_type("a number", "Write a number such as `2` or `0.5`.");
            return None;
        };
        input.read(text)
    }
}

impl Decode for Timestamp {
    fn decode(input: Input<'_>) -> Option<Self> {
        let text = input.string()?;
        let moment = text.parse::<Self>();
        if let Err(cause) = &moment {
            let civil = text.parse::<jiff::civil::DateTime>().is_ok();
            let message = if civil {
                format!("`{}` has no time zone: {}", input.path(), quote(text))
            } else {
                format!("`{}` is not a moment: {}", input.path(), quote(text))
            };
            let problem = error(Code::InvalidTime, message);
            input.report(if civil {
                problem.hint("Add `Z` for UTC, or an offset such as `+01:00`.")
            } else {
                let mut problem =
                    problem.hint("Write date, time and zone: `2026-11-21T09:30:00Z`.");
                problem.causes.push(cause.to_string());
                problem
            });
        }
        moment.ok()
    }
}

macro_rules! decode_parsed {
    ($($name:ident)*) => {$(
        impl Decode for $name {
            fn decode(input: Input<'_>) -> Option<Self> {
                input.parsed()
            }
        }
    )*};
}

decode_parsed! {
    ResourceName OrganizationName OrganizationalUnitName EnvironmentName ProjectName PlanName
    RepositoryName SecretName StorageClassName ExtensionName VariableName DatabaseReference Schedule
}
