//! Looking at what a database spends its time with.

use std::time::Duration;

use boma_instance::statements::{EXTENSION, Statement, Statements};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::control::{Control, Controls};
use super::error::SqlError;
use super::quote::identifier;

/// Somebody waits for a page. Five thousand statements, as many as are kept, are read in 20 ms.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statements that are told.
const TOP: i64 = 20;

/// Bytes of one text that are told.
const LONGEST: usize = 2000;

/// The extension's functions that are the library's own: in C, which only a superuser can have made.
/// Nothing else of an application's database is called with a superuser's rights.
const FUNCTIONS: &str = "
    SELECT n.nspname::text, p.proname::text
    FROM pg_extension e
         JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                             AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
         JOIN pg_proc p ON p.oid = d.objid
         JOIN pg_language l ON l.oid = p.prolang
         JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE e.extname = $1 AND l.lanname = 'c' AND p.probin = '$libdir/pg_stat_statements'
      AND (p.proname = 'pg_stat_statements' AND p.pronargs = 1
           OR p.proname = 'pg_stat_statements_info' AND p.pronargs = 0)
    ORDER BY 2";

impl Controls {
    /// The statements that took longest, of the instance's database.
    pub async fn statements(&mut self) -> Result<Statements, SqlError> {
        let control = self.the_database().await?;
        let doing = "look for `pg_stat_statements`";
        let found = control
            .rows(doing, FUNCTIONS, &[(&EXTENSION, Type::TEXT)])
            .await?;
        // Both, or the version of the extension is one from before the oldest server that there is.
        let [first, _info] = &found[..] else {
            return Ok(Statements::NotCounted);
        };
        match ask(control, first.get(0)).await {
            // The library was not loaded when the server was started.
            Err(SqlError::Refused { source, .. })
                if source.sql_state() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) =>
            {
                Ok(Statements::NotCounted)
            }
            other => other,
        }
    }
}

async fn ask(control: &Control, schema: &str) -> Result<Statements, SqlError> {
    let schema = identifier(schema);
    let since = format!(
        "SELECT (extract(epoch FROM stats_reset) * 1000)::int8
         FROM {schema}.pg_stat_statements_info()"
    );
    let query = format!(
        "WITH s AS (
             SELECT query, userid, calls, rows, total_exec_time
             FROM {schema}.pg_stat_statements(true)
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
         )
         SELECT query, coalesce(r.rolname::text, '?'), calls, rows, total_exec_time,
                (SELECT sum(total_exec_time) FROM s)
         FROM s LEFT JOIN pg_roles r ON r.oid = s.userid
         ORDER BY total_exec_time DESC, query LIMIT $1"
    );
    let doing = ("read the statements", PATIENCE);
    let since = control.rows_within(doing, &since, &[]).await?;
    let since = since.first().and_then(|row| row.get(0));
    let rows = control
        .rows_within(doing, &query, &[(&TOP, Type::INT8)])
        .await?;
    Ok(Statements::Counted {
        since: since.and_then(|since| Timestamp::from_millisecond(since).ok()),
        all_ms: rows.first().map_or(0.0, |row| row.get(5)),
        top: rows.iter().map(statement).collect(),
    })
}

fn statement(row: &Row) -> Statement {
    let number = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    let (calls, total_ms): (i64, f64) = (row.get(2), row.get(4));
    let text: Option<&str> = row.get(0);
    Statement {
        text: shown(text.unwrap_or("?")),
        role: row.get(1),
        calls: number(2),
        rows: number(3),
        total_ms,
        #[expect(clippy::cast_precision_loss, reason = "an average, for people")]
        mean_ms: total_ms / calls.max(1) as f64,
    }
}

/// What of a text may be shown. Queries come with `$1` in the place of constants; whatever else is
/// counted, should somebody have switched that on, is told by its first word: a password may follow.
/// In rare cases the extension keeps a query as it was sent, so literals are taken out here again.
fn shown(text: &str) -> String {
    const QUERIES: [&str; 8] = [
        "select", "insert", "update", "delete", "merge", "with", "values", "table",
    ];
    let begin = text.trim_start_matches(|one: char| one.is_whitespace() || one == '(');
    let end = begin.find(|one: char| !one.is_ascii_alphabetic());
    let word = &begin[..end.unwrap_or(begin.len())];
    if !QUERIES.contains(&&*word.to_ascii_lowercase()) {
        return format!("{word} …");
    }
    let mut text = without_literals(text);
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

/// A query with `'…'` in the place of literals between single quotes or dollars.
fn without_literals(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '$']) {
        let (before, from) = rest.split_at(at);
        shown.push_str(before);
        let behind = match dollar(from) {
            Some(tag) => from[tag.len()..]
                .split_once(tag)
                .map_or("", |(_, behind)| behind),
            None if from.starts_with('\'') => behind_quotes(&from[1..], before),
            None => {
                shown.push('$');
                rest = &from[1..];
                continue;
            }
        };
        shown.push_str("'…'");
        rest = behind;
    }
    shown + rest
}

/// `$tag$` at the beginning of a text; a parameter such as `$1` is none.
fn dollar(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = &inner[..end];
    let is_tag = tag.chars().all(|one| one.is_alphanumeric() || one == '_')
        && !tag.starts_with(|one: char| one.is_ascii_digit());
    is_tag.then(|| &text[..end + 2])
}

/// What follows a literal, from behind its first quote on. With `E` in front, a backslash escapes.
fn behind_quotes<'t>(inner: &'t str, before: &str) -> &'t str {
    let escapes = before.ends_with(['E', 'e']);
    let mut letters = inner.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if escapes => drop(letters.next()),
            '\'' if letters.peek().is_some_and(|(_, next)| *next == '\'') => drop(letters.next()),
            '\'' => return &inner[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_constant_is_shown() {
        for (text, expected) in [
            (
                "SELECT $1 + a FROM b WHERE c = $2",
                "SELECT $1 + a FROM b WHERE c = $2",
            ),
            ("select 'it''s' || x", "select '…' || x"),
            (r"SELECT E'a\'b', 'c\'", "SELECT E'…', '…'"),
            ("SELECT $$a'b$$, $x$ c $x$", "SELECT '…', '…'"),
            ("SELECT 'never ended", "SELECT '…'"),
            ("  (SELECT 1) UNION SELECT 2", "  (SELECT 1) UNION SELECT 2"),
            ("ALTER ROLE a PASSWORD 'x'", "ALTER …"),
            ("CREATE TABLE t AS SELECT 'x'", "CREATE …"),
            ("/* x */ SELECT 1", " …"),
            ("", " …"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let long = shown(&format!("SELECT {}", "é".repeat(LONGEST)));
        assert!(
            long.ends_with("é…") && long.len() <= LONGEST + 3,
            "{}",
            long.len()
        );
    }
}
