//! What servers and applications have printed, as anybody may see it who may see what it is about.
//! Pure.

use std::collections::BTreeMap;

use boma_instance::Secret;

/// How much of a log is read: thousands of lines, in a few milliseconds.
pub const END: u64 = 1 << 20;

/// What stands in the place of a password.
const HIDDEN: &str = "[redacted]";

/// The environment of an application, with its secrets.
pub type ApplicationSecrets = BTreeMap<String, Secret<String>>;

/// Printed text without passwords: neither those that an application was given, nor what stands where
/// one stands. Whole lines.
pub fn shown(text: &str, secrets: &ApplicationSecrets) -> String {
    without_passwords(&redacted(text, secrets))
}

/// Text that a program printed, without the connection strings and passwords that it was given.
pub fn redacted(text: &str, secrets: &ApplicationSecrets) -> String {
    let mut text = text.to_owned();
    for value in secrets.values() {
        let Some((_, rest)) = value.expose().split_once("://") else {
            continue;
        };
        text = text.replace(value.expose(), HIDDEN);
        let password = rest
            .split_once('@')
            .and_then(|(login, _)| login.split_once(':'));
        if let Some((_, password)) = password.filter(|(_, password)| !password.is_empty()) {
            text = text.replace(password, HIDDEN);
        }
    }
    text
}

/// Hides what looks like a password by where it stands: also one that was exchanged since, or that
/// somebody has typed.
fn without_passwords(text: &str) -> String {
    let lines = text.lines().map(|line| quoted(&in_addresses(line)) + "\n");
    lines.collect()
}

/// `postgresql://user:password@host` without the password, which may have any letter in it that does
/// not end an address.
fn in_addresses(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|one: char| one.is_whitespace() || "\"'`<>".contains(one));
        let (authority, behind) = after.split_at(end.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((login, host)) => match login.split_once(':') {
                Some((user, _)) => shown.extend([user, ":", HIDDEN, "@", host]),
                None => shown.push_str(authority),
            },
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown + rest
}

/// `PASSWORD 'secret'` without the secret, as in statements that failed.
fn quoted(line: &str) -> String {
    const WORD: &str = "password";
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    // ASCII lower case keeps the places of all bytes.
    while let Some(at) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        shown.push_str(before);
        let value = after.trim_start_matches([' ', '=', ':', '\t']);
        let gap = &after[..after.len() - value.len()];
        rest = after;
        if let Some(inner) = value.strip_prefix('\'') {
            shown.extend([gap, "'", HIDDEN, "'"]);
            rest = behind_literal(inner);
        }
    }
    shown + rest
}

/// What follows a literal, from behind its first quote on. One that does not end on its line is hidden
/// as a whole.
fn behind_literal(inner: &str) -> &str {
    let mut rest = inner;
    while let Some((_, after)) = rest.split_once('\'') {
        match after.strip_prefix('\'') {
            Some(doubled) => rest = doubled,
            None => return after,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_and_passwords_are_not_shown() {
        let secrets = ApplicationSecrets::from([
            ("MODE".to_owned(), Secret::new("test".to_owned())),
            (
                "DATABASE_URL".to_owned(),
                Secret::new("postgresql://api_1:s3cret@h:5432/db".to_owned()),
            ),
        ]);
        let text = redacted(
            "test: postgresql://api_1:s3cret@h:5432/db refused s3cret",
            &secrets,
        );
        assert_eq!(text, "test: [redacted] refused [redacted]");
    }

    #[test]
    fn passwords_are_hidden_by_where_they_stand() {
        for (line, shown) in [
            ("LOG:  ready", "LOG:  ready"),
            (
                "connect postgresql://api_1:s3c/ret@h:5432/db?x=1 now",
                "connect postgresql://api_1:[redacted]@h:5432/db?x=1 now",
            ),
            (
                "to postgresql://api_1:s3cret@h:5432/db and redis://:p@ss@r:1",
                "to postgresql://api_1:[redacted]@h:5432/db and redis://:[redacted]@r:1",
            ),
            // Better too much than too little.
            (
                "see https://example.org:80/a@b",
                "see https://example.org:[redacted]@b",
            ),
            (
                "see https://example.org:80/a b@c",
                "see https://example.org:80/a b@c",
            ),
            (
                "STATEMENT:  ALTER ROLE a PASSWORD 'it''s' VALID UNTIL '2030-01-01'",
                "STATEMENT:  ALTER ROLE a PASSWORD '[redacted]' VALID UNTIL '2030-01-01'",
            ),
            ("password = 'open", "password = '[redacted]'"),
            (
                "FATAL:  password authentication failed for user \"é\"",
                "FATAL:  password authentication failed for user \"é\"",
            ),
        ] {
            assert_eq!(without_passwords(line), format!("{shown}\n"));
        }
    }
}
