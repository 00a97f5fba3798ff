//! Steps of a plan and what each waits for, as a drawing. Pure.
//!
//! Columns from left to right: a step is one column behind the last of what it needs. Large plans are
//! drawn by resource, very large ones not at all: the text says the same.

use std::collections::{BTreeMap, BTreeSet};

use boma_engine::plan::PlanView;
use boma_engine::plan::{Plan, StepView};
use maud::{Markup, html};

/// Boxes of one drawing.
const MOST: usize = 40;

/// Width and height of a box, and the room between two.
const BOX: (usize, usize) = (190, 44);
const ROOM: (usize, usize) = (40, 12);

/// Letters of one line in a box.
const LETTERS: usize = 24;

/// A box: a step, or everything that is done with one resource.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    title: String,
    text: String,
    /// Boxes that it waits for, by their numbers: smaller ones than its own.
    needs: BTreeSet<usize>,
}

/// The drawing of a plan; nothing, where there is nothing to draw.
pub(super) fn figure(plan: &Plan) -> Markup {
    let count = plan.steps.len();
    if count < 2 {
        return Markup::default();
    }
    let steps = PlanView::from(plan).steps;
    let nodes = if count <= MOST {
        by_step(&steps)
    } else {
        by_resource(&steps)
    };
    if nodes.len() > MOST {
        return html! { p class="muted" { "With " (count) " steps the plan is too large to be drawn." } };
    }
    let what = if count <= MOST { "steps" } else { "resources" };
    html! {
        section aria-labelledby="graph" {
            h2 id="graph" { "What waits for what" }
            div class="wide" tabindex="0" role="region" aria-label="The drawing" { (drawing(&nodes, what)) }
            details id="order" {
                summary id="order-summary" { "The same in words" }
                (in_words(&nodes))
            }
        }
    }
}

fn by_step(steps: &[StepView]) -> Vec<Node> {
    let numbers: BTreeMap<u32, usize> = steps
        .iter()
        .zip(0..)
        .map(|(one, at)| (one.id, at))
        .collect();
    let nodes = steps.iter().map(|step| Node {
        title: name_of(step),
        text: step.action.replace('-', " "),
        needs: step
            .needs
            .iter()
            .filter_map(|id| numbers.get(id).copied())
            .collect(),
    });
    nodes.collect()
}

/// Boxes by resource. Two resources may need each other's steps in turn: the one that comes first in the
/// plan is drawn first, and what it needs of the other one is left out.
fn by_resource(steps: &[StepView]) -> Vec<Node> {
    let mut numbers: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut nodes: Vec<(Node, usize)> = Vec::new();
    let mut of_step: BTreeMap<u32, usize> = BTreeMap::new();
    for step in steps {
        let subject = &step.subject;
        let number = *numbers
            .entry((subject.kind, &subject.project, &subject.name))
            .or_insert(nodes.len());
        if number == nodes.len() {
            let node = Node {
                title: name_of(step),
                text: String::new(),
                needs: BTreeSet::new(),
            };
            nodes.push((node, 0));
        }
        of_step.insert(step.id, number);
        let needs = step.needs.iter().filter_map(|id| of_step.get(id).copied());
        let needs = needs.filter(|need| *need < number);
        let (node, count) = &mut nodes[number];
        node.needs.extend(needs);
        *count += 1;
    }
    let counted = nodes.into_iter().map(|(node, count)| Node {
        text: if count == 1 {
            "1 step".to_owned()
        } else {
            format!("{count} steps")
        },
        ..node
    });
    counted.collect()
}

fn name_of(step: &StepView) -> String {
    if step.subject.name.is_empty() {
        return "the installation".to_owned();
    }
    step.subject.name.clone()
}

/// The column of each box.
fn columns(nodes: &[Node]) -> Vec<usize> {
    let mut columns = Vec::with_capacity(nodes.len());
    for node in nodes {
        let behind = node.needs.iter().filter_map(|need| columns.get(*need));
        columns.push(behind.max().map_or(0, |last| last + 1));
    }
    columns
}

/// What a box waits for directly: not what another of its needs waits for already.
fn direct(nodes: &[Node], number: usize) -> impl Iterator<Item = usize> {
    let mut behind = BTreeSet::new();
    let mut open: Vec<usize> = nodes[number].needs.iter().copied().collect();
    while let Some(need) = open.pop() {
        for further in &nodes[need].needs {
            if behind.insert(*further) {
                open.push(*further);
            }
        }
    }
    let needs = nodes[number].needs.iter().copied();
    needs.filter(move |need| !behind.contains(need))
}

