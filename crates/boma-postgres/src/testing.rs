//! What the tests of this crate share.

use boma_testkit::postgres_builds;

use crate::programs::{Installation, Installations, SearchPaths};

/// One installation of each major version.
pub(crate) fn installations() -> anyhow::Result<Vec<Installation>> {
    let bins = postgres_builds()?.into_iter().map(|build| build.bin);
    Ok(Installations::discover(&SearchPaths::only(bins))
        .all()
        .to_vec())
}
