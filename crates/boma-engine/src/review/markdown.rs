//! A review as a comment under a pull request.
//!
//! What stands in manifests and commits is anybody's text: it is written so that it makes no link, no
//! mention, no picture and no table of its own.

use std::fmt::Write as _;

use boma_problem::{Place, Problem};

use super::{Review, STANDING, Verdict, unknown};
use crate::catalog::Subject;
use crate::plan::{Danger, Fate, Plan, Summary, fates, groups};
use crate::source::Revision;

/// Longest comment, in bytes: GitHub takes 65,536 characters, and whoever posts it may add some.
pub const LONGEST: usize = 60_000;

/// More rows than this are folded away.
const OPEN_ROWS: usize = 20;

/// Longest piece of somebody's text.
const LONGEST_PIECE: usize = 300;

/// The review as Markdown.
pub fn markdown(review: &Review) -> String {
    let mut page = Page::default();
    page.head(review);
    match &review.verdict {
        Verdict::Invalid => {}
        Verdict::Unknown(problems) => page.paragraph(&unknown(problems.len())),
        Verdict::Planned { plan, dangers } => {
            page.dangers(dangers);
            page.blocked(plan);
            page.table(plan);
            if let Some(standing) = review.standing.as_deref().filter(|plan| !plan.is_empty()) {
                page.paragraph(&format!("**{STANDING}**"));
                page.table(standing);
            }
        }
    }
    page.problems(review);
    page.commits(review);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn paragraph(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push_str("\n\n");
    }

    /// Adds lines as long as there is room, then says how many are missing.
    fn lines(&mut self, lines: &[String]) {
        for (number, line) in lines.iter().enumerate() {
            if self.text.len() + line.len() > LONGEST {
                let more = lines.len() - number;
                self.text.push('\n');
                self.paragraph(&format!("… and {more} more, which `boma plan` prints."));
                return;
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
        self.text.push('\n');
    }

    fn head(&mut self, review: &Review) {
        let errors = review.problems.iter().filter(|one| one.is_error()).count();
        let said = match &review.verdict {
            Verdict::Invalid => format!("❌ {}, nothing would be changed", count(errors, "error")),
            Verdict::Unknown(_) => "not known what this would do".to_owned(),
            Verdict::Planned { plan, .. } if plan.is_empty() => "nothing to do".to_owned(),
            Verdict::Planned { plan, dangers } => {
                let summary = Summary::of(plan).to_string();
                let summary = summary.trim_start_matches("Plan: ").trim_end_matches('.');
                let mark = if plan.blocked.is_empty() { "" } else { "❌ " };
                match dangers.len() {
                    0 => format!("{mark}{summary}"),
                    some => format!("{mark}{summary} · ⚠️ {some} to look at"),
                }
            }
        };
        self.paragraph(&format!("### Boma: {said}"));
    }

    fn dangers(&mut self, dangers: &[Danger]) {
        if dangers.is_empty() {
            return;
        }
        self.paragraph("**Look at this before it is merged**");
        let lines = dangers.iter().map(|danger| {
            let (kind, name) = (danger.kind.name(), named(&danger.subject));
            format!("- **{kind}** · {name}: {}", plain(&danger.text))
        });
        self.lines(&lines.collect::<Vec<_>>());
    }

    fn blocked(&mut self, plan: &Plan) {
        if plan.blocked.is_empty() {
            return;
        }
        self.paragraph("**This cannot be done as it is written**");
        let lines = plan.blocked.iter().map(|blocked| {
            let (subject, problem) = (named(&blocked.subject), told(&blocked.problem));
            format!("- {subject}: {problem}")
        });
        self.lines(&lines.collect::<Vec<_>>());
    }

    fn table(&mut self, plan: &Plan) {
        let rows = rows(plan);
        if rows.is_empty() {
            return;
        }
        let is_long = rows.len() > OPEN_ROWS;
        if is_long {
            let resources = count(rows.len(), "resource");
            self.paragraph(&format!("<details><summary>{resources}</summary>"));
        }
        let head = ["| | Resource | What happens |", "|---|---|---|"];
        let lines: Vec<String> = head.into_iter().map(str::to_owned).chain(rows).collect();
        self.lines(&lines);
        if is_long {
            self.paragraph("</details>");
        }
    }

    fn problems(&mut self, review: &Review) {
        let of_plan = match &review.verdict {
            Verdict::Planned { plan, .. } => plan.warnings.as_slice(),
            Verdict::Invalid | Verdict::Unknown(_) => &[],
        };
        let all = review.problems.iter().chain(of_plan);
        let (errors, warnings): (Vec<&Problem>, Vec<&Problem>) =
            all.partition(|one| one.is_error());
        for (title, some) in [("Errors", errors), ("Warnings", warnings)] {
            if !some.is_empty() {
                self.paragraph(&format!("**{title}**"));
                let lines: Vec<String> =
                    some.iter().map(|one| format!("- {}", told(one))).collect();
                self.lines(&lines);
            }
        }
    }

    fn commits(&mut self, review: &Review) {
        let name = |revision: &Revision| format!("`{}`", revision.short());
        let text = match (&review.base, &review.head) {
            (Some(base), Some(head)) if review.standing.is_some() => format!(
                "<sub>{} merged into {}, compared with what runs.</sub>",
                name(head),
                name(base)
            ),
            (Some(base), Some(head)) => format!(
                "<sub>{} merged into {}, from the manifests alone: the platform was not asked.</sub>",
                name(head),
                name(base)
            ),
            (None, Some(head)) => {
                format!("<sub>{} compared with what runs.</sub>", name(head))
            }
            _ => "<sub>Compared with what runs.</sub>".to_owned(),
        };
        self.text.push_str(&text);
        self.text.push('\n');
    }
}

/// A line of the table for each resource.
fn rows(plan: &Plan) -> Vec<String> {
    let fates = fates(plan);
    let mut rows = Vec::new();
    for (subject, group) in groups(plan) {
        let lines = group.lines().iter().map(|line| match line.mark {
            '~' => plain(&line.text),
            '-' => format!("− {}", plain(&line.text)),
            mark => format!("{mark} {}", plain(&line.text)),
        });
        let mut said: Vec<String> = lines.collect();
        said.extend(group.waiting.iter().map(|one| plain(&one.to_string())));
        said.dedup();
        if said.is_empty() {
            continue;
        }
        let mark = match fates.get(&subject) {
            Some(Fate::Created) => "➕",
            Some(Fate::Removed) => "➖",
            Some(Fate::Changed) => "✏️",
            None => "⏳",
        };
        let mut row = format!("| {mark} | {} | ", resource(&subject));
        let _always = write!(row, "{} |", said.join("<br>"));
        rows.push(row);
    }
    rows
}

/// ``Database `name` ``.
fn named(subject: &Subject) -> String {
    match subject {
        Subject::Installation => "the installation".to_owned(),
        Subject::Database(key) => format!("Database `{}`", key.name),
        Subject::Application(key) => format!("Application `{}`", key.name),
    }
}

/// The same with its project below.
fn resource(subject: &Subject) -> String {
    let project = match subject {
        Subject::Installation => return named(subject),
        Subject::Database(key) => &key.project,
        Subject::Application(key) => &key.project,
    };
    format!("{}<br><sub>{}</sub>", named(subject), plain(project))
}

/// A problem with its place and what to do.
fn told(problem: &Problem) -> String {
    let mut text = plain(&problem.to_string());
    if let Some(place) = &problem.place {
        text = format!("{} {text}", spot(place));
    }
    for (what, place) in &problem.related {
        let _always = write!(text, " ({}: {})", plain(what), spot(place));
    }
    for hint in &problem.hints {
        let _always = write!(text, "<br>→ {}", plain(hint));
    }
    text
}

/// A place, as code.
fn spot(place: &Place) -> String {
    let mut safe = String::new();
    code(&place.to_string().replace('`', "'"), &mut safe);
    safe
}

/// Somebody's text as text: nothing in it is Markdown or HTML, and nobody is called by it. What stands
/// in backticks is code.
fn plain(text: &str) -> String {
    let is_paired = text.matches('`').count().is_multiple_of(2);
    let is_cut = text.chars().count() > LONGEST_PIECE;
    let text: String = text.chars().take(LONGEST_PIECE).collect();
    let mut safe = String::with_capacity(text.len());
    for (number, piece) in text.split('`').enumerate() {
        let is_code = is_paired && !is_cut && number % 2 == 1;
        match (is_code, piece.is_empty()) {
            (true, true) => {}
            (true, false) => code(piece, &mut safe),
            (false, _) => {
                if number > 0 && (!is_paired || is_cut) {
                    safe.push_str("\\`");
                }
                escape(piece, &mut safe);
            }
        }
    }
    if is_cut {
        safe.push('…');
    }
    safe
}

/// Text without a backtick, as code; a table would end at a bar.
fn code(text: &str, safe: &mut String) {
    safe.push('`');
    for letter in text.chars() {
        match letter {
            '|' => safe.push_str("\\|"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe.push('`');
}

fn escape(text: &str, safe: &mut String) {
    let has_address = text.contains("://");
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            // A joiner of no width: `@name`, `#1` and addresses stay what they look like, and lead
            // nowhere.
            '@' | '#' => safe.extend([letter, '\u{2060}']),
            ':' if has_address => safe.extend([letter, '\u{2060}']),
            '\\' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '$' => safe.extend(['\\', letter]),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        for (text, safe) in [
            ("a | b", "a \\| b"),
            ("<img src=x>", "&lt;img src=x&gt;"),
            ("@team see #1", "@\u{2060}team see #\u{2060}1"),
            ("[x](https://a.b)", "\\[x\\](https:\u{2060}//a.b)"),
            ("`a|_b` *c* ~d~", "`a\\|_b` \\*c\\* \\~d\\~"),
            ("a ` *b*", "a \\` \\*b\\*"),
            ("``", ""),
            ("a\nb\u{1b}[2J", "a b \\[2J"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(plain(text), safe);
        }
        assert_eq!(plain(&"x".repeat(400)).chars().count(), LONGEST_PIECE + 1);
    }
}
