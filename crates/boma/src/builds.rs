//! The PostgreSQL builds of this machine, as engine and platform need to know them.

use std::collections::BTreeMap;
use std::path::Path;

use boma_engine::observed::ServerBuild;
use boma_instance::MajorVersion;
use boma_instance::settings::{ParameterContext, ServerParameter, ServerParameters};
use boma_local::config::{Builds, LocalBuild};
use boma_postgres::programs::{
    DescribeError, Installation, Installations, Parameter, ParameterContext as Context,
    ParameterKind, SearchPaths, check_settings,
};
use boma_problem::{IntoProblem, Problem};

/// Looks for PostgreSQL and asks each build what it can do, all of them side by side.
pub(crate) fn discover() -> Result<Builds, Box<Problem>> {
    let found = Installations::discover(&SearchPaths::from_environment());
    let chosen: Vec<_> = MajorVersion::ALL
        .into_iter()
        .filter_map(|major| found.of(major))
        .collect();
    let asked: Vec<Result<LocalBuild, DescribeError>> = std::thread::scope(|scope| {
        let asking: Vec<_> = chosen
            .iter()
            .map(|installation| scope.spawn(|| describe(installation)))
            .collect();
        asking
            .into_iter()
            .filter_map(|one| one.join().ok())
            .collect()
    });
    let servers = asked
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| Box::new(error.problem()))?;
    let searched = found
        .broken()
        .iter()
        .map(|broken| format!("{} ({})", broken.path.display(), broken.why))
        .collect();
    Ok(Builds { servers, searched })
}

fn describe(installation: &Installation) -> Result<LocalBuild, DescribeError> {
    let parameters: ServerParameters = installation
        .parameters()?
        .into_iter()
        .map(known_parameter)
        .collect();
    let extensions = installation
        .extensions()?
        .into_iter()
        .map(|extension| extension.name)
        .collect();
    Ok(LocalBuild {
        server: ServerBuild {
            major: installation.major(),
            version: installation.version.to_string(),
            parameters,
            extensions,
        },
        bin_dir: installation.bin.clone(),
    })
}

/// Asks the server in a directory of programs about settings; answers with those that it refuses.
pub(crate) fn judge_settings(
    programs: &Path,
    settings: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Box<Problem>> {
    let refused = check_settings(programs, settings);
    let refused = refused.map_err(|error| Box::new(error.problem()))?;
    let refused = refused.into_iter().map(|one| (one.name, one.reason));
    Ok(refused.collect())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "limits of settings are within 2^53, or are the type's own limit"
)]
fn known_parameter(parameter: Parameter) -> (String, ServerParameter) {
    let (vartype, min, max) = match parameter.kind {
        ParameterKind::Boolean => ("BOOLEAN", None, None),
        ParameterKind::Integer { min, max } => ("INTEGER", Some(min as f64), Some(max as f64)),
        ParameterKind::Real { min, max } => ("REAL", Some(min), Some(max)),
        ParameterKind::Text => ("STRING", None, None),
        ParameterKind::Enum => ("ENUM", None, None),
    };
    let context = match parameter.context {
        Context::Internal => ParameterContext::Internal,
        Context::Postmaster => ParameterContext::Postmaster,
        Context::Sighup | Context::Superuser | Context::User => ParameterContext::Reload,
        Context::Backend | Context::SuperuserBackend => ParameterContext::Session,
    };
    (
        parameter.name,
        ServerParameter {
            context,
            vartype: vartype.into(),
            min,
            max,
        },
    )
}
