//! Links between pages lead somewhere.

use std::path::{Component, Path};

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let pages = tree.all().filter(|(path, _)| {
        Path::new(path)
            .extension()
            .is_some_and(|extension| extension == "md")
    });
    pages
        .flat_map(|(path, text)| {
            text.lines().enumerate().flat_map(move |(index, line)| {
                links(line)
                    .filter(move |link| !leads_somewhere(tree, path, link))
                    .map(move |link| Finding::at(path, index + 1, format!("no file `{link}`")))
            })
        })
        .collect()
}

/// Targets of `[text](target)` that are paths, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains("://"))
}

fn leads_somewhere(tree: &Tree, page: &str, link: &str) -> bool {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                if parts.pop().is_none() {
                    return false;
                }
            }
            Component::Normal(name) => parts.push(name.to_str().unwrap_or_default()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let path = parts.join("/");
    let directory = format!("{path}/");
    tree.files.contains_key(&path) || tree.all().any(|(file, _)| file.starts_with(&directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found() {
        let page = "see [a](b.md), [c](../README.md#tour),\n[d](e/) and [f](https://example.com/g)";
        let tree = Tree::of(&[("docs/a.md", page), ("docs/b.md", ""), ("docs/e/x.md", "")]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["docs/a.md:1: no file `../README.md`"]);
    }
}
