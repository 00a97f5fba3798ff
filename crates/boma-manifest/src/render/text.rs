//! Problems as rustc shows them: what, where, the line, and what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use boma_problem::{Place, Problem, Severity};

use crate::problems::is_unprintable;

/// Whether a text may have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Plain text: for files, pipes and `NO_COLOR`.
    Never,
    /// ANSI colours: for terminals.
    Always,
}

/// Problems one after the other, an empty line between them; what is shown of files cannot act
/// on a terminal.
pub fn text(problems: &[Problem], color: Color) -> String {
    let renderer = match color {
        Color::Never => Renderer::plain(),
        Color::Always => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| one(&renderer, problem))
        .collect();
    let mut text = shown.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn one(renderer: &Renderer, problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(printable(&problem.to_string()))
        .id(printable(&problem.code));
    let mut elements: Vec<Element<'_>> = Vec::new();
    if let Some(place) = &problem.place {
        elements.push(shown(place, AnnotationKind::Primary, None));
    }
    for (what, place) in &problem.related {
        elements.push(shown(place, AnnotationKind::Context, Some(printable(what))));
    }
    let hints = problem
        .hints
        .iter()
        .map(|hint| Level::HELP.message(printable(hint)).into());
    elements.extend(hints);
    renderer.render(&[title.elements(elements)])
}

/// The line of a place with its mark; only the place where the line is not at hand.
fn shown<'p>(place: &Place, kind: AnnotationKind, label: Option<String>) -> Element<'p> {
    let (line, column) = (place.line as usize, place.column as usize);
    let path = printable(&place.file);
    if place.text.is_empty() {
        return Origin::path(path).line(line).char_column(column).into();
    }
    // One character for one, so that columns stay what they are. Tabs are left for the renderer,
    // which knows how wide it shows them.
    let source: String = place
        .text
        .chars()
        .map(|character| match character {
            '\t' => '\t',
            other if is_unprintable(other) => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect();
    let byte = |column: usize| {
        source
            .char_indices()
            .nth(column)
            .map_or(source.len(), |(byte, _)| byte)
    };
    let start = byte(column.saturating_sub(1));
    let end = byte((column.saturating_sub(1)).saturating_add(place.length as usize));
    let annotation: Annotation<'p> = kind.span(start..end).label(label);
    Snippet::source(source)
        .path(path)
        .line_start(line)
        .annotation(annotation)
        .into()
}

/// A text that cannot act on a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = is_unprintable(character).then(|| character.escape_unicode());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
