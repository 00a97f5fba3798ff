//! Where an installation's manifests come from, as it remembers that.
//!
//! One source is remembered by where it is: a directory, or a repository with branch and directory.
//! Several are remembered with their labels, `payments=https://…, branch main + core=/srv/core`.

use std::path::{Path, PathBuf};

use boma_engine::source::{CUSTOM_RESOURCES, GitLocation, Root, Roots};

/// Between two sources.
const AND: &str = " + ";

/// Where what repositories hold is kept, below a state directory.
pub(crate) fn sources(state: &Path) -> PathBuf {
    state.join("sources")
}

/// How sources are remembered; each with its label, and where it is.
pub(crate) fn remembered(sources: &[(&str, String)]) -> String {
    if let [("", one)] = sources {
        return one.clone();
    }
    let named: Vec<String> = sources
        .iter()
        .map(|(label, one)| format!("{label}={one}"))
        .collect();
    named.join(AND)
}

/// Whether the custom resources of a cluster are among the sources that are remembered.
pub(crate) fn has_resources(remembered: &str) -> bool {
    let mut sources = remembered.split(AND);
    sources.any(|one| labelled(one).map_or(one, |(_, place)| place) == CUSTOM_RESOURCES)
}

/// The directories that the manifests are in, by how the sources are remembered.
pub(crate) fn roots_of(remembered: &str, state: &Path) -> Roots {
    if remembered == CUSTOM_RESOURCES {
        return Roots::default();
    }
    let several: Option<Vec<(&str, &str)>> =
        remembered.split(AND).map(|one| labelled(one)).collect();
    match several {
        Some(several) => several
            .into_iter()
            .filter(|(_, place)| *place != CUSTOM_RESOURCES)
            .map(|(label, place)| Root {
                label: label.to_owned(),
                directory: directory_of(place, state),
            })
            .collect(),
        None => Roots::one(directory_of(remembered, state)),
    }
}

/// A label and where its source is; none: it is a source alone. A path is absolute, and an address
/// has a `:` before anything else that is no letter.
fn labelled(text: &str) -> Option<(&str, &str)> {
    let (label, place) = text.split_once('=')?;
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (!label.is_empty() && label.chars().all(is_letter)).then_some((label, place))
}

fn directory_of(place: &str, state: &Path) -> PathBuf {
    match place.parse::<GitLocation>() {
        Ok(location) => location.below(&sources(state).join(location.directory_name())),
        Err(_a_directory) => PathBuf::from(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(remembered: &str) -> Vec<(String, String)> {
        let roots = roots_of(remembered, Path::new("/state"));
        let place = |root: &Root| (root.label.clone(), root.directory.display().to_string());
        roots.all().iter().map(place).collect()
    }

    #[test]
    fn what_is_remembered_leads_back_to_the_directories() {
        let one = |place: &str| vec![(String::new(), place.to_owned())];
        assert_eq!(places("/srv/m"), one("/srv/m"));
        assert_eq!(places("/srv/a + b=c"), one("/srv/a + b=c"));
        let git = "https://host/m.git, branch main, directory db";
        let fetched = places(git);
        assert!(fetched[0].1.starts_with("/state/sources/m-"), "{fetched:?}");
        let both = [("m", git.to_owned()), ("core", "/srv/core".to_owned())];
        let both = places(&remembered(&both));
        assert_eq!(both[0], ("m".to_owned(), fetched[0].1.clone()));
        assert_eq!(both[1], ("core".to_owned(), "/srv/core".to_owned()));
        assert_eq!(remembered(&[("", "/srv/m".to_owned())]), "/srv/m");
    }

    #[test]
    fn custom_resources_are_in_no_directory() {
        let own = || CUSTOM_RESOURCES.to_owned();
        assert_eq!(places(&own()), []);
        let both = [("core", "/srv/core".to_owned()), (CUSTOM_RESOURCES, own())];
        let both = remembered(&both);
        assert_eq!(places(&both), [("core".to_owned(), "/srv/core".to_owned())]);
        assert!(has_resources(&both) && has_resources(&own()));
        assert!(!has_resources("/srv/custom-resources"));
    }
}