/// Where the upper left corner of each box is.
fn places(nodes: &[Node]) -> Vec<(usize, usize)> {
    let columns = columns(nodes);
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    let place = columns.iter().map(|column| {
        let row = rows.entry(*column).or_default();
        let place = (column * (BOX.0 + ROOM.0) + 1, *row * (BOX.1 + ROOM.1) + 1);
        *row += 1;
        place
    });
    place.collect()
}

fn drawing(nodes: &[Node], what: &str) -> Markup {
    let places = places(nodes);
    let width = places.iter().map(|(x, _)| x + BOX.0 + 1).max().unwrap_or(0);
    let height = places.iter().map(|(_, y)| y + BOX.1 + 1).max().unwrap_or(0);
    html! {
        svg class="graph" role="img" aria-label={ (nodes.len()) " " (what) " from left to right, each behind what it waits for; the same is below in words." } width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } {
            @for number in 0..nodes.len() {
                @for need in direct(nodes, number) {
                    path class="edge" d=(edge(places[need], places[number])) {}
                }
            }
            @for (node, (x, y)) in nodes.iter().zip(&places) {
                rect x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="6" {}
                text class="title" x=(x + 10) y=(y + 18) { (short(&node.title)) }
                text x=(x + 10) y=(y + 35) { (short(&node.text)) }
            }
        }
    }
}

/// A line from the right side of one box to the left side of another.
fn edge(from: (usize, usize), to: (usize, usize)) -> String {
    let (x, y) = (from.0 + BOX.0, from.1 + BOX.1 / 2);
    let (end, level) = (to.0, to.1 + BOX.1 / 2);
    let (out, back) = (x + ROOM.0 / 2, end - ROOM.0 / 2);
    format!("M{x} {y}C{out} {y} {back} {level} {end} {level}")
}

fn short(text: &str) -> String {
    if text.chars().count() <= LETTERS {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LETTERS - 1).collect();
    cut + "…"
}

fn in_words(nodes: &[Node]) -> Markup {
    html! {
        ol {
            @for (number, node) in nodes.iter().enumerate() {
                li {
                    strong { (node.title) } ": " (node.text)
                    @for (nth, need) in direct(nodes, number).enumerate() {
                        @if nth == 0 { ", after " } @else { ", " }
                        (need + 1)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use boma_engine::plan::SubjectView;

    use super::*;

    fn step(id: u32, name: &str, needs: &[u32]) -> StepView {
        StepView {
            id,
            needs: needs.to_vec(),
            action: "put-instance",
            subject: SubjectView {
                kind: "Database",
                project: "a/b/c/d".to_owned(),
                name: name.to_owned(),
            },
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_step_is_behind_all_that_it_waits_for() {
        let steps = [
            step(0, "a", &[]),
            step(1, "b", &[]),
            step(2, "c", &[0]),
            step(3, "d", &[0, 1, 2]),
        ];
        let nodes = by_step(&steps);
        assert_eq!(columns(&nodes), [0, 0, 1, 2]);
        assert_eq!(
            direct(&nodes, 3).collect::<Vec<_>>(),
            [1, 2],
            "0 goes before 2"
        );
        let drawn = drawing(&nodes, "steps").into_string();
        assert_eq!(drawn.matches("class=\"edge\"").count(), 3, "{drawn}");
        assert!(
            in_words(&nodes)
                .into_string()
                .contains("put instance, after 2, 3")
        );
        assert!(!drawn.contains("style="), "{drawn}");
    }

    #[test]
    fn boxes_do_not_lie_on_each_other() {
        let steps: Vec<_> = (0..40)
            .map(|id| step(id, "a", if id % 7 == 0 { &[] } else { &[0] }))
            .collect();
        let places = places(&by_step(&steps));
        let distinct: BTreeSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), 40);
    }

    #[test]
    fn large_plans_are_drawn_by_resource() {
        // Two resources that wait for each other's steps are drawn in the order of the plan.
        let steps = [
            step(0, "a", &[]),
            step(1, "b", &[0]),
            step(2, "a", &[1]),
            step(3, "b", &[]),
        ];
        let nodes = by_resource(&steps);
        let seen: Vec<_> = nodes.iter().map(|one| (&*one.title, &*one.text)).collect();
        assert_eq!(seen, [("a", "2 steps"), ("b", "2 steps")]);
        assert_eq!((nodes[0].needs.len(), nodes[1].needs.len()), (0, 1));
    }

    #[test]
    fn names_are_text_and_short() {
        let name = format!("<b>{}", "é".repeat(40));
        let drawn = drawing(&by_step(&[step(0, &name, &[])]), "steps").into_string();
        assert!(
            drawn.contains("&lt;b&gt;é") && drawn.contains("é…</text>"),
            "{drawn}"
        );
    }
}
